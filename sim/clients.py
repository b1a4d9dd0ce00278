"""All WebSocket clients together."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable

from sim.frames import BatchFrames, View
from sim.sockets import Socket
from sim.venue import Limits, TargetError

FIVE_MINUTES_S = 300
MOST_ADDRESSES = 10_000


class Clients:
    """All clients: who may come in, what is said to all of them, and who is too slow.

    Attributes:
        counts: connections accepted so far, those cut for not reading, hung up on, and refused.
        down_until_s: until then new connections are dropped.
        refusal: until when new connections are answered with which HTTP status.
    """

    def __init__(self, limits: Limits, max_buffer_bytes: int) -> None:
        self.limits = limits
        self.max_buffer_bytes = max_buffer_bytes
        self.sockets: set[Socket] = set()
        self.room = asyncio.Event()
        self.down_until_s = 0.0
        self.refusal = (0.0, 503)
        self.counts = {"connections": 0, "cut_slow": 0, "hung_up": 0, "refused": 0}
        self._admitted: dict[str, deque[float]] = {}

    @property
    def streams(self) -> set[str]:
        """Every stream somebody follows."""
        return {stream for socket in self.sockets for stream in socket.streams}

    @property
    def following_trades(self) -> bool:
        return any(socket.view is not None and socket.view.trades for socket in self.sockets)

    def admit(self, address: str, now_s: float) -> None:
        """Count a new connection of an address.

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

    def deliver(self, frames: BatchFrames) -> None:
        """Send every client what it follows of a batch."""
        self.send(lambda view: b"".join(frames.trades(view) + frames.aggregates(view)))

    def send(self, words: Callable[[View], bytes]) -> None:
        """Send every client what `words` makes for its view; made once a view, sent unless empty."""
        made: dict[View, bytes] = {}
        for socket in list(self.sockets):
            view = socket.view
            if view is None:
                continue
            if view not in made:
                made[view] = words(view)
            if made[view]:
                socket.send(made[view])

    def poll(self, now_s: float) -> None:
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
                    self.counts["cut_slow"] += 1
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
