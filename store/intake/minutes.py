"""The venue's minutes into the database, from the stream CANDLES; `MinuteVerifier` compares them with the trades."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import psycopg

from mesh.bus import control, subjects
from mesh.bus.connection import Bus
from mesh.bus.dead_letters import DeadLetterQueue
from mesh.bus.message import Message
from mesh.bus.position import Position
from mesh.bus.reader import Reader
from mesh.service.errors import BadMessage
from store.database.errors import first_line, write_or_reject
from store.intake.position import Positions, keep_reading
from store.ledger import rows
from store.ledger.minutes import VenueMinute, read_minute
from tickmesh.v1 import control_pb2


class MinuteIntake:
    """Takes in the venue's minutes.

    Args:
        bus: where CANDLES is.
        positions: those in the database.
        dead: where messages go that are no minutes.

    """

    def __init__(self, bus: Bus, positions: Positions, dead: DeadLetterQueue) -> None:
        self._bus = bus
        self._positions = positions
        self._dead = dead

    async def run(self) -> None:
        """Take in minutes, for ever.

        Raises:
            psycopg.Error: what only a person can mend.
            NotReady: asked to stop while the database or the bus is unavailable.

        """
        await keep_reading(self._bus, self._positions, subjects.CANDLES, self._take_in)

    async def _take_in(self, position: Position) -> None:
        self._position = position
        async with Reader(
            self._bus,
            subjects.CANDLES,
            subjects.DURABLE_STORE_CANDLES,
            after=position.sequence,
            after_us=position.taken_us,
        ) as reader:
            while True:
                messages = await reader.next()
                await write_or_reject(await self._read(messages), self._write, self._reject)
                await reader.ack(messages[-1])

    async def _read(self, messages: Sequence[Message]) -> list[tuple[Message, VenueMinute | None]]:
        parts: list[tuple[Message, VenueMinute | None]] = []
        for message in messages:
            try:
                parts.append((message, read_minute(control.decode(control_pb2.VenueCandle, message.payload))))
            except BadMessage as exc:
                parts.append((message, None))
                await self._dead.publish(subjects.CANDLES, message, str(exc))
        return parts

    async def _write(self, parts: Sequence[tuple[Message, VenueMinute | None]]) -> None:
        to = self._position.moved(parts[-1][0].sequence, parts[-1][0].taken_us)
        minutes = [minute for _, minute in parts if minute is not None]
        await self._positions.advance(self._position, to, partial(rows.add_minutes, minutes=minutes))
        self._position = to

    async def _reject(self, part: tuple[Message, VenueMinute | None], exc: psycopg.Error) -> None:
        message, minute = part
        if minute is None:
            raise exc
        await self._dead.publish(subjects.CANDLES, message, f"the database refuses it: {first_line(exc)}")
        await self._write([(message, None)])
