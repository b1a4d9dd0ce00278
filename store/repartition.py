"""`python -m store repartition N`: give a mesh whose services are stopped another number of partitions.

What RAW and PROCESSED hold has to be stored before: then these streams are deleted, and made anew by the next start.
Ingest goes on with what comes, and store requests what the venue has traded meanwhile; signal's sessions and windows
begin anew. Nothing is changed where something is not stored; a command that was interrupted can be given again.
"""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack

import msgspec
from nats.js.errors import BucketNotFoundError, NoKeysError

from mesh.bus import control, subjects
from mesh.bus.connection import CONTROL_STREAM, Bus, connect
from mesh.bus.leases import Holder, Sign, ask
from mesh.bus.partitions import Partition, partitions
from mesh.service.errors import NotReady
from mesh.service.health import Health
from mesh.service.lifecycle import Stop
from store.database import Connection, Database
from store.intake.position import Positions
from store.settings import StoreSettings
from tickmesh.v1 import control_pb2

log = logging.getLogger("store.repartition")

_CHANGE = "UPDATE partitions SET count = %s"
_FORGET = "DELETE FROM progress WHERE stream = ANY (%s)"


async def main(settings: StoreSettings, stop: Stop, *, count: int) -> None:
    """Change the number of partitions.

    Args:
        settings: of the store, with the number there is; NATS_URL is that of a user who may delete streams.
        stop: ends the waiting for bus and database.
        count: the new number.

    Raises:
        NotReady: a service is running, or something is not stored yet.

    """
    health = Health("bus", "database")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database(settings.write_url(), health=health, give_up=lambda: stop.asked, partitions=settings.partitions)
        )
        async with stop.interrupts():
            bus = await stack.enter_async_context(connect(settings, name="store", health=health))
        await _require_nobody(bus)
        within, positions = partitions(settings.partitions), Positions(database)
        streams = [partition.name(base) for partition in within for base in (subjects.RAW, subjects.PROCESSED)]
        for stream in streams:
            await _require_stored(bus, positions, stream)
        for stream in streams:
            if await bus.stream_info(stream) is not None:
                await bus.js.delete_stream(stream)
        await _forget_states(bus, within)
        await bus.declare(CONTROL_STREAM)
        told = control_pb2.Partitions(count=count)
        await bus.js.publish(subjects.CONTROL_PARTITIONS, control.encode(told))

        async def work(connection: Connection) -> None:
            await connection.execute(_FORGET, (streams,))
            await connection.execute(_CHANGE, (count,))

        await database.write(work)  # last: until then the command can be given again
    log.info("the mesh has %d partitions now instead of %d: start it with PARTITIONS=%d", count, len(within), count)


async def _require_nobody(bus: Bus) -> None:
    """Make sure that no service is running, whatever of it."""
    try:
        bucket = await bus.js.key_value(subjects.LEASE_BUCKET)
        keys = await bucket.keys()
    except (BucketNotFoundError, NoKeysError):
        return
    for key in keys:
        holder = msgspec.json.decode((await bucket.get(key)).value or b"", type=Holder)
        service = key.partition(".")[0]
        if await ask(bus, service, holder.instance) is not Sign.NOBODY:
            raise NotReady(f"{service} is running ({holder}), expected all services to be stopped")


async def _require_stored(bus: Bus, positions: Positions, stream: str) -> None:
    """Make sure that all of a stream is taken in."""
    info, position = await bus.stream_info(stream), await positions.read(stream)
    if info is None or not info.state.last_seq:
        return
    stored = position.sequence if position is not None and position.created == info.created else 0
    if stored < info.state.last_seq:
        raise NotReady(
            f"{stream} ends with message {info.state.last_seq}, of which {stored} are stored: start signal and store "
            "without ingest until they have taken in the rest"
        )


async def _forget_states(bus: Bus, within: tuple[Partition, ...]) -> None:
    """Have signal begin anew: its states say up to where they include streams that are no more."""
    try:
        bucket = await bus.js.key_value(subjects.ENGINE_BUCKET)
    except BucketNotFoundError:
        return
    for partition in within:
        await bucket.purge(partition.name(subjects.ENGINE_POSITION))
