"""All WebSocket clients together."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from sim.client_session import VenueLimits
from sim.client_socket import ClientSocket
from sim.connection_policy import ConnectionPolicy
from sim.frames import BatchFrames, FollowedStreams


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
