"""What an answer over REST proves: here are trades, those ids the venue has not, and of those it says nothing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ingest.sequencer import Gap
from mesh.trades import TradeColumns


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of the ids from the one asked for on.

    Attributes:
        parts: the trades, each part's ids consecutive; between two parts lies something absent.
        absent: ids that the answer reached beyond without having them.
        unreachable: ids that this question cannot reach, before all others; None when it reached all.
        to_the_end: whether there was nothing newer.

    """

    parts: tuple[TradeColumns, ...]
    absent: tuple[Gap, ...]
    unreachable: Gap | None
    to_the_end: bool

    @property
    def trades(self) -> int:
        """How many trades were found."""
        return sum(map(len, self.parts))

    @property
    def in_order(self) -> list[TradeColumns | Gap]:
        """The trades and what is absent between them, by id."""
        steps: list[TradeColumns | Gap] = [*self.parts, *self.absent]
        return sorted(steps, key=lambda step: step.first_id if isinstance(step, Gap) else int(step.trade_id[0]))

    @property
    def next_id(self) -> int | None:
        """The first id that nothing is known of; None when nothing was found."""
        return int(self.parts[-1].trade_id[-1]) + 1 if self.parts else None


def from_history(page: TradeColumns, *, from_id: int, limit: int) -> Found:
    """Read an answer that holds the oldest trades from an id on: between any two of its ids the venue has nothing."""
    rows = page.rows(page.trade_id >= from_id)
    parts, absent = _cut(rows, from_id)
    return Found(parts, absent, None, len(page) < limit)


def from_newest(page: TradeColumns, *, from_id: int) -> Found:
    """Read an answer that holds the newest trades, which may begin long after the id that is asked for."""
    first_id = int(page.trade_id[0]) if len(page) else from_id
    unreachable = Gap(from_id, first_id - 1) if first_id > from_id else None
    parts, absent = _cut(page.rows(page.trade_id >= from_id), max(from_id, first_id))
    return Found(parts, absent, unreachable, True)


def _cut(rows: TradeColumns, from_id: int) -> tuple[tuple[TradeColumns, ...], tuple[Gap, ...]]:
    ids = rows.trade_id
    before = np.concatenate([[from_id - 1], ids[:-1]]) if len(ids) else ids
    jumps = np.flatnonzero(ids - before != 1)
    absent = tuple(Gap(int(before[row]) + 1, int(ids[row]) - 1) for row in jumps.tolist())
    edges = [*sorted({0, *jumps.tolist()}), len(ids)]
    parts = tuple(rows.rows(slice(start, end)) for start, end in pairwise(edges) if end > start)
    return parts, absent
