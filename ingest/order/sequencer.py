"""One symbol's trades in the order of their ids, each once, and the holes between them.

The venue's ids rise by one, so what comes next is known. Trades that come early wait here until the ids before them
have come too, by the socket or over REST, or are known not to exist, or until a bound is passed; then they go on
without, and the hole is told.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest.gap import Gap
from mesh.trades import Float64s, TradeColumns, concatenate


@dataclass(frozen=True, slots=True)
class Limits:
    """How much waits for how long before a gap is given up.

    `max_nothing_s` is for a venue that answers over REST, but has nothing of the ids: so far it may be behind itself.
    """

    max_held_trades: int = 200_000
    max_held_s: float = 60.0
    max_gap_ids: int = 200_000
    max_nothing_s: float = 5.0


@dataclass(slots=True)
class Counts:
    """What happened to a symbol's trades."""

    released: int = 0
    duplicates: int = 0
    gaps: int = 0


class Sequencer:
    """See the module. Times are seconds of one steady clock.

    Args:
        last_id: the last id released before; None lets the first trade that comes begin.
        last_time_us: when the venue says that trade happened.
        limits: the bounds; at any of them `overdue` says to give up.

    """

    def __init__(self, *, last_id: int | None, last_time_us: int = 0, limits: Limits | None = None) -> None:
        self.last_id = last_id
        self.last_time_us = last_time_us
        self.counts = Counts()
        self._limits = limits or Limits()
        self._held: list[TradeColumns] = []
        self._held_trades = 0
        self._held_from = 0  # the lowest id held
        self._came_s: list[Float64s] = []  # when each of the trades held came
        self._gone_on = 0  # live trades released while there was a gap: they go on below what is held
        self._gap_since_s = 0.0  # when the first of them came: no trade waits for longer than the bound

    @property
    def held_trades(self) -> int:
        """How many trades wait."""
        return self._held_trades

    @property
    def gap(self) -> Gap | None:
        """The ids that are waited for, None when nothing waits."""
        if not self._held or self.last_id is None:
            return None
        return Gap(self.last_id + 1, self._held_from - 1)

    def push(self, trades: TradeColumns, now_s: float, *, live: bool = False) -> TradeColumns | None:
        """Take trades, in any order and any number of times.

        Args:
            trades: of one symbol.
            now_s: now.
            live: whether they come as they happen.

        Returns:
            the trades that are due now, their ids rising from `last_id`; None when there are none.

        """
        if not len(trades):
            return None
        ids = trades.trade_id
        if self.last_id is None:
            self.last_id = int(ids.min()) - 1
        if ids[0] != self.last_id + 1 or not _consecutive(trades):
            trades = trades.rows(self._tidy(trades))
            if not len(trades):
                return None
            if trades.trade_id[0] != self.last_id + 1 or not _consecutive(trades):
                return self._hold(trades, now_s)
        self._advance(trades)
        if self._held and self._held_from <= self.last_id + 1:
            return self._merge([trades])
        if self._held and live:
            self._gone_on += len(trades)
        return trades

    def drop_contradicted(self) -> TradeColumns | None:
        """Let go what waits behind a gap through which more live trades have gone on than wait; None when none do.

        When trades are missing, later ones come and the missing ones do not. Here those do come, after the later ones:
        so the later ones were none.
        """
        if not self._held or self._gone_on <= self._held_trades:
            return None
        dropped = concatenate(self._held)
        self._held, self._came_s, self._held_trades, self._gone_on = [], [], 0, 0
        return dropped

    def skip(self, gap: Gap) -> TradeColumns | None:
        """Go on without these ids, absent or given up; returns what is due now, as `push` does."""
        if self.last_id is None or not gap.first_id <= self.last_id + 1 <= gap.last_id:
            return None
        # What has come by the socket exists, whatever is said of it elsewhere.
        self.last_id = min(gap.last_id, self._held_from - 1) if self._held else gap.last_id
        return self._merge([]) if self._held and self._held_from <= self.last_id + 1 else None

    def overdue(self, now_s: float) -> bool:
        """Return whether the gap is past a bound: too wide, too long ago, or too much waiting behind it."""
        gap = self.gap
        return gap is not None and (
            self._held_trades > self._limits.max_held_trades
            or now_s - self._gap_since_s > self._limits.max_held_s
            or len(gap) > self._limits.max_gap_ids
        )

    def patience_s(self, nothing_since_s: float, now_s: float) -> float:
        """Return how long the gap may still wait for a venue that has answered since then with nothing; 0 is over."""
        return max(0.0, max(nothing_since_s, self._gap_since_s) + self._limits.max_nothing_s - now_s)

    def is_rewound(self, trades: TradeColumns) -> bool:
        """Return whether trades have ids of the past but times of later: a venue that began its count again."""
        return (
            self.last_id is not None
            and int(trades.trade_id[-1]) <= self.last_id
            and int(trades.time_us[-1]) > self.last_time_us + 10_000_000
        )

    def _advance(self, trades: TradeColumns) -> None:
        self.last_id = int(trades.trade_id[-1])
        self.last_time_us = int(trades.time_us[-1])
        self.counts.released += len(trades)

    def _tidy(self, trades: TradeColumns) -> npt.NDArray[np.intp]:
        """Return the rows by id, without those that were released before or stand there twice."""
        ids, rows = np.unique(trades.trade_id, return_index=True)
        new = ids >= self._next_id
        self.counts.duplicates += len(trades) - int(new.sum())
        return rows[new]

    def _hold(self, trades: TradeColumns, now_s: float) -> TradeColumns | None:
        """Keep trades that begin beyond the next id or have a hole inside; release what may go at once."""
        if not self._held:
            self._gap_since_s, self._gone_on = now_s, 0
            self._held_from = int(trades.trade_id[0])
            self.counts.gaps += self._held_from != self._next_id
        self._held.append(trades)
        self._came_s.append(np.full(len(trades), now_s, np.float64))
        self._held_trades += len(trades)
        self._held_from = min(self._held_from, int(trades.trade_id[0]))
        return self._merge([]) if self._held_from <= self._next_id else None

    @property
    def _next_id(self) -> int:
        assert self.last_id is not None
        return self.last_id + 1

    def _merge(self, due: list[TradeColumns]) -> TradeColumns | None:
        """Release what has waited, up to the next hole."""
        waited, came_s = concatenate(self._held), np.concatenate(self._came_s)
        rows = self._tidy(waited)
        waited, came_s, ids = waited.rows(rows), came_s[rows], waited.trade_id[rows]
        self._held, self._came_s, self._held_trades, self._gone_on = [], [], 0, 0
        if len(ids):
            steps = np.flatnonzero(np.diff(ids, prepend=self._next_id - 1) != 1)
            count = int(steps[0]) if len(steps) else len(ids)
            if count:
                head = waited.rows(slice(0, count))
                self._advance(head)
                due = [*due, head]
            if count < len(ids):
                rest = waited.rows(slice(count, None))
                self._held, self._held_trades, self._held_from = [rest], len(rest), int(ids[count])
                self._came_s = [came_s[count:]]
                self._gap_since_s = float(came_s[count:].min())
                self.counts.gaps += 1
        return concatenate(due) if due else None


def _consecutive(trades: TradeColumns) -> bool:
    ids = trades.trade_id
    return len(ids) == 1 or bool((ids[1:] - ids[:-1] == 1).all())
