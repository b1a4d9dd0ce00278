"""PROCESSED into the database: the candles that signal closed, with the position in the stream in the same transaction.

Most messages close nothing: those only move the position, now and then. Candles wait until the trades they are made of
are stored; then they need not be made again while those arrive.
"""

from __future__ import annotations

import asyncio
import logging

from nats.errors import Error as NatsError

from mesh import subjects, wire
from mesh.bus import Bus
from mesh.candles import Closed
from mesh.errors import BadMessage
from mesh.message import Message
from mesh.reader import Reader
from store import candle_rows, ledger_rows, metrics
from store.batch import refused
from store.db import Connection
from store.dead import DeadLetters
from store.intake import Intake
from store.position import Position
from store.streams import keep_taking_in
from store.writer import Writer

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
        writer: where the candles go.
        dead: where messages go that are no signals.
        intake: tells how far RAW is stored.

    """

    def __init__(self, bus: Bus, writer: Writer, dead: DeadLetters, intake: Intake) -> None:
        self._bus = bus
        self._writer = writer
        self._dead = dead
        self._intake = intake

    async def run(self) -> None:
        """Take in candles, for ever."""
        await keep_taking_in(self._bus, self._writer, subjects.PROCESSED, self._take_in)

    async def _take_in(self, position: Position) -> None:
        loop = asyncio.get_running_loop()
        batches: list[Closed] = []
        candles = 0
        last: Message | None = None
        next_write_s = loop.time() + _MOVE_EVERY_S
        async with Reader(
            self._bus, subjects.PROCESSED, subjects.DURABLE_STORE_SIGNALS, after=position.sequence, gather_s=_GATHER_S
        ) as reader:
            while True:
                for message in await reader.next(timeout_s=max(next_write_s - loop.time(), 0.0)):
                    last = message
                    closed = await self._read(message)
                    if closed is not None:
                        if not batches:
                            next_write_s = min(next_write_s, loop.time() + _GATHER_S)
                        batches.append(closed)
                        candles += len(closed.candles)
                if loop.time() < next_write_s and candles < _MAX_CANDLES:
                    continue
                if last is not None:
                    await self._until_stored(batches)
                    to = position.moved(last.sequence)
                    await self._write(position, to, batches)
                    await reader.ack(last)
                    metrics.CANDLES.inc(candles)
                    position, batches, candles, last = to, [], 0, None
                next_write_s = loop.time() + _MOVE_EVERY_S

    async def _read(self, message: Message) -> Closed | None:
        try:
            return wire.decode_closed(message.payload)
        except BadMessage as exc:
            await self._dead.put_aside(subjects.PROCESSED, [refused(message, str(exc))])
            return None

    async def _until_stored(self, batches: list[Closed]) -> None:
        wanted = max((batch.raw_sequence for batch in batches), default=0)
        while self._intake.position is None or self._intake.position.sequence < wanted:
            try:
                raw = await self._bus.stream_info(subjects.RAW)
                if raw is None or raw.state.last_seq < wanted:
                    return  # RAW was made anew since, and may never get there
            except (NatsError, TimeoutError) as exc:
                log.debug("the bus does not tell where RAW ends: %s", exc)
            await asyncio.sleep(_WAIT_S)

    async def _write(self, after: Position, to: Position, batches: list[Closed]) -> None:
        async def work(connection: Connection) -> None:
            await ledger_rows.lock(connection)  # no trades may come between looking at them and writing candles
            await candle_rows.add(connection, batches, self._writer.periods)

        await self._writer.advance(after, to, work)
