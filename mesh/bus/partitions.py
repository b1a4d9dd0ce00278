"""Partitions: RAW and PROCESSED in several streams, each a chain of its own with a writer of its own. Pure.

A symbol is always in the same partition, so its trades stay in order. With one partition no name has a number.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

MAX_PARTITIONS = 16
"""For so many the bus' permissions are written (`deploy/nats/permissions.py`)."""


@dataclass(frozen=True, order=True, slots=True)
class Partition:
    """One of the mesh's partitions.

    Attributes:
        number: which, from 0 on.
        count: how many there are.

    """

    number: int
    count: int

    def name(self, base: str) -> str:
        """Return the name of this partition's part of something: of `RAW` it is `RAW_2`, or `RAW` itself of one."""
        return base if self.count == 1 else f"{base}_{self.number}"

    def refusal(self, venue: str, symbol: str) -> str:
        """Return why trades of a symbol cannot stand in this partition, empty when they can.

        Args:
            venue: whose symbol it is: `binance`.
            symbol: in lower case: `btcusdt`.

        """
        right = partition_of(venue, symbol, self.count)
        if right == self:
            return ""
        return f"trades of {venue} {symbol} in partition {self.number}, expected them in {right.number}"

    def holds_all(self, names: Iterable[tuple[str, str]]) -> bool:
        """Return whether trades of all these symbols stand in this partition.

        Args:
            names: venue and symbol of each, as `refusal` takes them.

        """
        return self.count == 1 or not any(self.refusal(*name) for name in names)

    @property
    def prefix(self) -> str:
        """What stands before the venue in its subjects: `2.`, and nothing where there is one partition."""
        return "" if self.count == 1 else f"{self.number}."


WHOLE = Partition(0, 1)
"""The only one there is with PARTITIONS=1."""


def partitions(count: int) -> tuple[Partition, ...]:
    """Return all partitions of a mesh that has so many."""
    return tuple(Partition(number, count) for number in range(count))


@lru_cache(maxsize=4096)
def partition_of(venue: str, symbol: str, count: int) -> Partition:
    """Return the partition of a symbol.

    Args:
        venue: whose symbol it is: `binance`.
        symbol: in lower case: `btcusdt`.
        count: how many partitions there are.

    """
    # In this form, of those that spread any 1,500 symbols evenly, the six coins of the default are spread, too.
    return Partition(zlib.crc32(f"{symbol}.{venue}".encode()) * count >> 32, count)
