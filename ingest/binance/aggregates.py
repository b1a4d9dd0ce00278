"""Aggregate trades, one order's trades at one price as one row: finding those of a trade, and what they prove. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ingest.http.backfill import BackfillResult, consecutive_parts
from mesh.values.id_ranges import IdRanges
from mesh.values.trades import Int64s, TradeColumns


@dataclass(frozen=True, slots=True, eq=False)
class Aggregates:
    """Aggregates as one answer holds them, row by row; all three arrays have shape (n,) and rise.

    Attributes:
        aggregate_id: their own ids: two of them that follow each other have nothing in between.
        first_id: the first trade inside each.
        last_id: the last trade inside each.
        singles: the trades of those aggregates that hold just one: of the others only the sums are told.

    """

    aggregate_id: Int64s
    first_id: Int64s
    last_id: Int64s
    singles: TradeColumns

    def __len__(self) -> int:
        return len(self.aggregate_id)


class AggregateSearch:
    """Where to look for the aggregate that holds a trade, when only the trade's id is known.

    Both ids rise together, so each page tells which way to go, and by its density how far.

    Args:
        trade_id: the trade.
        page: how many aggregates one answer holds at most.

    """

    def __init__(self, trade_id: int, page: int) -> None:
        self._trade_id = trade_id
        self._page = page
        self._below = -1  # this aggregate ends before the trade
        self._above: int | None = None  # this one begins after it

    def next_aggregate_id(self, seen: Aggregates) -> int | None:
        """Return the aggregate to ask from after this page; None when it has the trade's place, or no page will."""
        if not len(seen):
            return None
        density = len(seen) / int(seen.last_id[-1] - seen.first_id[0] + 1)
        too_late = int(seen.first_id[0]) - self._trade_id
        too_early = self._trade_id - int(seen.last_id[-1])
        if too_late > 0:
            edge = int(seen.aggregate_id[0])
            if self._above is not None and edge >= self._above:
                return None  # the venue has nothing older
            self._above = edge
            guess = edge - int(too_late * density)
        elif too_early > 0:
            edge = int(seen.aggregate_id[-1])
            if self._above is None or edge <= self._below:
                return None  # nor anything newer
            self._below = edge
            guess = edge + int(too_early * density)
        else:
            return None
        lowest = max(self._below, 0)
        if lowest >= self._above:
            return None
        guess -= self._page // 2  # to meet it in the middle of the page
        return guess if lowest <= guess < self._above else (lowest + self._above) // 2


def from_aggregates(page: Aggregates, *, from_id: int, until_id: int | None, limit: int) -> BackfillResult:
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
    absent: list[tuple[int, int]] = []
    unreachable: list[tuple[int, int]] = []
    next_id, previous = from_id, None
    for aggregate_id, first_id, last_id in zip(
        page.aggregate_id.tolist(), page.first_id.tolist(), page.last_id.tolist(), strict=True
    ):
        if next_id > end_id:
            break
        if first_id > next_id:
            follows = previous is not None and aggregate_id == previous + 1
            (absent if follows else unreachable).append((next_id, min(first_id - 1, end_id)))
        if last_id > first_id and last_id >= next_id and first_id <= end_id:
            unreachable.append((max(first_id, next_id), min(last_id, end_id)))
        next_id, previous = max(next_id, last_id + 1), aggregate_id
    singles = page.singles.rows((page.singles.trade_id >= from_id) & (page.singles.trade_id <= end_id))
    parts, _ = consecutive_parts(singles, from_id)
    to_the_end = end_id < from_id or (until_id is None and len(page) < limit)
    return BackfillResult(parts, IdRanges.from_pairs(absent), IdRanges.from_pairs(unreachable), to_the_end)
