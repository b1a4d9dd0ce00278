"""Trades whose id or time cannot be right, held until other trades or the venue's REST say what is so. Pure.

One wrong id would otherwise be the last one for ever, and every real trade after it a repeat. So trades with an id
far ahead of all others, an id of the past with a time of now, or a time far from the clock and from the other trades
neither pass nor go: they wait here, a few of them, while all others pass.

- Live trades that go on at the next id contradict an id far ahead, at once.
- REST confirms or contradicts: it tells its newest trades.
- Trades that go on from the doubted one confirm it, where REST says nothing for a while.

An id may be wrong and yet near. What came before lower ids (`early`), or waits behind ids of which REST has nothing
(`unconfirmed`), is held likewise until REST has it, the next id comes after it, or three follow each other.

What passes may still be wrong: an id that was the next one, or one that nobody could be asked about. So an id that is
told again as another trade is disputed. Trades go on meanwhile; REST, asked until it answers, says which of the two is
right, and `settle` returns what must replace a published trade.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from ingest.publish.sequencer import FOLLOWERS
from mesh.values.trades import Bools, Int64s, TradeColumns, concatenate
from tickcodec.passing import PassedSymbol

Kind = Literal["first", "id_ahead", "id_behind", "time", "early", "unconfirmed", "disputed", "unproven"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is still plausible, and how much is held.

    Attributes:
        max_id_jump: how far beyond the highest id known a trade's may be.
        max_time_jump_s: how far before the clock here and the other trades a trade's time may be, in seconds; also how
            far after them where the clock here is behind the venue's.
        max_time_ahead_s: how far after the clock here and the other trades it may be otherwise.
        max_held_trades: how many doubted trades of a symbol are held; beyond that the oldest are let go.
        followed_s: so long trades must have gone on from a doubted one that REST says nothing of.
        followed_contradicted_s: the same where REST's newest id is far below.
        unanswered_s: how long an `early` trade is held while REST does not answer; then it goes on.
        max_held_s: how long a doubted trade is held that nobody confirms; the first trade of all waits for ever.

    """

    max_id_jump: int = 200_000
    max_time_jump_s: float = 3600.0
    max_time_ahead_s: float = 60.0
    max_held_trades: int = 10_000
    followed_s: float = 2.0
    followed_contradicted_s: float = 10.0
    unanswered_s: float = 60.0
    max_held_s: float = 600.0

    max_time_jump_us: int = field(init=False)
    """The same in microseconds."""
    max_time_ahead_us: int = field(init=False)
    """How far after, in microseconds."""

    def __post_init__(self) -> None:
        """Work out the microseconds, once: they are looked at for each message."""
        object.__setattr__(self, "max_time_jump_us", int(self.max_time_jump_s * 1e6))
        object.__setattr__(self, "max_time_ahead_us", int(min(self.max_time_ahead_s, self.max_time_jump_s) * 1e6))

    def around_us(self, clock_us: int) -> tuple[int, int]:
        """Return the earliest and the latest time that need nothing but the clock here to be plausible.

        Args:
            clock_us: the time by that clock.

        """
        return clock_us - self.max_time_jump_us, clock_us + self.max_time_ahead_us

    def latest_us(self, clock_us: int, venue_us: int) -> int:
        """Return the latest time that the venue may tell of now.

        Where the venue has told of trades later than that by the clock here, this clock is behind and proves nothing:
        then it is the wider bound after those trades, so that a wrong clock stops nothing.

        Args:
            clock_us: the time by the clock here.
            venue_us: when the newest trade happened that is known to be right; 0 when none is known.

        """
        is_behind = clock_us + self.max_time_ahead_us < venue_us
        return max(clock_us, venue_us) + (self.max_time_jump_us if is_behind else self.max_time_ahead_us)


MAX_DISPUTES = 1_000
"""So many trades of a symbol are disputed at most; beyond that the oldest are let go."""
_FIRST_US = 1_230_768_000_000_000
"""The year 2009: before it nobody traded any of this."""
_SOON_REACHED = 20
"""So few ids too high the right ones pass by themselves, and then replace what was published with them."""
_FEW = 32
_BEHIND_US = 1_000_000
"""A repeat's time is not later than that of the newest trade; the venue's clocks differ by less than this."""


class RecentTrades:
    """The trades of a symbol that were passed on last, some hundreds, their ids rising.

    A repeat must repeat one of them, or be older than all of them.

    Args:
        passed: where they are kept, so that those that pass in C++ are among them.

    """

    def __init__(self, passed: PassedSymbol | None = None) -> None:
        self._passed = PassedSymbol() if passed is None else passed
        self._corrections: list[TradeColumns] = []

    def add(self, trades: TradeColumns) -> None:
        """Take trades behind the others."""
        held, size = self._passed.recent, len(self._passed.recent)
        rows = np.column_stack((*_columns_of(trades), np.full(len(trades), trades.received_time_us)))[-size:]
        self._passed.recent_count += len(trades)
        held[np.arange(self._passed.recent_count - len(rows), self._passed.recent_count) % size] = rows

    def clear(self) -> None:
        """Forget all of them."""
        self._passed.recent_count = 0
        self._corrections.clear()

    def _gather(self) -> Int64s:
        """Return a copy, in columns: id, time, price, quantity, and whether the buyer's order was in the book first."""
        held, at = self._passed.recent, self._passed.recent_count
        rows = held[:at, :5].copy() if at <= len(held) else np.roll(held[:, :5], -(at % len(held)), axis=0)
        for trades in self._corrections:
            _put(trades, rows)
        return rows.T

    def __len__(self) -> int:
        return min(len(self._passed.recent), int(self._passed.recent_count))

    @property
    def columns(self) -> tuple[Int64s, Int64s, Int64s]:
        """Ids, times and prices, the newest last."""
        ids, time_us, price_e8 = self._gather()[:3]
        return ids, time_us, price_e8

    def of_ids(self, ids: Int64s, like: TradeColumns) -> TradeColumns:
        """Return those of the trades that have one of these ids; venue, symbol and time of arrival as `like` has.

        Args:
            ids: int64 of shape (n,), in any order.
            like: whose venue, symbol and time of arrival the result gets.

        """
        held = self._gather()
        trade_id, time_us, price_e8, quantity_e8, is_buyer_maker = held[:, np.isin(held[0], ids)].copy()
        return replace(
            like,
            trade_id=trade_id,
            time_us=time_us,
            price_e8=price_e8,
            quantity_e8=quantity_e8,
            is_buyer_maker=is_buyer_maker.astype(np.bool_),
        )

    def correct(self, trades: TradeColumns) -> None:
        """Put trades in the place of those with their ids, as far as those are still here.

        What is told of the last ones elsewhere has them only once `keep_corrected` was called.
        """
        self._corrections.append(trades)

    def keep_corrected(self, trades: TradeColumns) -> None:
        """Keep trades that `correct` was given: they are published."""
        self._corrections = [each for each in self._corrections if each is not trades]
        _put(trades, self._passed.recent[: len(self)])


def _put(trades: TradeColumns, rows: Int64s) -> None:
    """Put trades where rows have their ids."""
    _, at, number = np.intersect1d(rows[:, 0], trades.trade_id, return_indices=True)
    rows[at, :5] = np.column_stack(_columns_of(trades))[number]


@dataclass(slots=True)
class KnownTrades:
    """What the trades of a symbol are judged against.

    Attributes:
        last_id: the last id passed on in order; None before the first trade.
        head_id: the highest id accepted, also of trades that wait for ids before them.
        last_time_us: when the venue says the last one happened; 0 when nobody knows.
        venue_time_us: when the newest accepted trade of any symbol of the venue happened; 0 when nobody knows.
        recent: trades passed on lately, the newest last: what a repeat repeats.

    """

    last_id: int | None
    head_id: int
    last_time_us: int
    venue_time_us: int
    recent: RecentTrades | None = None


@dataclass(slots=True)
class QuarantinedTrades:
    """Trades that are held: of which kind, since when (steady clock, seconds), and why, in words for people.

    `published` is what went on with the ids of disputed ones.
    """

    trades: TradeColumns
    kind: Kind
    since_s: float
    why: str
    live: bool = True
    published: TradeColumns | None = None


@dataclass(slots=True)
class Verdict:
    """What became of trades.

    Attributes:
        passed: what goes on now, None when nothing does.
        held: what is doubted since now.
        released: how many of those in `passed` were held before.
        dropped: what was held and is contradicted, with words for people.

    """

    passed: TradeColumns | None = None
    held: list[QuarantinedTrades] = field(default_factory=list)
    released: int = 0
    dropped: list[tuple[QuarantinedTrades, str]] = field(default_factory=list)


@dataclass(slots=True)
class Settled:
    """What REST has said about published trades.

    Attributes:
        wrong: published trades that are contradicted.
        right: what replaces them, of the same ids.
        upheld: what was told beside a published trade that is right, with words for people.

    """

    wrong: list[TradeColumns] = field(default_factory=list)
    right: list[TradeColumns] = field(default_factory=list)
    upheld: list[tuple[QuarantinedTrades, str]] = field(default_factory=list)


class Quarantine:
    """The doubted trades of one symbol. Times `_s` are of one steady clock, `_us` since 1970."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self._held: list[QuarantinedTrades] = []
        self._rest_contradicts = False
        self._disputes: list[QuarantinedTrades] = []
        self._said: dict[int, tuple[int, int, int]] = {}  # by id: what REST alone said once against a published trade

    @property
    def disputes(self) -> tuple[QuarantinedTrades, ...]:
        """What was told beside a published trade, or was published though nobody could be asked; the oldest first."""
        return tuple(self._disputes)

    @property
    def disputed_ids(self) -> list[int]:
        """The ids of which REST shall say which trade they are, rising."""
        ids = {id_ for doubted in self._disputes for id_ in doubted.trades.trade_id.tolist()}
        return sorted(ids | self._said.keys())

    @property
    def doubts(self) -> bool:
        """Whether anything is held or disputed."""
        return bool(self._held or self._disputes or self._said)

    @property
    def held(self) -> tuple[QuarantinedTrades, ...]:
        """What is held, the oldest first."""
        return tuple(self._held)

    @property
    def held_trades(self) -> int:
        """How many trades are held."""
        return sum(len(doubted.trades) for doubted in self._held)

    @property
    def reset_suspected(self) -> bool:
        """Whether so many trades in a row have ids of the past and times of now that it looks like a new count."""
        return len(self._behind_ids()) >= FOLLOWERS

    def examine(self, trades: TradeColumns, known: KnownTrades, *, now_s: float, live: bool) -> Verdict:
        """Take trades in; return which may go on.

        Args:
            trades: of one symbol, in any order, at least one.
            known: what they are judged against.
            now_s: now.
            live: whether they come as they happen; else REST told them, which asks for ids one after the other.

        """
        ids, times = trades.trade_id, trades.time_us
        if not self._held and known.last_id is not None:
            lowest_id, highest_id = extremes(ids)
            if (
                lowest_id > known.last_id
                and highest_id <= max(known.head_id, known.last_id) + self.bounds.max_id_jump
                and self._all_near(times, known, trades.received_time_us)
            ):
                return Verdict(trades)
        verdict = Verdict()
        if known.last_id is None:
            return self._begin(trades, known, now_s, verdict)
        time_wrong = ~self._near(times, known, trades.received_time_us)
        if not live:
            time_wrong |= _outliers(times, self.bounds)
            time_wrong &= ~self._is_held_alike(trades)
        past = ids <= known.last_id
        behind = past & ~_repeats(trades, past, known) if live else np.zeros(len(ids), np.bool_)
        ahead = ~past & (ids > self._reach(ids[~past & ~time_wrong] if not time_wrong.all() else ids[~past], known))
        fine = ~(time_wrong | behind | ahead)
        due: list[TradeColumns] = []
        if fine.any():
            due, fine = self._settle_near(trades, fine, known.last_id, verdict, live=live)
        if live and not behind.any():
            self._contradict_ahead(ids, fine, known.last_id, verdict)
            # What came before in the same batch is contradicted, too.
            goes_on = np.flatnonzero(fine & (ids == known.last_id + 1))
            if len(goes_on):
                early = ahead & (np.arange(len(ids)) < goes_on[-1])
                self._hold(trades, early, "id_ahead", known, now_s, verdict, live=live)
                self._contradict_ahead(ids, fine, known.last_id, verdict)
                ahead &= ~early
        # What follows ids of the past goes with them: it may be the new count that has reached the old one.
        if live and self._joins_behind(trades, behind, known):
            behind |= fine & ~past
            fine = ~(time_wrong | behind | ahead)
        elif live and fine.any() and bool((ids[fine] == known.last_id + 1).any()):
            self._contradict_behind(known, now_s, verdict)
        self._hold(trades, time_wrong & ~ahead & ~behind, "time", known, now_s, verdict, live=live)
        self._hold(trades, ahead, "id_ahead", known, now_s, verdict, live=live)
        self._hold(trades, behind, "id_behind", known, now_s, verdict, live=live)
        passed = [trades.rows(fine)] if fine.any() else []
        if passed:
            self._settle_told(passed[0], verdict)
        head_id = max(known.head_id, int(ids[fine].max())) if fine.any() else known.head_id
        released = self._reached(max(head_id, known.last_id)) + self._followed(now_s)
        verdict.released = sum(map(len, released)) + sum(map(len, due))
        passed = [*due, *passed, *released]
        verdict.passed = concatenate(passed) if passed else None
        return verdict

    def doubt(
        self, trades: TradeColumns, kind: Literal["early", "unconfirmed"], known: KnownTrades, *, now_s: float
    ) -> Verdict:
        """Hold trades of which the order of ids says that their ids may be wrong, near as they are.

        Args:
            trades: to hold.
            kind: `early`: they came before lower ids; `unconfirmed`: REST has nothing of the ids before
                them.
            known: what is known of the symbol.
            now_s: the time, in seconds of one steady clock.

        """
        verdict = Verdict()
        self._hold(trades, np.ones(len(trades), np.bool_), kind, known, now_s, verdict, live=True)
        return verdict

    def judge(self, newest: TradeColumns | None, known: KnownTrades, *, now_s: float) -> Verdict:
        """Take the word of REST: its newest trades, rising; None or none when it has none.

        Only what they prove is released or dropped. Ids of the past are left to whoever looks for a new count.

        Args:
            newest: what REST tells, their ids rising; None when it could not be asked.
            known: what is known of the symbol.
            now_s: the time, in seconds of one steady clock.

        """
        verdict = Verdict()
        for doubted in list(self._held):
            if doubted.kind not in ("first", "id_behind") and now_s - doubted.since_s > self.bounds.max_held_s:
                self._held.remove(doubted)
                verdict.dropped.append((doubted, f"nothing confirmed it for {self.bounds.max_held_s:g} s"))
        if newest is not None and len(newest):
            self._judge(newest, known, verdict)
        released = self._followed(now_s)
        if newest is None:
            over = self._unanswered(now_s)
            released += over
            for trades in over:
                self._add_dispute(QuarantinedTrades(trades, "unproven", now_s, "it went on unconfirmed", True, trades))
        if verdict.passed is not None:
            released.append(verdict.passed)
        verdict.passed = concatenate(released) if released else None
        verdict.released = sum(map(len, released))
        return verdict

    def _judge(self, newest: TradeColumns, known: KnownTrades, verdict: Verdict) -> None:
        first_id, newest_id = int(newest.trade_id[0]), int(newest.trade_id[-1])
        reported = dict(zip(newest.trade_id.tolist(), newest.time_us.tolist(), strict=True))
        keep: list[QuarantinedTrades] = []
        released: list[TradeColumns] = []
        for doubted in self._held:
            ids, times = doubted.trades.trade_id, doubted.trades.time_us
            pairs = zip(ids.tolist(), times.tolist(), strict=True)
            alike = np.array(
                [reported.get(id_, time_us) // 1000 == time_us // 1000 for id_, time_us in pairs], np.bool_
            )
            if doubted.kind in ("early", "unconfirmed"):
                alike &= _priced_alike(doubted.trades, newest)
            there = np.array([id_ in reported for id_ in ids.tolist()], np.bool_)
            if doubted.kind == "id_behind":
                keep.append(doubted)
                continue
            if not alike.all():
                self._drop(doubted, ~alike, "REST tells another trade with its id", verdict)
            rest = doubted.trades.rows(alike)
            if not len(rest):
                continue
            there, ids = there[alike], ids[alike]
            if doubted.kind == "time":
                confirmed = there
            elif doubted.kind in ("early", "unconfirmed"):
                # Ids that REST is past without showing them come from it in their order.
                confirmed = there | (ids <= newest_id)
            else:
                confirmed = there | ((ids >= first_id - self.bounds.max_id_jump) & (ids <= newest_id))
                if doubted.kind == "first":
                    confirmed |= np.abs(ids - newest_id) <= self.bounds.max_id_jump
                    confirmed &= there | self._near(
                        rest.time_us, known, rest.received_time_us, (int(newest.time_us[-1]),)
                    )
            if confirmed.any():
                released.append(rest.rows(confirmed))
            if doubted.kind in ("id_ahead", "first") and int(ids.max()) > newest_id + self.bounds.max_id_jump:
                self._rest_contradicts = True
            if not confirmed.all():
                rest = rest.rows(~confirmed)
                if doubted.kind == "first" and newest_id not in rest.trade_id.tolist():
                    verdict.dropped.append((replace(doubted, trades=rest), f"REST's newest trade is {newest_id}"))
                else:
                    keep.append(replace(doubted, trades=rest))
        self._held = keep
        verdict.passed = concatenate(released) if released else None

    def counts_anew(self, newest: TradeColumns | None, known: KnownTrades) -> bool | None:
        """Return whether REST's newest trades prove that the venue has begun its ids again, or that it has not.

        Args:
            newest: what REST tells, their ids rising; None when it could not be asked.
            known: what is known of the symbol.

        Returns:
            None where they prove neither, or nothing of the kind is in question.

        """
        if newest is None or not len(newest) or known.last_id is None or not len(self._behind_ids()):
            return None
        ids, time_us, price_e8 = known.recent.columns if known.recent is not None else (np.empty(0, np.int64),) * 3
        _, ours, theirs = np.intersect1d(ids, newest.trade_id, assume_unique=False, return_indices=True)
        if len(ours):
            same = (time_us[ours] // 1000 == newest.time_us[theirs] // 1000) & (
                price_e8[ours] == newest.price_e8[theirs]
            )
            if len(ours) == 1 and not same.any() and len(self._behind_ids()) < FOLLOWERS:
                return None  # one word against another: it may be the published one that is wrong
            return not same.any()
        if int(newest.trade_id[-1]) > known.last_id:
            return None  # these have left ours behind, in whichever count
        return int(newest.time_us[-1]) > known.last_time_us + _BEHIND_US

    def last_right_id(self, newest: TradeColumns, known: KnownTrades) -> int | None:
        """Return the last published id that is right, where REST proves that those published after it are none.

        Ids rise with time. REST counts as we do, as it has some of the trades passed on lately; and yet it has several
        that happened after our last one and whose ids are lower, one of which has also come as it happened. Then it is
        not they that are wrong: three or more in a row came with ids too high, and went on.

        Args:
            newest: REST's newest trades, rising, at least one.
            known: what they are compared with.

        Returns:
            None where nothing of the kind is proved.

        """
        if known.last_id is None or known.recent is None or known.last_id - int(newest.trade_id[-1]) <= _SOON_REACHED:
            return None
        later = newest.rows(newest.time_us > known.last_time_us + _BEHIND_US)
        if len(later) < FOLLOWERS:
            return None
        reported = set(zip(later.trade_id.tolist(), _contents(later), strict=True))
        held = [doubted.trades for doubted in self._held if doubted.kind == "id_behind"]
        if not any(reported & set(zip(each.trade_id.tolist(), _contents(each), strict=True)) for each in held):
            return None
        same = np.isin(newest.trade_id, known.recent.columns[0]) & ~_conflicts(newest, known.recent)
        return int(newest.trade_id[same].max()) if same.any() else None

    def dispute(self, trades: TradeColumns, known: KnownTrades, *, now_s: float) -> None:
        """Take trades that were told with ids of published ones, and are others; what is no such trade is passed by.

        Args:
            trades: as they were told again.
            known: what is published.
            now_s: the time, in seconds of one steady clock.

        """
        assert known.recent is not None
        for row in np.flatnonzero(_conflicts(trades, known.recent)).tolist():
            trade = trades.rows(slice(row, row + 1))
            published = known.recent.of_ids(trade.trade_id, trade)
            why = f"trade {trade.trade_id[0]} was published, and came once more as another one"
            self._add_dispute(QuarantinedTrades(trade, "disputed", now_s, why, True, published))

    def settle(self, reported: TradeColumns, known: KnownTrades) -> Settled:
        """Take the word of REST about published trades.

        What REST and a live trade tell alike is right, against what was published. What REST alone says against it
        counts when it says so twice.

        Args:
            reported: trades that REST tells, their ids rising.
            known: what is published.

        """
        settled = Settled()
        if known.recent is None or not len(reported) or not is_same_count(reported, known.recent):
            return settled
        alone = self._alone_against(reported, known.recent)
        for doubted in list(self._disputes):
            right = reported.rows(np.isin(reported.trade_id, doubted.trades.trade_id))
            assert doubted.published is not None
            if not len(right):
                continue
            if _same_trade(right, doubted.published):
                self._disputes.remove(doubted)
                self._said.pop(int(right.trade_id[0]), None)
                if doubted.kind == "disputed":
                    settled.upheld.append((doubted, "REST tells the one that was published"))
            elif doubted.kind == "disputed" and _same_trade(right, doubted.trades):
                self._forget(int(right.trade_id[0]))
                settled.wrong.append(doubted.published)
                settled.right.append(doubted.trades)
            else:
                alone.append((doubted.published, right))
        for wrong, right in alone:
            trade_id = int(right.trade_id[0])
            said = _content(right)
            if any(int(each.trade_id[0]) == trade_id for each in settled.right):
                continue
            if self._said.get(trade_id) == said:
                self._forget(trade_id)
                settled.wrong.append(wrong)
                settled.right.append(right)
            elif len(self._said) < MAX_DISPUTES:
                self._said[trade_id] = said
        return settled

    def let_go(self, trade_id: int) -> list[QuarantinedTrades]:
        """Give up the disputes about an id of which REST cannot say which trade it is."""
        over = [doubted for doubted in self._disputes if trade_id in doubted.trades.trade_id]
        self._forget(trade_id)
        return over

    def take_behind(self) -> TradeColumns | None:
        """Give up the trades with ids of the past, which are held no longer: to begin a new count with, or to drop."""
        behind = [doubted.trades for doubted in self._held if doubted.kind == "id_behind"]
        self._held = [doubted for doubted in self._held if doubted.kind != "id_behind"]
        return concatenate(behind) if behind else None

    def take_all(self) -> TradeColumns | None:
        """Give up all trades that are held; None when there are none."""
        held, self._held = [doubted.trades for doubted in self._held], []
        return concatenate(held) if held else None

    # Inside, what is disputed

    def _add_dispute(self, doubted: QuarantinedTrades) -> None:
        for row in range(len(doubted.trades)):
            one = slice(row, row + 1)
            trade = doubted.trades.rows(one)
            published = None if doubted.published is None else doubted.published.rows(one)
            if not any(_same_trade(trade, each.trades) for each in self._disputes):
                self._disputes.append(replace(doubted, trades=trade, published=published))
        del self._disputes[:-MAX_DISPUTES]

    def _forget(self, trade_id: int) -> None:
        self._said.pop(trade_id, None)
        self._disputes = [each for each in self._disputes if trade_id not in each.trades.trade_id]

    def _alone_against(self, reported: TradeColumns, recent: RecentTrades) -> list[tuple[TradeColumns, TradeColumns]]:
        """Return what is published and nobody disputes, but REST tells otherwise: both."""
        disputed = {id_ for doubted in self._disputes for id_ in doubted.trades.trade_id.tolist()}
        there = reported.rows(np.isin(reported.trade_id, recent.columns[0]))
        for trade_id, said in zip(there.trade_id.tolist(), _contents(there), strict=True):
            if trade_id in self._said and self._said[trade_id] != said:
                del self._said[trade_id]  # what REST said once it says no more
        found = []
        for row in np.flatnonzero(_conflicts(there, recent)).tolist():
            right = there.rows(slice(row, row + 1))
            if int(right.trade_id[0]) not in disputed:
                found.append((recent.of_ids(right.trade_id, right), right))
        return found

    # Inside, what is plausible

    def _all_near(self, times: Int64s, known: KnownTrades, received_us: int) -> bool:
        earliest, latest = extremes(times)
        earliest_us, latest_us = self.bounds.around_us(received_us)
        if earliest_us <= earliest and latest <= latest_us:
            return True  # one of the intervals, and nearly always the one
        return any(low <= earliest and latest <= high for low, high in self._intervals(known, received_us))

    def _near(self, times: Int64s, known: KnownTrades, received_us: int, more: Sequence[int] = ()) -> Bools:
        near = np.zeros(len(times), np.bool_)
        for low, high in self._intervals(known, received_us, more):
            near |= (times >= low) & (times <= high)
        return near

    def _intervals(self, known: KnownTrades, received_us: int, more: Sequence[int] = ()) -> list[tuple[int, int]]:
        jump_us, ahead_us = self.bounds.max_time_jump_us, self.bounds.max_time_ahead_us
        if received_us + ahead_us < max(known.last_time_us, known.venue_time_us):
            ahead_us = jump_us  # the clock here is behind the venue's: it proves nothing
        around = [received_us, *more, *filter(None, (known.last_time_us, known.venue_time_us))]
        intervals = [(time_us - jump_us, time_us + ahead_us) for time_us in around]
        if known.last_time_us:
            intervals.append((known.last_time_us, max(received_us, known.venue_time_us)))
        return intervals

    def _reach(self, plausible_ids: Int64s, known: KnownTrades) -> int:
        """Return the highest id that is near enough to those before it, which may be of the same batch."""
        assert known.last_id is not None
        reach = max(known.head_id, known.last_id) + self.bounds.max_id_jump
        for trade_id in np.unique(plausible_ids[plausible_ids > reach - self.bounds.max_id_jump]).tolist():
            if trade_id > reach:
                break
            reach = trade_id + self.bounds.max_id_jump
        return reach

    def _is_held_alike(self, trades: TradeColumns) -> Bools:
        """Return which trades the socket told in the very same way: two tellings that agree."""
        reported = {
            pair
            for doubted in self._held
            if doubted.kind == "time" and doubted.live
            for pair in zip(doubted.trades.trade_id.tolist(), (doubted.trades.time_us // 1000).tolist(), strict=True)
        }
        pairs = zip(trades.trade_id.tolist(), (trades.time_us // 1000).tolist(), strict=True)
        return np.array([pair in reported for pair in pairs], np.bool_)

    # Inside, what becomes of it

    def _begin(self, trades: TradeColumns, known: KnownTrades, now_s: float, verdict: Verdict) -> Verdict:
        """Take the first trades of all: two that agree are a beginning, one alone is held."""
        firsts = [doubted for doubted in self._held if doubted.kind == "first"]
        whole = concatenate([*(doubted.trades for doubted in firsts), trades])
        order = np.argsort(whole.trade_id, kind="stable")
        ids = whole.trade_id[order]
        cuts = np.flatnonzero(np.diff(ids) > self.bounds.max_id_jump) + 1
        groups = [part for part in np.split(order, cuts) if len(np.unique(whole.trade_id[part])) > 1]
        if groups:
            group = max(groups, key=len)
            times = whole.time_us[group]
            near = self._near(times, known, whole.received_time_us, (int(np.median(times)),))
            if near.sum() > 1:
                self._held = [doubted for doubted in self._held if doubted.kind != "first"]
                taken = np.zeros(len(whole), np.bool_)
                taken[group[near]] = True
                verdict.passed = whole.rows(taken)
                verdict.released = int(taken[: len(whole) - len(trades)].sum())
                if not taken.all():
                    rest = QuarantinedTrades(whole.rows(~taken), "first", now_s, "it stands alone")
                    verdict.held.append(rest)
                    verdict.dropped.append((rest, "the other trades agree on something else"))
                return verdict
        self._hold(trades, np.ones(len(trades), np.bool_), "first", known, now_s, verdict, live=True)
        return verdict

    def _hold(
        self,
        trades: TradeColumns,
        which: Bools,
        kind: Kind,
        known: KnownTrades,
        now_s: float,
        verdict: Verdict,
        *,
        live: bool,
    ) -> None:
        for doubted in self._held:
            if which.any() and doubted.kind == kind and doubted.live == live:
                # What is held already, and is told once more in the same way, tells nothing new.
                held = set(zip(doubted.trades.trade_id.tolist(), doubted.trades.time_us.tolist(), strict=True))
                pairs = zip(trades.trade_id.tolist(), trades.time_us.tolist(), strict=True)
                which = which & ~np.array([pair in held for pair in pairs], np.bool_)
        if not which.any():
            return
        rows = trades.rows(which)
        doubted = QuarantinedTrades(rows, kind, now_s, _words(rows, kind, known), live)
        if not any(each.kind == kind for each in self._held):
            self._rest_contradicts = False
        self._held.append(doubted)
        verdict.held.append(doubted)
        while self.held_trades > self.bounds.max_held_trades and len(self._held) > 1:
            verdict.dropped.append((self._held.pop(0), f"more than {self.bounds.max_held_trades} are held"))

    def _drop(self, doubted: QuarantinedTrades, which: Bools, why: str, verdict: Verdict) -> None:
        verdict.dropped.append((replace(doubted, trades=doubted.trades.rows(which)), why))

    def _contradict_ahead(self, ids: Int64s, fine: Bools, last_id: int, verdict: Verdict) -> None:
        if not (fine & (ids == last_id + 1)).any():
            return
        for doubted in [each for each in self._held if each.kind == "id_ahead"]:
            self._held.remove(doubted)
            verdict.dropped.append((doubted, f"trade {last_id + 1} came after it"))

    def _contradict_behind(self, known: KnownTrades, now_s: float, verdict: Verdict) -> None:
        """Let go what has ids of the past, as trades go on; what is told beside a published trade REST decides."""
        if self.reset_suspected:
            return
        assert known.last_id is not None
        for doubted in [each for each in self._held if each.kind == "id_behind"]:
            self._held.remove(doubted)
            disputed = _conflicts(doubted.trades, known.recent)
            if disputed.any():
                self.dispute(doubted.trades, known, now_s=now_s)
            if not disputed.all():
                self._drop(doubted, ~disputed, f"trade {known.last_id + 1} came after it", verdict)

    def _settle_near(
        self, trades: TradeColumns, fine: Bools, last_id: int, verdict: Verdict, *, live: bool
    ) -> tuple[list[TradeColumns], Bools]:
        """Settle what is held though its id is near, by trades that pass; return what goes on now, and what passes.

        - Told again: what comes now counts, the content held is dropped.
        - The next id of all comes while what is held lies beyond it: contradicted.
        - The id after it comes: one that is due goes on with it; one behind a gap is held with it, until three are.
        """
        due: list[TradeColumns] = []
        for held in [each for each in self._held if each.kind in ("early", "unconfirmed")]:
            self._held.remove(held)
            doubted = held
            ids = trades.trade_id[fine]
            again = np.isin(doubted.trades.trade_id, ids)
            if again.any():
                same = again & _priced_alike(doubted.trades, trades.rows(fine))
                if (again & ~same).any():
                    self._drop(doubted, again & ~same, "another trade came with its id", verdict)
                if again.all():
                    continue
                doubted = replace(doubted, trades=doubted.trades.rows(~again))
            first_id, end_id = int(doubted.trades.trade_id.min()), int(doubted.trades.trade_id.max())
            if live and first_id > last_id + 1 and (ids == last_id + 1).any():
                verdict.dropped.append((doubted, f"trade {last_id + 1} came after it"))
                continue
            follows = fine & (trades.trade_id > end_id) & (trades.trade_id <= end_id + FOLLOWERS)
            goes_on = bool((trades.trade_id[follows] == end_id + 1).any())
            if goes_on and first_id == last_id + 1:
                due.append(doubted.trades)
                continue
            if live and goes_on:
                whole = concatenate([doubted.trades, trades.rows(follows)])
                if len(np.unique(whole.trade_id)) >= FOLLOWERS:
                    due.append(doubted.trades)
                    continue
                fine = fine & ~follows
                doubted = replace(doubted, trades=whole)
            self._held.append(doubted)
        return due, fine

    def _unanswered(self, now_s: float) -> list[TradeColumns]:
        """Release what REST has not answered about for too long."""
        patience_s = self.bounds.unanswered_s
        over = [each for each in self._held if each.kind == "early" and now_s - each.since_s >= patience_s]
        self._held = [each for each in self._held if each not in over]
        return [each.trades for each in over]

    def _behind_ids(self) -> Int64s:
        behind = [doubted.trades.trade_id for doubted in self._held if doubted.kind == "id_behind"]
        return np.unique(np.concatenate(behind)) if behind else np.empty(0, np.int64)

    def _joins_behind(self, trades: TradeColumns, behind: Bools, known: KnownTrades) -> bool:
        """Return whether trades from the next id on belong to those with ids of the past.

        One that comes with the last id itself may be the right one, where the published one is wrong.
        """
        held = [doubted.trades for doubted in self._held if doubted.kind == "id_behind"]
        whole = concatenate([*held, trades.rows(behind)]) if held else trades.rows(behind)
        if len(np.unique(whole.trade_id)) >= FOLLOWERS:
            return True
        return bool(((whole.trade_id == known.last_id) & ~_conflicts(whole, known.recent)).any())

    def _settle_told(self, passed: TradeColumns, verdict: Verdict) -> None:
        """Forget doubted times of trades that have come in another way."""
        keep: list[QuarantinedTrades] = []
        for doubted in self._held:
            if doubted.kind == "time" and (again := np.isin(doubted.trades.trade_id, passed.trade_id)).any():
                self._drop(doubted, again, "it has been told again", verdict)
                if not again.all():
                    keep.append(replace(doubted, trades=doubted.trades.rows(~again)))
            else:
                keep.append(doubted)
        self._held = keep

    def _reached(self, head_id: int) -> list[TradeColumns]:
        """Release ids far ahead that are no longer far: what lies before them has come."""
        released: list[QuarantinedTrades] = []
        keep: list[QuarantinedTrades] = []
        for doubted in self._held:
            near = (
                doubted.kind == "id_ahead" and int(doubted.trades.trade_id.max()) <= head_id + self.bounds.max_id_jump
            )
            (released if near else keep).append(doubted)
        self._held = keep
        return [doubted.trades for doubted in released]

    def _followed(self, now_s: float) -> list[TradeColumns]:
        """Release what others have gone on from for long enough."""
        kinds: tuple[Kind, ...] = ("id_ahead", "time")
        released: list[TradeColumns] = []
        for kind in kinds:
            mine = [doubted for doubted in self._held if doubted.kind == kind]
            if not mine:
                continue
            whole = concatenate([doubted.trades for doubted in mine])
            patience_s = self.bounds.followed_s
            if kind == "id_ahead" and self._rest_contradicts:
                patience_s = self.bounds.followed_contradicted_s
            alike = int(np.ptp(whole.time_us)) <= self.bounds.max_time_jump_us
            together = int(np.ptp(whole.trade_id)) <= self.bounds.max_id_jump
            if (
                len(np.unique(whole.trade_id)) >= FOLLOWERS
                and alike
                and together
                and now_s - mine[0].since_s >= patience_s
            ):
                self._held = [doubted for doubted in self._held if doubted.kind != kind]
                released.append(whole)
        return released


def implausible_past(trades: TradeColumns, *, clock_us: int, venue_us: int, bounds: Bounds) -> Bools:
    """Return which trades of the past, as REST tells them, have a time that cannot be.

    Args:
        trades: their ids rising.
        clock_us: the time by the clock here.
        venue_us: when the newest trade happened that is known to be right; 0 when none is known.
        bounds: how far a time may be off.

    """
    wrong: Bools = (trades.time_us < _FIRST_US) | (trades.time_us > bounds.latest_us(clock_us, venue_us))
    return wrong | _outliers(trades.time_us, bounds)


def _priced_alike(trades: TradeColumns, others: TradeColumns) -> Bools:
    """Return which trades have the price and quantity that the others tell of the same id, or have no other there."""
    reported = dict(
        zip(
            others.trade_id.tolist(),
            zip(others.price_e8.tolist(), others.quantity_e8.tolist(), strict=True),
            strict=True,
        )
    )
    rows = zip(trades.trade_id.tolist(), trades.price_e8.tolist(), trades.quantity_e8.tolist(), strict=True)
    return np.array(
        [reported.get(id_, (price, quantity)) == (price, quantity) for id_, price, quantity in rows], np.bool_
    )


def is_same_count(reported: TradeColumns, recent: RecentTrades) -> bool:
    """Return whether REST's ids are those of the count that is followed: one trade at least is the same in both.

    Args:
        reported: trades that REST tells.
        recent: trades that were published lately.

    """
    there = np.isin(reported.trade_id, recent.columns[0])
    return bool((there & ~_conflicts(reported, recent)).any())


def may_be_another_count(reported: TradeColumns, recent: RecentTrades, waiting: TradeColumns | None) -> bool:
    """Return whether REST tells past trades other than the published ones, or later than one with a higher id.

    The venue's clocks differ a little, so that may be in order all the same. Where it is not so, ids and times rise
    together into what was published, or waits for those ids, which no trade of a new count can do.

    Args:
        reported: trades that REST tells, their ids rising.
        recent: trades that were published lately; where there are none nobody can say.
        waiting: trades behind those that wait for ids before them, in any order; None when there are none.

    """
    if not recent:
        return False
    ids, time_us, _ = recent.columns
    if waiting is not None:
        order = np.argsort(waiting.trade_id, kind="stable")
        ids, time_us = np.append(ids, waiting.trade_id[order]), np.append(time_us, waiting.time_us[order])
    next_rows = np.searchsorted(ids, reported.trade_id, side="right")
    followed = next_rows < len(ids)
    later = reported.time_us[followed] > time_us[next_rows[followed]]
    told_again = reported.rows(np.isin(reported.trade_id, recent.columns[0]))
    return bool(later.any() or _conflicts(told_again, recent).any())


def extremes(column: Int64s) -> tuple[int, int]:
    """Return the lowest and the highest number of a column.

    Args:
        column: int64 of shape (n,), at least one; of few Python has found them before numpy has begun.

    """
    if len(column) <= _FEW:
        values = column.tolist()
        return min(values), max(values)
    return int(column.min()), int(column.max())


def _columns_of(trades: TradeColumns) -> tuple[Int64s, ...]:
    return trades.trade_id, trades.time_us, trades.price_e8, trades.quantity_e8, trades.is_buyer_maker.astype(np.int64)


def _contents(trades: TradeColumns) -> list[tuple[int, int, int]]:
    """Return what each trade says; REST may tell times in milliseconds."""
    columns = (trades.time_us // 1000, trades.price_e8, trades.quantity_e8)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _content(trade: TradeColumns) -> tuple[int, int, int]:
    return _contents(trade)[0]


def _same_trade(trade: TradeColumns, other: TradeColumns) -> bool:
    return int(trade.trade_id[0]) == int(other.trade_id[0]) and _content(trade) == _content(other)


def _conflicts(trades: TradeColumns, recent: RecentTrades | None) -> Bools:
    """Return which trades have the id of one that was passed on lately, and are another one."""
    if recent is None or not len(recent) or not len(trades):
        return np.zeros(len(trades), np.bool_)
    published = recent.of_ids(trades.trade_id, trades)
    reported = dict(zip(published.trade_id.tolist(), _contents(published), strict=True))
    pairs = zip(trades.trade_id.tolist(), _contents(trades), strict=True)
    return np.array([reported.get(id_, content) != content for id_, content in pairs], np.bool_)


def _repeats(trades: TradeColumns, past: Bools, known: KnownTrades) -> Bools:
    """Return which of the trades with ids of the past are what was passed on before, as far as anybody can tell."""
    repeats = np.ones(len(trades), np.bool_)
    if not past.any():
        return repeats
    later = trades.time_us > known.last_time_us + _BEHIND_US if known.last_time_us else np.zeros(len(trades), np.bool_)
    if not known.recent:
        return ~(past & later)
    recent_ids, recent_times, _ = known.recent.columns
    there = np.isin(trades.trade_id, recent_ids)
    other = _conflicts(trades, known.recent)
    older_than_recent = (trades.trade_id < recent_ids[0]) & (trades.time_us > int(recent_times.max()) + _BEHIND_US)
    unlike: Bools = past & ((there & other) | (~there & later) | older_than_recent)
    return ~unlike


def _outliers(times: Int64s, bounds: Bounds) -> Bools:
    """Return which times lie outside of what those before and after them say, by more than the bounds."""
    outside = np.zeros(len(times), np.bool_)
    if len(times) < 3:
        return outside
    before, after = times[:-2], times[2:]
    low = np.minimum(before, after) - bounds.max_time_jump_us
    high = np.maximum(before, after) + bounds.max_time_ahead_us
    outside[1:-1] = (times[1:-1] < low) | (times[1:-1] > high)
    return outside


def _words(trades: TradeColumns, kind: Kind, known: KnownTrades) -> str:
    trade_id, time_us = int(trades.trade_id[0]), int(trades.time_us[0])
    if kind == "first":
        return f"trade {trade_id} is the first of its symbol, and nothing says yet that it is right"
    if kind == "id_ahead":
        return f"trade {trade_id} is {trade_id - max(known.head_id, known.last_id or 0)} ids ahead of all others"
    if kind == "id_behind":
        return f"trade {trade_id} has an id of the past ({known.last_id} is published) but is none that was published"
    if kind == "early":
        return f"trade {trade_id} came before ones with lower ids, and nothing says yet that it is right"
    if kind == "unconfirmed":
        last_id = known.last_id or 0
        return f"trade {trade_id} came, but REST has told neither it nor trades {last_id + 1} to {trade_id - 1}"
    away_s = (time_us - (known.last_time_us or trades.received_time_us)) / 1e6
    return f"trade {trade_id} has the time {time_us} us, {away_s:+.0f} s from the other trades"
