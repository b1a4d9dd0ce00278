"""Delays between attempts, as a generator."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

FIRST_S = 0.5
MOST_S = 10.0


def backoff(random: Random) -> Iterator[float]:
    """Give seconds to wait: doubling up to ten, each shortened by chance so that clients do not come back together."""
    delay_s = FIRST_S
    while True:
        yield delay_s * (0.5 + random.random() / 2)
        delay_s = min(2 * delay_s, MOST_S)
