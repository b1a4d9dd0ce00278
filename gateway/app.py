"""The gateway as an ASGI app: the routes of the protos, `/ws`, and what a gateway answers by itself.

FastAPI is the shell here: the app, its middleware, exception handlers, state and OpenAPI hook. Its path operations are
not used: which routes there are, what they take and what they answer stands in the protos. A path operation would need
a second declaration of each message as a Python type, validated a second time by other rules (pydantic takes "1.0" for
an integer; a transcoder may not). `transcode` makes routes, checks and document from the protos' descriptors.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, MutableMapping, Sequence
from hashlib import blake2b
from time import monotonic
from typing import Any
from urllib.parse import urlencode

import grpc
import msgspec
from fastapi import FastAPI
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from prometheus_client import CONTENT_TYPE_LATEST, Counter, generate_latest
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, WebSocketRoute
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from gateway import access, docs, manual, packing, page
from gateway.call_options import CallOptions, call_options, request_id_of
from gateway.errors import BadInput, HttpError, refusal_body
from gateway.instances import DirectReach
from gateway.live.endpoint import MAX_BYTES, WebSocketEndpoint
from gateway.live.endpoint import unknown_path as unknown_websocket
from gateway.live.fanout import ClientLimits
from gateway.mesh_status import StatusCollector
from gateway.resource import JSON, Handler, Resource, read_body, refusal
from gateway.streams import HEARTBEAT_S, MAX_STREAMS, Streams
from gateway.transcode import asyncapi, comments, json, openapi
from gateway.transcode.rules import NEXT_PAGE_TOKEN, Route, Template, routes
from gateway.transcode.streams import FORMATS, choose
from gateway.upstreams import CALL_LIMIT_S, Call, StreamCall, UpstreamError, Upstreams
from mesh.service.wrong_tokens import WrongTokens, too_many
from tickmesh.v1 import signal_pb2, status_pb2, store_pb2

SIGNAL_SERVICE = signal_pb2.DESCRIPTOR.services_by_name["SignalService"]
STORE_SERVICE = store_pb2.DESCRIPTOR.services_by_name["StoreService"]
STATUS_SERVICE = status_pb2.DESCRIPTOR.services_by_name["StatusService"]
SERVICES: tuple[ServiceDescriptor, ...] = (SIGNAL_SERVICE, STORE_SERVICE, STATUS_SERVICE)


def create_app(
    *,
    signal: grpc.aio.Channel,
    store: grpc.aio.Channel,
    further: Mapping[ServiceDescriptor, grpc.aio.Channel] | None = None,
    descriptors: bytes = b"",
    # Access
    admission: access.AdmissionRules | None = None,
    # ClientLimits
    call_limit_s: float = CALL_LIMIT_S,
    client_limits: ClientLimits | None = None,
    max_ws_bytes: int = MAX_BYTES,
    max_streams: int = MAX_STREAMS,
    heartbeat_s: float = HEARTBEAT_S,
    reach: DirectReach | None = None,
) -> FastAPI:
    """Return the app.

    Keep `app.state.websockets.run()` and `app.state.mesh_status.run()` going beside the server;
    `app.state.websockets.drain()` and `app.state.streams.drain()` let their clients go before the server stops.

    Args:
        signal: channel to SignalService, or its `Instances` as a channel; stays the caller's.
        store: channel to StoreService; stays the caller's.
        further: other services to serve, whatever their protos have of `google.api.http`, and the channels to them.
        descriptors: a descriptor set with the comments of their protos.
        admission: who may ask; by default everybody who asks by address or by a name of loopback.
        call_limit_s: how long an upstream may take to answer.
        client_limits: how far a WebSocket client may fall behind.
        max_ws_bytes: how much may wait for all WebSocket clients together.
        max_streams: how many streaming RPCs may be open for clients of REST.
        heartbeat_s: after how long without a message such a client is sent a heartbeat.
        reach: how signal is reached beside gRPC, so that trades come past it; None where they come over gRPC.

    """
    admission = admission or access.AdmissionRules()
    tokens = admission.tokens
    further = dict(further or {})
    channels = {SIGNAL_SERVICE.full_name: signal, STORE_SERVICE.full_name: store}
    channels |= {service.full_name: channel for service, channel in further.items()}
    upstreams = Upstreams(channels, token=tokens.api_token, limit_s=call_limit_s)
    mesh_status = StatusCollector(
        {"signal": signal, "store": store},
        flowing=lambda: websockets.flowing,
        away=lambda: websockets.away,
        token=tokens.api_token,
    )
    websockets = WebSocketEndpoint(
        signal,
        store,
        status=mesh_status.ask,
        token=tokens.api_token,
        limits=client_limits,
        max_bytes=max_ws_bytes,
        reach=reach,
    )
    found = routes([*SERVICES, *further])
    told = comments.read_comments(comments.shipped_descriptors())
    told |= comments.read_comments(descriptors)
    messages = asyncapi.document(told, info=manual.WS_INFO, query=manual.websocket_query())
    document = openapi.document(
        found,
        told,
        info=manual.INFO,
        own_paths=manual.own_paths(token_needed=tokens.api_token is not None),
        own_tags=[manual.TAG],
        examples=manual.EXAMPLES,
        token_needed=tokens.api_token is not None,
    )

    # The document and its page are ours, made from the protos; whoever asks the app for its schema gets it too.
    app = FastAPI(title="tickmesh", openapi_url=None, docs_url=None, redoc_url=None)
    app.openapi = lambda: document  # type: ignore[method-assign]  # FastAPI's documented hook
    app.router.redirect_slashes = False
    app.add_middleware(
        AdmissionMiddleware, admission=admission, streams=[route.template for route in found if route.streams]
    )
    app.state.websockets = websockets
    app.state.mesh_status = mesh_status
    app.state.streams = streams = Streams(max_streams=max_streams, heartbeat_s=heartbeat_s)
    answers: dict[str, tuple[Template, dict[str, Handler]]] = {}
    for route in found:
        if route.gives_bytes:
            answer = _bytes(route, upstreams.stream(route), streams)
        elif route.streams:
            answer = _streamed(route, upstreams.stream(route), streams)
        else:
            known_here = route.method.containing_service is STATUS_SERVICE
            answer = _transcoded(route, mesh_status.call if known_here else upstreams.call(route))
        # By the paths that fit: PATCH /v1/{book.name=books/*} and DELETE /v1/books/{name} are verbs of the same ones.
        answers.setdefault(route.template.fitting, (route.template, {}))[1].setdefault(route.verb, answer)
    own = _own_answers(websockets, upstreams, mesh_status, document, messages)
    for path, by_verb in own.items():
        app.router.routes.append(StarletteRoute(path, Resource(path, by_verb)))
    for template, by_verb in answers.values():
        app.router.routes.append(_TemplateRoute(template, Resource(template.text, by_verb)))
    app.router.routes.append(WebSocketRoute("/ws", websockets.serve))
    app.router.routes.append(WebSocketRoute("/{path:path}", unknown_websocket))
    known_paths = [*(template.text for template, _ in answers.values()), *own, "/ws"]

    async def unknown_path(request: Request, _: Exception) -> Response:
        path = request.url.path
        if path == "/ws":
            return refusal(426, "/ws speaks WebSocket; see /docs", headers={"Upgrade": "websocket"})
        near = difflib.get_close_matches(path, known_paths, n=2)
        hint = f"; near are {' and '.join(near)}" if near else ""
        return refusal(404, f"nothing is at {path[:80]!r}{hint}; /docs tells what there is")

    app.add_exception_handler(HTTPException, unknown_path)  # the router raises no other than 404
    return app


def _transcoded(route: Route, call: Call) -> Handler:
    async def answer(request: Request) -> Response:
        pairs = _query(request)
        try:
            message = await call(await _rpc_request(route, request, pairs), _call_options(request))
        except UpstreamError as exc:
            return Response(exc.body, exc.status, exc.headers, media_type=JSON)
        headers = _next_page(request, pairs, getattr(message, NEXT_PAGE_TOKEN)) if route.hides_next_page else {}
        body = json.to_bytes(route.encode(message))
        if route.verb != "GET":
            return Response(body, headers=headers, media_type=JSON)
        # Nothing is final: a late trade changes a page, its candle, and where the pages end. So the tag is that of the
        # content as it is sent, and every use of a kept answer asks.
        is_packed = len(body) >= packing.MIN_BYTES and packing.takes_gzip(request)
        content = blake2b(headers.get("Link", "").encode() + body, digest_size=12).hexdigest()
        tag = f'"{content}{"-gzip" if is_packed else ""}"'
        headers |= {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept-Encoding"}
        if _has(request, tag):
            return Response(status_code=304, headers=headers)
        if is_packed:
            body, headers["Content-Encoding"] = await packing.packed(body), "gzip"
        return Response(body, headers=headers, media_type=JSON)

    return answer


def _has(request: Request, tag: str) -> bool:
    given = ",".join(request.headers.getlist("if-none-match")).split(",")
    return any(one.strip().removeprefix("W/") in ("*", tag) for one in given)


def _streamed(route: Route, call: StreamCall, streams: Streams) -> Handler:
    async def answer(request: Request) -> Response:
        written = choose(", ".join(request.headers.getlist("accept")))
        if written is None:
            offered = " or ".join(one.media_type for one in FORMATS)
            raise HttpError(406, f"Accept is {request.headers['accept'][:80]!r}, and a stream is {offered}")
        message, options = await _rpc_request(route, request, _query(request)), _call_options(request)
        if request.method == "HEAD":
            return Response(media_type=written.media_type)
        try:
            return await streams.answer(lambda: call(message, options), route.encode, written)
        except UpstreamError as exc:
            return Response(exc.body, exc.status, exc.headers, media_type=JSON)

    return answer


def _bytes(route: Route, call: StreamCall, streams: Streams) -> Handler:
    async def answer(request: Request) -> Response:
        if request.scope["http_version"] == "1.0":
            problem = "HTTP/1.0 has no chunks, so that half of an answer would look whole, expected HTTP/1.1"
            raise HttpError(426, f"{problem} (nginx: proxy_http_version 1.1)", headers={"Upgrade": "HTTP/1.1"})
        message, options = await _rpc_request(route, request, _query(request)), _call_options(request)
        try:
            return await streams.answer_bytes(lambda: call(message, options), request.receive)
        except UpstreamError as exc:
            return Response(exc.body, exc.status, exc.headers, media_type=JSON)

    return answer


def _query(request: Request) -> list[tuple[str, str]]:
    try:
        return access.split_token(access.query_pairs(request.scope["query_string"]))[1]
    except ValueError as exc:
        raise BadInput(f"query cannot be read: {exc}") from exc


def _call_options(request: Request) -> CallOptions:
    return call_options(request.headers, request.state.request_id)


async def _rpc_request(route: Route, request: Request, pairs: list[tuple[str, str]]) -> Message:
    variables = route.template.match(request.scope["path"])
    assert variables is not None, "the route takes no other path"
    return route.request(variables, pairs, await read_body(request) if route.body else b"")


def _next_page(request: Request, pairs: list[tuple[str, str]], page_token: str) -> dict[str, str]:
    if not page_token:
        return {}
    query = urlencode(
        [*(pair for pair in pairs if pair[0] not in ("page_token", "pageToken")), ("page_token", page_token)]
    )
    return {"X-Next-Page-Token": page_token, "Link": f'<{request.scope["path"]}?{query}>; rel="next"'}


def _own_answers(
    websockets: WebSocketEndpoint,
    upstreams: Upstreams,
    mesh_status: StatusCollector,
    document: openapi.Json,
    messages: openapi.Json,
) -> dict[str, dict[str, Handler]]:
    document_bytes, messages_bytes = msgspec.json.encode(document), msgspec.json.encode(messages)

    async def healthz(_: Request) -> Response:
        return Response(b'{"status":"ok"}', media_type=JSON)

    async def readyz(_: Request) -> Response:
        status, body = readiness(
            await upstreams.health(),
            flowing=websockets.flowing,
            away=websockets.away,
            warnings=mesh_status.warnings(),
        )
        return Response(body, status, media_type=JSON)

    async def openapi_json(_: Request) -> Response:
        return Response(document_bytes, media_type=JSON)

    async def asyncapi_json(_: Request) -> Response:
        return Response(messages_bytes, media_type=JSON)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    own: dict[str, Handler] = {
        "/healthz": healthz,
        "/readyz": readyz,
        "/openapi.json": openapi_json,
        "/asyncapi.json": asyncapi_json,
        "/metrics": metrics,
        **dict(docs.answers()),
        **dict(page.answers()),
    }
    return {path: {"GET": answer} for path, answer in own.items()}


def readiness(
    health: Mapping[str, str], *, flowing: bool | None, away: str = "", warnings: Sequence[str] = ()
) -> tuple[int, bytes]:
    """Return status and body of `/readyz`: 200 while live prices can be answered, whatever becomes of history.

    Args:
        health: what the upstreams said: full name -> `SERVING`, or something else.
        flowing: whether the trades of all partitions come from signal; None while no client wants them.
        away: why not, in words for people; empty where that is not known.
        warnings: why prices may stand still all the same, in words for people; shown whatever the status.

    """
    signal = health[SIGNAL_SERVICE.full_name]
    problem = ""
    if signal != "SERVING":
        problem = f"{SIGNAL_SERVICE.name} is {signal}"
    elif flowing is False:
        problem = away or "the stream of trades from signal is not open yet"
    body = {"upstreams": health} | ({"warnings": warnings} if warnings else {})
    if not problem:
        return 200, msgspec.json.encode({"status": "ready"} | body)
    error = msgspec.json.decode(refusal_body(503, f"not ready: {problem}"))
    return 503, msgspec.json.encode({"status": "not ready"} | body | error)


class _TemplateRoute(StarletteRoute):
    """Takes only paths that fit the template: `/a/{b}` has to leave `/a/1/next` to the route that is about it."""

    def __init__(self, template: Template, app: Resource) -> None:
        super().__init__(template.loose, app)
        self._template = template

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if self._template.match(scope["path"]) is None:
            return Match.NONE, {}
        return super().matches(scope)


# --- the one door that every request and every WebSocket comes through ------------------------------------------------
# The one door every request and every WebSocket comes through: `access` decides, this answers.

REFUSED = Counter(
    "tickmesh_gateway_refused_total", "requests and WebSockets that were not admitted, by status", ["status"]
)


class AdmissionMiddleware:
    """Passes on what the rules admit, and refuses the rest before anything of it is read.

    Args:
        app: what is behind the door.
        admission: the rules.
        streams: the paths whose answers go on.

    """

    def __init__(self, app: ASGIApp, *, admission: access.AdmissionRules, streams: Sequence[Template] = ()) -> None:
        self._app = app
        self._streams = streams
        self._admission = admission
        self._wrong_tokens = WrongTokens()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let it through."""
        if scope["type"] == "http":
            request_id = request_id_of(Headers(scope=scope))
            scope["state"]["request_id"] = request_id
            send = _naming(send, request_id)
        kind = "stream" if any(one.match(scope["path"]) is not None for one in self._streams) else scope["type"]
        refused = self._admission.denial(
            kind, scope.get("method", ""), scope["path"], scope["headers"], _token(scope["query_string"])
        )
        if refused is None:
            await self._app(scope, receive, send)
            return
        if refused.wrong_token:
            host = (scope.get("client") or ("",))[0]
            if wait_s := self._wrong_tokens.count(host, now_s=monotonic()):
                # Closed, so that each guess costs a connection.
                refused = access.Denial(429, too_many(wait_s), {"Retry-After": str(wait_s), "Connection": "close"})
        REFUSED.labels(refused.status).inc()
        headers = {"Cache-Control": "no-store", **refused.headers}
        response = Response(
            refusal_body(refused.status, refused.problem), refused.status, headers, media_type="application/json"
        )
        if scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(response)
        else:
            await response(scope, receive, send)


def _naming(send: Send, request_id: str) -> Send:
    header = (b"x-request-id", request_id.encode())

    async def send_named(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], header]
        await send(message)

    return send_named


def _token(query_string: bytes) -> str:
    try:
        return access.split_token(access.query_pairs(query_string))[0]
    except ValueError:  # whoever reads the parameters says so
        return ""
