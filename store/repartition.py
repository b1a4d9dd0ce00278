"""`python -m store repartition N`: give a mesh whose services are stopped another number of partitions.

What RAW and PROCESSED hold has to be taken in before: then these streams are deleted, and made anew by the next start.
Ingest goes on with what comes, and store requests what the venue has traded meanwhile; signal's sessions and windows
begin anew. Nothing is changed where something is not taken in; a command that was interrupted can be given again.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import AsyncIterator

import msgspec
from nats.js.errors import BucketNotFoundError, KeyNotFoundError, NoKeysError

from mesh.bus import control, subjects
from mesh.bus.connection import CONTROL_STREAM, Bus
from mesh.bus.leases import Holder, Sign, ask
from mesh.bus.partitions import Partition, partitions
from mesh.bus.position import Position
from mesh.service.errors import NotReady
from mesh.service.lifecycle import Stop
from store.database import Connection, fetch_all
from store.intake.position import Positions
from store.maintenance import database_and_bus
from store.settings import StoreSettings
from tickmesh.v1 import control_pb2

log = logging.getLogger("store.repartition")

_READ = "SELECT count FROM partitions"
_CHANGE = "UPDATE partitions SET count = %s"
_FORGET = "DELETE FROM progress WHERE stream = ANY (%s)"
_LOOK_EVERY_S = 0.5


async def main(settings: StoreSettings, stop: Stop, *, count: int, is_to_wait: bool = False) -> None:
    """Change the number of partitions.

    Args:
        settings: of the store, with the number there is; NATS_URL is that of a user who may delete streams.
        stop: ends the waiting for bus and database.
        count: the new number.
        is_to_wait: whether to wait until the change can be made, while signal and store run, and to change nothing.

    Raises:
        NotReady: a service is running, or something is not taken in yet.

    """
    async with database_and_bus(settings, stop, becoming=count) as (database, bus):
        [(found,)] = await database.write(lambda connection: fetch_all(connection, _READ))
        if found == count:
            log.info("the mesh has %d partitions already: start it with PARTITIONS=%d", count, count)
            return
        within, positions = partitions(settings.partitions), Positions(database)
        if is_to_wait:
            async with stop.interrupts():
                await _until_taken_in(bus, positions, within)
            return
        await _require_nobody(bus)
        if missing := [each async for each in _not_taken_in(bus, positions, within)]:
            raise NotReady(f"{missing[0]}: start signal and store without ingest until they have taken in the rest")
        streams = _streams(within)
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


def _streams(within: tuple[Partition, ...]) -> list[str]:
    return [partition.name(base) for partition in within for base in (subjects.RAW, subjects.PROCESSED)]


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


async def _until_taken_in(bus: Bus, positions: Positions, within: tuple[Partition, ...]) -> None:
    """Wait until signal and store have taken in all there is; says what they lack whenever that changes."""
    said = ""
    while True:
        missing = "; ".join([each async for each in _not_taken_in(bus, positions, within)])
        if not missing:
            log.info("all there is has been taken in: stop signal and store")
            return
        if missing != said:
            log.info("waiting: %s", missing)
            said = missing
        await asyncio.sleep(_LOOK_EVERY_S)


async def _not_taken_in(bus: Bus, positions: Positions, within: tuple[Partition, ...]) -> AsyncIterator[str]:
    """Yield of each stream that is not taken in whole what is missing."""
    # Signal first: what its saved state knows is published by then, and has to be stored, too.
    for partition in within:
        stream, position = partition.name(subjects.RAW), await _position_of_signal(bus, partition)
        if position is not None and (words := await _rest(bus, stream, position, "in the saved state of signal")):
            yield words
    for stream in _streams(within):
        if words := await _rest(bus, stream, await positions.read(stream), "stored"):
            yield words


async def _rest(bus: Bus, stream: str, position: Position | None, where: str) -> str:
    """Say how much of a stream is somewhere, empty when all of it is."""
    info = await bus.stream_info(stream)
    if info is None or not info.state.last_seq:
        return ""
    taken_in = position.sequence if position is not None and position.created == info.created else 0
    if taken_in >= info.state.last_seq:
        return ""
    return f"{stream} ends with message {info.state.last_seq}, of which {taken_in} are {where}"


class _StateOfSignal(msgspec.Struct, frozen=True):
    """What of the position that signal saves says up to where it counts."""

    raw_sequence: int
    raw_created: str


async def _position_of_signal(bus: Bus, partition: Partition) -> Position | None:
    """Return up to where the saved state of signal includes RAW; None where there is none: then it has never run."""
    try:
        bucket = await bus.js.key_value(subjects.ENGINE_BUCKET)
        saved = await bucket.get(partition.name(subjects.ENGINE_POSITION))
    except (BucketNotFoundError, KeyNotFoundError):
        return None
    state = msgspec.json.decode(saved.value or b"", type=_StateOfSignal)
    created = dt.datetime.fromisoformat(state.raw_created)
    return Position(partition.name(subjects.RAW), created, state.raw_sequence)


async def _forget_states(bus: Bus, within: tuple[Partition, ...]) -> None:
    """Have signal begin anew: its states say up to where they include streams that are no more."""
    try:
        bucket = await bus.js.key_value(subjects.ENGINE_BUCKET)
    except BucketNotFoundError:
        return
    for partition in within:
        await bucket.purge(partition.name(subjects.ENGINE_POSITION))
