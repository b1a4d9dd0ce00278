"""Sets of trade ids, as ranges: the one type for "these ids". Pure.

A venue's ids rise by one, so what is stored, missing or absent is nearly always a few long ranges. An `IdRange` is one
of them, `IdRanges` a set of them with the algebra of sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from mesh.values.trades import Bools, Int64s


class IdRange(NamedTuple):
    """Consecutive trade ids, both ends included: `first_id <= last_id`.

    >>> IdRange(5, 9).size
    5
    """

    first_id: int
    last_id: int

    @property
    def size(self) -> int:
        """How many ids there are."""
        return self.last_id - self.first_id + 1


@dataclass(frozen=True, slots=True, eq=False)
class IdRanges:
    """A set of trade ids, as ranges that rise, are disjoint and never touch; it never changes.

    Make one with `of`, `from_pairs` or `from_ids`. Two that hold the same ids are equal. Every operation costs about as
    much as there are ranges, however many ids they hold.

    Attributes:
        first: the first id of each range, int64 of shape (n,).
        last: the last id of each range, int64 of shape (n,).

    >>> stored = IdRanges.of(1, 5) | IdRanges.from_ids(np.array([6, 7, 9]))
    >>> list(stored), list(stored.gaps())
    ([IdRange(first_id=1, last_id=7), IdRange(first_id=9, last_id=9)], [IdRange(first_id=8, last_id=8)])
    """

    first: Int64s
    last: Int64s

    @staticmethod
    def of(first_id: int, last_id: int) -> IdRanges:
        """Return the ids from `first_id` to `last_id`, both included; none when the last one is lower.

        Args:
            first_id: the lowest.
            last_id: the highest.

        """
        return IdRanges.from_pairs([(first_id, last_id)])

    @staticmethod
    def from_pairs(pairs: Iterable[tuple[int, int]]) -> IdRanges:
        """Return the union of (first id, last id) pairs, such as `IdRange`s or rows of the database.

        Args:
            pairs: in any order; they may overlap or touch. One whose last id is below its first one holds no ids.

        """
        columns = np.array(list(pairs), np.int64).reshape(-1, 2)
        first, last = columns[columns[:, 0] <= columns[:, 1]].T
        return IdRanges._union(first, last)

    @staticmethod
    def from_ids(ids: Int64s) -> IdRanges:
        """Return the set of some ids.

        Args:
            ids: int64 of shape (n,), rising, none of them twice.

        """
        if not len(ids):
            return NO_IDS
        breaks = np.flatnonzero(np.diff(ids) != 1)
        return IdRanges(ids[np.concatenate(([0], breaks + 1))], ids[np.concatenate((breaks, [len(ids) - 1]))])

    @staticmethod
    def _union(first: Int64s, last: Int64s) -> IdRanges:
        if not len(first):
            return NO_IDS
        order = np.argsort(first, kind="stable")
        first, reach = first[order], np.maximum.accumulate(last[order])
        begins = np.concatenate(([True], first[1:] - 1 > reach[:-1]))
        return IdRanges(first[begins], reach[np.concatenate((begins[1:], [True]))])

    def __post_init__(self) -> None:
        self.first.flags.writeable = self.last.flags.writeable = False

    def __iter__(self) -> Iterator[IdRange]:
        """Iterate over the ranges, rising."""
        return map(IdRange, self.first.tolist(), self.last.tolist())

    def __bool__(self) -> bool:
        """Return whether there are any ids."""
        return len(self.first) > 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IdRanges):
            return NotImplemented
        return np.array_equal(self.first, other.first) and np.array_equal(self.last, other.last)

    def __hash__(self) -> int:
        return hash((self.first.tobytes(), self.last.tobytes()))

    def __or__(self, other: IdRanges) -> IdRanges:
        """Return the ids that are in either."""
        return self._union(np.concatenate((self.first, other.first)), np.concatenate((self.last, other.last)))

    def __and__(self, other: IdRanges) -> IdRanges:
        """Return the ids that are in both."""
        begin = np.searchsorted(other.last, self.first)
        counts = np.maximum(np.searchsorted(other.first, self.last, side="right") - begin, 0)
        mine = np.repeat(np.arange(len(self.first)), counts)
        theirs = np.arange(len(mine)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(begin, counts)
        return IdRanges(
            np.maximum(self.first[mine], other.first[theirs]), np.minimum(self.last[mine], other.last[theirs])
        )

    def __sub__(self, other: IdRanges) -> IdRanges:
        """Return the ids that are here and not in the other."""
        if not self or not other:
            return self
        low, high = min(self.first[0], other.first[0]), max(self.last[-1], other.last[-1])
        # The ids outside of the other: before each of its ranges, from the end of the one before, and after the last.
        first, last = np.concatenate(([low], other.last + 1)), np.concatenate((other.first - 1, [high]))
        outside = first <= last
        return self & IdRanges(first[outside], last[outside])

    @property
    def size(self) -> int:
        """How many ids there are, which may be far more than ranges."""
        return int((self.last - self.first + 1).sum())

    @property
    def lowest(self) -> int:
        """The lowest id; ask only a set that has any."""
        return int(self.first[0])

    @property
    def highest(self) -> int:
        """The highest id; ask only a set that has any."""
        return int(self.last[-1])

    def contains(self, ids: Int64s) -> Bools:
        """Return for each id whether it is in the set, bool of shape (n,).

        Args:
            ids: int64 of shape (n,), in any order.

        """
        if not self:
            return np.zeros(len(ids), np.bool_)
        at = np.searchsorted(self.first, ids, side="right") - 1
        return (at >= 0) & (ids <= self.last[at])

    def gaps(self) -> IdRanges:
        """Return the ids that lie between the ranges."""
        return IdRanges(self.last[:-1] + 1, self.first[1:] - 1)

    def ranges_not_in(self, other: IdRanges) -> IdRanges:
        """Return those ranges that the other has not as they are here, with the same ends.

        It says which rows of a table of ranges to write or remove; the ids of such a range may be in the other all the
        same, in a longer or a shorter one.
        """
        if not self or not other:
            return self
        at = np.minimum(np.searchsorted(other.first, self.first), len(other.first) - 1)
        changed = (other.first[at] != self.first) | (other.last[at] != self.last)
        return IdRanges(self.first[changed], self.last[changed])


NO_IDS: Final = IdRanges(np.empty(0, np.int64), np.empty(0, np.int64))
"""The set without ids."""
