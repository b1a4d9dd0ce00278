"""A plain connection beside a call of gRPC, for a stream whose every message counts.

A message of gRPC wakes a thread of gRPC's and then the loop, on either side: at 200 messages a second it costs twice
what a plain socket takes. So the call only says where: a port and a ticket. Who called connects to that port, shows the
ticket, and gets the messages, each after its length in four bytes, the highest first. It sends nothing else.

Whether the caller may call, and with what certificate, gRPC has asked by then: a ticket is 16 random bytes, good for
one connection, and void after some seconds. With TLS both sides show a certificate here as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from prometheus_client import Counter

from mesh.service.errors import NotReady
from mesh.service.logs import LogThrottle
from mesh.service.tls import Tls

log = logging.getLogger("mesh.service.direct")

TICKET_BYTES = 16
CONNECT_WITHIN_S = 5.0
"""So long a ticket is good, and a connection may be there without one."""
MAX_WITHOUT_TICKET = 64
"""Connections that have shown no ticket yet; one more is closed at once."""
WRITTEN_WITHIN_S = 2.0
"""So long who listens no more waits for what was sent in order to be written."""
MAX_MESSAGE_BYTES = 4 * 2**20
"""As over gRPC."""
_LENGTH_BYTES = 4
_MUCH_BYTES = 2**16
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 1))  # gRPC's, by the kernel

REFUSED = Counter("tickmesh_direct_refused_total", "plain connections that were closed, as they showed no good ticket")


class DirectListener:
    """Where callers of gRPC connect plainly; `listening` makes it."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        """Where it listens."""
        self._offers: dict[bytes, asyncio.Future[DirectSender]] = {}
        self._without_ticket: set[DirectSender] = set()
        self._closing: set[DirectSender] = set()  # in order, and not all that was sent is written
        self._log_throttle = LogThrottle()

    @contextmanager
    def offer(self) -> Iterator[tuple[bytes, asyncio.Future[DirectSender]]]:
        """Give a ticket, and the connection of who shows it; the ticket is void afterwards."""
        ticket = secrets.token_bytes(TICKET_BYTES)
        taken: asyncio.Future[DirectSender] = asyncio.get_running_loop().create_future()
        self._offers[ticket] = taken
        in_order = False
        try:
            yield ticket, taken
            in_order = True
        finally:
            self._offers.pop(ticket, None)
            if taken.done() and not taken.cancelled():
                sender = taken.result()
                if not in_order:  # nobody waits for the rest
                    sender.abort()
                elif not sender.gone.is_set():
                    self._closing.add(sender)
                    sender.close()

    def admit(self, sender: DirectSender) -> bool:
        """Return whether a new connection may show its ticket; it has to do so soon."""
        if len(self._without_ticket) >= MAX_WITHOUT_TICKET:
            self.refuse("too many have shown no ticket yet")
            return False
        self._without_ticket.add(sender)
        return True

    def show(self, sender: DirectSender, ticket: bytes) -> bool:
        """Return whether a connection shows a ticket that is good; then it is its caller's.

        Args:
            sender: the connection.
            ticket: what it has shown.

        """
        self.forget(sender)
        taken = self._offers.pop(ticket, None)
        if taken is None or taken.done():
            self.refuse("it showed no ticket that is good")
            return False
        taken.set_result(sender)
        return True

    def forget(self, sender: DirectSender) -> None:
        """Count out a connection that shows no ticket any more."""
        self._without_ticket.discard(sender)

    def lost(self, sender: DirectSender) -> None:
        """Count out a connection that is gone."""
        self.forget(sender)
        self._closing.discard(sender)

    async def drain(self) -> None:
        """Wait until what was sent before connections were closed in order is written, for a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WRITTEN_WITHIN_S):
                for sender in tuple(self._closing):
                    await sender.gone.wait()
        for sender in tuple(self._closing):
            sender.abort()

    def refuse(self, why: str) -> None:
        """Count and log a connection that is closed."""
        REFUSED.inc()
        if self._log_throttle.due(asyncio.get_running_loop().time()):
            log.warning("closed a plain connection: %s", why)


class DirectSender(asyncio.Protocol):
    """The side of a connection that sends.

    Args:
        listener: whose connection it is.

    """

    def __init__(self, listener: DirectListener) -> None:
        self._listener = listener
        self._ticket = b""
        self._has_shown = False
        self._transport: asyncio.Transport | None = None
        self._too_long: asyncio.TimerHandle | None = None
        self._room = asyncio.Event()
        self._room.set()
        self.gone = asyncio.Event()
        """Set once the connection is gone, and all that could be written is."""
        self._on_lost: Callable[[], None] = lambda: None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the ticket."""
        self._transport = transport
        if not self._listener.admit(self):
            transport.abort()
            return
        self._too_long = asyncio.get_running_loop().call_later(CONNECT_WITHIN_S, self._close_without_ticket)
        _keep_alive(transport)
        if transport.get_extra_info("ssl_object") is None:
            # What is sent goes to the socket at once and not at the end of the loop's turn. With TLS there would never
            # be room: uvloop takes a buffer that holds nothing for one that holds as much as it may.
            transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        """Take the ticket; who says more than that is let go."""
        self._ticket += data
        if len(self._ticket) < TICKET_BYTES:
            return
        if not self._has_shown:
            self._has_shown = True
            if self._too_long is not None:
                self._too_long.cancel()
            if len(self._ticket) == TICKET_BYTES and self._listener.show(self, self._ticket):
                return
            self._listener.forget(self)
        self.abort()

    def pause_writing(self) -> None:
        """Wait until the reader has read."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._room.set()

    def connection_lost(self, _: Exception | None) -> None:
        """Tell who sends."""
        if self._too_long is not None:
            self._too_long.cancel()
        self._listener.lost(self)
        self.gone.set()
        self._transport = None
        self._room.set()
        self._on_lost()

    def tell_when_lost(self, on_lost: Callable[[], None]) -> None:
        """Call something once the connection is gone, at once where it is."""
        self._on_lost = on_lost
        if self._transport is None:
            on_lost()

    async def send(self, message: bytes) -> None:
        """Send a message; wait while too much waits for the reader. Nothing is sent on a connection that is gone."""
        self._write(message)
        if not self._room.is_set():
            await self._room.wait()

    def send_at_once(self, message: bytes) -> bool:
        """Send a message, unless too much waits for the reader; return whether that was done."""
        if not self._room.is_set():
            return False
        self._write(message)
        return True

    def close(self) -> None:
        """Close the connection, once what was sent is written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, message: bytes) -> None:
        if self._transport is not None:
            self._transport.write(len(message).to_bytes(_LENGTH_BYTES) + message)

    def _close_without_ticket(self) -> None:
        self._listener.refuse(f"it showed no ticket within {CONNECT_WITHIN_S:g} s")
        self.abort()


@asynccontextmanager
async def listening(host: str, port: int, *, tls: Tls | None) -> AsyncIterator[DirectListener]:
    """Listen while inside; what was sent before a connection was closed in order is written before this ends.

    Args:
        host: name or address to listen on, an IPv6 address with or without brackets.
        port: 0 picks a free one.
        tls: what is shown; then who connects has to show a certificate, too. None is without TLS.

    Raises:
        OSError: the address cannot be had.

    """
    listener = DirectListener()
    try:
        server = await asyncio.get_running_loop().create_server(
            partial(DirectSender, listener),
            host.strip("[]"),
            port,
            backlog=MAX_WITHOUT_TICKET,
            ssl=None if tls is None else tls.server_context(),
            ssl_handshake_timeout=CONNECT_WITHIN_S if tls else None,
        )
    except OSError as exc:
        raise OSError(f"cannot listen for plain connections on {host}:{port}: {exc.strerror or exc}") from exc
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()
        await listener.drain()


async def taken_within(taken: asyncio.Future[DirectSender]) -> DirectSender:
    """Return the connection of who shows the ticket.

    Raises:
        NotReady: nobody has in time.

    """
    try:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            return await taken
    except TimeoutError:
        raise NotReady(f"nobody connected and showed the ticket within {CONNECT_WITHIN_S:g} s") from None


class DirectReceiver(asyncio.Protocol):
    """The side of a connection that receives.

    Args:
        take: gets the messages that arrived together, in order.

    """

    def __init__(self, take: Callable[[Sequence[bytes]], None]) -> None:
        self._take = take
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self.received = 0
        """How many messages have come."""
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection is gone: with an error where it was not closed in order."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep it."""
        self._transport = transport
        _keep_alive(transport)

    def data_received(self, data: bytes) -> None:
        """Hand on the messages that are complete."""
        if len(data) >= _MUCH_BYTES and self._transport is not None:
            # There is more: libuv reads up to 32 times before anybody else has a turn, so that those who are to be told
            # of it would lose what they cannot take at once.
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._transport.resume_reading)
        if self._rest:
            data = self._rest + data
        messages, start, size = [], 0, len(data)
        while size - start >= _LENGTH_BYTES:
            begin = start + _LENGTH_BYTES
            end = begin + int.from_bytes(data[start:begin])
            if end - begin > MAX_MESSAGE_BYTES:
                told = f"a message of {end - begin} bytes, expected at most {MAX_MESSAGE_BYTES}"
                self._fail(ConnectionAbortedError(told))  # whoever speaks there, it is no error of ours
                return
            if end > size:
                break
            messages.append(data[begin:end])
            start = end
        self._rest = data[start:]
        if messages:
            self.received += len(messages)
            try:
                self._take(messages)
            except Exception as exc:  # raised where `lost` is waited for
                self._fail(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits."""
        if self.lost.done():
            return
        if exc is None and self._rest:
            exc = ConnectionResetError("it ended within a message")
        if exc is None:
            self.lost.set_result(None)
        else:
            self.lost.set_exception(exc)

    def _fail(self, error: Exception) -> None:
        if not self.lost.done():
            self.lost.set_exception(error)
        if self._transport is not None:
            self._transport.abort()


@asynccontextmanager
async def connected(
    host: str,
    port: int,
    ticket: bytes,
    take: Callable[[Sequence[bytes]], None],
    *,
    tls: Tls | None,
    name: str | None = None,
) -> AsyncIterator[DirectReceiver]:
    """Connect, show the ticket, and receive while inside.

    Args:
        host: where.
        port: likewise.
        ticket: what the call has said.
        take: gets the messages that arrived together, in order.
        tls: what is shown; the other side has to show a certificate for the host. None is without TLS.
        name: the one that the certificate has to be for, where the host is not its name.

    Raises:
        OSError: it cannot be reached.

    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            transport, receiver = await loop.create_connection(
                lambda: DirectReceiver(take),
                host.strip("[]"),
                port,
                ssl=None if tls is None else tls.client_context(),
                server_hostname=(name or host).strip("[]") if tls else None,
            )
    except TimeoutError:
        raise OSError(f"no connection within {CONNECT_WITHIN_S:g} s") from None
    try:
        if transport.is_closing():  # uvloop's takes no write any more
            raise ConnectionResetError(f"{host}:{port} closed the connection before the ticket was shown")
        transport.write(ticket)
        yield receiver
    finally:
        transport.abort()
        with contextlib.suppress(Exception):  # has been raised, or nobody waits for it
            await receiver.lost


def _keep_alive(transport: asyncio.Transport) -> None:
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        raw.setsockopt(socket.IPPROTO_TCP, option, value)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
