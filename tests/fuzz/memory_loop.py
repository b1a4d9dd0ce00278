"""An asyncio loop without a network and without waiting: its clock jumps, its connections end in memory.

What takes ingest an hour with a venue takes some milliseconds here, and the same input always does the same.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

START_S = 1_723_161_255.0
"""What the clock on the wall shows when a loop begins: 2024-08-08, in seconds since 1970."""

MAX_TURNS = 400_000
"""A loop that turns more often than this has work that never ends."""


_NOTHING_TO_READ, _ = os.pipe()
_NEAR, _FAR = ("127.0.0.1", 2), ("127.0.0.1", 1)


class _Named:
    """What of a socket its users ask for."""

    family = socket.AF_INET

    def getsockname(self) -> tuple[str, int]:
        return _NEAR

    def getpeername(self) -> tuple[str, int]:
        return _FAR

    def fileno(self) -> int:
        return _NOTHING_TO_READ

    def setsockopt(self, *_: Any) -> None:
        pass

    def getsockopt(self, *_: Any) -> int:
        return 0


class Peer(Protocol):
    """The far end of a connection."""

    def received(self, data: bytes) -> None:
        """Take bytes that the near end has written."""


class _Jump(selectors.SelectSelector):
    """Looks at no file; passes the time that the loop wants to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns += 1
        assert self.turns < MAX_TURNS, "the loop never comes to rest"
        assert timeout is not None, "everybody waits for somebody who never comes"
        self.now_s += max(timeout, 0.0)
        return []


class MemoryLoop(asyncio.SelectorEventLoop):
    """The loop; run it inside `wall_clock`.

    Attributes:
        connect: given host, port and the near end, returns the far end, or raises OSError; to be set.
        broken: errors of tasks that nobody waited for.

    """

    connect: Callable[[str, int, MemoryTransport], Peer]

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)
        self.broken: list[str] = []
        self.set_exception_handler(self._take_note)

    def time(self) -> float:
        """Return the seconds that have passed."""
        return self._jump.now_s

    def _take_note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.broken.append(f"{context.get('message')}: {context.get('exception')!r}")

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        """Find every host."""
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]

    async def create_connection(
        self, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, **_: Any
    ) -> tuple[asyncio.Transport, Any]:
        """Connect in memory."""
        protocol = protocol_factory()
        transport = MemoryTransport(self, protocol)
        transport.peer = self.connect(str(host), int(port), transport)
        protocol.connection_made(transport)
        await asyncio.sleep(0)
        return transport, protocol


class MemoryTransport(asyncio.Transport):
    """The near end of a connection; its far end is `peer`, who answers by `deliver` and `hang_up`."""

    peer: Peer

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any) -> None:
        super().__init__({"peername": _FAR, "sockname": _NEAR, "socket": _Named()})
        self._loop = loop
        self._protocol = protocol
        self._closing = False
        self._lost = False
        self._paused = False
        self._waiting: list[bytes] = []
        self._ends = False

    def deliver(self, data: bytes) -> None:
        """Bring bytes to the near end."""
        if data:
            self._waiting.append(data)
            self._loop.call_soon(self._bring)

    def hang_up(self) -> None:
        """Close from the far end, behind what was delivered."""
        self._ends = True
        self._loop.call_soon(self._bring)

    def _bring(self) -> None:
        while self._waiting and not self._paused and not self._closing:
            self._read(self._waiting.pop(0))
        if self._ends and not self._waiting and not self._closing:
            self._closing = True
            self._protocol.eof_received()
            self._lose()

    def _read(self, data: bytes) -> None:
        if not isinstance(self._protocol, asyncio.BufferedProtocol):
            self._protocol.data_received(data)
            return
        while data:
            room = memoryview(self._protocol.get_buffer(len(data)))
            part = data[: len(room)]
            room[: len(part)] = part
            self._protocol.buffer_updated(len(part))
            data = data[len(part) :]

    def _lose(self) -> None:
        if not self._lost:
            self._lost = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    def write(self, data: Any) -> None:
        """Write."""
        if not self._closing:
            self._loop.call_soon(self.peer.received, bytes(data))

    def is_closing(self) -> bool:
        """Return whether it is closed or about to be."""
        return self._closing

    def close(self) -> None:
        """Close from the near end."""
        self._closing = True
        self._lose()

    def abort(self) -> None:
        """Close from the near end."""
        self.close()

    def can_write_eof(self) -> bool:
        """Say no."""
        return False

    def pause_reading(self) -> None:
        """Bring nothing for now."""
        self._paused = True

    def resume_reading(self) -> None:
        """Go on."""
        self._paused = False
        self._loop.call_soon(self._bring)

    def is_reading(self) -> bool:
        """Return whether it is."""
        return not self._paused and not self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Need none."""

    def get_write_buffer_size(self) -> int:
        """Return 0: all is on its way at once."""
        return 0

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the near end's protocol."""
        return self._protocol  # type: ignore[no-any-return]

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Change it."""
        self._protocol = protocol


@contextmanager
def wall_clock(now_s: Callable[[], float]) -> Iterator[None]:
    """Let `time.time`, `time.time_ns` and `time.monotonic` show what a loop's clock says."""
    kept = time.time, time.time_ns, time.monotonic
    time.time = lambda: START_S + now_s()
    time.time_ns = lambda: int((START_S + now_s()) * 1e6) * 1000
    time.monotonic = now_s
    try:
        yield
    finally:
        time.time, time.time_ns, time.monotonic = kept
