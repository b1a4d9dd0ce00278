"""Minutes the venue has closed, passed on to the bus as checksums of that minute's trades."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from nats.errors import Error as NatsError

from ingest.binance import ClosedCandle
from mesh import control, subjects
from mesh.backoff import backoff
from mesh.bus import Bus
from mesh.logs import Seldom
from tickmesh.v1 import control_pb2

log = logging.getLogger("ingest.candles")

MAX_WAITING = 10_000
"""Minutes that wait for the bus at most; the oldest go first, and stay unchecked."""


class Candles:
    """See the module; `run` is a task of the service's own."""

    def __init__(self, venue: str, bus: Bus) -> None:
        self._venue = venue
        self._bus = bus
        self._waiting: deque[ClosedCandle] = deque(maxlen=MAX_WAITING)
        self._come = asyncio.Event()

    def take(self, candle: ClosedCandle) -> None:
        """Take a minute; twice does no harm, as while two connections overlap."""
        self._waiting.append(candle)
        self._come.set()

    async def run(self) -> None:
        """Publish what comes, for ever."""
        seldom = Seldom()
        while True:
            await self._come.wait()
            self._come.clear()
            delays = backoff(max_s=5)
            while self._waiting:
                candle = self._waiting[0]
                try:
                    await self._publish(candle)
                except (NatsError, TimeoutError) as exc:
                    if seldom.due(asyncio.get_running_loop().time()):
                        log.warning("minutes wait for the bus: %s", str(exc) or type(exc).__name__)
                    await asyncio.sleep(next(delays))
                    continue
                if self._waiting and self._waiting[0] is candle:  # else it was dropped for newer ones meanwhile
                    self._waiting.popleft()

    async def _publish(self, candle: ClosedCandle) -> None:
        message = control_pb2.VenueCandle(
            venue=self._venue,
            symbol=candle.symbol,
            open_time_us=candle.open_time_us,
            first_trade_id=candle.first_trade_id,
            last_trade_id=candle.last_trade_id,
            trade_count=candle.trade_count,
            open_e8=candle.open_e8,
            high_e8=candle.high_e8,
            low_e8=candle.low_e8,
            close_e8=candle.close_e8,
            volume_e8=candle.volume_e8,
        )
        message_id = f"candle-{self._venue}-{candle.symbol}-{candle.open_time_us}"
        await self._bus.js.publish(
            subjects.candle(self._venue, candle.symbol),
            control.encode(message),
            headers={"Nats-Msg-Id": message_id},
        )
