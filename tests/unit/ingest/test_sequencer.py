"""One symbol's trades in id order, each once; holes seen, waited for, given up."""

from __future__ import annotations

import random

import numpy as np
import pytest

from ingest.publish.sequencer import Sequencer, WaitingLimits
from mesh.values.id_ranges import IdRange
from mesh.values.trades import TradeColumns, concatenate
from tests.fixtures.trades import columns, same


def rows(*ids: int) -> TradeColumns:
    whole = columns(min(ids), max(ids) - min(ids) + 1)
    return whole.rows(np.array(ids) - min(ids))


def ids_of(trades: TradeColumns | None) -> list[int]:
    return [] if trades is None else trades.trade_id.tolist()


def test_the_first_trade_begins_when_nothing_was_published_before() -> None:
    sequencer = Sequencer(last_id=None)
    assert ids_of(sequencer.push(rows(70, 71), 0)) == [70, 71]
    assert sequencer.gap is None


def test_consecutive_trades_pass_untouched() -> None:
    sequencer = Sequencer(last_id=9)
    batch = columns(10, 500)
    assert sequencer.push(batch, 0) is batch


def test_trades_published_before_are_dropped() -> None:
    sequencer = Sequencer(last_id=9)
    assert ids_of(sequencer.push(rows(7, 8, 9, 10), 0)) == [10]
    assert ids_of(sequencer.push(rows(10), 0)) == []
    assert sequencer.counts.duplicates == 4


def test_a_trade_twice_in_one_batch_passes_once() -> None:
    sequencer = Sequencer(last_id=9)
    assert ids_of(sequencer.push(rows(10, 11, 11, 12, 10), 0)) == [10, 11, 12]


def test_out_of_order_trades_are_put_right() -> None:
    sequencer = Sequencer(last_id=9)
    assert ids_of(sequencer.push(rows(12, 10), 0)) == [10]
    assert ids_of(sequencer.push(rows(14, 13), 0)) == []
    assert sequencer.gap == IdRange(11, 11)
    assert ids_of(sequencer.push(rows(11), 0)) == [11, 12, 13, 14]
    assert (sequencer.gap, sequencer.held_trades) == (None, 0)


def test_a_live_trade_that_came_before_a_lower_id_does_not_leave_by_itself() -> None:
    for batches in (((53,), (51,), (52,)), ((53,), (51, 52)), ((53, 51, 52),), ((51, 53), (52,))):
        sequencer = Sequencer(last_id=50)
        left = [ids_of(sequencer.push(rows(*batch), 0, live=True)) for batch in batches]
        assert [trade_id for part in left for trade_id in part] == [51, 52]
        assert ids_of(sequencer.take_unconfirmed()) == [53]
        assert (sequencer.last_id, sequencer.gap, sequencer.take_unconfirmed()) == (52, None, None)


def test_a_lone_live_trade_behind_a_gap_that_rest_fills_short_of_it_does_not_leave_by_itself() -> None:
    sequencer = Sequencer(last_id=50)
    sequencer.push(rows(52), 0, live=True)
    assert ids_of(sequencer.push(rows(51), 0)) == [51]
    assert ids_of(sequencer.take_unconfirmed()) == [52]


def test_early_trades_leave_when_the_next_id_came_after_them_or_three_follow_each_other() -> None:
    for early in ((53, 54), (53, 54, 55)):
        sequencer = Sequencer(last_id=51)
        for trade_id in early:
            sequencer.push(rows(trade_id), 0, live=True)
        released = ids_of(sequencer.push(rows(52), 0, live=True))
        assert released == ([52] if len(early) == 2 else [52, *early])
    sequencer = Sequencer(last_id=51)
    sequencer.push(rows(53), 0, live=True)
    assert ids_of(sequencer.push(rows(52, 54), 0, live=True)) == [52, 53, 54]


def test_a_real_trade_takes_the_place_of_a_wrong_one_before_it_in_one_batch_and_while_both_wait() -> None:
    wrong = columns(53, 1)
    wrong.price_e8[:] = 1
    for batches in (
        [[wrong, columns(51, 3)]],
        [[wrong], [columns(53, 1)], [columns(51, 2), columns(54, 1)]],
        [[wrong], [columns(51, 4)]],
    ):
        sequencer = Sequencer(last_id=50)
        released = [sequencer.push(concatenate(batch), 0, live=True) for batch in batches][-1]
        assert released is not None
        assert same(released, columns(51, len(released)))
        assert len(released) >= 3
        assert ids_of(sequencer.take_unconfirmed()) == [53]


def test_what_rest_tells_of_a_trade_that_waits_replaces_what_the_socket_told() -> None:
    sequencer = Sequencer(last_id=50)
    wrong = columns(53, 1)
    wrong.price_e8[:] = 1
    sequencer.push(wrong, 0, live=True)
    sequencer.push(rows(53), 0)
    released = sequencer.push(rows(51, 52), 0, live=True)
    assert released is not None
    assert same(released, columns(51, 3))


def test_of_what_waits_only_one_or_two_in_a_row_that_rest_has_not_told_are_lone() -> None:
    for waiting, live, lone in (
        ((1050,), True, [1050]),
        ((60, 61, 70, 71, 72), True, [60, 61]),
        ((60, 61, 62), True, []),
        ((60,), False, []),
    ):
        sequencer = Sequencer(last_id=50)
        sequencer.push(rows(*waiting), 0, live=live)
        assert ids_of(sequencer.take_lone()) == lone
        assert sequencer.held_trades == len(waiting) - len(lone)


def test_trades_behind_a_hole_wait_until_it_is_filled_from_elsewhere() -> None:
    sequencer = Sequencer(last_id=9)
    assert ids_of(sequencer.push(rows(20, 21), 0)) == []
    assert ids_of(sequencer.push(rows(22), 0)) == []
    assert (sequencer.gap, sequencer.held_trades) == (IdRange(10, 19), 3)
    assert ids_of(sequencer.push(columns(10, 5), 0)) == [10, 11, 12, 13, 14]
    assert sequencer.gap == IdRange(15, 19)
    assert ids_of(sequencer.push(columns(15, 6), 0)) == [15, 16, 17, 18, 19, 20, 21, 22]
    assert sequencer.counts.gaps == 1


def test_several_holes_are_told_one_after_the_other() -> None:
    sequencer = Sequencer(last_id=0)
    sequencer.push(rows(2, 4, 6), 0)
    assert sequencer.gap == IdRange(1, 1)
    assert ids_of(sequencer.push(rows(1), 0)) == [1, 2]
    assert sequencer.gap == IdRange(3, 3)
    assert ids_of(sequencer.push(rows(3), 0)) == [3, 4]
    assert ids_of(sequencer.push(rows(5), 0)) == [5, 6]
    assert sequencer.counts.gaps == 3


def test_ids_the_venue_has_not_are_passed_over() -> None:
    sequencer = Sequencer(last_id=9)
    sequencer.push(rows(13, 14), 0)
    assert ids_of(sequencer.skip(IdRange(10, 12))) == [13, 14]
    assert (sequencer.gap, sequencer.last_id) == (None, 14)


def test_a_word_about_ids_that_came_meanwhile_changes_nothing() -> None:
    sequencer = Sequencer(last_id=9)
    sequencer.push(rows(10, 11, 12), 0)
    assert ids_of(sequencer.skip(IdRange(10, 12))) == []
    assert sequencer.last_id == 12


def test_what_came_by_the_socket_is_not_absent_whatever_rest_says() -> None:
    sequencer = Sequencer(last_id=9)
    sequencer.push(rows(12), 0)
    assert ids_of(sequencer.skip(IdRange(10, 19))) == [12]


@pytest.mark.parametrize(
    ("limits", "now_s"),
    [
        (WaitingLimits(max_held_s=5), 5.1),
        (WaitingLimits(max_held_trades=2), 0.0),
        (WaitingLimits(max_gap_ids=9), 0.0),
    ],
)
def test_past_each_bound_the_gap_is_overdue_and_given_up(limits: WaitingLimits, now_s: float) -> None:
    sequencer = Sequencer(last_id=9, limits=limits)
    sequencer.push(rows(20, 21, 22), 0)
    assert sequencer.overdue(now_s)
    gap = sequencer.gap
    assert gap == IdRange(10, 19)
    assert ids_of(sequencer.skip(gap)) == [20, 21, 22]
    assert not sequencer.overdue(now_s)


def test_within_the_bounds_nothing_is_overdue() -> None:
    sequencer = Sequencer(last_id=9, limits=WaitingLimits(max_held_s=5, max_held_trades=3, max_gap_ids=10))
    assert not sequencer.overdue(100)
    sequencer.push(rows(20, 21, 22), 0)
    assert not sequencer.overdue(4.9)


def test_a_gap_waits_some_seconds_for_a_venue_that_has_nothing_of_it_yet() -> None:
    sequencer = Sequencer(last_id=9, limits=WaitingLimits(max_nothing_s=5))
    sequencer.push(rows(20), 100)
    assert [sequencer.patience_s(101, now_s) for now_s in (101, 105, 106, 200)] == [5, 1, 0, 0]


def test_a_later_gap_has_as_many_seconds_of_its_own() -> None:
    sequencer = Sequencer(last_id=9, limits=WaitingLimits(max_nothing_s=5))
    sequencer.push(rows(20), 100)
    sequencer.push(rows(30), 104)
    sequencer.skip(IdRange(10, 19))
    assert [sequencer.patience_s(100, now_s) for now_s in (105, 109)] == [4, 0]


@pytest.mark.parametrize("filled", [False, True], ids=["nothing-is-fetched", "every-other-gap-is-filled-late"])
def test_however_many_gaps_follow_each_other_no_trade_waits_for_longer_than_the_bound(filled: bool) -> None:
    sequencer = Sequencer(last_id=0, limits=WaitingLimits(max_held_s=60))
    came_s: dict[int, int] = {}
    waits_s: list[int] = []
    for now_s in range(1, 1000):
        released = []
        if now_s % 30:  # a trade a second, and every thirtieth is lost
            came_s[now_s] = now_s
            released += ids_of(sequencer.push(rows(now_s), now_s))
        while (gap := sequencer.gap) is not None and filled and gap.first_id % 60 == 0 and now_s == gap.first_id + 59:
            released += ids_of(sequencer.push(rows(*range(gap.first_id, gap.last_id + 1)), now_s))
        while (gap := sequencer.gap) is not None and sequencer.overdue(now_s):
            released += ids_of(sequencer.skip(gap))
        waits_s += [now_s - came_s[trade_id] for trade_id in released if trade_id in came_s]
    assert 55 < max(waits_s) <= 61
    assert len(came_s) - len(waits_s) <= 61


def test_a_venue_that_began_its_ids_again_is_noticed() -> None:
    sequencer = Sequencer(last_id=None)
    sequencer.push(columns(100_000, 10), 0)
    assert not sequencer.is_rewound(columns(100_000, 10))
    again = columns(1, 3)
    later = TradeColumns(
        again.venue,
        again.symbol,
        0,
        again.trade_id,
        again.price_e8,
        again.quantity_e8,
        again.time_us + 3_600_000_000,
        again.is_buyer_maker,
    )
    assert sequencer.is_rewound(later)


@pytest.mark.parametrize("seed", range(30))
def test_whatever_the_order_and_the_repeats_each_trade_passes_once_in_order(seed: int) -> None:
    chance = random.Random(seed)
    whole = columns(1000, 400)
    parts = []
    start = 0
    while start < 400:
        end = min(400, start + chance.randint(1, 12))
        parts.append(list(range(start, end)))
        start = end
    parts += chance.sample(parts, len(parts) // 3)
    # Near neighbours swap places, as on a socket that brings frames out of order, and rows inside a batch too.
    parts.sort(key=lambda part: part[0] + chance.randint(0, 60))
    for part in parts:
        if chance.random() < 0.3:
            chance.shuffle(part)
    sequencer = Sequencer(last_id=999)
    released = [sequencer.push(whole.rows(np.array(part)), 0) for part in parts]
    passed = concatenate([batch for batch in released if batch is not None])
    assert same(passed, whole)
    assert sequencer.gap is None
