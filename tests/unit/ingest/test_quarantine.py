"""Trades that cannot be right: what is held, and what lets them go or sends them away."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import pytest

from ingest.publish.quarantine import MAX_DISPUTES, Bounds, KnownTrades, Quarantine, RecentTrades, implausible_past
from mesh.values.trades import TradeColumns, concatenate
from tests.fixtures.trades import START_US, columns, same

YEAR_2200_US = 7_258_118_400_000_000
HOUR_US = 3_600_000_000


def after(last_id: int) -> KnownTrades:
    """Return what is known after trades 1 to `last_id`."""
    recent = RecentTrades()
    recent.add(columns(1, last_id))
    return KnownTrades(last_id, last_id, START_US + last_id * 250, START_US + last_id * 250, recent)


def ids(trades: TradeColumns | None) -> list[int]:
    return [] if trades is None else trades.trade_id.tolist()


def at(trades: TradeColumns, time_us: int) -> TradeColumns:
    return dataclasses.replace(trades, time_us=np.full(len(trades), time_us, np.int64))


def later(trades: TradeColumns, by_us: int) -> TradeColumns:
    return dataclasses.replace(trades, time_us=trades.time_us + by_us)


def test_trades_that_go_on_pass_as_they_are() -> None:
    trades = columns(51, 20)
    verdict = Quarantine().examine(trades, after(50), now_s=0, live=True)
    assert verdict.passed is trades
    assert not verdict.held


def test_a_jump_within_the_bound_passes() -> None:
    assert ids(Quarantine().examine(columns(1050, 1), after(50), now_s=0, live=True).passed) == [1050]


@pytest.mark.parametrize("far_id", [200_051, 2**40, 2**62, 2**63 - 1])
def test_an_id_far_ahead_is_held_and_contradicted_by_the_next_id(far_id: int) -> None:
    quarantine = Quarantine()
    verdict = quarantine.examine(columns(far_id, 1), after(50), now_s=0, live=True)
    assert (verdict.passed, [doubted.kind for doubted in verdict.held]) == (None, ["id_ahead"])

    verdict = quarantine.examine(columns(51, 1), after(50), now_s=0.1, live=True)

    assert (ids(verdict.passed), len(verdict.dropped), quarantine.held_trades) == ([51], 1, 0)


def test_an_id_far_ahead_between_others_of_one_batch_is_contradicted_at_once() -> None:
    quarantine = Quarantine()
    batch = concatenate([columns(51, 2), columns(2**62, 1), columns(53, 1)])

    verdict = quarantine.examine(batch, after(50), now_s=0, live=True)

    assert ids(verdict.passed) == [51, 52, 53]
    assert (len(verdict.held), quarantine.held_trades) == (1, 1)
    verdict = quarantine.examine(columns(54, 1), after(53), now_s=0.1, live=True)
    assert (ids(verdict.passed), quarantine.held_trades) == ([54], 0)


def test_an_id_far_ahead_that_rest_has_too_is_released() -> None:
    quarantine = Quarantine()
    quarantine.examine(columns(1_000_000, 1), after(50), now_s=0, live=True)

    verdict = quarantine.judge(columns(999_500, 510), after(50), now_s=0.2)

    assert (ids(verdict.passed), verdict.released, quarantine.held_trades) == ([1_000_000], 1, 0)


def test_an_id_far_ahead_that_rest_has_not_reached_stays_held() -> None:
    quarantine = Quarantine()
    quarantine.examine(columns(2**62, 1), after(50), now_s=0, live=True)
    assert quarantine.judge(columns(1, 50), after(50), now_s=0.2).passed is None
    assert quarantine.held_trades == 1


def test_trades_that_go_on_from_a_doubted_one_confirm_it_after_a_while_when_rest_says_nothing() -> None:
    quarantine = Quarantine()
    assert quarantine.examine(columns(1_000_000, 3), after(50), now_s=0, live=True).passed is None
    verdict = quarantine.examine(columns(1_000_003, 2), after(50), now_s=2.5, live=True)
    assert ids(verdict.passed) == [*range(1_000_000, 1_000_005)]


def test_what_is_far_ahead_is_released_when_the_others_have_come_near() -> None:
    quarantine = Quarantine(Bounds(max_id_jump=1000))
    quarantine.examine(columns(2000, 1), after(50), now_s=0, live=True)
    verdict = quarantine.examine(columns(51, 1000), after(50), now_s=0, live=False)
    assert ids(verdict.passed) == [*range(51, 1051), 2000]


def other_content(trades: TradeColumns) -> TradeColumns:
    return dataclasses.replace(trades, price_e8=trades.price_e8 + 1)


def doubting(trade_id: int, kind: Literal["early", "unconfirmed"] = "unconfirmed", *, count: int = 1) -> Quarantine:
    """Return a quarantine that holds trades with near ids."""
    quarantine = Quarantine()
    verdict = quarantine.doubt(other_content(columns(trade_id, count)), kind, after(50), now_s=0)
    assert [doubted.kind for doubted in verdict.held] == [kind]
    return quarantine


@pytest.mark.parametrize("wrong_id", [1050, 53])
def test_a_near_id_that_nothing_confirms_is_contradicted_by_the_next_id(wrong_id: int) -> None:
    quarantine = doubting(wrong_id)
    verdict = quarantine.examine(columns(51, 1), after(50), now_s=1, live=True)
    assert (ids(verdict.passed), len(verdict.dropped), quarantine.held_trades) == ([51], 1, 0)


def test_another_trade_with_a_doubted_near_id_takes_its_place() -> None:
    quarantine = doubting(51, "early")
    verdict = quarantine.examine(columns(51, 1), after(50), now_s=1, live=True)
    assert verdict.passed is not None
    assert same(verdict.passed, columns(51, 1))
    assert (len(verdict.dropped), quarantine.held_trades) == (1, 0)


def test_the_next_id_after_a_doubted_one_that_is_due_confirms_it() -> None:
    quarantine = doubting(51, "early")
    verdict = quarantine.examine(columns(52, 1), after(50), now_s=1, live=True)
    assert (ids(verdict.passed), verdict.released, quarantine.held_trades) == ([51, 52], 1, 0)


def test_one_behind_a_gap_is_confirmed_by_two_that_go_on_from_it() -> None:
    quarantine = doubting(1050)
    assert quarantine.examine(columns(1051, 1), after(50), now_s=1, live=True).passed is None
    verdict = quarantine.examine(columns(1052, 1), after(50), now_s=2, live=True)
    assert (ids(verdict.passed), verdict.dropped, quarantine.held_trades) == ([1050, 1051, 1052], [], 0)


def test_trades_elsewhere_say_nothing_of_a_doubted_near_id() -> None:
    quarantine = doubting(1050)
    verdict = quarantine.examine(columns(60, 1), after(50), now_s=1, live=True)
    assert (ids(verdict.passed), quarantine.held_trades) == ([60], 1)


def test_rest_lets_a_near_id_go_or_drops_it_by_its_content_and_waits_while_it_has_not_reached_it() -> None:
    for newest, passed, held in (
        (columns(1, 50), [], 1),
        (columns(1, 52), [], 1),
        (columns(1, 53), [], 0),
        (other_content(columns(1, 53)), [53], 0),
        (columns(80, 20), [53], 0),  # it has gone on far past it: fetched in order, as what it tells counts then
    ):
        quarantine = doubting(53)
        verdict = quarantine.judge(newest, after(50), now_s=1)
        assert (ids(verdict.passed), quarantine.held_trades) == (passed, held)


def test_one_that_came_early_goes_on_when_rest_does_not_answer_for_long_enough_and_one_behind_a_gap_does_not() -> None:
    for trade_id, kind, passed in ((51, "early", [51]), (53, "unconfirmed", [])):
        quarantine = doubting(trade_id, kind)  # type: ignore[arg-type]
        assert quarantine.judge(None, after(50), now_s=59).passed is None
        assert ids(quarantine.judge(None, after(50), now_s=60).passed) == passed


def test_a_time_a_minute_ahead_of_the_clock_and_of_all_trades_is_held_and_one_an_hour_late_is_not() -> None:
    for by_s, passes in ((59, True), (61, False), (59 * 60, False), (-59 * 60, True), (-61 * 60, False)):
        trade = at(columns(51, 1), START_US + 51 * 250 + by_s * 10**6)
        verdict = Quarantine().examine(trade, after(50), now_s=0, live=True)
        assert (verdict.passed is not None) is passes


def test_where_the_clock_here_is_behind_the_venues_trades_a_quiet_coins_next_trade_passes() -> None:
    trade = at(columns(51, 1, received_time_us=START_US - 10 * 60 * 10**6), START_US + 5 * 60 * 10**6)
    assert ids(Quarantine().examine(trade, after(50), now_s=0, live=True).passed) == [51]


def test_what_rest_tells_of_the_past_may_not_be_a_minute_ahead_of_what_comes_after_it() -> None:
    page = columns(1, 10)
    page.time_us[4] += 61 * 10**6
    assert np.flatnonzero(
        implausible_past(page, venue_us=0, clock_us=START_US + HOUR_US, bounds=Bounds())
    ).tolist() == [4]


@pytest.mark.parametrize(
    "time_us", [YEAR_2200_US, 1_723_161_255_000, 0, START_US + 2 * HOUR_US, START_US - 2 * HOUR_US]
)
@pytest.mark.parametrize("live", [True, False])
def test_a_time_far_from_the_clock_and_from_the_others_is_held(time_us: int, live: bool) -> None:
    quarantine = Quarantine()
    batch = concatenate([columns(51, 2), at(columns(53, 1), time_us), columns(54, 2)])

    verdict = quarantine.examine(batch, after(50), now_s=0, live=live)

    assert ids(verdict.passed) == [51, 52, 54, 55]
    assert [doubted.kind for doubted in verdict.held] == ["time"]


def test_a_time_that_rest_tells_too_is_right() -> None:
    quarantine = Quarantine()
    odd = at(columns(51, 1), YEAR_2200_US)
    quarantine.examine(odd, after(50), now_s=0, live=True)

    verdict = quarantine.examine(odd, after(50), now_s=0.2, live=False)

    assert (ids(verdict.passed), quarantine.held_trades) == ([51], 0)


def test_a_time_that_rest_alone_tells_again_and_again_is_not_right() -> None:
    quarantine = Quarantine()
    odd = at(columns(51, 1), YEAR_2200_US)
    for now_s in range(5):
        assert quarantine.examine(odd, after(50), now_s=now_s, live=False).passed is None
    assert quarantine.held_trades == 1


def test_a_time_that_rest_tells_otherwise_is_dropped() -> None:
    quarantine = Quarantine()
    quarantine.examine(at(columns(51, 1), YEAR_2200_US), after(50), now_s=0, live=True)

    verdict = quarantine.examine(columns(51, 1), after(50), now_s=0.2, live=False)

    assert (ids(verdict.passed), len(verdict.dropped), quarantine.held_trades) == ([51], 1, 0)


@pytest.mark.parametrize("received_time_us", [0, YEAR_2200_US])
def test_a_wrong_clock_here_quarantines_nothing_that_the_other_trades_agree_with(received_time_us: int) -> None:
    trades = columns(51, 5, received_time_us=received_time_us)
    assert ids(Quarantine().examine(trades, after(50), now_s=0, live=True).passed) == [51, 52, 53, 54, 55]


def test_a_quiet_coin_is_judged_by_the_venues_other_trades_where_the_clock_is_wrong() -> None:
    known = dataclasses.replace(after(50), venue_time_us=START_US + 9 * HOUR_US)
    trade = later(columns(51, 1, received_time_us=0), 9 * HOUR_US)
    assert ids(Quarantine().examine(trade, known, now_s=0, live=True).passed) == [51]


def test_what_rest_tells_of_a_long_absence_is_plausible() -> None:
    day_us = 24 * HOUR_US
    known = after(50)
    page = columns(51, 10, received_time_us=START_US + 30 * day_us)
    page.time_us[:] = START_US + np.arange(1, 11) * 2 * day_us
    assert len(ids(Quarantine().examine(page, known, now_s=0, live=False).passed)) == 10


def test_the_first_trade_of_all_is_held_until_another_one_agrees() -> None:
    quarantine = Quarantine()
    known = KnownTrades(None, -1, 0, 0)
    assert quarantine.examine(columns(2**62, 1), known, now_s=0, live=True).passed is None
    assert quarantine.examine(columns(51, 1), known, now_s=0.1, live=True).passed is None

    verdict = quarantine.examine(columns(52, 1), known, now_s=0.2, live=True)

    assert (ids(verdict.passed), len(verdict.dropped), quarantine.held_trades) == ([51, 52], 1, 0)


def test_the_first_trade_of_all_is_released_or_dropped_by_rest() -> None:
    for first_id, released in ((51, [51]), (2**62, [])):
        quarantine = Quarantine()
        known = KnownTrades(None, -1, 0, 0)
        quarantine.examine(columns(first_id, 1), known, now_s=0, live=True)
        verdict = quarantine.judge(columns(1, 50), known, now_s=0.2)
        assert (ids(verdict.passed), quarantine.held_trades) == (released, 0)


def test_repeats_are_none_that_are_doubted() -> None:
    verdict = Quarantine().examine(columns(30, 25), after(50), now_s=0, live=True)
    assert (ids(verdict.passed), verdict.held) == ([*range(30, 55)], [])


def test_repeats_in_milliseconds_are_none_that_are_doubted() -> None:
    trades = columns(30, 20)
    trades.time_us[:] = trades.time_us // 1000 * 1000
    assert not Quarantine().examine(trades, after(50), now_s=0, live=True).held


@pytest.mark.parametrize("wrong_id", [0, 3, 50])
def test_a_single_id_of_the_past_is_held_and_contradicted_by_trades_that_go_on(wrong_id: int) -> None:
    quarantine = Quarantine()
    odd = later(columns(wrong_id, 1), 5_000_000)
    verdict = quarantine.examine(odd, after(50), now_s=0, live=True)
    assert (verdict.passed, [doubted.kind for doubted in verdict.held]) == (None, ["id_behind"])
    if wrong_id != 50:  # the next id might go on from it: that is left to REST
        verdict = quarantine.examine(columns(51, 1), after(50), now_s=0.1, live=True)
        assert (ids(verdict.passed), quarantine.held_trades) == ([51], 0)
    assert not quarantine.reset_suspected


def test_ids_of_the_past_one_after_the_other_look_like_a_new_count_and_nothing_passes_until_it_is_known() -> None:
    quarantine = Quarantine()
    for trade_id in range(1, 51):
        verdict = quarantine.examine(later(columns(trade_id, 1), 5_000_000), after(50), now_s=0, live=True)
        assert verdict.passed is None
    assert quarantine.reset_suspected

    # The new count reaches the old one: this is not the trade that follows 50.
    assert quarantine.examine(later(columns(51, 1), 5_000_000), after(50), now_s=0, live=True).passed is None
    assert ids(quarantine.take_behind()) == [*range(1, 52)]


def test_holding_is_bounded() -> None:
    quarantine = Quarantine(Bounds(max_held_trades=100))
    dropped = 0
    for n in range(50):
        verdict = quarantine.examine(columns(2**40 + n * 10, 10), after(50), now_s=0, live=True)
        dropped += sum(len(doubted.trades) for doubted, _ in verdict.dropped)
    assert (quarantine.held_trades, dropped) == (100, 400)


def test_of_past_trades_those_with_impossible_times_are_found() -> None:
    page = columns(1, 5)
    page.time_us[2] = YEAR_2200_US
    page.time_us[4] = 1_723_161_255_000
    wrong = implausible_past(page, venue_us=0, clock_us=START_US + HOUR_US, bounds=Bounds())
    assert wrong.tolist() == [False, False, True, False, True]


def test_rest_proves_a_new_count_or_that_there_is_none() -> None:
    quarantine = Quarantine()
    quarantine.examine(later(columns(1, 5), 5_000_000), after(50), now_s=0, live=True)

    assert quarantine.counts_anew(columns(1, 50), after(50)) is False
    assert quarantine.counts_anew(columns(45, 20), after(50)) is False
    assert quarantine.counts_anew(later(columns(1, 5), 5_000_000), after(50)) is True
    assert quarantine.counts_anew(later(columns(1, 55), 5_000_000), after(50)) is True  # it has passed the old ones
    assert quarantine.counts_anew(columns(1_000_000, 5), after(50)) is None
    assert quarantine.counts_anew(None, after(50)) is None


def test_a_venue_may_tell_of_a_minute_ahead_of_the_clock_and_of_an_hour_where_the_clock_is_behind() -> None:
    bounds = Bounds()
    assert bounds.latest_us(START_US, 0) == START_US + 60_000_000
    assert bounds.latest_us(START_US, START_US + 1_000_000) == START_US + 61_000_000
    assert bounds.latest_us(START_US, START_US + HOUR_US) == START_US + 2 * HOUR_US
    assert bounds.latest_us(START_US + 24 * HOUR_US, START_US) == START_US + 24 * HOUR_US + 60_000_000


def disputing(told: TradeColumns, known: KnownTrades) -> Quarantine:
    """Return a quarantine that was told a published trade otherwise, after which trades went on."""
    quarantine = Quarantine()
    assert quarantine.examine(told, known, now_s=0, live=True).passed is None
    next_id = (known.last_id or 0) + 1
    verdict = quarantine.examine(columns(next_id, 1), known, now_s=0.1, live=True)
    assert (ids(verdict.passed), quarantine.held_trades) == ([next_id], 0)
    return quarantine


@pytest.mark.parametrize("wrong_id", [50, 30])
def test_a_published_trade_that_is_told_otherwise_is_disputed_while_trades_go_on_and_rest_decides(
    wrong_id: int,
) -> None:
    for published_is_right in (True, False):
        known, told = after(50), other_content(columns(wrong_id, 1))
        quarantine = disputing(told, known)
        assert quarantine.disputed_ids == [wrong_id]
        right = columns(1, 50) if published_is_right else concatenate([columns(1, wrong_id - 1), told])

        settled = quarantine.settle(right, known)

        corrected = [] if published_is_right else [wrong_id]
        assert [int(trade.trade_id[0]) for trade in settled.right] == corrected
        assert all(same(trade, told) for trade in settled.right)
        assert [same(trade, columns(wrong_id, 1)) for trade in settled.wrong] == [True for _ in corrected]
        assert (len(settled.upheld), quarantine.disputed_ids) == (int(published_is_right), [])


def test_what_rest_alone_says_against_a_published_trade_counts_when_it_says_so_twice_in_a_row() -> None:
    quarantine, known = Quarantine(), after(50)
    against, otherwise = concatenate([columns(1, 49), other_content(columns(50, 1))]), columns(1, 50)
    assert not quarantine.settle(against, known).right
    assert quarantine.disputed_ids == [50]  # so that it is asked again
    assert not quarantine.settle(otherwise, known).right
    assert quarantine.disputed_ids == []
    assert not quarantine.settle(against, known).right
    [right] = quarantine.settle(against, known).right
    assert same(right, other_content(columns(50, 1)))


def test_trades_of_another_count_correct_nothing() -> None:
    known = after(50)
    quarantine = disputing(other_content(columns(50, 1)), known)
    for _ in range(3):
        assert not quarantine.settle(other_content(columns(1, 50)), known).right


def test_what_went_on_because_rest_did_not_answer_is_asked_for_when_it_does() -> None:
    quarantine, known = doubting(51, "early"), after(50)
    assert known.recent is not None
    verdict = quarantine.judge(None, known, now_s=Bounds().unanswered_s + 1)
    assert ids(verdict.passed) == [51]
    assert quarantine.disputed_ids == [51]
    published = concatenate([columns(1, 50), other_content(columns(51, 1))])
    known.recent.add(published.rows(slice(50, None)))
    assert not quarantine.settle(published, known).right
    assert quarantine.disputed_ids == []


def test_of_two_trades_that_disagree_rest_begins_no_new_count_for_one() -> None:
    recent = RecentTrades()
    recent.add(columns(50, 1))
    known = KnownTrades(50, 50, START_US, START_US, recent)
    quarantine = Quarantine()
    quarantine.examine(later(other_content(columns(50, 1)), 5_000_000), known, now_s=0, live=True)
    assert quarantine.counts_anew(later(other_content(columns(1, 50)), 5_000_000), known) is None


def test_disputes_are_bounded() -> None:
    quarantine, known = Quarantine(), after(50)
    for price_e8 in range(MAX_DISPUTES + 10):
        told = dataclasses.replace(columns(50, 1), price_e8=np.array([price_e8], np.int64))
        quarantine.dispute(told, known, now_s=0)
    assert len(quarantine.disputes) == MAX_DISPUTES
