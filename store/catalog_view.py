"""The store's view of the catalog: the selected symbol and the followed venue, as the stream CONTROL says."""

from __future__ import annotations

from mesh.bus import control, subjects
from mesh.bus.reader import Message
from mesh.service.errors import NotReady
from tickmesh.v1 import control_pb2


class CatalogView:
    """The selected symbol and the followed venue; hand every control message to `take`.

    Attributes:
        venue: the venue now followed; empty until that is known.
        catalog: what ingest told last, None until it has.

    """

    def __init__(self) -> None:
        self._symbol = ""
        self._followed: frozenset[str] = frozenset()
        self.venue = ""
        self.catalog: control_pb2.Catalog | None = None

    @property
    def symbol(self) -> str:
        """The selected symbol.

        Raises:
            NotReady: none is known yet.

        """
        if not self._symbol:
            raise NotReady("no symbol is selected yet: name one, or wait for the bus")
        return self._symbol

    def follows(self, venue: str, symbol: str) -> bool:
        """Whether the trades of a symbol are followed now; False until that is known.

        Args:
            venue: whose symbol it is: `binance`.
            symbol: in lower case: `btcusdt`.

        """
        return venue == self.venue and symbol in self._followed

    def followed(self, venue: str) -> list[str]:
        """Return the symbols whose trades are followed now, by name; none until they are known.

        Args:
            venue: whose symbols they are.

        """
        return sorted(self._followed) if venue == self.venue else []

    def take(self, message: Message) -> None:
        """Take in `control.symbol` or `control.catalog`; messages on other subjects are left alone.

        Raises:
            BadMessage: it cannot be read.

        """
        if message.subject == subjects.CONTROL_SYMBOL:
            self._symbol = control.decode_selection(message.payload)
        elif message.subject == subjects.CONTROL_CATALOG:
            self.catalog = catalog = control.decode_catalog(message.payload)
            self.venue, self._followed = catalog.venue, frozenset(catalog.followed)
