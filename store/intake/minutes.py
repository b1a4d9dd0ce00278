"""The venue's minutes into the database, from the stream CANDLES; `minute_judge` compares them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import psycopg

from mesh.bus import control, subjects
from mesh.bus.connection import Bus
from mesh.bus.message import Message
from mesh.bus.position import Position
from mesh.bus.reader import Reader
from mesh.service.errors import BadMessage
from store.database.errors import first_line, in_halves
from store.intake.batch import refused
from store.intake.dead_letters import DeadLetters
from store.intake.streams import keep_taking_in
from store.intake.writer import Writer
from store.ledger import minute_rows
from store.ledger.minutes import Minute, read
from tickmesh.v1 import control_pb2


class MinuteIntake:
    """Takes in the venue's minutes.

    Args:
        bus: where CANDLES is.
        writer: where the minutes go.
        dead: where messages go that are no minutes.

    """

    def __init__(self, bus: Bus, writer: Writer, dead: DeadLetters) -> None:
        self._bus = bus
        self._writer = writer
        self._dead = dead

    async def run(self) -> None:
        """Take in minutes, for ever."""
        await keep_taking_in(self._bus, self._writer, subjects.CANDLES, self._take_in)

    async def _take_in(self, position: Position) -> None:
        async with Reader(
            self._bus,
            subjects.CANDLES,
            subjects.DURABLE_STORE_CANDLES,
            after=position.sequence,
            after_us=position.taken_us,
        ) as reader:
            while True:
                messages = await reader.next()
                self._position = position
                await in_halves(await self._read(messages), self._write, self._write_none)
                position = self._position
                await reader.ack(messages[-1])

    async def _write(self, parts: Sequence[tuple[Message, Minute | None]]) -> None:
        to = self._position.moved(parts[-1][0].sequence, parts[-1][0].taken_us)
        minutes = [minute for _, minute in parts if minute is not None]
        await self._writer.advance(self._position, to, partial(minute_rows.add, minutes=minutes))
        self._position = to

    async def _write_none(self, part: tuple[Message, Minute | None], refused_by: psycopg.Error) -> None:
        message, minute = part
        if minute is None:
            raise refused_by
        why = f"the database refuses it: {first_line(refused_by)}"
        await self._dead.put_aside(subjects.CANDLES, [refused(message, why)])
        await self._write([(message, None)])

    async def _read(self, messages: list[Message]) -> list[tuple[Message, Minute | None]]:
        parts: list[tuple[Message, Minute | None]] = []
        for message in messages:
            try:
                parts.append((message, read(control.decode(control_pb2.VenueCandle, message.payload))))
            except BadMessage as exc:
                parts.append((message, None))
                await self._dead.put_aside(subjects.CANDLES, [refused(message, str(exc))])
        return parts
