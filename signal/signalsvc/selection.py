"""Which symbol everybody looks at, and which ones there are to choose from. Pure."""

from __future__ import annotations

from mesh.service.errors import InvalidRequest, NotFound, NotReady
from mesh.values.symbols import NAMES, name_of, parse_symbol
from tickmesh.v1 import control_pb2, signal_pb2

TRADING, UNLISTED = "TRADING", "UNLISTED"


class UnknownSymbol(InvalidRequest):
    """A symbol that the venue does not list, as far as the catalog tells."""


def read_symbol(text: str) -> str:
    """Return the symbol that a request names, in lower case.

    Raises:
        InvalidRequest: it is no symbol.

    """
    try:
        return parse_symbol(text)
    except ValueError as exc:
        raise InvalidRequest(str(exc), field="symbol") from exc


class Selection:
    """The selected symbol and the venue's catalog, as `control.symbol` and `control.catalog` tell them."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self._catalog: control_pb2.Catalog | None = None
        self._base_assets: dict[str, str] = {}  # of all that is listed
        self._statuses: dict[str, str] = {}  # of what is listed and not traded now
        self._left_venue = ""
        self._changed_over = False

    @property
    def venue(self) -> str:
        """The venue now followed.

        Raises:
            NotReady: ingest has not told yet.

        """
        if self._catalog is None:
            raise NotReady("no venue is followed yet: ingest has not published control.catalog")
        return self._catalog.venue

    def learn(self, catalog: control_pb2.Catalog) -> None:
        """Take in what ingest tells of the venue."""
        if self._catalog is not None and self._catalog.venue != catalog.venue:
            self._left_venue = self._catalog.venue
            self._changed_over = True
        self._catalog = catalog
        self._base_assets = {instrument.symbol: instrument.base_asset for instrument in catalog.instruments}
        self._statuses = {one.symbol: one.status for one in catalog.instruments if one.status not in ("", TRADING)}

    def replacement(self) -> str | None:
        """Return what to select instead where another venue is followed now, and does not trade the selected symbol.

        None when there is no need. Only its first list counts: what a venue leaves out later comes back.
        """
        if self._catalog is None or not self._changed_over or not self._base_assets:
            return None
        self._changed_over = False
        if self.symbol in self._base_assets:
            return None
        return next((symbol for symbol in self._catalog.followed if symbol in self._base_assets), None)

    def has_left(self, venue: str) -> bool:
        """Return whether a venue was followed and another one is now: who watches gets nothing of it any more.

        A venue that nobody has told of yet is not left: its trades may come before its catalog does.
        """
        return venue == self._left_venue and self._catalog is not None and venue != self._catalog.venue

    @property
    def followed(self) -> tuple[str, frozenset[str]] | None:
        """The venue and its symbols that are followed, the selected one with them; None while ingest has not told."""
        if self._catalog is None:
            return None
        return self._catalog.venue, frozenset({*self._catalog.followed, self.symbol})

    def check(self, text: str) -> str:
        """Return the symbol in lower case if it can be selected.

        Raises:
            UnknownSymbol: the venue does not list it; it may since the catalog was told.
            InvalidRequest: no symbol.
            NotReady: ingest has not told yet what the venue lists.

        """
        symbol = read_symbol(text)
        if not self._listed(symbol):
            raise UnknownSymbol(f"unknown symbol {symbol!r}: {self.venue} does not trade it", field="symbol")
        return symbol

    def refutes(self, symbol: str) -> bool:
        """Return whether the venue has told what it lists, and a symbol is neither among it nor followed."""
        return bool(self._base_assets) and not self._listed(symbol)

    def status(self, symbol: str) -> str:
        """Return the venue's word for how it stands with a symbol: `TRADING`, `BREAK`; empty while it is not known."""
        if symbol in self._base_assets:
            return self._statuses.get(symbol, TRADING)
        return UNLISTED if self._base_assets else ""

    def resolve(self, text: str) -> str:
        """Return the symbol a request means: the selected one when it names none.

        Raises:
            InvalidRequest: no symbol.
            NotReady: ingest has not told yet what is followed.
            NotFound: a symbol that is not followed.

        """
        if not text:
            return self.symbol
        symbol = read_symbol(text)
        if symbol == self.symbol:
            return symbol
        if self._catalog is None:
            raise NotReady(f"whether {symbol!r} is followed is not known yet: ingest has not published control.catalog")
        followed = self._catalog.followed
        if symbol not in followed:
            raise NotFound(f"{symbol!r} is not followed: select it first, or choose one of {', '.join(followed)}")
        return symbol

    def name(self, symbol: str) -> str:
        """Return a symbol's name for people."""
        return name_of(symbol, base_asset=self._base_assets.get(symbol, ""))

    def response(self) -> signal_pb2.GetSymbolResponse:
        """Return the selected symbol as everybody is told of it; raise `NotReady` while no venue is followed."""
        return signal_pb2.GetSymbolResponse(
            symbol=self.symbol, name=self.name(self.symbol), venue=self.venue, status=self.status(self.symbol)
        )

    def coins(self) -> list[str]:
        """Return the symbols to choose from.

        They are the original's coins that the venue trades, then what else is followed, then the selected one.

        Raises:
            NotReady: ingest has not told yet what is followed.

        """
        if self._catalog is None:
            raise NotReady("what there is to choose from is not known yet: ingest has not published control.catalog")
        followed = list(self._catalog.followed)
        known = [symbol for symbol in NAMES if self._listed(symbol)]
        return list(dict.fromkeys([*known, *followed, self.symbol]))

    def _listed(self, symbol: str) -> bool:
        followed = self._catalog is not None and symbol in self._catalog.followed
        return symbol in self._base_assets or followed or (not self._base_assets and symbol in NAMES)
