"""How long trades take from the venue to here, over the last minute. Pure."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WINDOW_S = 60.0
_SLOT_S = 5.0
_SMALLEST_S = 1e-5
_LONGEST_S = 3600.0
_STEP = math.log(1.05)
_PLACES = round(math.log(_LONGEST_S / _SMALLEST_S) / _STEP) + 1
_MAX_UNCOUNTED = 1024


@dataclass(frozen=True, slots=True)
class Lag:
    """Quantiles of a delay, in seconds."""

    p50_s: float
    p99_s: float


class RecentLag:
    """Quantiles of the delays of the last minute, exact within 3 %; what is kept is bounded, however many come."""

    def __init__(self) -> None:
        self._slots: deque[tuple[int, NDArray[np.int64]]] = deque()  # how many are about so long
        self._uncounted: list[float] = []  # of the newest slot: counted together, they take half the time

    def observe(self, lag_s: float, *, now_s: float) -> None:
        """Take one delay.

        Args:
            lag_s: the delay; one below 0, by two clocks that differ, counts as 0.
            now_s: when, by a clock that never steps back.

        """
        slot = int(now_s / _SLOT_S)
        if not self._slots or self._slots[-1][0] != slot:
            self._count()
            self._slots.append((slot, np.zeros(_PLACES, np.int64)))
            self._forget(now_s)
        self._uncounted.append(lag_s)
        if len(self._uncounted) >= _MAX_UNCOUNTED:
            self._count()

    def quantiles(self, *, now_s: float) -> Lag | None:
        """Return the quantiles; None when nothing has come in the last minute.

        Args:
            now_s: by the same clock as in `observe`.

        """
        self._count()
        self._forget(now_s)
        if not self._slots:
            return None
        up_to = np.cumsum(np.sum([counts for _, counts in self._slots], axis=0))
        p50, p99 = np.searchsorted(up_to, (0.5 * up_to[-1], 0.99 * up_to[-1])).tolist()
        return Lag(_delay_s(p50), _delay_s(p99))

    def _count(self) -> None:
        if self._uncounted:
            lags_s = np.clip(self._uncounted, _SMALLEST_S, _LONGEST_S)
            places = np.rint(np.log(lags_s / _SMALLEST_S) / _STEP).astype(np.intp)
            self._slots[-1][1][:] += np.bincount(places, minlength=_PLACES)
            self._uncounted.clear()

    def _forget(self, now_s: float) -> None:
        while self._slots and (self._slots[0][0] + 1) * _SLOT_S <= now_s - WINDOW_S:
            self._slots.popleft()


def _delay_s(place: int) -> float:
    return _SMALLEST_S * math.exp(place * _STEP) if place else 0.0
