"""What is stored and what is missing, as ranges of trade ids: the arithmetic behind "nothing lost". Pure.

The venue's ids rise by one, so what lies between two stored ranges is missing: a hole. `record` says what a batch of
new ids changes; the caller writes that in the transaction that stores the trades.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mesh.values import epochs
from mesh.values.trades import Bools, Int64s

_MAX_BEGINNING = 200_000
"""An epoch whose lowest id is higher began there, as ours did when a symbol was followed for the first time."""


@dataclass(frozen=True, slots=True, eq=False)
class Ids:
    """A set of ids as ranges, both ends included, in two columns of shape (n,): rising, disjoint, never touching.

    >>> stored = Ids.of_ranges([(1, 5)]) | Ids.of_ids(np.array([6, 7, 9]))
    >>> list(stored), list(stored.gaps())
    ([(1, 7), (9, 9)], [(8, 8)])
    """

    first: Int64s
    last: Int64s

    @staticmethod
    def of_ids(ids: Int64s) -> Ids:
        """Return the set of these ids, which must rise."""
        if not len(ids):
            return NOTHING
        breaks = np.flatnonzero(np.diff(ids) != 1)
        return Ids(ids[np.concatenate(([0], breaks + 1))], ids[np.concatenate((breaks, [len(ids) - 1]))])

    @staticmethod
    def of_ranges(ranges: Iterable[tuple[int, int]]) -> Ids:
        """Return the union of ranges in any order."""
        columns = np.array(list(ranges), np.int64).reshape(-1, 2)
        return Ids._union(columns[:, 0], columns[:, 1])

    @staticmethod
    def _union(first: Int64s, last: Int64s) -> Ids:
        if not len(first):
            return NOTHING
        order = np.argsort(first, kind="stable")
        first, reach = first[order], np.maximum.accumulate(last[order])
        begins = np.concatenate(([True], first[1:] > reach[:-1] + 1))
        return Ids(first[begins], reach[np.concatenate((begins[1:], [True]))])

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self.first.tolist(), self.last.tolist(), strict=True)

    def __bool__(self) -> bool:
        return len(self.first) > 0

    def __or__(self, other: Ids) -> Ids:
        return self._union(np.concatenate((self.first, other.first)), np.concatenate((self.last, other.last)))

    def __and__(self, other: Ids) -> Ids:
        begin = np.searchsorted(other.last, self.first)
        counts = np.maximum(np.searchsorted(other.first, self.last, side="right") - begin, 0)
        mine = np.repeat(np.arange(len(self.first)), counts)
        theirs = np.arange(len(mine)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(begin, counts)
        return Ids(np.maximum(self.first[mine], other.first[theirs]), np.minimum(self.last[mine], other.last[theirs]))

    def __sub__(self, other: Ids) -> Ids:
        if not self or not other:
            return self
        low, high = min(self.first[0], other.first[0]), max(self.last[-1], other.last[-1])
        outside = Ids(np.concatenate(([low], other.last + 1)), np.concatenate((other.first - 1, [high])))
        return self & outside._without_empty()

    def _without_empty(self) -> Ids:
        kept = self.first <= self.last
        return Ids(self.first[kept], self.last[kept])

    def holds(self, ids: Int64s) -> Bools:
        """Return for each id whether it is in the set."""
        if not self:
            return np.zeros(len(ids), np.bool_)
        at = np.searchsorted(self.first, ids, side="right") - 1
        return (at >= 0) & (ids <= self.last[at])

    def count(self) -> int:
        """Return how many ids there are."""
        return int((self.last - self.first + 1).sum())

    def gaps(self) -> Ids:
        """Return what lies between the ranges."""
        return Ids(self.last[:-1] + 1, self.first[1:] - 1)


NOTHING = Ids(np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True, slots=True)
class Missing:
    """A hole that is OPEN, ABSENT or EXPIRED, as the table has it."""

    hole_id: int
    ids: Ids


@dataclass(frozen=True, slots=True)
class Change:
    """What new or lost ids do to a symbol's ledger.

    `forget` are stored ranges that are no more, `keep` the ranges that are new or have another length. `opened` was not
    known to be missing before. A hole of `filled` has lost the ids in the second place; the third place is what of it
    is still missing.
    """

    forget: Ids
    keep: Ids
    opened: Ids
    filled: tuple[tuple[Missing, Ids, Ids], ...]

    def __bool__(self) -> bool:
        return bool(self.forget or self.keep or self.opened or self.filled)


def record(found: Ids, lost: Ids = NOTHING, *, stored: Ids, missing: Iterable[Missing]) -> Change:
    """Return what changes when `found` is stored and `lost` turns out not to be.

    Args:
        found: ids that are stored from now on.
        lost: ids that are not stored any more.
        stored: the stored ranges around them, those next to them on both sides included.
        missing: the holes not FILLED that overlap them or lie between them.

    """
    after = (stored - lost) | found
    holes = list(missing)
    known = Ids.of_ranges(pair for hole in holes for pair in hole.ids)
    return Change(
        forget=_not_among(stored, after),
        keep=_not_among(after, stored),
        opened=(within_epochs(after.gaps()) | lost) - found - known,
        filled=tuple((hole, hole.ids & found, hole.ids - found) for hole in holes if hole.ids & found),
    )


def within_epochs(gaps: Ids) -> Ids:
    """Return what lies between stored ranges and is missing: not what lies between two epochs.

    An epoch begins with its lowest ids, so what is missing there counts; where they are very many it began elsewhere.
    """
    if not gaps or not (gaps.first // epochs.IDS != (gaps.last + 1) // epochs.IDS).any():
        return gaps
    kept = []
    for first, last in gaps:
        if epochs.epoch_of(first) == epochs.epoch_of(last + 1):
            kept.append((first, last))
        elif 0 < epochs.venue_id(last + 1) <= _MAX_BEGINNING:
            kept.append((epochs.key_of(epochs.epoch_of(last), 0), last))
    return Ids.of_ranges(kept)


def _not_among(these: Ids, those: Ids) -> Ids:
    among = set(those)
    return Ids.of_ranges(pair for pair in these if pair not in among)
