"""The state of the live stream, in the words the screen uses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

STALE_AFTER_US = 15_000_000


class StreamStatus(Enum):
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
class StreamState:
    """The live stream.

    Attributes:
        open: whether it is open.
        ever_open: whether it has been open since the program started.
        since_us: when it was opened, or, while it is not open, when it was lost (or first tried).
        failures: attempts that failed since it was open.
        retry_us: when the next attempt is made; None while one is being made.
        reason: why it was lost.
        refused: frames that could not be read.
        upstream_unavailable: whether the gateway says that a part of the mesh behind it does not answer.
        tells_selection: whether it tells which symbol is selected; the original's did not.
    """

    open: bool = False
    ever_open: bool = False
    since_us: int = 0
    failures: int = 0
    retry_us: int | None = None
    reason: str = ""
    refused: int = 0
    upstream_unavailable: bool = False
    tells_selection: bool = False

    def connecting(self) -> StreamState:
        """An attempt is being made."""
        return replace(self, retry_us=None)

    def connected(self, now_us: int) -> StreamState:
        """It is open."""
        return replace(
            self,
            open=True,
            ever_open=True,
            since_us=now_us,
            failures=0,
            retry_us=None,
            reason="",
            upstream_unavailable=False,
            tells_selection=False,
        )

    def lost(self, *, reason: str, failures: int, retry_us: int, now_us: int) -> StreamState:
        """It is gone, or the attempt to open it came to nothing.

        Args:
            reason: why.
            failures: how many attempts have failed since it was open.
            retry_us: when the next attempt is made, in microseconds since 1970 UTC.
            now_us: the time, in microseconds since 1970 UTC.

        """
        since_us = now_us if self.open else self.since_us
        return replace(self, open=False, since_us=since_us, failures=failures, retry_us=retry_us, reason=reason)

    def status(self, traded_us: int | None, now_us: int) -> StreamStatus:
        """Name the state; `traded_us` is when the last trade arrived.

        Args:
            traded_us: when the last trade arrived, in microseconds since 1970 UTC; None before the first one.
            now_us: the time, in microseconds since 1970 UTC.

        """
        if not self.open:
            return StreamStatus.RECONNECTING if self.ever_open else StreamStatus.CONNECTING
        quiet_us = now_us - max(self.since_us, traded_us or 0)
        return StreamStatus.STALE if self.upstream_unavailable or quiet_us >= STALE_AFTER_US else StreamStatus.LIVE
