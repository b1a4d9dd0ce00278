"""`SignalService.WatchDirectly` of one instance: trades over a plain connection, past gRPC."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc

from gateway.instances import DirectReach
from mesh.service.direct import DirectReceiver, connected
from mesh.service.errors import TickmeshError
from tickmesh.v1 import signal_pb2

log = logging.getLogger("gateway.live.direct_watch")

LOOK_EVERY_S = 5.0
STILL_LOOKS = 3
"""So many looks in turn find nothing new before a connection counts as dead: signal says something once a second. One
alone may come before what has arrived while this process stood still."""
_WATCH_DIRECTLY = "/tickmesh.v1.SignalService/WatchDirectly"


class NotDirect(TickmeshError):
    """An instance cannot be watched directly, now or at all; it can be watched over gRPC."""


async def watch_directly(
    channel: grpc.aio.Channel,
    address: str,
    request: signal_pb2.WatchRequest,
    *,
    reach: DirectReach,
    metadata: Sequence[tuple[str, str]],
    begin: Callable[[], Awaitable[None]],
    take: Callable[[Sequence[bytes]], None],
) -> None:
    """Watch one instance until the stream ends.

    Args:
        channel: to the instance.
        address: `host:port` of it; empty for the only one.
        request: what to watch.
        reach: how it is reached.
        metadata: of the call.
        begin: done once the instance has answered, before anything comes.
        take: gets what came together, each a serialized `WatchResponse`, in order.

    Raises:
        NotDirect: it does not know the call, or nothing can be had from it beside gRPC; nothing has come.
        grpc.aio.AioRpcError: the call failed or ended with an error.
        OSError: the connection broke, or stands still.

    """
    rpc: grpc.aio.UnaryStreamMultiCallable[signal_pb2.WatchDirectlyRequest, signal_pb2.WatchDirectlyResponse] = (
        channel.unary_stream(
            _WATCH_DIRECTLY,
            request_serializer=signal_pb2.WatchDirectlyRequest.SerializeToString,
            response_deserializer=signal_pb2.WatchDirectlyResponse.FromString,
        )
    )
    call = rpc(signal_pb2.WatchDirectlyRequest(watch=request), metadata=metadata)
    host = (address or reach.address).rpartition(":")[0]
    ended: asyncio.Future[Any] | None = None
    try:
        try:
            where = await call.read()
        except grpc.aio.AioRpcError as exc:
            if exc.code() == grpc.StatusCode.UNIMPLEMENTED:  # it is older than we are
                raise NotDirect(exc.details()) from None
            raise
        if not isinstance(where, signal_pb2.WatchDirectlyResponse):
            return
        await begin()
        name = reach.names.get(address)
        try:
            async with connected(host, where.port, where.ticket, take, tls=reach.tls, name=name) as receiver:
                ended = asyncio.ensure_future(call.read())
                ended.add_done_callback(_retrieve)
                await _wait_for_one((ended, receiver.lost), receiver)
                if not receiver.received:  # whoever may have answered there: a proxy that carries nothing does, too
                    raise NotDirect(f"port {where.port} gave nothing")
                if ended.done():
                    await ended  # says why, where it was not in order
                    await _wait_for_one((receiver.lost,), receiver)
                if not receiver.lost.done():
                    raise OSError(f"nothing has come for {LOOK_EVERY_S * STILL_LOOKS:g} s")
                await receiver.lost
        except OSError as exc:
            if ended is None:
                raise NotDirect(f"port {where.port} cannot be reached: {exc}") from exc
            raise
    finally:
        call.cancel()
        if ended is not None:
            ended.cancel()


async def _wait_for_one(endings: Sequence[asyncio.Future[Any]], receiver: DirectReceiver) -> None:
    """Wait until one of these is done, or nothing has come for too long."""
    still, received = 0, receiver.received
    while still < STILL_LOOKS:
        done, _ = await asyncio.wait(endings, timeout=LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
        if done:
            return
        still = 0 if receiver.received != received else still + 1
        received = receiver.received


def _retrieve(ended: asyncio.Future[Any]) -> None:
    if not ended.cancelled():
        ended.exception()  # else asyncio logs one that came when nobody wanted to know any more
