"""What a venue must offer to be followed: where it is, its conversation, and what it answers over REST."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from ingest.http.backfill import BackfillResult
from ingest.messages import BadFrame, Instrument, NewestTrade
from ingest.network import Network
from ingest.websocket.session import Session
from mesh.values.trades import TradeColumns

MOST_AT_ONCE = 20
"""So many symbols are in one question about all of them."""


class HttpApi(Protocol):
    """What can be asked of a venue over REST; every question may raise VenueRequestError."""

    def stay_away(self, seconds: float) -> None:
        """Ask nothing for so long: the venue told this address so on another way in."""

    async def ping(self) -> None:
        """Ask whether anybody is there."""

    async def exchange_info(self) -> list[Instrument]:
        """Return what is listed now."""

    async def newest_id(self, symbol: str) -> int | None:
        """Return the id of a symbol's newest trade, None when it never traded."""

    async def newest_of(self, symbols: Sequence[str]) -> dict[str, NewestTrade]:
        """Return the newest trades of many symbols for what one of them costs; of some, nothing may be known so.

        Args:
            symbols: in lower case; MOST_AT_ONCE at most.

        """

    async def trades_from(self, symbol: str, from_id: int) -> BackfillResult:
        """Return what is known of a symbol's trades from an id on, that id included.

        Args:
            symbol: in lower case.
            from_id: the venue's id, without the epoch.

        """

    async def newest_trades(self, symbol: str) -> TradeColumns:
        """Return a symbol's newest trades, some hundreds."""


class VenueAdapter(Protocol):
    """All that is one venue's own; `ingest.binance` is one."""

    @property
    def max_symbols(self) -> int:
        """How many symbols one connection may follow."""

    def session(self, venue: str, symbols: Iterable[str], *, plain: bool) -> Session:
        """Begin the conversation of one connection.

        Args:
            venue: the name that trades get.
            symbols: to follow, in lower case.
            plain: whether to ask for trades alone and without options, as of hosts that refused more.

        """

    def http_api(
        self,
        venue: str,
        urls: Sequence[str],
        network: Network,
        *,
        on_bad_row: Callable[[BadFrame], None] = lambda _: None,
    ) -> AbstractAsyncContextManager[HttpApi]:
        """Give the venue's REST, to be asked while inside; nothing is sent before the first question.

        Args:
            venue: the name that trades get.
            urls: its hosts, in the order to try.
            network: the way there.
            on_bad_row: called with each row of an answer that cannot be read.

        """


@dataclass(frozen=True, slots=True)
class Venue:
    """Whom we follow, and where.

    Attributes:
        name: what its rows are called.
        ws_urls: WebSocket hosts in the order to try, without `/ws` or `/stream` at their ends.
        rest_urls: REST hosts in the order to try.
        adapter: which language they speak.
        network: the way there.

    """

    name: str
    ws_urls: tuple[str, ...]
    rest_urls: tuple[str, ...]
    adapter: VenueAdapter
    network: Network = field(default_factory=Network)

    def http_api(
        self, urls: Sequence[str] = (), *, on_bad_row: Callable[[BadFrame], None] = lambda _: None
    ) -> AbstractAsyncContextManager[HttpApi]:
        """Give its REST, to be asked while inside: of all its hosts, or of these alone.

        Args:
            urls: the hosts to ask; all of the venue's when empty.
            on_bad_row: called with each row of an answer that cannot be read.

        """
        return self.adapter.http_api(self.name, urls or self.rest_urls, self.network, on_bad_row=on_bad_row)
