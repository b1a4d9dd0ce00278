"""Fetching over REST what the socket did not bring: gaps between trades, and what happened while nobody listened."""

from __future__ import annotations

import asyncio
import logging

import numpy as np

from ingest import counts
from ingest.binance_rest import PAGE
from ingest.outlet import Outlet
from ingest.rest import Rest, RestAway, RestRefused
from ingest.sequencer import Gap
from mesh.backoff import backoff
from mesh.logs import Seldom
from mesh.trades import TradeColumns

log = logging.getLogger("ingest.repair")

OUT_OF_ORDER_S = 0.2
"""So long a missing trade may still come by the socket before REST is asked."""


class Repairs:
    """The repairs under way: at most one a symbol.

    Args:
        rest: the venue.
        tasks: the owner of the repairs' tasks.

    """

    def __init__(self, rest: Rest, tasks: asyncio.TaskGroup) -> None:
        self._rest = rest
        self._tasks = tasks
        self._underway: dict[str, asyncio.Task[None]] = {}
        self._to_the_end: set[str] = set()
        self.outlet: Outlet | None = None  # set once, right after it is made with `fill` as its `on_gap`

    def fill(self, symbol: str) -> None:
        """Fetch the ids a symbol waits for."""
        if symbol not in self._underway:
            self._underway[symbol] = self._tasks.create_task(self._run(symbol), name=f"repair {symbol}")

    def catch_up(self, symbol: str) -> None:
        """Fetch all since the last trade released: when a connection opens, nobody knows what was missed."""
        self._to_the_end.add(symbol)
        self.fill(symbol)

    def cancel(self) -> None:
        """Stop fetching."""
        for task in list(self._underway.values()):
            task.cancel()

    async def _run(self, symbol: str) -> None:
        try:
            await self._repair(symbol)
        finally:
            # Nothing is awaited between its last look at the gap and this: no call of `fill` falls in between.
            del self._underway[symbol]

    async def _repair(self, symbol: str) -> None:
        assert self.outlet is not None
        seldom = Seldom(every_s=10)
        delays = backoff(first_s=0.2, max_s=10)
        if symbol not in self._to_the_end:
            await asyncio.sleep(OUT_OF_ORDER_S)
        fetched = 0
        while (from_id := self.outlet.next_id(symbol)) is not None:
            gap = self.outlet.gap(symbol)
            if gap is None and symbol not in self._to_the_end:
                break
            try:
                page = await self._rest.historical_trades(symbol, from_id=from_id)
            except RestAway as exc:
                if seldom.due(asyncio.get_running_loop().time()):
                    log.warning("%s: cannot fetch trades from %d on now: %s", symbol, from_id, exc)
                await asyncio.sleep(max(next(delays), exc.again_after_s))
                continue
            except RestRefused as exc:
                self._to_the_end.discard(symbol)
                await self.outlet.give_up(symbol, str(exc))
                continue
            if len(page) < PAGE:
                self._to_the_end.discard(symbol)
            if not len(page):
                if gap is not None:  # the socket is ahead of REST
                    await asyncio.sleep(next(delays))
                continue
            fetched += len(page)
            delays = backoff(first_s=0.2, max_s=10)
            await self._hand_over(symbol, from_id, page)
        self._to_the_end.discard(symbol)
        if fetched:
            log.info("%s: fetched %d trades up to %d", symbol, fetched, (self.outlet.next_id(symbol) or 0) - 1)

    async def _hand_over(self, symbol: str, from_id: int, page: TradeColumns) -> None:
        """Pass a page on, and what it proves: between two rows, and before the first, the venue has nothing."""
        assert self.outlet is not None
        counts.REPAIRED.labels(page.venue, symbol).inc(len(page))
        start = 0
        for row in np.flatnonzero(np.diff(page.trade_id, prepend=from_id - 1) != 1).tolist():
            before_id = int(page.trade_id[row - 1]) if row else from_id - 1
            if row > start:
                await self.outlet.take(page.rows(slice(start, row)))
            await self.outlet.absent(symbol, Gap(before_id + 1, int(page.trade_id[row]) - 1))
            start = row
        await self.outlet.take(page.rows(slice(start, None)))
