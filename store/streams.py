"""Streams that somebody else makes: wait for them, and take them in from where the database is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from nats.errors import Error as NatsError

from mesh.bus import Bus
from mesh.logs import Seldom
from mesh.reader import StreamReplacedError
from store.position import Extent, Position, begin
from store.writer import PositionMovedError, Writer

log = logging.getLogger("store.streams")


async def existing(bus: Bus, name: str) -> Extent:
    """Return what a stream is like, waiting until there is one."""
    seldom = Seldom()
    why = "nobody has declared it yet"
    while True:
        try:
            info = await bus.stream_info(name)
            if info is not None:
                assert info.created is not None, f"the server does not say when stream {name} was made"
                return Extent(name, info.created, info.state.first_seq, info.state.last_seq)
        except (NatsError, TimeoutError) as exc:
            why = str(exc) or type(exc).__name__
        if seldom.due(asyncio.get_running_loop().time()):
            log.warning("waiting for stream %s: %s", name, why)
        await asyncio.sleep(0.25)


async def resume(bus: Bus, writer: Writer, name: str) -> Position:
    """Return after which message to take in a stream, waiting until there is one; the database then agrees."""
    extent = await existing(bus, name)
    position, warning = begin(await writer.position(name), extent)
    if warning:
        log.error("%s", warning)
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
