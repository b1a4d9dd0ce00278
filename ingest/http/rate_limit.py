"""The rate limit of a venue's REST: the weight spent in this minute, and how long the venue said to stay away. Pure."""

from __future__ import annotations

_SHARE = 0.8  # other programs may use the same address
_MINUTE_S = 60.0


class RateLimit:
    """One address's weight with a venue. Times are seconds of one monotonic clock.

    Args:
        weight_per_minute: what the venue allows; a fifth of it is left to other programs at the same address.

    """

    def __init__(self, weight_per_minute: int) -> None:
        self._limit = weight_per_minute * _SHARE
        self._minute_from_s = float("-inf")
        self._used = 0
        self._away_until_s = float("-inf")

    def wait_s(self, weight: int, now_s: float) -> float:
        """Return how long to wait before a request of this weight; 0 is now.

        Args:
            weight: of the request, as the venue counts.
            now_s: the time, in seconds of one steady clock.

        """
        away_s = self._away_until_s - now_s
        left_s = self._minute_from_s + _MINUTE_S - now_s
        full_s = left_s if self._used + weight > self._limit else 0.0
        return max(away_s, full_s, 0.0)

    def spend(self, weight: int, now_s: float) -> None:
        """Count a request that is about to be sent.

        Args:
            weight: of the request, as the venue counts.
            now_s: the time, in seconds of one steady clock.

        """
        if now_s - self._minute_from_s >= _MINUTE_S:
            self._minute_from_s, self._used = now_s, 0
        self._used += weight

    def reported(self, used: int) -> None:
        """Take the venue's own count of this minute's weight: others may have spent too."""
        self._used = max(self._used, used)

    def stay_away(self, seconds: float, now_s: float) -> None:
        """Obey a `Retry-After`.

        Args:
            seconds: for how long nothing may be asked.
            now_s: the time, in seconds of one steady clock.

        """
        self._away_until_s = max(self._away_until_s, now_s + seconds)
