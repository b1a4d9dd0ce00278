"""Streams that somebody else makes: wait for them."""

from __future__ import annotations

import asyncio
import logging

from nats.errors import Error as NatsError

from mesh.bus import Bus
from mesh.logs import Seldom
from store.position import Extent

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
