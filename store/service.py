"""The store service: trades from RAW into the database, and StoreService beside it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

from mesh import rpc
from mesh.bus import CONTROL_STREAM, DEAD_STREAM, connect
from mesh.errors import NotReady
from mesh.health import Health
from mesh.metrics import served
from mesh.service import Stop
from mesh.settings import StoreSettings
from store.db import Database
from store.dead import DeadLetters
from store.following import Following
from store.intake import Intake
from store.rpc import StoreServicer
from store.writer import Writer
from tickmesh.v1 import store_pb2, store_pb2_grpc

log = logging.getLogger("store.service")

SERVICE = store_pb2.DESCRIPTOR.services_by_name["StoreService"].full_name


async def main(settings: StoreSettings, stop: Stop) -> None:
    """Live as the store service until asked to stop; then commit what was taken, acknowledge it and drain."""
    health = Health("bus", "database")
    following = Following()

    def give_up() -> bool:
        return stop.asked

    async with AsyncExitStack() as stack:
        stack.enter_context(served(settings, health))
        database = await stack.enter_async_context(Database(settings.database_url.get_secret_value(), health=health))
        servicer = StoreServicer(database, following)
        await stack.enter_async_context(
            rpc.serving(
                settings.store_addr,
                services=[SERVICE],
                register=lambda server: store_pb2_grpc.add_StoreServiceServicer_to_server(servicer, server),
                health=health,
            )
        )
        async with asyncio.TaskGroup() as tasks:
            endless = [tasks.create_task(database.watch())]
            async with stop.interrupts():
                bus = await stack.enter_async_context(connect(settings, name="store", health=health))
                await bus.declare(CONTROL_STREAM)
                await bus.declare(DEAD_STREAM)
            writer = Writer(database, give_up=give_up)
            intake = Intake(bus, writer, DeadLetters(bus, give_up=give_up), settings, stop)
            endless.append(tasks.create_task(following.run(bus)))
            try:
                await intake.run()
            except NotReady as exc:
                log.warning("stopping with trades on the way, they stay in the stream: %s", exc)
            for task in endless:
                task.cancel()
