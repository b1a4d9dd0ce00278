"""Streams that somebody else makes: wait for them, and take them in from where the database is."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from mesh.bus.connection import Bus
from mesh.bus.position import Position
from mesh.bus.reader import StreamReplacedError, find_start
from store.intake.writer import PositionMovedError, Writer

log = logging.getLogger("store.streams")


async def resume(bus: Bus, writer: Writer, name: str) -> Position:
    """Return after which message to take in a stream, waiting until there is one; the database then agrees."""
    position = await find_start(bus, name, await writer.position(name))
    await writer.set_position(position)
    log.info("taking in %s after message %d", name, position.sequence)
    return position


async def keep_taking_in(bus: Bus, writer: Writer, name: str, take_in: Callable[[Position], Awaitable[None]]) -> None:
    """Take in a stream, and begin again whenever it or the position is another one; for ever."""
    while True:
        position = await resume(bus, writer, name)
        try:
            await take_in(position)
        except (StreamReplacedError, PositionMovedError) as exc:
            log.error("reading %s anew: %s", name, exc)
