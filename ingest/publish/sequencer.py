"""One symbol's trades in the order of their ids, each once, and the holes between them.

The venue's ids rise by one, so what comes next is known. Trades that come early wait here until the ids before them
have come too, by the socket or over REST, or are known not to exist, or until a bound is passed; then they go on
without, and the hole is told.

A trade that came by the socket before one with a lower id may have been told with a wrong id. It leaves only when the
next id came after it, when REST has told it, or as one of three in a row; else it is given back as unconfirmed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mesh.values.id_ranges import IdRange
from mesh.values.trades import Bools, Float64s, Int64s, TradeColumns, concatenate
from tickcodec.passing import NO_ID, PassedSymbol

FOLLOWERS = 3
"""So many trades in a row are no accident."""
FEW_REPORTED = 1_000
"""So many trades told otherwise are kept until the first ones with their ids are released."""
_BY_REST = 2**62
"""In the order of arrival: trades that REST told are later than all others, and never early."""


@dataclass(frozen=True, slots=True)
class WaitingLimits:
    """How much waits for how long before a gap is given up.

    `max_nothing_s` is for a venue that answers over REST, but has nothing of the ids: so far it may be behind itself.
    """

    max_held_trades: int = 200_000
    max_held_s: float = 60.0
    max_gap_ids: int = 200_000
    max_nothing_s: float = 5.0


@dataclass(slots=True)
class Counts:
    """What happened to a symbol's trades, but for those that have passed in C++."""

    released: int = 0
    duplicates: int = 0
    gaps: int = 0


class Sequencer:
    """Puts one symbol's trades in order, releases each once, and tells gaps. Times are seconds of one steady clock.

    Args:
        last_id: the last id released before; None lets the first trade that comes begin.
        last_time_us: when the venue says that trade happened.
        limits: the bounds; at any of them `overdue` says to give up.
        passed: where the last trade released is kept, so that those that `is_in_order` may be released elsewhere, too.

    """

    def __init__(
        self,
        *,
        last_id: int | None,
        last_time_us: int = 0,
        limits: WaitingLimits | None = None,
        passed: PassedSymbol | None = None,
    ) -> None:
        self._passed = PassedSymbol() if passed is None else passed
        self.last_id = last_id
        self.last_time_us = last_time_us
        self.counts = Counts()
        self._limits = limits or WaitingLimits()
        self._held: list[TradeColumns] = []
        self._held_trades = 0
        self._held_from = 0  # the lowest id held
        self._came_s: list[Float64s] = []  # when each of the trades held came
        self._arrived: list[Int64s] = []  # after how many others each of them came, or _BY_REST
        self._arrivals = 0
        self._in_flight: list[TradeColumns] = []
        self._reported_otherwise: list[TradeColumns] = []  # not the first with their ids, and others than those
        self._gone_on = 0  # live trades released while there was a gap: they go on below what is held
        self._gap_since_s = 0.0  # when the first of them came: no trade waits for longer than the bound

    @property
    def last_id(self) -> int | None:
        """The id of the last trade released; None before the first."""
        last_id: int = self._passed.last_id
        return None if last_id == NO_ID else last_id

    @last_id.setter
    def last_id(self, last_id: int | None) -> None:
        self._passed.last_id = NO_ID if last_id is None else last_id

    @property
    def last_time_us(self) -> int:
        """When the venue says that trade happened; 0 when nobody knows."""
        last_us: int = self._passed.last_us
        return last_us

    @last_time_us.setter
    def last_time_us(self, last_time_us: int) -> None:
        self._passed.last_us = last_time_us

    @property
    def is_in_order(self) -> bool:
        """Whether `push` would return trades that go on at the next id as they are: it is known, and nothing waits."""
        return self.last_id is not None and not (self._held or self._in_flight or self._reported_otherwise)

    @property
    def held_trades(self) -> int:
        """How many trades wait."""
        return self._held_trades

    @property
    def waiting(self) -> TradeColumns | None:
        """The trades that wait, as they came; None when there are none."""
        return concatenate(self._held) if self._held else None

    @property
    def gap(self) -> IdRange | None:
        """The ids that are waited for, None when nothing waits."""
        if not self._held or self.last_id is None:
            return None
        return IdRange(self.last_id + 1, self._held_from - 1)

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
            arrived = self._order(len(trades), live=live)
            rows = self._tidy(trades, arrived)
            trades, arrived = trades.rows(rows), arrived[rows]
            if not len(trades):
                return None
            if trades.trade_id[0] != self.last_id + 1 or not _consecutive(trades) or _early(arrived).any():
                return self._hold(trades, arrived, now_s)
        self._advance(trades)
        if self._held and self._held_from <= self.last_id + 1:
            return self._merge([trades])
        if self._held and live:
            self._gone_on += len(trades)
        return trades

    def take_unconfirmed(self) -> TradeColumns | None:
        """Take what came early and was given back: nothing says yet that it is right. None when there is none."""
        unconfirmed, self._in_flight = self._in_flight, []
        return concatenate(unconfirmed) if unconfirmed else None

    def take_reported_otherwise(self) -> TradeColumns | None:
        """Take what came with the id of a trade that has been released, and is another one; None when nothing did."""
        if not self._reported_otherwise or self.last_id is None:
            return None
        reported = concatenate(self._reported_otherwise)
        released = reported.trade_id <= self.last_id
        self._reported_otherwise = [] if released.all() else [reported.rows(~released).rows(slice(-FEW_REPORTED, None))]
        return reported.rows(released) if released.any() else None

    def take_lone(self) -> TradeColumns | None:
        """Take the first trades behind the gap when they are so few in a row that their ids may be wrong.

        Returns:
            None when nothing waits, when REST has told one of them, or when three or more follow each other.

        """
        if not self._held:
            return None
        waited, came_s, arrived = self._waiting()
        ids = waited.trade_id
        steps = np.flatnonzero(np.diff(ids) != 1)
        count = int(steps[0]) + 1 if len(steps) else len(ids)
        if count >= FOLLOWERS or (arrived[:count] == _BY_REST).any():
            return None
        self._keep(waited.rows(slice(count, None)), came_s[count:], arrived[count:])
        return waited.rows(slice(0, count))

    def drop_contradicted(self) -> TradeColumns | None:
        """Let go what waits behind a gap through which more live trades have gone on than wait; None when none do.

        When trades are missing, later ones come and the missing ones do not. Here those do come, after the later ones:
        so the later ones were none.
        """
        if not self._held or self._gone_on <= self._held_trades:
            return None
        dropped = concatenate(self._held)
        self._clear()
        return dropped

    def take_held(self, since_s: float) -> TradeColumns | None:
        """Give up the trades that wait and came since then; None when there are none."""
        if not self._held:
            return None
        held, came_s, arrived = self._waiting()
        late = came_s >= since_s
        if not late.any():
            return None
        self._keep(held.rows(~late), came_s[~late], arrived[~late])
        return held.rows(late)

    def skip(self, gap: IdRange) -> TradeColumns | None:
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
            or gap.size > self._limits.max_gap_ids
        )

    def patience_s(self, nothing_since_s: float, now_s: float) -> float:
        """Return how long the gap may still wait for a venue that has answered since then with nothing; 0 is over.

        Args:
            nothing_since_s: since when all answers were empty.
            now_s: the time by the same steady clock.

        """
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

    def _tidy(self, trades: TradeColumns, arrived: Int64s, *, after: bool = False) -> npt.NDArray[np.intp]:
        """Return the rows by id, without those that were released before or stand there twice.

        Of two trades with one id the first counts; but where it came before lower ids, and the second tells something
        else, the second does, and the first is unconfirmed.
        """
        ids, rows = np.unique(trades.trade_id, return_index=True)
        new = ids >= self._next_id
        self.counts.duplicates += len(trades) - int(new.sum())
        rows = rows[new]
        if len(ids) < len(trades):
            last = (len(trades) - 1 - np.unique(trades.trade_id[::-1], return_index=True)[1])[new]
            differ = _differ(trades.rows(rows), trades.rows(last))
            wrong = differ & _early(arrived[rows], after=after)
            if (differ & ~wrong).any():
                self._reported_otherwise.append(trades.rows(last[differ & ~wrong]))
            if wrong.any():
                self._in_flight.append(trades.rows(rows[wrong]))
            rows = np.where(wrong, last, rows)
        return rows

    def _order(self, count: int, *, live: bool) -> Int64s:
        """Return after how many others the trades of a batch came."""
        if not live:
            return np.full(count, _BY_REST, np.int64)
        self._arrivals += count
        return np.arange(self._arrivals - count, self._arrivals, dtype=np.int64)

    def _compare(self, released: TradeColumns) -> None:
        """Note as unconfirmed what waits with the id of a trade that has just been released, and is another one."""
        waited = concatenate(self._held)
        rows = waited.rows((waited.trade_id >= released.trade_id[0]) & (waited.trade_id <= released.trade_id[-1]))
        wrong = _differ(rows, released.rows(rows.trade_id - released.trade_id[0]))
        if wrong.any():
            self._in_flight.append(rows.rows(wrong))

    def _hold(self, trades: TradeColumns, arrived: Int64s, now_s: float) -> TradeColumns | None:
        """Keep trades that begin beyond the next id or have a hole inside; release what may go at once."""
        if not self._held:
            self._gap_since_s, self._gone_on = now_s, 0
            self._held_from = int(trades.trade_id[0])
            self.counts.gaps += self._held_from != self._next_id
        self._held.append(trades)
        self._came_s.append(np.full(len(trades), now_s, np.float64))
        self._arrived.append(arrived)
        self._held_trades += len(trades)
        self._held_from = min(self._held_from, int(trades.trade_id[0]))
        return self._merge([]) if self._held_from <= self._next_id else None

    def _clear(self) -> None:
        self._held, self._came_s, self._arrived, self._held_trades, self._gone_on = [], [], [], 0, 0

    def _waiting(self, *, after: bool = False) -> tuple[TradeColumns, Float64s, Int64s]:
        """Return what waits, by id, when it came and in which order; what REST told replaces what the socket told."""
        waited, came_s, arrived = concatenate(self._held), np.concatenate(self._came_s), np.concatenate(self._arrived)
        order = np.lexsort((np.where(arrived == _BY_REST, -1, arrived), waited.trade_id))
        rows = order[self._tidy(waited.rows(order), arrived[order], after=after)]
        return waited.rows(rows), came_s[rows], arrived[rows]

    def _keep(self, waited: TradeColumns, came_s: Float64s, arrived: Int64s) -> None:
        """Let exactly this wait, which is sorted; it may be nothing."""
        self._clear()
        if len(waited):
            self._held, self._came_s, self._arrived = [waited], [came_s], [arrived]
            self._held_trades, self._held_from = len(waited), int(waited.trade_id[0])
            self._gap_since_s = float(came_s.min())

    @property
    def _next_id(self) -> int:
        assert self.last_id is not None
        return self.last_id + 1

    def _merge(self, due: list[TradeColumns]) -> TradeColumns | None:
        """Release what has waited, up to the next hole."""
        for released in due:
            self._compare(released)
        waited, came_s, arrived = self._waiting(after=bool(due))
        ids = waited.trade_id
        self._clear()
        if len(ids):
            steps = np.flatnonzero(np.diff(ids, prepend=self._next_id - 1) != 1)
            count = int(steps[0]) if len(steps) else len(ids)
            early = _early(arrived[:count], after=bool(due))
            in_order = np.flatnonzero(~early)
            sure = int(in_order[-1]) + 1 if len(in_order) else 0
            if count - sure >= FOLLOWERS:
                sure = count
            if sure:
                head = waited.rows(slice(0, sure))
                self._advance(head)
                due = [*due, head]
            if sure < count:
                self._in_flight.append(waited.rows(slice(sure, count)))
            if count < len(ids):
                self._keep(waited.rows(slice(count, None)), came_s[count:], arrived[count:])
                self.counts.gaps += 1
        return concatenate(due) if due else None


def _consecutive(trades: TradeColumns) -> bool:
    ids = trades.trade_id
    if len(ids) <= 32:  # Python has compared so few before numpy has begun
        few: list[int] = ids.tolist()
        return few == list(range(few[0], few[0] + len(few)))
    return bool((ids[1:] - ids[:-1] == 1).all())


def _differ(trades: TradeColumns, others: TradeColumns) -> Bools:
    """Return which trades are not the same as the others, row by row; REST may tell times in milliseconds."""
    differ: Bools = (
        (trades.price_e8 != others.price_e8)
        | (trades.quantity_e8 != others.quantity_e8)
        | (trades.time_us // 1000 != others.time_us // 1000)
    )
    return differ


def _early(arrived: Int64s, *, after: bool = False) -> Bools:
    """Return which trades, in the order of their ids, came before one with a lower id; `after`: all came before it."""
    latest = np.maximum.accumulate(np.concatenate(([_BY_REST if after else -1], arrived)))[:-1]
    early: Bools = arrived < latest
    return early
