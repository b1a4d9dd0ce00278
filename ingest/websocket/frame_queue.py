"""Frames between the task that reads a socket and the task that works on them: a bounded queue.

The reader runs on while frames are there, so all that has arrived is worked on together: one by one when it is quiet,
by the thousand when the bus held us up.
"""

from __future__ import annotations

import asyncio
import time


class FrameQueue:
    """Frames on their way from one task to one other.

    Args:
        max_frames: when so many wait, `put` waits too; then the socket is not read, and the venue is held back.
        max_bytes: the same for the sum of their sizes.

    """

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._bytes = 0
        self._frames: list[bytes] = []
        self._received_time_us = 0
        self._woken = asyncio.Event()
        self._room = asyncio.Event()
        self._wake_called = False
        self.closed = False

    async def put(self, frame: bytes) -> None:
        """Hand over a frame that has just arrived."""
        if not self._frames:
            self._received_time_us = time.time_ns() // 1000
            self._woken.set()
        self._frames.append(frame)
        self._bytes += len(frame)
        while len(self._frames) >= self._max_frames or self._bytes >= self._max_bytes:
            self._room.clear()
            await self._room.wait()

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
        self._room.set()
        return frames, self._received_time_us
