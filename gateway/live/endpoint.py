"""`/ws`: every client's connection, from handshake to end.

What one client does or fails to do is its own affair: it has a bounded queue (`fanout`), a task of its own, and is let
go when it stops reading. All of them share one stream (`SignalFeed`), which is followed while there is any client.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial
from time import monotonic

import grpc
from prometheus_client import Counter, Gauge
from starlette.responses import Response
from starlette.websockets import WebSocket

from gateway import access
from gateway.errors import RETRY_AFTER, refusal_body
from gateway.instances import DirectReach
from gateway.live.candles import CandleFeed
from gateway.live.coins import CoinList
from gateway.live.connection import WebSocketConnection, write_to_all
from gateway.live.documents import CoverageFeed, StatusFeed
from gateway.live.fanout import GATHERED_MESSAGES, ClientFanout, ClientLimits, ClientQueue, RoundTimer
from gateway.live.feeds import ChannelFeeds
from gateway.live.history import StoredTrades
from gateway.live.protocol import MalformedRequest, begins_protocol, parse_channels
from gateway.live.ring import Rings
from gateway.live.session import ProtocolSession
from gateway.live.signal_feed import SignalFeed, lagged
from gateway.live.subscription import Subscription, parse_subscription
from tickmesh.v1.signal_pb2_grpc import SignalServiceStub
from tickmesh.v1.status_pb2 import GetStatusResponse

log = logging.getLogger("gateway.live.endpoint")

MAX_CLIENTS = 2000
MAX_BYTES = 128 * 2**20
LOOK_EVERY_S = 0.25
"""How often what waits for all clients is added up; a client's own bounds hold at once."""
LOOK_AT_LEAST_EVERY_S = 5.0
"""So often also while no more can wait than may: for the figure `tickmesh_gateway_ws_waiting_bytes`."""
LOOK_SHARE = 0.25
"""It is also added up after so much of the bound was written. With looks in time alone, one burst to 2000 clients that
read nothing had 840 MiB waiting before the slowest were let go."""
SHED_GRACE_S = 1.0
SHED_WITH_GRACE = 32
"""So many of the clients let go at one look may still read why; what waits for the others is given up at once."""
LIVE_WITHIN_S = 1.0
"""How long a handshake waits for the stream of trades; a client comes in without it, too."""
GRACE_S = 5.0
"""How long a client that is let go may take to read what it was sent."""
DRAIN_GRACE_S = 1.0
MAX_INCOMING_BYTES = 4096
INCOMING_BURST = 32
INCOMING_PER_S = 4.0

CLIENTS = Gauge("tickmesh_gateway_ws_clients", "WebSocket clients now connected")
SENT = Counter("tickmesh_gateway_ws_trades_sent_total", "trades sent to WebSocket clients, each client counted")
MISSED = Counter("tickmesh_gateway_ws_trades_missed_total", "trades not sent because a client read too slowly")
WAITING = Gauge("tickmesh_gateway_ws_waiting_bytes", "bytes that wait for all WebSocket clients, in the kernel too")
LET_GO = Counter("tickmesh_gateway_ws_let_go_total", "clients that the gateway disconnected, by close code", ["code"])


@dataclass(eq=False, slots=True)
class _Client:
    socket: WebSocketConnection
    reader: ClientQueue
    left_over: asyncio.Event
    """Set when something is queued that there was no room to write."""
    session: ProtocolSession | None = None
    """Of one that speaks the protocol."""


class WebSocketEndpoint:
    """The clients of `/ws`.

    Args:
        signal: channel to SignalService.
        store: channel to StoreService.
        status: returns the state of the mesh as it is now.
        token: what both want to be shown; None when nothing.
        limits: how far one client may fall behind.
        max_clients: how many clients there may be at once.
        max_bytes: how much may wait for all clients together, here and in the kernel.
        reach: as `SignalFeed` has it.

    """

    def __init__(
        self,
        signal: grpc.aio.Channel,
        store: grpc.aio.Channel,
        *,
        status: Callable[[], Awaitable[GetStatusResponse]],
        token: str | None = None,
        limits: ClientLimits | None = None,
        max_clients: int = MAX_CLIENTS,
        max_bytes: int = MAX_BYTES,
        reach: DirectReach | None = None,
    ) -> None:
        stub = SignalServiceStub(signal)
        self._coins = CoinList(stub, token=token)
        self._max_clients = max_clients
        self._max_bytes = max_bytes
        self._gathered = asyncio.Event()
        self._limits = limits or ClientLimits()
        self._fanout = ClientFanout(self._limits, on_sent=self._count_sent, write=write_to_all)
        self._rings = Rings()
        self._stored = StoredTrades(store, token=token)
        self._feeds = ChannelFeeds(
            {
                "candles": partial(CandleFeed, stored=self._stored, rings=self._rings),
                "coverage": partial(CoverageFeed, stored=self._stored),
                "status": partial(StatusFeed, ask=status),
            }
        )
        self._round_timer = RoundTimer()
        self._stream = SignalFeed(
            signal,
            self._fanout,
            self._rings,
            coins=self._coins,
            stored=self._stored,
            write=self._write_round,
            token=token,
            reach=reach,
        )
        self._clients: set[_Client] = set()
        self._somebody = asyncio.Event()
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._draining = False
        self._written_bytes = 0  # since the last look at what waits
        self._waiting_bytes = 0  # for all clients, by that look

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def flowing(self) -> bool | None:
        """Whether the trades of all partitions come; None while there is no client to follow signal for."""
        return self._stream.is_live if self._clients or self._stream.several else None

    @property
    def away(self) -> str:
        """Why not every trade comes, in words for people; empty where there is nothing to say."""
        return self._stream.away

    async def run(self) -> None:
        """Follow signal while there are clients, for ever; a task of the gateway's own.

        Several instances are followed all the time: nobody else knows whether all partitions are there.
        """
        while True:
            if not self._stream.several:
                await self._somebody.wait()
            async with asyncio.TaskGroup() as tasks:
                following = tasks.create_task(self._stream.follow(), name="signal feed")
                writing = tasks.create_task(self._write_later_rounds(), name="gateway.rounds")
                bounding = tasks.create_task(self._keep_within_bounds(), name="gateway.bounds")
                await (asyncio.Event() if self._stream.several else self._nobody).wait()
                following.cancel()
                writing.cancel()
                bounding.cancel()

    async def drain(self) -> None:
        """Let every client go with 1001, take no new ones, and wait a moment until all are gone."""
        self._draining = True
        self._fanout.flush()
        self._rings.flush()
        for client in tuple(self._clients):
            self._let_go(client, 1001, "the server is going away", grace_s=DRAIN_GRACE_S)
        try:
            async with asyncio.timeout(2 * DRAIN_GRACE_S):
                await self._nobody.wait()
        except TimeoutError:
            log.warning("%d clients did not leave in time", len(self._clients))

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one client."""
        try:
            _, pairs = access.split_token(access.query_pairs(websocket.scope["query_string"]))
        except ValueError as exc:
            await websocket.send_denial_response(_denial(400, f"query cannot be read: {exc}"))
            return
        if (denial := self._refusal()) is not None:
            await websocket.send_denial_response(denial)
            return
        socket = WebSocketConnection.of(websocket)
        try:
            channels = parse_channels(pairs)
            subscription = parse_subscription(pairs) if channels is None else Subscription(frozenset())
            await self._check_followed(subscription.symbols or ())
        except (ValueError, MalformedRequest) as exc:
            await websocket.accept()  # browsers tell their pages the reason of a close, but not of a refusal
            LET_GO.labels(1008).inc()
            socket.let_go(1008, str(exc), grace_s=GRACE_S)
            return

        def wake() -> None:
            if client.reader.overrun:
                self._overrun(client)
            else:
                self._write_queued(client)

        reader = self._fanout.connect(wake, subscription, socket=socket)
        client = _Client(socket, reader, asyncio.Event())
        self._add(client, subscription)
        try:
            # Whoever is connected misses nothing: not even the first one, for whom the stream has to be opened.
            await self._stream.wait_until_live(limit_s=LIVE_WITHIN_S)
            await websocket.accept()
            self._write_queued(client)
            async with asyncio.TaskGroup() as tasks:
                own = [tasks.create_task(self._catch_up(client))]

                def begin_session() -> ProtocolSession:
                    client.session = self._session_of(client)
                    own.append(tasks.create_task(client.session.run()))
                    return client.session

                if channels is not None:
                    await begin_session().subscribe(channels)
                await self._receive(client, websocket, begin_session)
                for task in own:
                    task.cancel()
        finally:
            self._remove(client)

    def _refusal(self) -> Response | None:
        if self._draining:
            return _denial(503, "the server is going away")
        if len(self._clients) >= self._max_clients:
            return _denial(503, f"{len(self._clients)} clients are connected, and no more are taken")
        return None

    async def _check_followed(self, symbols: Collection[str]) -> None:
        # when signal is away nobody can tell, so any symbol will do until trades come
        if symbols and (unfollowed := await self._coins.unfollowed(symbols)):
            raise ValueError(f"symbol {unfollowed[0]!r} is not followed; /api/coins lists what there is")

    def _add(self, client: _Client, subscription: Subscription) -> None:
        self._clients.add(client)
        CLIENTS.set(len(self._clients))
        for chunk in self._stream.greeting if subscription.events else ():
            client.reader.offer(chunk)
        self._nobody.clear()
        self._somebody.set()
        if self._draining:  # it came while its symbols were checked
            self._let_go(client, 1001, "the server is going away", grace_s=DRAIN_GRACE_S)

    def _session_of(self, client: _Client) -> ProtocolSession:
        """Return what speaks the protocol with a client from now on, instead of sending it the list of trades."""
        self._fanout.leave(client.reader)
        client.reader.take(sys.maxsize)
        return ProtocolSession(
            client.socket,
            rings=self._rings,
            stored=self._stored,
            feeds=self._feeds,
            flowing=self._stream.carries,
            followed_venue=lambda: self._stream.followed_venue,
            unfollowed=self._coins.unfollowed,
            count_sent=self._count_sent,
            count_missed=MISSED.inc,
            let_go=partial(self._let_go, client),
            limits=self._limits,
        )

    def _remove(self, client: _Client) -> None:
        if client.session is not None:
            client.session.close()
        self._fanout.leave(client.reader)
        self._clients.discard(client)
        CLIENTS.set(len(self._clients))
        if not self._clients:
            WAITING.set(0)
            self._somebody.clear()
            self._nobody.set()

    def _let_go(self, client: _Client, code: int, reason: str, *, grace_s: float = GRACE_S) -> None:
        LET_GO.labels(code).inc()
        self._fanout.leave(client.reader)
        client.socket.let_go(code, reason, grace_s=grace_s)

    async def _keep_within_bounds(self) -> None:
        looked_s = -math.inf
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            # A look asks the kernel about each client, so none is taken while no more can wait than may.
            may_wait = self._waiting_bytes + self._written_bytes + self._fanout.queued_bytes
            if may_wait > self._max_bytes or monotonic() >= looked_s + LOOK_AT_LEAST_EVERY_S:
                self._shed()
                looked_s = monotonic()

    def _shed(self) -> None:
        """Let clients go, those first for whom most is waiting, until what waits for all is within the bound."""
        self._written_bytes = 0
        held = {client: client.socket.held_bytes for client in self._clients if not client.socket.gone}
        own = sum(held.values())
        slowest: list[_Client] = []
        if own + self._fanout.queued_bytes > self._max_bytes:
            slowest = sorted(held, key=lambda client: held[client] + client.reader.queued_bytes, reverse=True)
        for n, client in enumerate(slowest):
            if own + self._fanout.queued_bytes <= self._max_bytes:
                break
            own -= held[client]
            MISSED.inc(client.reader.take(0)[0])
            reason = f"read too slowly: {held[client]} bytes wait, and too many for all clients together"
            self._let_go(client, 1013, reason, grace_s=SHED_GRACE_S if n < SHED_WITH_GRACE else 0.0)
        self._waiting_bytes = own
        WAITING.set(own + self._fanout.queued_bytes)

    def _overrun(self, client: _Client) -> None:
        MISSED.inc(client.reader.take(0)[0])
        lost = client.reader.missed_in_a_row
        self._let_go(client, 1013, f"read too slowly: {lost} trades were lost without ever catching up")

    def _write_round(self) -> None:
        """Write what was gathered for all clients, or leave it to a later round when it is too early for one."""
        started_s = monotonic()
        if self._round_timer.wait_s(started_s):
            self._gathered.set()
            return
        self._fanout.flush()
        self._rings.flush()
        self._round_timer.ended(started_s, monotonic())

    async def _write_later_rounds(self) -> None:
        while True:
            await self._gathered.wait()
            await asyncio.sleep(self._round_timer.wait_s(monotonic()))
            self._gathered.clear()
            self._write_round()

    def _write_queued(self, client: _Client) -> None:
        # Room comes first: what is taken is as good as sent, while what waits can still give way to what is newer.
        while client.socket.has_room:
            missed, chunks = client.reader.take(GATHERED_MESSAGES, now_s=monotonic())
            if missed:
                MISSED.inc(missed)
                chunks.insert(0, lagged(missed))
            if not chunks:
                return
            frames = b"".join([chunk.data for chunk in chunks])
            client.socket.write_frames(frames)
            self._count_sent(sum(chunk.trades for chunk in chunks), len(frames))
        client.left_over.set()

    def _count_sent(self, trades: int, size: int) -> None:
        SENT.inc(trades)
        self._written_bytes += size
        if self._written_bytes > self._max_bytes * LOOK_SHARE:
            self._shed()

    async def _catch_up(self, client: _Client) -> None:
        """Write what was left over whenever the client has read some, until it is gone; `_receive` notices that."""
        while not client.socket.gone:
            await client.left_over.wait()
            client.left_over.clear()
            await client.socket.wait_for_room()
            self._write_queued(client)
            await asyncio.sleep(0)  # the others need their turn

    async def _receive(
        self, client: _Client, websocket: WebSocket, begin_session: Callable[[], ProtocolSession]
    ) -> None:
        """Read what the client says until it goes. Without the protocol that is ignored, but may not be much."""
        loop = asyncio.get_running_loop()
        allowance, last_s = float(INCOMING_BURST), loop.time()
        while (message := await websocket.receive())["type"] != "websocket.disconnect":
            now_s = loop.time()
            allowance = min(INCOMING_BURST, allowance + (now_s - last_s) * INCOMING_PER_S) - 1
            last_s = now_s
            text = message.get("text")
            if client.session is None and begins_protocol(text):
                begin_session()
            if allowance < 0:
                where = "" if client.session else ", where none are expected"
                self._let_go(client, 1008, f"more than {INCOMING_PER_S:g} messages a second{where}")
                return
            if client.session is not None:
                await client.session.receive(text)


async def unknown_path(websocket: WebSocket) -> None:
    """Refuse a handshake for a path where no WebSocket is."""
    path = websocket.scope["path"]
    await websocket.send_denial_response(_denial(404, f"no WebSocket is at {path[:80]!r}, only at '/ws'"))


def _denial(status: int, problem: str) -> Response:
    headers = RETRY_AFTER if status == 503 else None
    return Response(refusal_body(status, problem), status, headers, media_type="application/json")
