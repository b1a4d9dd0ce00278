"""What subscriptions ask of the store: few calls at once, each shared by all who ask the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.service.logs import LogThrottle
from mesh.service.rpc import authorization
from mesh.values import epochs
from tickmesh.v1 import store_pb2
from tickmesh.v1.store_pb2_grpc import StoreServiceStub
from tickmesh.v1.trade_pb2 import Candle, Trade

log = logging.getLogger("gateway.live.history")

PAGE_TRADES = 1000
CALL_LIMIT_S = 5.0
CALLS_AT_ONCE = {"trades": 2, "candles": 1, "coverage": 1}
"""None waits for another kind, and what people ask for over REST has to find a free connection of store's, too."""
PAUSES = {"trades": 0.0, "candles": 1.0, "coverage": 3.0}
"""For so many times as long as a call took none of its kind follows it: what is asked again and again, of any number of
symbols, takes that share of store's time and no more. 96 feeds of candles at once take store 4 to 13 % of a core, and
leave `/api/history` as it was: 13 to 19 ms without them, 14 to 16 with them, on a busy machine."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredPage:
    """Trades that the store has after a key.

    Attributes:
        trades: with rising keys.
        keys: theirs.
        newest_key: the highest that the store has; -1 when it has none.
        bodies: what was made of them, by what it is; shared by all who asked.

    """

    trades: list[Trade]
    keys: list[int]
    newest_key: int
    bodies: dict[Hashable, bytes] = field(default_factory=dict)

    @property
    def more(self) -> bool:
        """Whether another page follows."""
        return bool(self.keys) and self.keys[-1] < self.newest_key


class StoredTrades:
    """Asks StoreService for trades, candles and coverage.

    Args:
        store: channel to it.
        token: what it wants to be shown; None when nothing.

    """

    def __init__(self, store: grpc.aio.Channel, *, token: str | None = None) -> None:
        self._store = StoreServiceStub(store)
        self._metadata = authorization(token)
        self._room = {kind: asyncio.Semaphore(count) for kind, count in CALLS_AT_ONCE.items()}
        self._calls: dict[tuple[str, Hashable], asyncio.Task[Any]] = {}
        self._log_throttle = LogThrottle()

    async def newest(self, symbol: str) -> list[Trade] | None:
        """Return the newest trade of a symbol, or none; None when the store does not answer now."""

        async def ask() -> list[Trade]:
            request = store_pb2.ListTradesRequest(symbol=symbol, page_size=1)
            response = await self._store.ListTrades(request, timeout=CALL_LIMIT_S, metadata=self._metadata)
            return list(response.trades)

        return await self._shared("trades", symbol, ask)

    async def after(self, symbol: str, key: int, *, venue: str = "") -> StoredPage | None:
        """Return the trades after a key; None when the store does not answer now.

        Args:
            symbol: in lower case.
            key: of a trade, stored or not; -1 comes before all.
            venue: whose trades; an empty one is the venue that is followed.

        """

        async def ask() -> StoredPage:
            request = store_pb2.ListNextTradesRequest(
                symbol=symbol,
                trade_id=epochs.venue_id(key),
                epoch=epochs.epoch_of(key),
                venue=venue,
                page_size=PAGE_TRADES,
            )
            page = await self._store.ListNextTrades(request, timeout=CALL_LIMIT_S, metadata=self._metadata)
            trades = list(page.trades)
            keys = [epochs.key_of(trade.epoch, trade.trade_id) for trade in trades]
            return StoredPage(trades, keys, epochs.key_of(page.newest_epoch, page.newest_trade_id))

        return await self._shared("trades", (symbol, key, venue), ask)

    async def candles(self, symbol: str, interval: str, from_us: int | None, *, count: int) -> list[Candle] | None:
        """Return candles in the order of time, open ones too; None when the store does not answer now.

        Args:
            symbol: in lower case.
            interval: their length.
            from_us: they begin at this time or later, in microseconds since 1970 UTC; None for the newest ones.
            count: how many of the newest ones.

        """

        async def ask() -> list[Candle]:
            request = store_pb2.ListCandlesRequest(symbol=symbol, interval=interval, open=True, page_size=count)
            if from_us is not None:
                start = Timestamp(seconds=from_us // 1_000_000, nanos=from_us % 1_000_000 * 1000)
                request.start_time.CopyFrom(start)
                request.page_size = PAGE_TRADES
            response = await self._store.ListCandles(request, timeout=CALL_LIMIT_S, metadata=self._metadata)
            return list(response.candles)

        return await self._shared("candles", (symbol, interval, from_us), ask)

    async def coverage(self, symbol: str) -> store_pb2.GetCoverageResponse | None:
        """Return what is stored and what is missing of a symbol; None when the store does not answer now."""

        async def ask() -> store_pb2.GetCoverageResponse:
            request = store_pb2.GetCoverageRequest(symbol=symbol)
            return await self._store.GetCoverage(request, timeout=CALL_LIMIT_S, metadata=self._metadata)

        return await self._shared("coverage", symbol, ask)

    async def _shared(self, kind: str, what: Hashable, ask: Callable[[], Awaitable[T | None]]) -> T | None:
        loop = asyncio.get_running_loop()

        async def call() -> T | None:
            room = self._room[kind]
            try:
                await room.acquire()
                began_s = loop.time()
                try:
                    return await ask()
                finally:
                    loop.call_later((loop.time() - began_s) * PAUSES[kind], room.release)
            except grpc.aio.AioRpcError as exc:
                if self._log_throttle.due(loop.time()):
                    log.warning("no answer from store for clients of /ws: %s: %s", exc.code().name, exc.details())
                return None
            finally:
                del self._calls[kind, what]

        if (task := self._calls.get((kind, what))) is None:
            task = self._calls[kind, what] = asyncio.create_task(call(), name=f"store.{kind}.{what}")
        found: T | None = await asyncio.shield(task)  # the same question has the same kind of answer
        return found
