"""Delays between attempts, as a generator: the caller waits, this only counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import random


def backoff(
    *, first_s: float = 0.25, factor: float = 1.8, max_s: float = 15.0, uniform: Callable[[], float] = random
) -> Iterator[float]:
    """Yield delays in seconds, growing from `first_s` to `max_s`, each jittered down by at most a half.

    Args:
        first_s: the first delay before jitter.
        factor: by how much each delay grows.
        max_s: no delay is longer.
        uniform: gives numbers in [0, 1).

    """
    delay_s = first_s
    while True:
        yield min(delay_s, max_s) * (1 - uniform() / 2)
        delay_s = min(delay_s * factor, max_s)
