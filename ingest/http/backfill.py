"""What an answer over REST proves: here are trades, those ids the venue has not, and of those it says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ingest.binance.aggregates import Aggregates
from ingest.gap import Gap
from mesh.values.trades import TradeColumns


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of the ids from the one asked for on.

    Attributes:
        parts: the trades, each part's ids consecutive; between two parts lies something absent or unreachable.
        absent: ids that the answer reached beyond without having them: the venue has no such trades.
        unreachable: ids that this question cannot reach, whether the venue has them or not.
        to_the_end: whether there was nothing newer.

    """

    parts: tuple[TradeColumns, ...]
    absent: tuple[Gap, ...]
    unreachable: tuple[Gap, ...]
    to_the_end: bool

    @property
    def trades(self) -> int:
        """How many trades were found."""
        return sum(map(len, self.parts))

    @property
    def in_order(self) -> list[TradeColumns | Gap]:
        """The trades and what is absent or unreachable between them, by id."""
        steps: list[TradeColumns | Gap] = [*self.parts, *self.absent, *self.unreachable]
        return sorted(steps, key=lambda step: step.first_id if isinstance(step, Gap) else int(step.trade_id[0]))

    @property
    def next_id(self) -> int | None:
        """The first id that nothing is said of; None when nothing is said at all."""
        steps = self.in_order
        if not steps:
            return None
        return (steps[-1].last_id if isinstance(steps[-1], Gap) else int(steps[-1].trade_id[-1])) + 1


def from_history(page: TradeColumns, *, from_id: int, limit: int) -> Found:
    """Read an answer that holds the oldest trades from an id on: between any two of its ids the venue has nothing.

    Where all of them are older the venue did not heed the id, and to ask on would bring the same again.
    """
    rows = page.rows(page.trade_id >= from_id)
    parts, absent = _cut(rows, from_id)
    return Found(parts, absent, (), len(page) < limit or not len(rows))


def from_newest(page: TradeColumns, *, from_id: int) -> Found:
    """Read an answer that holds the newest trades, which may begin long after the id that is asked for."""
    first_id = int(page.trade_id[0]) if len(page) else from_id
    unreachable = (Gap(from_id, first_id - 1),) if first_id > from_id else ()
    parts, absent = _cut(page.rows(page.trade_id >= from_id), max(from_id, first_id))
    return Found(parts, absent, unreachable, True)


def from_aggregates(page: Aggregates, *, from_id: int, until_id: int | None, limit: int) -> Found:
    """Read an answer that holds aggregates, which may begin before or after the id that is asked for.

    An aggregate of one trade is that trade. One of more proves that its trades exist, but not what each of them was:
    these are unreachable, never absent. Absent is what lies between two aggregates that follow each other; before the
    first and between two that do not, nobody knows.

    Args:
        page: the answer.
        from_id: the id asked for.
        until_id: the last id of interest; None has no end.
        limit: the most aggregates such an answer holds: fewer are all there are.

    """
    end_id = int(page.last_id[-1]) if len(page) else from_id - 1
    end_id = end_id if until_id is None else min(end_id, until_id)
    absent: list[Gap] = []
    unreachable: list[Gap] = []
    next_id, previous = from_id, None
    for aggregate_id, first_id, last_id in zip(
        page.aggregate_id.tolist(), page.first_id.tolist(), page.last_id.tolist(), strict=True
    ):
        if next_id > end_id:
            break
        if first_id > next_id:
            follows = previous is not None and aggregate_id == previous + 1
            (absent if follows else unreachable).append(Gap(next_id, min(first_id - 1, end_id)))
        if last_id > first_id and last_id >= next_id and first_id <= end_id:
            unreachable.append(Gap(max(first_id, next_id), min(last_id, end_id)))
        next_id, previous = max(next_id, last_id + 1), aggregate_id
    singles = page.singles.rows((page.singles.trade_id >= from_id) & (page.singles.trade_id <= end_id))
    parts, _ = _cut(singles, from_id)
    to_the_end = end_id < from_id or (until_id is None and len(page) < limit)
    return Found(parts, tuple(absent), _joined(unreachable), to_the_end)


def split_anchor(found: Found, trade_id: int) -> tuple[TradeColumns | None, Found]:
    """Return the trade that was asked from, None where the answer does not begin with it, and what comes after it."""
    if not found.parts or int(found.parts[0].trade_id[0]) != trade_id:
        return None, found
    anchor, rest = found.parts[0].rows(slice(0, 1)), found.parts[0].rows(slice(1, None))
    parts = (rest, *found.parts[1:]) if len(rest) else found.parts[1:]
    return anchor, replace(found, parts=parts)


def spoil(found: Found, gaps: Sequence[Gap]) -> Found:
    """Return what is found without any proof that ids are absent among which bad rows are: nothing is known of them."""
    absent: list[Gap] = []
    unreachable = list(found.unreachable)
    for whole in found.absent:
        next_id = whole.first_id
        for gap in gaps:
            first_id, last_id = max(gap.first_id, next_id), min(gap.last_id, whole.last_id)
            if first_id > last_id:
                continue
            if first_id > next_id:
                absent.append(Gap(next_id, first_id - 1))
            unreachable.append(Gap(first_id, last_id))
            next_id = last_id + 1
        if next_id <= whole.last_id:
            absent.append(Gap(next_id, whole.last_id))
    unreachable.sort(key=lambda gap: gap.first_id)
    return replace(found, absent=tuple(absent), unreachable=tuple(unreachable))


def _joined(gaps: list[Gap]) -> tuple[Gap, ...]:
    joined: list[Gap] = []
    for gap in gaps:
        if joined and joined[-1].last_id + 1 == gap.first_id:
            joined[-1] = Gap(joined[-1].first_id, gap.last_id)
        else:
            joined.append(gap)
    return tuple(joined)


def _cut(rows: TradeColumns, from_id: int) -> tuple[tuple[TradeColumns, ...], tuple[Gap, ...]]:
    ids = rows.trade_id
    before = np.concatenate([[from_id - 1], ids[:-1]]) if len(ids) else ids
    jumps = np.flatnonzero(ids - before != 1)
    absent = tuple(Gap(int(before[row]) + 1, int(ids[row]) - 1) for row in jumps.tolist())
    edges = [*sorted({0, *jumps.tolist()}), len(ids)]
    parts = tuple(rows.rows(slice(start, end)) for start, end in pairwise(edges) if end > start)
    return parts, absent
