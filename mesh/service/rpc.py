"""gRPC: servers with truthful health, reflection, deadlines and our errors' codes; channels to them."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health as grpc_health
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import Counter

from mesh.service import constraints
from mesh.service.access import WRONG_TOKEN, Access, Right, bearer, is_loopback, rights_of
from mesh.service.errors import InvalidRequest, TickmeshError, TooMany, grpc_code
from mesh.service.health import Health
from mesh.service.tls import Pem, Tls
from mesh.service.wrong_tokens import WrongTokens, host_of_peer, too_many

log = logging.getLogger("mesh.service.rpc")

MAX_MESSAGE_BYTES = 4 * 2**20
MAX_CALLS = 1024
"""Calls at once, of all connections; one more is refused with RESOURCE_EXHAUSTED."""
MAX_CALLS_PER_CONNECTION = 512
"""Calls at once on one connection; one more waits at its caller."""
UNARY_LIMIT_S = 10.0
"""No unary call works longer, whatever deadline its caller brought."""

RETRY_AFTER = "retry-after"
"""Trailing metadata of RESOURCE_EXHAUSTED: whole seconds, as the HTTP header of that name."""

RICH_STATUS = "grpc-status-details-bin"
"""Trailing metadata of an error: a serialized `google.rpc.Status`."""
REQUEST_ID = "x-request-id"
"""Metadata of a call, and header of a request over HTTP: its name in logs."""
DOMAIN = "tickmesh.v1"

CALLS = Counter("tickmesh_rpc_calls_total", "gRPC calls by method and code", ["method", "code"])

_KEEPALIVE = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # On both sides: a server that does not permit them takes the pings of an idle channel for an attack.
    ("grpc.keepalive_permit_without_calls", 1),
)
_SERVER_OPTIONS = (
    *_KEEPALIVE,
    ("grpc.max_concurrent_streams", MAX_CALLS_PER_CONNECTION),
    ("grpc.so_reuseport", 0),  # a second server on the same port is a mistake, not a pool
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)
_CHANNEL_OPTIONS = (
    *_KEEPALIVE,
    # Nobody may be away longer than the service itself is: an attempt on a private network costs next to nothing.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # how long one attempt may take
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),  # a container that is made anew has another address
    ("grpc.enable_http_proxy", 0),
)


@asynccontextmanager
async def serving(
    address: str,
    *,
    services: Sequence[str],
    register: Callable[[grpc.aio.Server], None],
    health: Health,
    access: Access | None = None,
    tls: Tls | None = None,
) -> AsyncIterator[int]:
    """Serve gRPC on `address` while inside; gives the port.

    Args:
        address: host:port; port 0 picks one.
        services: full names, for health and reflection.
        register: adds the servicers to the server.
        health: `grpc.health.v1` tells it, for the server as a whole ("") and for each service.
        access: the tokens calls need, in the metadata `authorization: Bearer ...`; none by default. Health and
            reflection never need one.
        tls: what it shows; then its callers have to show a certificate, too. None is without TLS.

    Raises:
        OSError: the address cannot be had.

    """
    server = grpc.aio.server(
        interceptors=[_Border(access or Access(), services)], options=_SERVER_OPTIONS, maximum_concurrent_rpcs=MAX_CALLS
    )
    register(server)
    servicer = grpc_health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    names = (*services, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
    reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
    host = address.rpartition(":")[0]
    try:
        if tls is not None:
            port = server.add_secure_port(address, _server_credentials(tls))
        else:
            port = server.add_insecure_port(address)
    except RuntimeError as exc:
        raise OSError(f"cannot listen for gRPC on {address}: {exc}") from exc
    wanted: asyncio.Queue[bool] = asyncio.Queue()
    health.listen(wanted.put_nowait)

    async def tell_health() -> None:
        while True:
            state = health_pb2.HealthCheckResponse
            status = state.SERVING if await wanted.get() else state.NOT_SERVING
            for name in ("", *names):
                await servicer.set(name, status)

    async with asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(tell_health())
        await server.start()
        log.info("gRPC on %s:%d%s: %s", host, port, " with TLS" if tls else "", ", ".join(services))
        if tls is None and not is_loopback(host):
            log.info("gRPC on %s is not encrypted: TLS_CERT, TLS_KEY and TLS_CA are not set", host)
        try:
            yield port
        finally:
            telling.cancel()
            await servicer.enter_graceful_shutdown()
            await server.stop(grace=2.0)


def channel(address: str, *, tls: Tls | None = None, host: str | None = None) -> grpc.aio.Channel:
    """Return a channel that connects by itself, again and again; close it by `async with`.

    Args:
        address: host:port.
        tls: what it shows; the server has to show a certificate for that host. None is without TLS.
        host: the one that the certificate has to be for, where the address is not its name.

    """
    if tls is not None:
        return _TlsChannel(address, tls, host)
    return grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)


def channel_credentials(pem: Pem) -> grpc.ChannelCredentials:
    """Return what a channel shows and whom it trusts."""
    return grpc.ssl_channel_credentials(pem.ca, pem.key, pem.cert)


def _server_credentials(tls: Tls) -> grpc.ServerCredentials:
    shown = tls.current()

    def configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(pem.key, pem.cert)], root_certificates=pem.ca)

    def renewed() -> grpc.ServerCertificateConfiguration | None:  # asked at each handshake
        nonlocal shown
        if (pem := tls.current()) is shown:
            return None
        shown = pem
        return configuration(pem)

    return grpc.dynamic_ssl_server_credentials(
        configuration(shown),
        renewed,  # type: ignore[arg-type]  # gRPC takes None for "as before"
        require_client_authentication=True,
    )


class _TlsChannel(grpc.aio.Channel):
    """A channel whose next call is on a new connection once the certificate is renewed; calls under way go on.

    gRPC for Python lets servers renew their certificate, and channels not.
    """

    def __init__(self, address: str, tls: Tls, host: str | None) -> None:
        self._address, self._tls = address, tls
        self._options = (*_CHANNEL_OPTIONS, *((("grpc.ssl_target_name_override", host),) if host else ()))
        self._pem: Pem | None = None
        self._newest: grpc.aio.Channel | None = None
        self._under_way: dict[grpc.aio.Channel, int] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._current()

    def _current(self) -> grpc.aio.Channel:
        if (pem := self._tls.current()) is not self._pem:
            self._pem, before = pem, self._newest
            self._newest = grpc.aio.secure_channel(self._address, channel_credentials(pem), options=self._options)
            self._under_way[self._newest] = 0
            if before is not None:
                self._let_go(before)
        assert self._newest is not None
        return self._newest

    def _let_go(self, channel: grpc.aio.Channel) -> None:
        if channel is not self._newest and self._under_way.get(channel) == 0:
            del self._under_way[channel]
            task = asyncio.ensure_future(channel.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _calls(self, kind: str, *arguments: Any, **options: Any) -> Any:
        made: dict[grpc.aio.Channel, Any] = {}

        def call(*request: Any, **how: Any) -> Any:
            channel = self._current()
            if channel not in made:
                made.clear()
                made[channel] = getattr(channel, kind)(*arguments, **options)
            begun = made[channel](*request, **how)
            self._under_way[channel] += 1

            def done(_: Any) -> None:
                self._under_way[channel] -= 1
                self._let_go(channel)

            begun.add_done_callback(done)
            return begun

        return call

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        return self._calls("unary_unary", *arguments, **options)

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        return self._calls("unary_stream", *arguments, **options)

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        return self._calls("stream_unary", *arguments, **options)

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        return self._calls("stream_stream", *arguments, **options)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._current().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._current().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._current().channel_ready()

    async def close(self, grace: float | None = None) -> None:
        await asyncio.gather(*(channel.close(grace) for channel in self._under_way), *self._closing)

    async def __aenter__(self) -> _TlsChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def authorization(token: str | None) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call that shows a token; nothing for None."""
    return () if token is None else (("authorization", f"Bearer {token}"),)


class _Border(grpc.aio.ServerInterceptor):
    """Where calls come in.

    The token is asked for, what the protos say of requests is checked, unary calls end in time, our errors leave with
    their code, all others are loud.
    """

    def __init__(self, access: Access, services: Sequence[str]) -> None:
        self._access = access
        self._wrong_tokens = WrongTokens()
        self._rights = {
            name: right
            for service in services
            for name, right in rights_of(descriptor_pool.Default().FindServiceByName(service)).items()
        }

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith("/grpc."):
            return handler
        given = next((v for k, v in handler_call_details.invocation_metadata or () if k == "authorization"), "")
        token = bearer(given) if isinstance(given, str) else ""
        if problem := self._access.problem(self._rights.get(method, Right.WRITE), token):
            wrong_tokens = self._wrong_tokens if token and problem == WRONG_TOKEN else None
            return grpc.unary_unary_rpc_method_handler(
                _refused(method, problem, known=bool(token), wrong_tokens=wrong_tokens)
            )
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                _guarded_unary(method, handler.unary_unary), handler.request_deserializer, handler.response_serializer
            )
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                _guarded_stream(method, handler.unary_stream), handler.request_deserializer, _serialized
            )
        return handler


def _serialized(response: Any) -> bytes:
    # What a stream gives as bytes is serialized already.
    return response if type(response) is bytes else response.SerializeToString()


def _refused(
    method: str, problem: str, *, known: bool, wrong_tokens: WrongTokens | None
) -> Callable[[Any, Any], Awaitable[Any]]:
    code = grpc.StatusCode.UNAUTHENTICATED
    if known and wrong_tokens is None:
        code = grpc.StatusCode.PERMISSION_DENIED

    async def refused(_: Any, context: Any) -> Any:
        if wrong_tokens is not None and (
            wait_s := wrong_tokens.count(host_of_peer(context.peer()), now_s=time.monotonic())
        ):
            await _abort(method, context, TooMany(too_many(wait_s), retry_after_s=wait_s))
        CALLS.labels(method, code.name).inc()
        await context.abort(code, problem)

    return refused


def _guarded_unary(method: str, behaviour: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Any]:
    async def guarded(request: Any, context: Any) -> Any:
        try:
            constraints.check(request)
            async with asyncio.timeout(UNARY_LIMIT_S):
                response = await behaviour(request, context)
        except Exception as exc:
            await _abort(method, context, exc)
            raise
        CALLS.labels(method, "OK").inc()
        return response

    return guarded


def _guarded_stream(method: str, behaviour: Callable[[Any, Any], AsyncIterator[Any]]) -> Callable[[Any, Any], Any]:
    async def guarded(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            constraints.check(request)
            async for response in behaviour(request, context):
                yield response
        except Exception as exc:
            await _abort(method, context, exc)
            raise
        CALLS.labels(method, "OK").inc()

    return guarded


async def _abort(method: str, context: Any, exc: Exception) -> None:
    if isinstance(exc, grpc.aio.AbortError):
        return
    if isinstance(exc, TickmeshError):
        code, message = grpc_code(exc), str(exc)
    elif isinstance(exc, TimeoutError):
        code, message = grpc.StatusCode.DEADLINE_EXCEEDED, f"{method} took longer than {UNARY_LIMIT_S:g} s"
    else:
        request_id = dict(context.invocation_metadata() or ()).get(REQUEST_ID, "unknown")
        log.error("%s, request %s", method, request_id, exc_info=exc)
        code, message = grpc.StatusCode.INTERNAL, f"{type(exc).__name__} in {method}; the service's log has more"
    CALLS.labels(method, code.name).inc()
    metadata: list[tuple[str, str | bytes]] = []
    if isinstance(exc, TooMany):
        metadata.append((RETRY_AFTER, str(max(1, math.ceil(exc.retry_after_s)))))
    if isinstance(exc, TickmeshError):
        metadata.append((RICH_STATUS, rich_status(exc).SerializeToString()))
    await context.abort(code, message, trailing_metadata=tuple(metadata))


def rich_status(error: TickmeshError) -> status_pb2.Status:
    """Return an error for programs: its kind as ErrorInfo, and the field that it is about or when to ask again.

    The reason is the error's class, in the upper case that `google.rpc.ErrorInfo` asks for: `UNKNOWN_SYMBOL`.
    """
    code: int = grpc_code(error).value[0]
    status = status_pb2.Status(code=code, message=str(error))
    reason = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).upper()
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)]
    if isinstance(error, InvalidRequest) and error.field:
        bad_request = error_details_pb2.BadRequest()
        bad_request.field_violations.add(field=error.field, description=str(error))
        details.append(bad_request)
    if isinstance(error, TooMany):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_after_s * 1e9))
        details.append(retry)
    for detail in details:
        status.details.add().Pack(detail)
    return status
