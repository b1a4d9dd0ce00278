"""The venue's minutes into the database, from the stream CANDLES; `MinuteVerifier` compares them with the trades."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import psycopg

from mesh.bus import control, subjects
from mesh.bus.reader import SELDOM_HEARTBEAT_S, Message, Reader
from mesh.service.errors import BadMessage
from store.database.errors import first_line, write_or_reject
from store.intake.position import StreamIntake
from store.ledger import rows
from store.ledger.minutes import VenueMinute, read_minute
from tickmesh.v1 import control_pb2

_LOOK_EVERY_S = 5.0


class MinuteIntake(StreamIntake):
    """Takes in the venue's minutes."""

    stream = subjects.CANDLES
    durable = subjects.DURABLE_STORE_CANDLES
    heartbeat_s = SELDOM_HEARTBEAT_S

    async def _take_in(self, reader: Reader) -> None:
        while True:
            await self._positions.compare(self._position)
            if not (messages := await reader.next(timeout_s=_LOOK_EVERY_S)):
                continue
            await write_or_reject(await self._read(messages), self._write, self._reject)
            await reader.ack(messages[-1])

    async def _read(self, messages: Sequence[Message]) -> list[tuple[Message, VenueMinute | None]]:
        parts: list[tuple[Message, VenueMinute | None]] = []
        for message in messages:
            try:
                parts.append((message, read_minute(control.decode(control_pb2.VenueCandle, message.payload))))
            except BadMessage as exc:
                parts.append((message, None))
                await self._dead.publish(self.stream, message, str(exc))
        return parts

    async def _write(self, parts: Sequence[tuple[Message, VenueMinute | None]]) -> None:
        minutes = [minute for _, minute in parts if minute is not None]
        await self._advance(parts[-1][0], partial(rows.add_minutes, minutes=minutes))

    async def _reject(self, part: tuple[Message, VenueMinute | None], exc: psycopg.Error) -> None:
        message, minute = part
        if minute is None:
            raise exc
        await self._dead.publish(self.stream, message, f"the database refuses it: {first_line(exc)}")
        await self._write([(message, None)])
