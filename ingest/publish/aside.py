"""What the venue said and nobody can read: counted, kept aside in DEAD, and told to people now and then."""

from __future__ import annotations

import asyncio
import hashlib
import logging

from ingest import metrics
from ingest.messages import BadFrame
from ingest.publish.outbox import MAX_ASIDE, Outbox, dead_frame
from mesh.service.logs import LogThrottle

log = logging.getLogger("ingest.aside")


class Aside:
    """Counts what nobody can read, says so in the log at most once a second, and passes it on to be kept in DEAD.

    Args:
        what: they are called in the log.
        outbox: on the way to DEAD; without one they are only counted and told.
        remembers: how many of the last ones are not taken again: an illegible row of REST comes again and again.

    """

    def __init__(self, what: str, outbox: Outbox | None = None, *, remembers: int = 0) -> None:
        self._what = what
        self._outbox = outbox
        self._log_throttle = LogThrottle(every_s=1)
        self._unsaid = 0
        self._remembers = remembers
        self._known: dict[bytes, None] = {}

    def keep(self, bad: BadFrame) -> None:
        """Take one; returns at once."""
        known = hashlib.blake2b(bad.frame, digest_size=16).digest()
        if known in self._known:
            return
        self._known[known] = None
        if len(self._known) > self._remembers:
            del self._known[next(iter(self._known))]
        metrics.BAD_FRAMES.inc()
        if self._outbox is not None and self._outbox.waiting < MAX_ASIDE:
            self._outbox.put(dead_frame(bad))
        self._unsaid += 1
        if self._log_throttle.due(asyncio.get_running_loop().time()):
            log.warning("refused %d %s, the last: %s", self._unsaid, self._what, bad)
            self._unsaid = 0
