"""The state of the live stream, in the words the screen uses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

STALE_AFTER_US = 15_000_000


class Status(Enum):
    """How much one may trust what one sees."""

    CONNECTING = auto()
    RECONNECTING = auto()
    LIVE = auto()
    QUIET = auto()
    STALE = auto()
    GAP = auto()
    BLOCKED = auto()
    SIM = auto()
    OFFLINE = auto()


@dataclass(frozen=True, slots=True)
class Link:
    """The live stream.

    `since_us` is when it was opened, or, while it is not open, when it was lost (or first tried); `retry_us` is when
    the next attempt is made, None while one is being made. `source_away` is what the gateway says of those behind it.
    """

    open: bool = False
    ever_open: bool = False
    since_us: int = 0
    failures: int = 0
    retry_us: int | None = None
    reason: str = ""
    refused: int = 0
    source_away: bool = False

    def connecting(self) -> Link:
        """An attempt is being made."""
        return replace(self, retry_us=None)

    def connected(self, now_us: int) -> Link:
        """It is open."""
        return replace(
            self, open=True, ever_open=True, since_us=now_us, failures=0, retry_us=None, reason="", source_away=False
        )

    def lost(self, *, reason: str, failures: int, retry_us: int, now_us: int) -> Link:
        """It is gone, or the attempt to open it came to nothing."""
        since_us = now_us if self.open else self.since_us
        return replace(self, open=False, since_us=since_us, failures=failures, retry_us=retry_us, reason=reason)

    def status(self, traded_us: int | None, now_us: int) -> Status:
        """Name the state; `traded_us` is when the last trade arrived."""
        if not self.open:
            return Status.RECONNECTING if self.ever_open else Status.CONNECTING
        quiet_us = now_us - max(self.since_us, traded_us or 0)
        return Status.STALE if self.source_away or quiet_us >= STALE_AFTER_US else Status.LIVE
