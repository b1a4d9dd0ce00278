"""PROCESSED into the database: the candles that signal closed, with the position in the stream in the same transaction.

Most messages close nothing: those only move the position, now and then. Candles wait until the trades they are made of
are stored; then they need not be made again while those arrive.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import psycopg
from nats.errors import Error as NatsError

from libsignal import Periods
from mesh.bus import subjects, wire
from mesh.bus.connection import Bus
from mesh.bus.dead_letters import DeadLetterQueue
from mesh.bus.message import Message
from mesh.bus.position import Position
from mesh.bus.reader import Reader
from mesh.service.errors import BadMessage
from mesh.values.candles import ClosedCandles
from store import metrics
from store.candles import rows as candle_rows
from store.database import Connection
from store.database.errors import first_line, write_or_reject
from store.intake.position import Positions, keep_reading
from store.intake.trades import TradeIntake
from store.ledger import rows as ledger_rows

log = logging.getLogger("store.candle_intake")

_GATHER_S = 0.1
"""How long candles may wait for more of them, in the stream and then here."""
_MOVE_EVERY_S = 5.0
"""How often the position is moved when there are no candles."""
_MAX_CANDLES = 5_000
_WAIT_S = 0.05


class CandleIntake:
    """Takes in closed candles.

    Args:
        bus: where PROCESSED is.
        positions: those in the database.
        periods: of the candles' indicators.
        dead: where messages go that hold no signals.
        intake: says how far RAW is stored.

    """

    def __init__(
        self, bus: Bus, positions: Positions, periods: Periods, dead: DeadLetterQueue, intake: TradeIntake
    ) -> None:
        self._bus = bus
        self._positions = positions
        self._periods = periods
        self._dead = dead
        self._intake = intake

    async def run(self) -> None:
        """Take in candles, for ever.

        Raises:
            psycopg.Error: what only a person can mend.
            NotReady: asked to stop while the database or the bus is unavailable.

        """
        await keep_reading(self._bus, self._positions, subjects.PROCESSED, self._take_in)

    async def _take_in(self, position: Position) -> None:
        loop = asyncio.get_running_loop()
        self._position = position
        batches: list[tuple[Message, ClosedCandles]] = []
        candles = 0
        last: Message | None = None
        next_write_s = loop.time() + _MOVE_EVERY_S
        async with Reader(
            self._bus,
            subjects.PROCESSED,
            subjects.DURABLE_STORE_SIGNALS,
            after=position.sequence,
            after_us=position.taken_us,
            gather_s=_GATHER_S,
        ) as reader:
            while True:
                for message in await reader.next(timeout_s=max(next_write_s - loop.time(), 0.0)):
                    last = message
                    closed = await self._read(message)
                    if closed is not None:
                        if not batches:
                            next_write_s = min(next_write_s, loop.time() + _GATHER_S)
                        batches.append((message, closed))
                        candles += len(closed.candles)
                if loop.time() < next_write_s and candles < _MAX_CANDLES:
                    continue
                if last is not None:
                    await self._until_stored([closed for _, closed in batches])
                    if batches:
                        await write_or_reject(batches, self._write, self._reject)
                    if self._position.sequence != last.sequence:
                        await self._move(last)
                    await reader.ack(last)
                    metrics.CANDLES.inc(candles)
                    batches, candles, last = [], 0, None
                next_write_s = loop.time() + _MOVE_EVERY_S

    async def _read(self, message: Message) -> ClosedCandles | None:
        try:
            return wire.decode_closed(message.payload)
        except BadMessage as exc:
            await self._dead.publish(subjects.PROCESSED, message, str(exc))
            return None

    async def _until_stored(self, batches: list[ClosedCandles]) -> None:
        wanted = max((batch.raw_sequence for batch in batches), default=0)
        while self._intake.position is None or self._intake.position.sequence < wanted:
            try:
                raw = await self._bus.stream_info(subjects.RAW)
                if raw is None or raw.state.last_seq < wanted:
                    return  # RAW was made anew since, and may never get there
            except (NatsError, TimeoutError) as exc:
                log.debug("the bus does not say where RAW ends: %s", exc)
            await asyncio.sleep(_WAIT_S)

    async def _write(self, batches: Sequence[tuple[Message, ClosedCandles]]) -> None:
        async def work(connection: Connection) -> None:
            await ledger_rows.lock(connection)  # no trades may come between looking at them and writing candles
            await candle_rows.add(connection, [closed for _, closed in batches], self._periods)

        to = self._position.moved(batches[-1][0].sequence, batches[-1][0].taken_us)
        await self._positions.advance(self._position, to, work)
        self._position = to

    async def _reject(self, part: tuple[Message, ClosedCandles], exc: psycopg.Error) -> None:
        await self._dead.publish(subjects.PROCESSED, part[0], f"the database refuses its candles: {first_line(exc)}")
        await self._move(part[0])

    async def _move(self, last: Message) -> None:
        async def nothing(connection: Connection) -> None:
            """Move the position only."""

        to = self._position.moved(last.sequence, last.taken_us)
        await self._positions.advance(self._position, to, nothing)
        self._position = to
