"""Joining the mesh: the steps every service on the bus takes before its work, in the only order that is safe."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from nats.errors import Error as NatsError
from nats.js.errors import APIError, NotFoundError

from mesh.bus import control, leases, subjects
from mesh.bus.connection import CONTROL_STREAM, Bus, Stream, connect
from mesh.bus.partitions import MAX_PARTITIONS, partitions
from mesh.bus.status_reports import Describe, StatusBoard, reporting
from mesh.service.health import Health
from mesh.service.lifecycle import Stop
from mesh.service.logs import LogThrottle
from mesh.service.settings import BusSettings, WrongSettings
from tickmesh.v1 import control_pb2

log = logging.getLogger("mesh.bus.membership")

_RETRY_S = 0.25
_WRONG_LAST_SEQUENCE = 10071


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
    is_shared: bool = False,
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
        is_shared: whether several instances work, and share the partitions (`work_in`); else others wait.

    Returns:
        the connection.

    Raises:
        Stopped: asked to stop while waiting.
        WrongSettings: PARTITIONS is another number than the mesh was begun with.

    """
    async with AsyncExitStack() as stack:
        async with stop.interrupts():
            bus = await stack.enter_async_context(connect(settings, name=service, health=health))
            if board is not None:
                await stack.enter_async_context(board.receiving(bus))
            await stack.enter_async_context(leases.held(bus, service, health=health, is_shared=is_shared))
            await require_partitions(bus, settings.partitions)
            for stream in streams:
                await bus.declare(stream)
            await stack.enter_async_context(reporting(service, bus, health, describe, board=board))
        yield bus


async def require_partitions(bus: Bus, count: int) -> None:
    """Make sure that the mesh has so many partitions, as all its services must; the first of them says how many.

    Args:
        bus: where CONTROL is, which is declared.
        count: PARTITIONS of this service.

    Raises:
        WrongSettings: the mesh was begun with another number.
        BadMessage: what stands there is none.

    """
    log_throttle = LogThrottle()
    while True:
        await bus.declare(CONTROL_STREAM)
        try:
            begun_with = await _partitions(bus, count)
        except (NatsError, TimeoutError) as exc:
            if log_throttle.due(asyncio.get_running_loop().time()):
                log.warning("waiting for the bus to tell how many partitions there are: %s", str(exc) or "no answer")
            await asyncio.sleep(_RETRY_S)
        else:
            break
    if begun_with != count:
        raise WrongSettings(
            f"PARTITIONS: found {count}, expected {begun_with} as this mesh was begun with: the bus has its trades so"
        )


async def _partitions(bus: Bus, count: int) -> int:
    while True:
        try:
            message = await bus.js.get_last_msg(subjects.CONTROL, subjects.CONTROL_PARTITIONS)
            return control.decode_partitions(message.data or b"")
        except NotFoundError:  # by a mesh from before there were partitions, or forgotten
            found = await _partitions_of_raw(bus) or count
        try:
            payload = control.encode(control_pb2.Partitions(count=found))
            headers = {"Nats-Expected-Last-Subject-Sequence": "0"}
            await bus.js.publish(subjects.CONTROL_PARTITIONS, payload, headers=headers)
        except APIError as exc:
            if exc.err_code != _WRONG_LAST_SEQUENCE:  # else another one was faster
                raise


async def _partitions_of_raw(bus: Bus) -> int:
    """Return in how many streams RAW is on this bus, 0 where it is not."""
    if await bus.stream_info(subjects.RAW) is not None:
        return 1
    for partition in partitions(MAX_PARTITIONS):
        if await bus.stream_info(partition.name(subjects.RAW)) is None:
            return partition.number
    return MAX_PARTITIONS
