"""Binance, and whoever speaks its language: the words of its WebSocket and its REST, read and written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

from ingest.binance.http_api import RULES, BinanceHttpApi
from ingest.binance.session import MAX_SYMBOLS, BinanceSession
from ingest.http.client import connect
from ingest.messages import BadFrame
from ingest.network import Network

__all__ = ["BinanceAdapter"]


class BinanceAdapter:
    """All that is Binance's own, as `ingest.venue.VenueAdapter`."""

    max_symbols = MAX_SYMBOLS

    def session(self, venue: str, symbols: Iterable[str], *, plain: bool) -> BinanceSession:
        """Begin the conversation of one connection.

        Args:
            venue: the name that trades get.
            symbols: to follow, in lower case.
            plain: whether to ask for trades alone and without options.

        """
        return BinanceSession(venue, symbols, plain=plain)

    @asynccontextmanager
    async def http_api(
        self,
        venue: str,
        urls: Sequence[str],
        network: Network,
        *,
        on_bad_row: Callable[[BadFrame], None] = lambda _: None,
    ) -> AsyncIterator[BinanceHttpApi]:
        """Give the venue's REST, to be asked while inside.

        Args:
            venue: the name that trades get.
            urls: its hosts, in the order to try.
            network: the way there.
            on_bad_row: called with each row of an answer that cannot be read.

        """
        async with connect(venue, urls, RULES, network) as client:
            yield BinanceHttpApi(client, on_bad_row=on_bad_row)
