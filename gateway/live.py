"""`/ws`: one upstream stream of trades, fanned out to every client.

The stream `SignalService.Watch` is opened when the first client comes and closed when the last one goes; in between it
is opened again, with backoff, whenever it ends. What one client does or fails to do is its own affair: it has a bounded
queue (`fanout`), its own task, and is let go when it stops reading.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import msgspec
from prometheus_client import Counter, Gauge
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway import access
from gateway.errors import refusal_body
from gateway.fanout import Chunk, Fanout, Limits, Reader
from gateway.frames import text_frames
from gateway.sockets import Socket
from gateway.transcode.ticks import TickWriter
from mesh.backoff import backoff
from mesh.logs import Seldom
from mesh.symbols import name_of, parse_symbol
from tickmesh.v1 import signal_pb2, signal_pb2_grpc

log = logging.getLogger("gateway.live")

CALL_LIMIT_S = 5.0
MAX_SYMBOLS = 64
MAX_CLIENTS = 2000
CHUNK_TRADES = 128
"""Trades in one chunk at most: what a full queue loses at once, and about 40 KB."""
WRITE_TRADES = 512
"""Messages written to a client before others have their turn."""
GRACE_S = 5.0
"""How long a client that is let go may take to read what it was sent."""
DRAIN_GRACE_S = 1.0
MAX_INCOMING_BYTES = 4096
INCOMING_BURST = 32
INCOMING_PER_S = 4.0

CLIENTS = Gauge("tickmesh_gateway_ws_clients", "WebSocket clients now connected")
SENT = Counter("tickmesh_gateway_ws_trades_sent_total", "trades sent to WebSocket clients, each client counted")
MISSED = Counter("tickmesh_gateway_ws_trades_missed_total", "trades not sent because a client read too slowly")
LET_GO = Counter("tickmesh_gateway_ws_let_go_total", "clients let go, by close code", ["code"])
STREAM_LIVE = Gauge("tickmesh_gateway_stream_live", "1 while the stream of trades from signal is live, else 0")
STREAM_ERRORS = Counter("tickmesh_gateway_stream_errors_total", "ends and unreadable batches of the stream from signal")


@dataclass(eq=False, slots=True)
class _Client:
    socket: Socket
    reader: Reader
    something: asyncio.Event = field(default_factory=asyncio.Event)


class Live:
    """The clients of `/ws` and the stream they share.

    Args:
        signal: channel to SignalService.
        token: what clients must bring; None when nothing.
        limits: how far one client may fall behind.
        max_clients: how many clients there may be at once.

    """

    def __init__(
        self,
        signal: grpc.aio.Channel,
        *,
        token: str | None = None,
        limits: Limits | None = None,
        max_clients: int = MAX_CLIENTS,
    ) -> None:
        self._stub = signal_pb2_grpc.SignalServiceStub(signal)
        self._token = token
        self._limits = limits or Limits()
        self._max_clients = max_clients
        self._fanout = Fanout(self._limits)
        self._clients: set[_Client] = set()
        self._somebody = asyncio.Event()
        self._nobody = asyncio.Event()
        self._draining = False
        self._status: Chunk | None = None  # what a client that comes now is told first
        self._selected: Chunk | None = None
        self._names: dict[str, str] = {}
        self._ticks = TickWriter()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the stream while inside, and while there are clients."""
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(self._follow(), name="gateway.live")
            try:
                yield
            finally:
                following.cancel()

    async def drain(self) -> None:
        """Let every client go with 1001 and wait, shortly, until they are gone; no new ones are taken."""
        self._draining = True
        for client in tuple(self._clients):
            self._let_go(client, 1001, "the server is going away", grace_s=DRAIN_GRACE_S)
        if self._clients:
            self._nobody.clear()
            try:
                async with asyncio.timeout(DRAIN_GRACE_S * 2):
                    await self._nobody.wait()
            except TimeoutError:
                log.warning("%d clients did not leave in time", len(self._clients))

    async def endpoint(self, websocket: WebSocket) -> None:
        """Serve one client from handshake to end."""
        refused = await self._refuse(websocket)
        if refused is not None:
            status, problem = refused
            headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
            body = refusal_body(status, problem)
            await websocket.send_denial_response(
                Response(body, status, headers=headers, media_type="application/json")
            )
            return
        socket = Socket.of(websocket)
        await websocket.accept()
        try:
            symbols, everything = wanted_symbols(websocket.query_params.getlist("symbols"))
            await self._check_followed(symbols or ())
        except ValueError as exc:
            LET_GO.labels(1008).inc()
            socket.let_go(1008, str(exc), grace_s=GRACE_S)
            return
        something = asyncio.Event()
        reader = self._fanout.join(something.set, symbols=symbols, everything=everything)
        client = _Client(socket, reader, something)
        self._add(client)
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send(client))
                await self._receive(client, websocket)
                sending.cancel()
        finally:
            self._remove(client)

    async def _refuse(self, websocket: WebSocket) -> tuple[int, str] | None:
        token, _ = access.split_token(websocket.query_params.multi_items())
        if problem := access.origin_problem(websocket.headers):
            return 403, problem
        if problem := access.token_problem(self._token, websocket.headers, token):
            return 401, problem
        if self._draining:
            return 503, "the server is going away"
        if len(self._clients) >= self._max_clients:
            return 503, f"{len(self._clients)} clients are connected, no more are taken"
        return None

    async def _check_followed(self, symbols: Iterable[str]) -> None:
        """Raise `ValueError` when a symbol is not followed; when signal is away nobody can tell, so all will do."""
        requests = [signal_pb2.GetPriceRequest(symbol=symbol) for symbol in symbols]
        calls = [self._stub.GetPrice(request, timeout=CALL_LIMIT_S) for request in requests]
        for request, answer in zip(requests, await asyncio.gather(*calls, return_exceptions=True), strict=True):
            if isinstance(answer, grpc.aio.AioRpcError):
                if answer.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT):
                    raise ValueError(f"symbol {request.symbol!r} is not followed") from answer
            elif isinstance(answer, BaseException):
                raise answer

    def _add(self, client: _Client) -> None:
        self._clients.add(client)
        CLIENTS.set(len(self._clients))
        for chunk in (self._status, self._selected):
            if chunk is not None:
                client.reader.offer(chunk)
        self._somebody.set()

    def _remove(self, client: _Client) -> None:
        self._fanout.leave(client.reader)
        self._clients.discard(client)
        CLIENTS.set(len(self._clients))
        if not self._clients:
            self._somebody.clear()
            self._nobody.set()

    def _let_go(self, client: _Client, code: int, reason: str, *, grace_s: float = GRACE_S) -> None:
        LET_GO.labels(code).inc()
        self._fanout.leave(client.reader)
        client.socket.let_go(code, reason, grace_s=grace_s)

    async def _send(self, client: _Client) -> None:
        try:
            while True:
                await client.something.wait()
                client.something.clear()
                await self._send_queued(client)
        except WebSocketDisconnect:
            return  # _receive is told of it, too

    async def _send_queued(self, client: _Client) -> None:
        while True:
            # waiting for room comes first: what is taken is as good as sent, what waits in the queue can still be lost
            await client.socket.writable.wait()
            missed, chunks = client.reader.take(WRITE_TRADES)
            if missed:
                MISSED.inc(missed)
                chunks.insert(0, control("lagged", missed=missed))
            if not chunks:
                return
            await client.socket.write_frames(b"".join([chunk.data for chunk in chunks]))
            SENT.inc(sum(chunk.trades for chunk in chunks))
            await asyncio.sleep(0)  # writing to a client with room never waits; the others need their turn

    async def _receive(self, client: _Client, websocket: WebSocket) -> None:
        """Wait until the client goes. What it says is ignored, but may not be much."""
        loop = asyncio.get_running_loop()
        allowance, last_s = float(INCOMING_BURST), loop.time()
        while (await websocket.receive())["type"] != "websocket.disconnect":
            now_s = loop.time()
            allowance = min(INCOMING_BURST, allowance + (now_s - last_s) * INCOMING_PER_S) - 1
            last_s = now_s
            if allowance < 0:
                self._let_go(client, 1008, f"more than {INCOMING_PER_S:g} messages a second; nothing is expected")
                return

    async def _follow(self) -> None:
        seldom = Seldom()
        delays = backoff(max_s=5.0)
        while True:
            await self._somebody.wait()
            try:
                async with asyncio.TaskGroup() as tasks:
                    watching = tasks.create_task(self._watch())
                    idle = tasks.create_task(self._cancel_when_idle(watching))
                    await asyncio.wait([watching])
                    idle.cancel()
                if watching.cancelled():  # nobody is listening
                    self._status = self._selected = None
                    STREAM_LIVE.set(0)
                    continue
                reason = "the stream ended"
            except* grpc.aio.AioRpcError as group:
                error = group.exceptions[0]
                assert isinstance(error, grpc.aio.AioRpcError)
                reason = f"{error.code().name}: {error.details()}"
            if STREAM_LIVE._value.get():
                delays = backoff(max_s=5.0)
            self._wait_for_stream(reason, loud=seldom.due(asyncio.get_running_loop().time()))
            await asyncio.sleep(next(delays))
