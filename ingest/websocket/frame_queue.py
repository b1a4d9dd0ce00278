"""Frames between the socket and the task that works on them: a bounded queue.

All that has arrived is worked on together: one by one when it is quiet, by the thousand when the bus held us up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class FrameQueue:
    """Frames on their way from a socket to one task.

    Args:
        max_frames: when so many wait the queue is full; then the socket is not to be read, and the venue is held back.
        max_bytes: the same for the sum of their sizes.

    """

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._bytes = 0
        self._frames: list[bytes] = []
        self._received_time_us = 0
        self._woken = asyncio.Event()
        self._wake_called = False
        self._is_full = False
        self.closed = False
        self.on_room: Callable[[], object] | None = None
        """Called when there is room again after `put` has returned True."""

    def put(self, frame: bytes) -> bool:
        """Hand over a frame that has just arrived; return whether the queue is full now."""
        if not self._frames:
            self._received_time_us = time.time_ns() // 1000
            self._woken.set()
        self._frames.append(frame)
        self._bytes += len(frame)
        self._is_full = len(self._frames) >= self._max_frames or self._bytes >= self._max_bytes
        return self._is_full

    def close(self) -> None:
        """Say that no more frames will come."""
        self.closed = True
        self._woken.set()

    def wake(self) -> None:
        """Let `wait` return though nothing may be there."""
        self._wake_called = True
        self._woken.set()

    async def wait(self) -> bool:
        """Wait until there is something to look at; call `take` next. Return whether somebody called `wake`."""
        await self._woken.wait()
        self._woken.clear()
        called, self._wake_called = self._wake_called, False
        return called

    def take(self) -> tuple[list[bytes], int]:
        """Return all frames that wait, and when the first of them came (microseconds since 1970)."""
        frames, self._frames, self._bytes = self._frames, [], 0
        if self._is_full:
            self._is_full = False
            if self.on_room is not None:
                self.on_room()
        return frames, self._received_time_us
