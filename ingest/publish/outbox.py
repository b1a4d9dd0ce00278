"""Small messages on their way to the bus beside the trades: closed minutes, and frames kept aside."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

import msgspec
from nats.errors import Error as NatsError

from ingest.messages import BadFrame, ClosedCandle
from ingest.publish.quarantine import QuarantinedTrades
from mesh.bus import control, subjects
from mesh.bus.connection import Bus
from mesh.bus.message import MESSAGE_ID, REASON, header_text
from mesh.service.backoff import backoff
from mesh.service.logs import LogThrottle
from mesh.values import epochs
from mesh.values.fixed import format_e8
from tickmesh.v1 import control_pb2

log = logging.getLogger("ingest.outbox")

MAX_WAITING = 10_000
"""Messages that wait for the bus at most; beyond that the oldest go."""

MAX_ASIDE = 1_000
"""So many may wait when a bad frame comes; one more is only counted, lest a flood of them takes the minutes' places."""

MAX_DOUBTED = 50
"""So many of the trades that are doubted together are kept."""

MAX_FRAME_BYTES = 8192
"""So much of a bad frame is kept; a good one has 200 bytes."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message for the bus."""

    subject: str
    payload: bytes
    headers: dict[str, str] | None = None


class Outbox:
    """A bounded queue of small messages to the bus; when it is full the oldest is left out. Run `run` as a task."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: deque[Letter] = deque(maxlen=MAX_WAITING)
        self._come = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self._waiting)

    def put(self, letter: Letter) -> None:
        """Take a message; returns at once."""
        self._waiting.append(letter)
        self._come.set()

    async def run(self) -> None:
        """Publish what comes, in order, for ever."""
        log_throttle = LogThrottle()
        while True:
            await self._come.wait()
            self._come.clear()
            delays = backoff(max_s=5)
            while self._waiting:
                letter = self._waiting[0]
                try:
                    await self._bus.js.publish(letter.subject, letter.payload, headers=letter.headers)
                except (NatsError, TimeoutError) as exc:
                    if log_throttle.due(asyncio.get_running_loop().time()):
                        why = str(exc) or type(exc).__name__
                        log.warning("%d messages wait for the bus: %s", len(self._waiting), why)
                    await asyncio.sleep(next(delays))
                    continue
                if self._waiting and self._waiting[0] is letter:  # else it went for a newer one meanwhile
                    self._waiting.popleft()


def epoch_begun(venue: str, symbol: str, epoch: int) -> Letter:
    """Word that the venue has begun a symbol's ids again."""
    message = control_pb2.Epoch(venue=venue, symbol=symbol, epoch=epoch)
    return Letter(subjects.epoch(venue, symbol), control.encode(message))


def minute(venue: str, candle: ClosedCandle, *, epoch: int = 0) -> Letter:
    """Word a minute the venue has closed; the same minute twice, as while two links overlap, is kept once."""
    message = control_pb2.VenueCandle(
        venue=venue,
        symbol=candle.symbol,
        open_time_us=candle.open_time_us,
        first_trade_id=epochs.key_of(epoch, candle.first_trade_id),
        last_trade_id=epochs.key_of(epoch, candle.last_trade_id),
        trade_count=candle.trade_count,
        open_e8=candle.open_e8,
        high_e8=candle.high_e8,
        low_e8=candle.low_e8,
        close_e8=candle.close_e8,
        volume_decimal=format_e8(candle.volume_e8),
    )
    message_id = f"candle-{venue}-{subjects.token(candle.symbol)}-{candle.open_time_us}"
    return Letter(subjects.candle(venue, candle.symbol), control.encode(message), {MESSAGE_ID: message_id})


def dead_trades(doubted: QuarantinedTrades) -> Letter:
    """Keep trades that were held for an implausible id or time, with the reason, for a person to look at: JSON."""
    trades = doubted.trades.rows(slice(0, MAX_DOUBTED))
    rows = zip(
        trades.trade_id.tolist(),
        map(format_e8, trades.price_e8.tolist()),
        map(format_e8, trades.quantity_e8.tolist()),
        trades.time_us.tolist(),
        trades.is_buyer_maker.tolist(),
        strict=True,
    )
    names = ("trade_id", "price", "quantity", "time_us", "is_buyer_maker")
    content = {
        "venue": trades.venue,
        "symbol": trades.symbol,
        "received_time_us": trades.received_time_us,
        "trades": [dict(zip(names, row, strict=True)) for row in rows],
    }
    return Letter(subjects.dead("quarantine"), msgspec.json.encode(content), {REASON: header_text(doubted.why)})


def dead_frame(bad: BadFrame) -> Letter:
    """Keep a frame that was refused, with the reason, for a person to look at: the frame as it came, in DEAD."""
    return Letter(subjects.dead("frames"), bad.frame[:MAX_FRAME_BYTES], {REASON: header_text(bad.reason)})
