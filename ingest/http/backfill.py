"""What an answer over REST proves of each trade id: the trade is here, it is absent, or nothing is known. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from mesh.values.id_ranges import NO_IDS, IdRange, IdRanges
from mesh.values.trades import TradeColumns


@dataclass(frozen=True, slots=True)
class BackfillResult:
    """What is known of the ids from the one asked for on.

    Attributes:
        parts: the trades, each part's ids consecutive; between two parts lies something absent or unreachable.
        absent: ids that the answer reached beyond without having them: the venue has no such trades.
        unreachable: ids that this question cannot reach, whether the venue has them or not.
        to_the_end: whether there was nothing newer.

    """

    parts: tuple[TradeColumns, ...]
    absent: IdRanges
    unreachable: IdRanges
    to_the_end: bool

    @property
    def trades(self) -> int:
        """How many trades were found."""
        return sum(map(len, self.parts))

    @property
    def in_order(self) -> list[TradeColumns | IdRange]:
        """The trades and what is absent or unreachable between them, by id."""
        steps: list[TradeColumns | IdRange] = [*self.parts, *self.absent, *self.unreachable]
        return sorted(steps, key=lambda step: step.first_id if isinstance(step, IdRange) else int(step.trade_id[0]))

    @property
    def next_id(self) -> int | None:
        """The first id that nothing is said of; None when nothing is said at all."""
        steps = self.in_order
        if not steps:
            return None
        return (steps[-1].last_id if isinstance(steps[-1], IdRange) else int(steps[-1].trade_id[-1])) + 1


NOTHING_TOLD = BackfillResult((), NO_IDS, NO_IDS, to_the_end=False)


def from_history(page: TradeColumns, *, from_id: int, limit: int) -> BackfillResult:
    """Read an answer that holds the oldest trades from an id on: between any two of its ids the venue has nothing.

    Where all of them are older the venue did not heed the id, and to ask on would bring the same again.

    Args:
        page: the trades of the answer, their ids rising.
        from_id: the id that was asked for.
        limit: how many trades such an answer holds at most: fewer are all there are.

    """
    rows = page.rows(page.trade_id >= from_id)
    parts, absent = consecutive_parts(rows, from_id)
    return BackfillResult(parts, absent, NO_IDS, len(page) < limit or not len(rows))


def from_newest(page: TradeColumns, *, from_id: int) -> BackfillResult:
    """Read an answer that holds the newest trades, which may begin long after the id that is asked for.

    Args:
        page: the trades of the answer, their ids rising.
        from_id: the id that was asked for.

    """
    first_id = int(page.trade_id[0]) if len(page) else from_id
    parts, absent = consecutive_parts(page.rows(page.trade_id >= from_id), max(from_id, first_id))
    return BackfillResult(parts, absent, IdRanges.of(from_id, first_id - 1), True)


def split_anchor(found: BackfillResult, trade_id: int) -> tuple[TradeColumns | None, BackfillResult]:
    """Return the trade that was asked from, None where the answer does not begin with it, and what comes after it.

    Args:
        found: what the answer proves.
        trade_id: the id that was asked from.

    """
    if not found.parts or int(found.parts[0].trade_id[0]) != trade_id:
        return None, found
    anchor, rest = found.parts[0].rows(slice(0, 1)), found.parts[0].rows(slice(1, None))
    parts = (rest, *found.parts[1:]) if len(rest) else found.parts[1:]
    return anchor, replace(found, parts=parts)


def without_spoiled(found: BackfillResult, spoiled: IdRanges) -> BackfillResult:
    """Return what is found without any proof that ids are absent among which bad rows are: nothing is known of them.

    Args:
        found: what the answer proves.
        spoiled: ids that the bad rows of the answer may have.

    """
    unknown = found.absent & spoiled
    return replace(found, absent=found.absent - unknown, unreachable=found.unreachable | unknown)


def consecutive_parts(rows: TradeColumns, from_id: int) -> tuple[tuple[TradeColumns, ...], IdRanges]:
    """Return trades of rising ids in parts whose ids are consecutive, and the ids between them, `from_id` on.

    Args:
        rows: the trades, their ids rising and none below `from_id`.
        from_id: where the ids begin that count as missing.

    """
    ids = rows.trade_id
    before = np.concatenate([[from_id - 1], ids[:-1]]) if len(ids) else ids
    jumps = np.flatnonzero(ids - before != 1)
    absent = IdRanges.from_pairs((int(before[row]) + 1, int(ids[row]) - 1) for row in jumps.tolist())
    edges = [*sorted({0, *jumps.tolist()}), len(ids)]
    parts = tuple(rows.rows(slice(start, end)) for start, end in pairwise(edges) if end > start)
    return parts, absent
