"""The services behind the gateway: calling them within a deadline, and asking them whether they serve."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.call_options import CallOptions
from gateway.errors import HttpError, upstream_error
from gateway.instances import instances_of, reason_of
from gateway.transcode.rules import Route
from mesh.service.rpc import RETRY_AFTER, RICH_STATUS, authorization

CALL_LIMIT_S = 5.0
HEALTH_LIMIT_S = 2.0

_WATCH_AGAIN_S = 0.1

Call = Callable[[Message, CallOptions], Awaitable[Message]]


class UpstreamStream(Protocol):
    """A streaming RPC that has been called."""

    async def read(self) -> Message | None:
        """Return the next message, None at the end; raises `UpstreamError`."""

    def cancel(self) -> object:
        """End the RPC, if it goes on."""


StreamCall = Callable[[Message, CallOptions], UpstreamStream]


def serving_of(channel: grpc.aio.Channel, service: str = "tickmesh.v1.SignalService") -> Callable[[], Awaitable[None]]:
    """Return what waits until a service says that it serves; the channel connects again and again meanwhile.

    What is waited for may end with an error of gRPC's, of a service without health: then it returns as well.

    Args:
        channel: to the server of the service.
        service: its full name.

    """
    watch = health_pb2_grpc.HealthStub(channel).Watch  # type: ignore[attr-defined]  # untyped
    request = health_pb2.HealthCheckRequest(service=service)

    async def serving() -> None:
        while True:
            call = watch(request, wait_for_ready=True)
            try:
                async for answer in call:
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
            except grpc.aio.AioRpcError as exc:
                if exc.code() != grpc.StatusCode.UNAVAILABLE:
                    return
            finally:
                call.cancel()  # else it stays open, on both sides: one for each time that signal was away
            await asyncio.sleep(_WATCH_AGAIN_S)  # it went while it was watched

    return serving


class UpstreamError(HttpError):
    """What an upstream answered instead of a message, ready to be handed on."""

    def __init__(self, status: int, body: bytes, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, "", headers=headers)
        self.body = body


class Upstreams:
    """Channels by the full names of the services they lead to.

    Args:
        channels: `tickmesh.v1.SignalService` -> channel, ...
        token: what they want to be shown; None when nothing. The gateway has asked its own callers by then.
        limit_s: how long a call may take.

    """

    def __init__(
        self, channels: Mapping[str, grpc.aio.Channel], *, token: str | None = None, limit_s: float = CALL_LIMIT_S
    ) -> None:
        self._metadata = authorization(token)
        self._channels = dict(channels)
        self._limit_s = limit_s

    def call(self, route: Route) -> Call:
        """Return how the RPC of a route is called; the call raises `UpstreamError`."""
        service = route.method.containing_service
        answer = GetMessageClass(route.method.output_type)
        rpc: grpc.aio.UnaryUnaryMultiCallable[Message, Message] = self._channels[service.full_name].unary_unary(
            route.rpc,
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=answer.FromString,
        )

        async def call(request: Message, options: CallOptions) -> Message:
            limit_s = min(self._limit_s, options.timeout_s or math.inf)
            try:
                response: Message = await rpc(request, timeout=limit_s, metadata=self._metadata + options.metadata)
            except grpc.aio.AioRpcError as exc:
                raise _upstream_error(service.name, exc, limit_s) from exc
            return response

        return call

    def stream(self, route: Route) -> StreamCall:
        """Return how the streaming RPC of a route is called."""
        service = route.method.containing_service
        rpc: grpc.aio.UnaryStreamMultiCallable[Message, Message] = self._channels[service.full_name].unary_stream(
            route.rpc,
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=GetMessageClass(route.method.output_type).FromString,
        )

        def begin(request: Message, options: CallOptions) -> UpstreamStream:
            call = rpc(request, timeout=options.timeout_s, metadata=self._metadata + options.metadata)
            return _Stream(call, lambda exc: _upstream_error(service.name, exc, options.timeout_s))

        return begin

    async def health(self) -> dict[str, str]:
        """Ask every service whether it serves: full name -> SERVING, NOT_SERVING, or what came instead."""
        names = list(self._channels)
        return dict(zip(names, await asyncio.gather(*map(self._health_of, names)), strict=True))

    async def _health_of(self, name: str) -> str:
        """Ask all instances of a service: it serves when one of them does."""
        instances = instances_of(self._channels[name])().values()
        said = await asyncio.gather(*(self._health_at(channel, name) for channel in instances))
        return "SERVING" if "SERVING" in said else next(iter(said), "UNREACHABLE")

    async def _health_at(self, channel: grpc.aio.Channel, name: str) -> str:
        request = health_pb2.HealthCheckRequest(service=name)
        try:
            check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # untyped
            answer = await check(request, timeout=HEALTH_LIMIT_S)
        except grpc.aio.AioRpcError as exc:
            return "UNREACHABLE" if exc.code() == grpc.StatusCode.UNAVAILABLE else exc.code().name
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


class _Stream:
    def __init__(
        self,
        call: grpc.aio.UnaryStreamCall[Message, Message],
        upstream_error: Callable[[grpc.aio.AioRpcError], UpstreamError],
    ) -> None:
        self.cancel = call.cancel
        self._call = call
        self._upstream_error = upstream_error

    async def read(self) -> Message | None:
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as exc:
            raise self._upstream_error(exc) from exc
        return None if message is grpc.aio.EOF else message  # type: ignore[return-value]


def _upstream_error(service: str, exc: grpc.aio.AioRpcError, limit_s: float | None) -> UpstreamError:
    code, message = exc.code(), exc.details() or ""
    if code == grpc.StatusCode.DEADLINE_EXCEEDED and limit_s is not None:
        message = f"{service} did not answer within {limit_s:g} s"
    elif code == grpc.StatusCode.UNAVAILABLE and "onnect" in message:
        # gRPC's own words for it name addresses and socket errors, which are for logs
        message = f"{service} is away; /readyz tells when it is back"
    elif reason_of(exc) == "NOT_OWNER":  # and whoever is it does not answer now
        code = grpc.StatusCode.UNAVAILABLE
    metadata = exc.trailing_metadata()
    rich = metadata.get(RICH_STATUS) if metadata is not None else None
    status, body = upstream_error(code, message, rich if isinstance(rich, bytes) else None)
    return UpstreamError(status, body, headers=_later(status, metadata))


def _later(status: int, metadata: grpc.aio.Metadata | None) -> dict[str, str]:
    if status not in (429, 503):
        return {}
    delay = metadata.get(RETRY_AFTER) if metadata is not None else None
    return {"Retry-After": delay if isinstance(delay, str) and delay.isdigit() else "1"}
