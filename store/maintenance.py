"""What the commands beside the service have in common: they open its database and its bus, and do one thing there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from mesh.bus.connection import Bus, connect
from mesh.service.health import Health
from mesh.service.lifecycle import Stop
from store.database import Database
from store.settings import StoreSettings


@asynccontextmanager
async def database_and_bus(
    settings: StoreSettings, stop: Stop, *, becoming: int | None = None
) -> AsyncIterator[tuple[Database, Bus]]:
    """Open both while inside; waits for them as long as it takes.

    Args:
        settings: of the store.
        stop: ends the waiting.
        becoming: see `Database`.

    Raises:
        Stopped: asked to stop while the bus is unavailable.

    """
    health = Health("bus", "database")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database(
                settings.write_url(),
                health=health,
                give_up=lambda: stop.asked,
                partitions=settings.partitions,
                becoming=becoming,
            )
        )
        async with stop.interrupts():
            bus = await stack.enter_async_context(connect(settings, name="store", health=health))
        yield database, bus
