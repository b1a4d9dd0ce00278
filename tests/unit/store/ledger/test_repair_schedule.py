"""Holes are asked for one at a time per symbol, again and again, ever more patiently."""

from __future__ import annotations

import itertools

from mesh.values.id_ranges import IdRange
from store.ledger.repair_schedule import ANSWER_S, FIRST_S, LONGEST_S, MAX_IDS, MissingTrades, RepairSchedule


def missing(first: int, last: int, symbol: str = "btcusdt") -> MissingTrades:
    return MissingTrades("binance", symbol, IdRange(first, last))


def test_a_new_hole_is_asked_for_at_once() -> None:
    assert RepairSchedule().due([missing(5, 9)], now_s=100) == [missing(5, 9)]


def test_one_request_a_symbol_is_on_its_way() -> None:
    schedule = RepairSchedule()
    wanted = [missing(5, 9), missing(20, 21), missing(1, 2, "ethusdt")]

    assert schedule.due(wanted, now_s=0) == [missing(5, 9), missing(1, 2, "ethusdt")]
    assert schedule.due(wanted, now_s=1) == []


def test_an_answer_lets_the_next_one_go() -> None:
    schedule = RepairSchedule()
    schedule.due([missing(5, 9), missing(20, 21)], now_s=0)

    schedule.answered("binance", "btcusdt")

    assert schedule.due([missing(5, 9), missing(20, 21)], now_s=0.1) == [missing(20, 21)]


def test_silence_lets_the_next_one_go_after_a_while() -> None:
    schedule = RepairSchedule()
    schedule.due([missing(5, 9), missing(20, 21)], now_s=0)

    assert schedule.due([missing(20, 21)], now_s=ANSWER_S) == [missing(20, 21)]


def test_a_hole_nobody_can_fill_is_asked_for_ever_more_seldom() -> None:
    schedule = RepairSchedule()
    times = []
    for now_s in range(2000):
        if schedule.due([missing(5, 9)], now_s=now_s):
            times.append(now_s)
            schedule.answered("binance", "btcusdt")

    waits = [after - before for before, after in itertools.pairwise(times)]
    assert waits == [FIRST_S, 10, 20, 40, 80, 160, LONGEST_S, LONGEST_S, LONGEST_S, LONGEST_S, LONGEST_S]


def test_a_long_hole_is_asked_for_piece_by_piece() -> None:
    assert RepairSchedule().due([missing(1, 10**9)], now_s=0) == [missing(1, MAX_IDS)]


def test_what_is_left_of_a_hole_is_a_new_question() -> None:
    schedule = RepairSchedule()
    schedule.due([missing(1, 10)], now_s=0)
    schedule.answered("binance", "btcusdt")

    assert schedule.due([missing(6, 10)], now_s=0.1) == [missing(6, 10)]
