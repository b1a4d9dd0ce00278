"""What the venue sent and nobody can read: counted, logged now and then, and kept as dead letters."""

from __future__ import annotations

import asyncio
import hashlib
import logging

from ingest import metrics
from ingest.messages import BadFrame
from mesh.bus.dead_letters import DeadLetterQueue, letter_about
from mesh.service.logs import LogThrottle

log = logging.getLogger("ingest.publish.bad_frames")

MAX_FRAME_BYTES = 8192
"""So much of a bad frame is kept; a good one has 200 bytes."""


class BadFrames:
    """Takes the frames, or the rows of REST, that cannot be read.

    Args:
        what: they are called in the log: "frames".
        dead: keeps a copy of each with the reason; without one they are only counted and logged.
        remembers: how many of the last ones are not taken again: an unreadable row of REST comes again and again.

    """

    def __init__(self, what: str, dead: DeadLetterQueue | None = None, *, remembers: int = 0) -> None:
        self._what = what
        self._dead = dead
        self._log_throttle = LogThrottle(every_s=1)
        self._unlogged = 0
        self._remembers = remembers
        self._digests: dict[bytes, None] = {}  # of the last ones, the oldest first

    def take(self, bad: BadFrame) -> None:
        """Take one; returns at once."""
        digest = hashlib.blake2b(bad.frame, digest_size=16).digest()
        if digest in self._digests:
            return
        self._digests[digest] = None
        if len(self._digests) > self._remembers:
            del self._digests[next(iter(self._digests))]
        metrics.BAD_FRAMES.inc()
        if self._dead is not None:
            self._dead.put_letter(letter_about("frames", bad.frame[:MAX_FRAME_BYTES], bad.reason))
        self._unlogged += 1
        if self._log_throttle.due(asyncio.get_running_loop().time()):
            log.warning("refused %d %s, the last: %s", self._unlogged, self._what, bad)
            self._unlogged = 0
