"""Asking REST about trades that are doubted, until none is."""

from __future__ import annotations

import asyncio
import logging

import numpy as np

from ingest.http.errors import VenueRequestError, VenueUnavailable
from ingest.publish.trade_publisher import TradePublisher
from ingest.venue import HttpApi
from mesh.service.backoff import backoff
from mesh.service.logs import LogThrottle
from mesh.values.trades import TradeColumns, concatenate

log = logging.getLogger("ingest.publish.confirmations")

_SETTLE_S = 0.2
"""So long other trades may say it by themselves before REST is asked."""
_MOST_AT_ONCE = 20
"""So many disputed ids are asked for, each by itself, before the newest trades are asked for again."""


class Confirmations:
    """Asks for the venue's newest trades while the trade publisher doubts any; `run` is a task of the service's own.

    Args:
        http_api: the venue over REST.
        trade_publisher: who doubts and is told.

    """

    def __init__(self, http_api: HttpApi, trade_publisher: TradePublisher) -> None:
        self._http_api = http_api
        self._trade_publisher = trade_publisher
        self._underway: set[str] = set()
        self._waiting: asyncio.Queue[str] = asyncio.Queue()  # a symbol at most once: it is bounded by their number
        trade_publisher.on_doubt(self.look)

    def look(self, symbol: str) -> None:
        """Ask about a symbol, unless that is being done; returns at once."""
        if symbol not in self._underway:
            self._underway.add(symbol)
            self._waiting.put_nowait(symbol)

    async def run(self) -> None:
        """Ask, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                symbol = await self._waiting.get()
                tasks.create_task(self._confirm(symbol), name=f"confirm {symbol}")

    async def _confirm(self, symbol: str) -> None:
        log_throttle = LogThrottle(every_s=30)
        delays = backoff(first_s=0.3, max_s=60)
        try:
            await asyncio.sleep(_SETTLE_S)
            while self._trade_publisher.doubts(symbol):
                newest, away_s = None, 0.0
                try:
                    newest = await self._http_api.newest_trades(symbol)
                except VenueRequestError as exc:
                    away_s = exc.again_after_s if isinstance(exc, VenueUnavailable) else 0.0
                    if log_throttle.due(asyncio.get_running_loop().time()):
                        log.warning("%s: cannot ask which trades are right now: %s", symbol, exc)
                await self._trade_publisher.judge(symbol, newest)
                if newest is not None and len(newest):
                    await self._ask_for_older(symbol, newest, log_throttle)
                if self._trade_publisher.doubts(symbol):
                    await asyncio.sleep(max(next(delays), min(away_s, 60)))
        finally:
            # Nothing is awaited between the last look at the doubts and this: no call of `look` falls in between.
            self._underway.discard(symbol)

    async def _ask_for_older(self, symbol: str, newest: TradeColumns, log_throttle: LogThrottle) -> None:
        """Ask which trade it is that has a disputed id, where REST's newest trades no longer reach it."""
        for trade_id in self._trade_publisher.disputed_ids(symbol)[:_MOST_AT_ONCE]:
            if trade_id >= newest.trade_id[0]:
                return
            try:
                found = await self._http_api.trades_from(symbol, trade_id)
            except VenueRequestError as exc:
                if log_throttle.due(asyncio.get_running_loop().time()):
                    log.warning("%s: cannot ask which trade %d is: %s", symbol, trade_id, exc)
                return
            if any(trade_id in part.trade_id for part in found.parts):
                # With the newest ones, which show that the ids are still of the same count.
                reported = concatenate([*found.parts, newest])
                await self._trade_publisher.settle(
                    symbol, reported.rows(np.unique(reported.trade_id, return_index=True)[1])
                )
            elif any(gap.first_id <= trade_id <= gap.last_id for gap in (*found.absent, *found.unreachable)):
                self._trade_publisher.let_go(symbol, trade_id, "REST does not tell it")
