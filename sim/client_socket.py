"""One WebSocket client's socket: bytes between it and its `venue.Connection`, and nothing decided here.

The frames of trades are ready-made bytes, the same object for every client of a view, written past the protocol object
(no extension is ever negotiated, so a frame's bytes are the same for all). A client that does not read is cut at
`max_buffer_bytes`; the others never wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from sim.client_session import ClientSession, HangUp, TargetError, VenueLimits
from sim.frames import BatchFrames, FollowedStreams

# --- who may come in --------------------------------------------------------------------------------------------------
# Who may come in: Binance's limit of connections an address, and what faults say of new connections.

FIVE_MINUTES_S = 300
MOST_ADDRESSES = 10_000


class ConnectionPolicy:
    """The door of the WebSocket port.

    Attributes:
        limits: what the venue allows a connection and an address.
        counts: connections accepted so far, those cut for not reading, hung up on, and refused.
        down_until_s: until then new connections are dropped.
        refusal: until when new connections are answered with which HTTP status.
    """

    def __init__(self, limits: VenueLimits) -> None:
        self.limits = limits
        self.down_until_s = 0.0
        self.refusal = (0.0, 503)
        self.counts = {"connections": 0, "cut_slow": 0, "hung_up": 0, "refused": 0}
        self._admitted: dict[str, deque[float]] = {}

    def admit(self, address: str, now_s: float) -> None:
        """Count a new connection of an address.

        Args:
            address: of the client.
            now_s: seconds of a steady clock.

        Raises:
            TargetError: it has opened too many in five minutes, or the venue refuses them all.

        """
        if now_s < self.refusal[0]:
            raise TargetError(self.refusal[1], "the venue takes no connections")
        if len(self._admitted) > MOST_ADDRESSES:
            self._admitted.clear()
        times = self._admitted.setdefault(address, deque(maxlen=self.limits.connections_per_5m))
        if len(times) == times.maxlen and now_s - times[0] < FIVE_MINUTES_S:
            self.counts["refused"] += 1
            raise TargetError(429, f"found more than {times.maxlen} connections in 5 minutes from {address}")
        times.append(now_s)

    def open_again(self) -> None:
        """Forget what faults said."""
        self.down_until_s, self.refusal = 0.0, (0.0, 503)


# ----------------------------------------------------------------------------------------------------------------------

logger = logging.getLogger("sim.client_socket")

LARGEST_MESSAGE_BYTES = 64 * 1024
HANDSHAKE_WITHIN_S = 10
CLOSE_WITHIN_S = 5
PAUSED_ABOVE_BYTES = 256 * 1024  # flat out, the market waits while a client has more than this to read


class ClientSocket(asyncio.Protocol):
    """One TCP connection of a WebSocket client.

    Args:
        admission: asked for entry; told what became of the client.
        sockets: all that are open; this one joins and leaves.
        room: set when this one may be sent more again, and when it is gone.
        max_buffer_bytes: a client that leaves more unread is cut.
    """

    def __init__(
        self, admission: ConnectionPolicy, sockets: set[ClientSocket], room: asyncio.Event, *, max_buffer_bytes: int
    ) -> None:
        self._admission = admission
        self._sockets = sockets
        self._room = room
        self._max_buffer_bytes = max_buffer_bytes
        self._protocol = ServerProtocol(max_size=LARGEST_MESSAGE_BYTES)
        self._transport: asyncio.Transport
        self._connection: ClientSession | None = None
        self._message = b""
        self._deadline_s = time.monotonic() + HANDSHAKE_WITHIN_S  # of the handshake, later of the closing
        self._closing = False
        self._mute: tuple[float, bool] | None = None  # until when, and whether control frames still pass
        self.paused = False

    @property
    def streams(self) -> Collection[str]:
        """What the client follows."""
        return self._connection.streams if self._connection is not None else ()

    @property
    def view(self) -> FollowedStreams | None:
        """What the client follows; None before and after the conversation."""
        return self._connection.view if self._connection and self._protocol.state is State.OPEN else None

    def send(self, data: bytes) -> None:
        """Send whole frames, or cut the client if it has left too many unread."""
        if self._muted:
            return
        if self._transport.get_write_buffer_size() > self._max_buffer_bytes:
            logger.warning("cut a client that left %d bytes unread", self._transport.get_write_buffer_size())
            self._admission.counts["cut_slow"] += 1
            self.cut()
        else:
            self._transport.write(data)

    def close(self, code: int, reason: str) -> None:
        """Begin to close politely.

        Args:
            code: close code of RFC 6455, 7.4.
            reason: for the client.

        """
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._deadline_s, self._closing = time.monotonic() + CLOSE_WITHIN_S, True
            self._flush()
        elif not self._closing:
            self.cut()

    def cut(self) -> None:
        """Drop the connection without a word."""
        self._transport.abort()

    def mute(self, until_s: float, *, pongs: bool) -> None:
        """Send nothing more until then; with `pongs` control frames still pass.

        Args:
            until_s: in seconds of the steady clock; infinity is until the connection ends.
            pongs: whether control frames still pass.

        """
        self._mute = (until_s, pongs)

    def unmute(self) -> None:
        """Send again."""
        self._mute = None

    def poll(self, now_s: float) -> None:
        """Do what time demands: pings, and hanging up on who is late."""
        if self._connection is None or self._closing:
            if now_s >= self._deadline_s:
                self.cut()
            return
        if self._muted:
            return
        try:
            payload = self._connection.poll(now_s)
        except HangUp as event:
            self._hang_up(event)
            return
        if payload is not None and self._protocol.state is State.OPEN:
            self._protocol.send_ping(payload)
            self._flush()

    @property
    def _muted(self) -> bool:
        if self._mute is not None and time.monotonic() >= self._mute[0]:
            self._mute = None
        return self._mute is not None

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class, of the same shape
        self._transport.set_write_buffer_limits(high=PAUSED_ABOVE_BYTES)
        self._sockets.add(self)
        if time.monotonic() < self._admission.down_until_s:
            self.cut()

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        try:
            for event in self._protocol.events_received():
                if isinstance(event, Request):
                    self._shake_hands(event)
                elif isinstance(event, Frame) and self._connection is not None and not self._closing:
                    self._receive(self._connection, event)
        except HangUp as event:
            self._hang_up(event)
        self._flush()

    def eof_received(self) -> None:
        self._protocol.receive_eof()
        self._flush()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._sockets.discard(self)
        self.resume_writing()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._room.set()

    # Inside

    def _shake_hands(self, request: Request) -> None:
        try:
            self._admission.admit(str(self._transport.get_extra_info("peername", ("?",))[0]), time.monotonic())
            connection = ClientSession(request.path, time.monotonic(), self._admission.limits)
        except TargetError as exc:
            self._protocol.send_response(self._protocol.reject(exc.status, f"{exc}\n"))
            return
        response = self._protocol.accept(request)
        self._protocol.send_response(response)
        if response.status_code == 101:
            self._connection = connection
            self._admission.counts["connections"] += 1

    def _receive(self, connection: ClientSession, frame: Frame) -> None:
        now_s = time.monotonic()
        if frame.opcode is Opcode.PING:
            connection.receive_ping(now_s)
        elif frame.opcode is Opcode.PONG:
            connection.receive_pong(bytes(frame.data), now_s)
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._message += bytes(frame.data)
            if frame.fin:
                message, self._message = self._message, b""
                self._protocol.send_text(connection.receive_text(message, now_s).encode())

    def _hang_up(self, event: HangUp) -> None:
        logger.info("hang up on a client: %s", event.reason)
        self._admission.counts["hung_up"] += 1
        self.close(event.code, event.reason)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                control = data[0] & 0x08  # RFC 6455, 5.2: opcodes from 8 on are control frames
                if not self._muted or (control and self._mute is not None and self._mute[1]):
                    self._transport.write(data)
            else:  # the protocol's sign for the end of the stream
                self._transport.close()


# --- all clients together ---------------------------------------------------------------------------------------------
# All WebSocket clients together.


class Clients:
    """All clients: what is said to all of them, and who is too slow.

    Attributes:
        admission: who may come in.
        sockets: every open connection.
        room: set when a client may be sent more again, and when one is gone.
    """

    def __init__(self, limits: VenueLimits, max_buffer_bytes: int) -> None:
        self.admission = ConnectionPolicy(limits)
        self.sockets: set[ClientSocket] = set()
        self.room = asyncio.Event()
        self._max_buffer_bytes = max_buffer_bytes

    @property
    def streams(self) -> set[str]:
        """Every stream somebody follows."""
        return {stream for socket in self.sockets for stream in socket.streams}

    @property
    def following_trades(self) -> bool:
        """Whether any client follows a stream of trades."""
        return any(socket.view is not None and socket.view.trades for socket in self.sockets)

    def meet(self) -> ClientSocket:
        """Return the socket of a connection that begins; it joins and leaves by itself."""
        return ClientSocket(self.admission, self.sockets, self.room, max_buffer_bytes=self._max_buffer_bytes)

    def deliver(self, frames: BatchFrames) -> None:
        """Send every client what it follows of a batch."""
        self.send(lambda view: b"".join(frames.trades(view) + frames.aggregates(view)))

    def send(self, words: Callable[[FollowedStreams], bytes]) -> None:
        """Send every client what `words` makes for its view; made once a view, sent unless empty."""
        made: dict[FollowedStreams, bytes] = {}
        for socket in list(self.sockets):
            view = socket.view
            if view is None:
                continue
            if view not in made:
                made[view] = words(view)
            if made[view]:
                socket.send(made[view])

    def poll(self, now_s: float) -> None:
        """Do for every client what time demands: pings, and hanging up on who is late.

        Args:
            now_s: seconds of a steady clock.
        """
        for socket in list(self.sockets):
            socket.poll(now_s)

    async def wait_for_room(self, patience_s: float) -> None:
        """Wait until every client has read most of what it was sent; cut those that take longer than `patience_s`."""
        deadline_s = time.monotonic() + patience_s
        while any(socket.paused for socket in self.sockets):
            self.room.clear()
            try:
                await asyncio.wait_for(self.room.wait(), deadline_s - time.monotonic())
            except TimeoutError:
                for socket in [socket for socket in self.sockets if socket.paused]:
                    self.admission.counts["cut_slow"] += 1
                    socket.cut()
                return

    async def close(self) -> None:
        """Say goodbye to all, and wait a moment for theirs."""
        for socket in list(self.sockets):
            socket.close(1001, "server is going away")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                while self.sockets:
                    self.room.clear()
                    await self.room.wait()  # set also by each connection that ends
        for socket in list(self.sockets):
            socket.cut()
