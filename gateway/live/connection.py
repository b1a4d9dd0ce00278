"""uvicorn's WebSocket, with what ASGI does not offer: prepared frames, and letting a stalled client go."""

from __future__ import annotations

import contextlib
import fcntl
import sys
import termios
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from starlette.websockets import WebSocket
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from tickcodec.sockets import send_to_all

_EXTENSION = "tickmesh.socket"
_MAX_BUFFERED_BYTES = 64 * 1024  # from here on transports say "pause"
_MAX_REASON_BYTES = 123  # RFC 6455, 5.5: control frames carry at most 125 bytes, two of them the code
_SIOCOUTQ = termios.TIOCOUTQ  # tcp(7): "the amount of unsent data in the socket send queue"
_PONG_GRACE_S = 1.0


class WebSocketConnection(WebSocketsSansIOProtocol):
    """One client's connection; `WebSocketConnection.of` finds it from inside the app.

    Args:
        on_lost: called when the connection has ended; it was counted before it became a WebSocket.

    """

    def __init__(self, *args: Any, on_lost: Callable[[], None] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._on_lost = on_lost

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        encrypted = transport.get_extra_info("ssl_object") is not None
        self._socket = -1 if encrypted else int(transport.get_extra_info("socket").fileno())
        self._buffered_bytes: Callable[[], int] = transport.get_write_buffer_size
        self._is_closing: Callable[[], bool] = transport.is_closing

    def connection_lost(self, exc: Exception | None) -> None:
        if self._on_lost is not None:
            self._on_lost()
        super().connection_lost(exc)

    @classmethod
    def of(cls, websocket: WebSocket) -> WebSocketConnection:
        """Return the connection under a starlette WebSocket.

        Raises:
            RuntimeError: the server was not told to use this class (`uvicorn.Config(ws=WebSocketConnection)`).

        """
        found = websocket.scope.get("extensions", {}).get(_EXTENSION)
        if not isinstance(found, cls):
            raise RuntimeError(
                "/ws needs uvicorn with ws=gateway.live.connection.WebSocketConnection; `python -m gateway` does that"
            )
        return found

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)  # starts the app's task, which runs only after this returns
        if hasattr(self, "scope"):
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[_EXTENSION] = self

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # What is no handshake at all (a line or header too long, too many of them) uvicorn leaves without an answer.
        if self.conn.handshake_exc is not None and not self.handshake_initiated and not self.transport.is_closing():
            self.transport.write(self.conn.reject(431, f"no handshake: {self.conn.handshake_exc}\n").serialize())
            self.transport.close()

    def handle_parser_exception(self) -> None:
        if self.conn.close_sent is not None:
            super().handle_parser_exception()
            return
        # Frames before the handshake was answered: there is nothing yet that could be closed in words.
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006, "reason": ""})
        self.transport.abort()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.close_sent or self.transport.is_closing():
            # A handshake that was refused, or whose client has gone, is over: else uvicorn logs each as an error.
            self.handshake_complete = True

    def handle_ping(self) -> None:
        if self.has_room:
            super().handle_ping()
        else:
            self.conn.data_to_send()  # whoever does not read his pongs gets none: they would pile up here

    def keepalive_timeout(self) -> None:
        # uvicorn would wait for the client to read what is buffered, which one that has vanished never does.
        self.pong_timer = None
        self.let_go(1011, "no pong in time", grace_s=_PONG_GRACE_S)

    @property
    def gone(self) -> bool:
        """Whether nothing can be sent any more: the client left, or was let go."""
        return self.disconnected or self.close_sent or self.transport.is_closing()

    @property
    def has_room(self) -> bool:
        """Whether more can be sent at once, without piling up here."""
        # uvloop says "pause" only after its turn; until then the buffer's own size tells
        return (
            self.handshake_complete
            and self.writable.is_set()
            and self.transport.get_write_buffer_size() <= _MAX_BUFFERED_BYTES
            and not (self.disconnected or self.close_sent or self.transport.is_closing())  # as `gone`, but quicker
        )

    @property
    def held_bytes(self) -> int:
        """Bytes that wait for this client alone: here and in the kernel."""
        if self.transport.is_closing():
            return 0
        waiting = int(self.transport.get_write_buffer_size())
        with contextlib.suppress(OSError):  # no socket of a network, or one that is gone
            outgoing = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), _SIOCOUTQ, bytes(4))
            waiting += int.from_bytes(outgoing, sys.byteorder)
        return waiting

    async def wait_for_room(self) -> None:
        """Wait until the client has read some of what is buffered, or is gone."""
        await self.writable.wait()

    def write_frames(self, frames: bytes) -> bool:
        """Send prepared text frames, or tell that it does not have room."""
        if not self.has_room:
            return False
        self.transport.write(frames)
        return True

    def let_go(self, code: int, reason: str, *, grace_s: float) -> None:
        """Close without waiting for anything.

        The close frame goes behind what is buffered, and after `grace_s` seconds the connection is cut, whether or not
        the client has read that far.

        Args:
            code: close code of RFC 6455, 7.4.
            reason: shown to the client; cut to 123 bytes of UTF-8.
            grace_s: seconds until the connection is cut.

        """
        if self.close_sent or self.disconnected:
            return
        if not self.handshake_complete:  # there is nothing to close yet
            self.transport.close()
            return
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore"))
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(grace_s, self.transport.abort)


def bare_sockets(connections: Sequence[WebSocketConnection]) -> list[int]:
    """Return each one's file descriptor where what is sent may go there directly, else -1.

    All in one expression: it is looked at for each client before the first of them is written to.
    """
    return [
        each._socket
        if each.handshake_complete
        and not (each._buffered_bytes() or each.disconnected or each.close_sent or each._is_closing())
        else -1
        for each in connections
    ]


def write_to_all(connections: Sequence[WebSocketConnection], frames: bytes) -> list[int]:
    """Send prepared text frames to many, and return the places of those that have no room.

    Those for which nothing waits are written to in C++, past their transports: a delivery costs 7 us instead of 9.

    Args:
        connections: to whom.
        frames: one text frame or several.

    """
    sockets = bare_sockets(connections)
    bare, full = list(range(len(sockets))), []
    if min(sockets, default=0) < 0:
        bare = [place for place in bare if sockets[place] >= 0]
        full = [
            place for place, socket in enumerate(sockets) if socket < 0 and not connections[place].write_frames(frames)
        ]
        sockets = [sockets[place] for place in bare]
    for place, taken in zip(bare, send_to_all(sockets, frames) or (), strict=False):
        if taken < len(frames):  # the rest goes before all that comes later; its transport notices an error as well
            connections[place].transport.write(frames[taken:])
    return full


# A server does not mask its frames, so the same bytes are right for every client: made once, a trade goes to many
# clients for the price of a copy (RFC 6455, section 5).

_FIN_TEXT = b"\x81"  # "%x1 denotes a text frame", FIN set: one frame a message


class _Headers(dict[int, bytes]):
    def __missing__(self, length: int) -> bytes:
        header = self[length] = frame_header(length)
        return header


_headers = _Headers()  # of the lengths that trades have: a few hundred


def frame_header(length: int) -> bytes:
    """Return the header of an unmasked text frame with a payload of `length` bytes."""
    if length <= 125:
        return _FIN_TEXT + bytes([length])
    if length <= 0xFFFF:
        return _FIN_TEXT + b"\x7e" + length.to_bytes(2, "big")
    return _FIN_TEXT + b"\x7f" + length.to_bytes(8, "big")


def text_frames(messages: Iterable[bytes]) -> bytes:
    """Return UTF-8 messages as consecutive text frames, one each."""
    parts: list[bytes] = []
    for message in messages:
        length = len(message)
        parts.append(_headers[length] if length < 1024 else frame_header(length))
        parts.append(message)
    return b"".join(parts)
