"""The venue's minutes into the database, from the stream CANDLES; `minute_judge` compares them."""

from __future__ import annotations

from functools import partial

from mesh import control, subjects
from mesh.bus import Bus
from mesh.errors import BadMessage
from mesh.message import Message
from mesh.reader import Reader
from store import minute_rows
from store.batch import refused
from store.dead import DeadLetters
from store.minutes import Minute, read
from store.position import Position
from store.streams import keep_taking_in
from store.writer import Writer
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
            self._bus, subjects.CANDLES, subjects.DURABLE_STORE_CANDLES, after=position.sequence
        ) as reader:
            while True:
                messages = await reader.next()
                minutes = await self._read(messages)
                to = position.moved(messages[-1].sequence)
                await self._writer.advance(position, to, partial(minute_rows.add, minutes=minutes))
                position = to
                await reader.ack(messages[-1])

    async def _read(self, messages: list[Message]) -> list[Minute]:
        minutes = []
        for message in messages:
            try:
                minutes.append(read(control.decode(control_pb2.VenueCandle, message.payload)))
            except BadMessage as exc:
                await self._dead.put_aside(subjects.CANDLES, [refused(message, str(exc))])
        return minutes
