"""The venue's minutes into the database, from the stream CANDLES; `minute_judge` compares them."""

from __future__ import annotations

import logging

from mesh import control, subjects
from mesh.bus import Bus
from mesh.errors import BadMessage
from mesh.message import Message
from mesh.reader import Reader, StreamReplacedError
from store.batch import Taken
from store.dead import DeadLetters
from store.minute_rows import MinuteRows
from store.minutes import Minute, read
from store.position import Position, begin
from store.streams import existing
from store.writer import PositionMovedError, Writer
from tickmesh.v1 import control_pb2

log = logging.getLogger("store.minute_intake")


class MinuteIntake:
    """Takes in the venue's minutes.

    Args:
        bus: where CANDLES is.
        writer: knows positions.
        rows: keeps the minutes.
        dead: where messages go that are no minutes.

    """

    def __init__(self, bus: Bus, writer: Writer, rows: MinuteRows, dead: DeadLetters) -> None:
        self._bus = bus
        self._writer = writer
        self._rows = rows
        self._dead = dead

    async def run(self) -> None:
        """Take in minutes, for ever."""
        while True:
            try:
                extent = await existing(self._bus, subjects.CANDLES)
                position, warning = begin(await self._writer.position(subjects.CANDLES), extent)
                if warning:
                    log.warning("%s", warning)
                await self._writer.set_position(position)
                await self._take_in(position)
            except (StreamReplacedError, PositionMovedError) as exc:
                log.warning("reading %s anew: %s", subjects.CANDLES, exc)

    async def _take_in(self, position: Position) -> None:
        async with Reader(
            self._bus, subjects.CANDLES, subjects.DURABLE_STORE_CANDLES, after=position.sequence
        ) as reader:
            while True:
                messages = await reader.next()
                minutes = await self._read(position, messages)
                await self._rows.add(position, position.moved(messages[-1].sequence), minutes)
                position = position.moved(messages[-1].sequence)
                await reader.ack(messages[-1])

    async def _read(self, position: Position, messages: list[Message]) -> list[Minute]:
        minutes = []
        for message in messages:
            try:
                minutes.append(read(control.decode(control_pb2.VenueCandle, message.payload)))
            except BadMessage as exc:
                await self._dead.put_aside(
                    position, [Taken(message.sequence, message.subject, message.payload, None, str(exc))]
                )
        return minutes
