"""When to pass on what has arrived: at once when it is quiet, a little later together when it is not.

A message on the bus costs what a dozen trades cost, here and in every reader. So the busier the socket, the longer the
wait for company: a millisecond at a thousand frames a second, five at twenty thousand, and nothing for a frame that
comes later than that after the last one.
"""

from __future__ import annotations

import math

MAX_LINGER_S = 0.005
_BUSY_FRAMES_A_S = 20_000.0
_MEMORY_S = 0.1


class Coalescer:
    """How long the frames of one connection wait for company. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._rate = 0.0  # frames a second, of late
        self._last_s: float | None = None

    def worked(self, frames: int, now_s: float) -> None:
        """Count frames that were passed on now.

        Args:
            frames: how many.
            now_s: the time, in seconds of one steady clock.

        """
        passed_s = 1.0 if self._last_s is None else max(now_s - self._last_s, 1e-6)
        weight = min(1.0, passed_s / _MEMORY_S)
        self._rate += weight * (frames / passed_s - self._rate)
        self._last_s = now_s

    def linger_s(self, now_s: float) -> float:
        """Return how long to wait for company before passing on what is there now."""
        if self._last_s is None:
            return 0.0
        # By the square root, so that company and delay grow alike: both double when the rate is four times as high.
        wanted_s = MAX_LINGER_S * math.sqrt(min(1.0, self._rate / _BUSY_FRAMES_A_S))
        return max(0.0, self._last_s + wanted_s - now_s)
