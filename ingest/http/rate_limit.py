"""The REST budget: how much weight was spent in this minute, and how long the venue said to stay away."""

from __future__ import annotations

WEIGHT_A_MINUTE = 6000
_SHARE = 0.8  # other programs may use the same address
_MINUTE_S = 60.0


_MOST_WEIGHT = 1_000_000  # no limit of Binance's is near it


def used_weight(text: str) -> int:
    """Read `X-MBX-USED-WEIGHT-1M`; 0 when it is missing or no count that can be."""
    if not (0 < len(text) <= 7 and text.isascii() and text.isdigit()):
        return 0
    weight = int(text)
    return weight if weight <= _MOST_WEIGHT else 0


class Budget:
    """One address's budget with a venue. Times are seconds of one steady clock."""

    def __init__(self) -> None:
        self._minute_from_s = float("-inf")
        self._used = 0
        self._away_until_s = float("-inf")

    def wait_s(self, weight: int, now_s: float) -> float:
        """Return how long to wait before a request of this weight; 0 is now."""
        away_s = self._away_until_s - now_s
        left_s = self._minute_from_s + _MINUTE_S - now_s
        full_s = left_s if self._used + weight > WEIGHT_A_MINUTE * _SHARE else 0.0
        return max(away_s, full_s, 0.0)

    def spend(self, weight: int, now_s: float) -> None:
        """Count a request that is about to be sent."""
        if now_s - self._minute_from_s >= _MINUTE_S:
            self._minute_from_s, self._used = now_s, 0
        self._used += weight

    def told(self, used: int) -> None:
        """Take the venue's own count, `X-MBX-USED-WEIGHT-1M`: others may have spent too."""
        self._used = max(self._used, used)

    def stay_away(self, seconds: float, now_s: float) -> None:
        """Obey a `Retry-After`."""
        self._away_until_s = max(self._away_until_s, now_s + seconds)
