"""Joining the mesh: the steps every service on the bus takes before its work, in the only order that is safe."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from mesh.bus import leases
from mesh.bus.connection import Bus, Stream, connect
from mesh.bus.status_reports import Describe, StatusBoard, reporting
from mesh.service.health import Health
from mesh.service.lifecycle import Stop
from mesh.service.settings import BusSettings


@asynccontextmanager
async def joined(
    settings: BusSettings,
    service: str,
    *,
    health: Health,
    stop: Stop,
    streams: Sequence[Stream],
    describe: Describe = lambda _: None,
    board: StatusBoard | None = None,
) -> AsyncIterator[Bus]:
    """Be the working instance of a service while inside: connected, holding its lease, reporting how it is.

    Waits as long as it takes for the bus, and for another instance of the service to end. Leaving takes the steps back:
    the last report, the lease, the connection.

    Args:
        settings: where the bus is.
        service: the service's name: `ingest`, `signal` or `store`.
        health: its conditions `bus` and `lease` follow what happens here.
        stop: ends the waiting.
        streams: those this service declares.
        describe: adds to each report what only the service knows.
        board: receives the reports of all services; for those that answer StatusService.

    Returns:
        the connection.

    Raises:
        Stopped: asked to stop while waiting.

    """
    async with AsyncExitStack() as stack:
        async with stop.interrupts():
            bus = await stack.enter_async_context(connect(settings, name=service, health=health))
            if board is not None:
                await stack.enter_async_context(board.receiving(bus))
            await stack.enter_async_context(leases.held(bus, service, health=health))
            for stream in streams:
                await bus.declare(stream)
            await stack.enter_async_context(reporting(service, bus, health, describe, board=board))
        yield bus
