"""When the next trade is due: a position that moves on with time, and each trade's place along it.

A source gives every trade a `due` on a ruler that never runs backwards. Paced by rate, one trade is ``SLOT`` long, so
that a rate of r trades/s moves the position by r * SLOT each second. Paced as recorded, the ruler is microseconds.
"""

from __future__ import annotations

import enum
import math

SLOT = 1_000_000
HIGHEST_RATE = 1_000_000.0  # far above what is made in a second; at this rate the ruler's int64 lasts for 100 days


class Pace(enum.Enum):
    """How trades lie in time."""

    EVEN = "even"  # one trade after the other, all gaps alike
    BURSTS = "bursts"  # whole orders at once, random gaps between them, the rate on average
    RECORDED = "recorded"  # a tape's own gaps


def parse_rate(rate: float | str) -> float:
    """Read trades/s, or "max" for flat out.

    Raises:
        ValueError: it is neither.
    """
    if rate == "max":
        return math.inf
    try:
        number = float(rate)
    except ValueError:
        number = math.nan
    if not 0 <= number <= HIGHEST_RATE:
        raise ValueError(f"found rate {rate!r}, expected a number from 0 to {HIGHEST_RATE:.0f}, or max")
    return number


class Pacer:
    """The position on the ruler. `rate` is in trades a second; 0 stands still, infinity is flat out."""

    def __init__(self, pace: Pace, rate: float) -> None:
        self.pace = pace
        self.rate = rate
        self.position = 0

    @property
    def flat_out(self) -> bool:
        """Whether trades are issued as fast as clients take them."""
        return self.rate == math.inf

    @property
    def speed(self) -> float:
        """How far the position moves in a microsecond."""
        if self.rate == 0:
            return 0.0
        return 1.0 if self.pace is Pace.RECORDED else self.rate

    def advance(self, elapsed_us: int) -> None:
        """Let time pass; flat out, the position is wherever the last trade was."""
        if not self.flat_out:
            self.position += round(elapsed_us * self.speed)

    def skip_to(self, due: int) -> None:
        """Move on to a trade that was issued before its time, so that the next one keeps its distance."""
        self.position = max(self.position, due)

    def wait_us(self, due: int) -> float:
        """How long until `due` at the present rate; infinity when standing still."""
        if self.flat_out:
            return 0.0
        return max(0.0, (due - self.position) / self.speed) if self.speed else math.inf
