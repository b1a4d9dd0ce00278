"""`SignalService.WatchDirectly` of one instance: trades over a plain connection, past gRPC."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc

from gateway.instances import DirectReach
from mesh.service.direct import connected
from mesh.service.errors import TickmeshError
from tickmesh.v1 import signal_pb2

log = logging.getLogger("gateway.live.direct_watch")

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
        NotDirect: it does not know the call, or cannot be reached beside gRPC; nothing has come.
        grpc.aio.AioRpcError: the call failed or ended with an error.
        OSError: the connection broke.

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
                await asyncio.wait({ended, receiver.lost}, return_when=asyncio.FIRST_COMPLETED)
                if not receiver.has_received and not ended.done():
                    raise NotDirect(f"port {where.port} closed the connection")
                if ended.done():
                    await ended  # says why, where it was not in order
                await receiver.lost
        except OSError as exc:
            if ended is None:
                raise NotDirect(f"port {where.port} cannot be reached: {exc}") from exc
            raise
    finally:
        call.cancel()
        if ended is not None:
            ended.cancel()
