"""How long trades take from the venue to here, over the last minute. Pure."""

from __future__ import annotations

import math
from array import array
from collections import deque
from dataclasses import dataclass

import numpy as np

WINDOW_S = 60.0
_SLOT_S = 5.0
_SMALLEST_S = 1e-5
_LONGEST_S = 3600.0
_STEP = math.log(1.05)
_PLACES = round(math.log(_LONGEST_S / _SMALLEST_S) / _STEP) + 1


@dataclass(frozen=True, slots=True)
class Lag:
    """Quantiles of a delay, in seconds."""

    p50_s: float
    p99_s: float


class RecentLag:
    """Quantiles of the delays of the last minute, exact within 3 %; what is kept is bounded, however many come."""

    def __init__(self) -> None:
        self._slots: deque[tuple[int, array[int]]] = deque()  # how many are about so long

    def observe(self, lag_s: float, *, now_s: float) -> None:
        """Take one delay.

        Args:
            lag_s: the delay; one below 0, by two clocks that differ, counts as 0.
            now_s: when, by a clock that never steps back.

        """
        place = round(math.log(min(lag_s, _LONGEST_S) / _SMALLEST_S) / _STEP) if lag_s > _SMALLEST_S else 0
        slot = int(now_s / _SLOT_S)
        if not self._slots or self._slots[-1][0] != slot:
            self._slots.append((slot, array("q", bytes(8 * _PLACES))))
            self._forget(now_s)
        self._slots[-1][1][place] += 1

    def quantiles(self, *, now_s: float) -> Lag | None:
        """Return the quantiles; None when nothing has come in the last minute.

        Args:
            now_s: by the same clock as in `observe`.

        """
        self._forget(now_s)
        if not self._slots:
            return None
        up_to = np.cumsum(np.sum([np.frombuffer(counts, np.int64) for _, counts in self._slots], axis=0))
        p50, p99 = np.searchsorted(up_to, (0.5 * up_to[-1], 0.99 * up_to[-1])).tolist()
        return Lag(_delay_s(p50), _delay_s(p99))

    def _forget(self, now_s: float) -> None:
        while self._slots and (self._slots[0][0] + 1) * _SLOT_S <= now_s - WINDOW_S:
            self._slots.popleft()


def _delay_s(place: int) -> float:
    return _SMALLEST_S * math.exp(place * _STEP) if place else 0.0
