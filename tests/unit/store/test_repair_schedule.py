"""Holes are asked for one at a time per symbol, again and again, ever more patiently."""

from __future__ import annotations

import itertools

from store.ledger.repair_schedule import ANSWER_S, FIRST_S, LONGEST_S, MAX_IDS, Asking, Hole


def hole(first: int, last: int, symbol: str = "btcusdt") -> Hole:
    return Hole("binance", symbol, first, last)


def test_a_new_hole_is_asked_for_at_once() -> None:
    assert Asking().due([hole(5, 9)], now_s=100) == [hole(5, 9)]


def test_one_request_a_symbol_is_on_its_way() -> None:
    asking = Asking()
    holes = [hole(5, 9), hole(20, 21), hole(1, 2, "ethusdt")]

    assert asking.due(holes, now_s=0) == [hole(5, 9), hole(1, 2, "ethusdt")]
    assert asking.due(holes, now_s=1) == []


def test_an_answer_lets_the_next_one_go() -> None:
    asking = Asking()
    asking.due([hole(5, 9), hole(20, 21)], now_s=0)

    asking.answered("binance", "btcusdt")

    assert asking.due([hole(5, 9), hole(20, 21)], now_s=0.1) == [hole(20, 21)]


def test_silence_lets_the_next_one_go_after_a_while() -> None:
    asking = Asking()
    asking.due([hole(5, 9), hole(20, 21)], now_s=0)

    assert asking.due([hole(20, 21)], now_s=ANSWER_S) == [hole(20, 21)]


def test_a_hole_nobody_can_fill_is_asked_for_ever_more_seldom() -> None:
    asking = Asking()
    times = []
    for now_s in range(2000):
        if asking.due([hole(5, 9)], now_s=now_s):
            times.append(now_s)
            asking.answered("binance", "btcusdt")

    waits = [after - before for before, after in itertools.pairwise(times)]
    assert waits == [FIRST_S, 10, 20, 40, 80, 160, LONGEST_S, LONGEST_S, LONGEST_S, LONGEST_S, LONGEST_S]


def test_a_long_hole_is_asked_for_piece_by_piece() -> None:
    assert Asking().due([hole(1, 10**9)], now_s=0) == [hole(1, MAX_IDS)]


def test_what_is_left_of_a_hole_is_a_new_question() -> None:
    asking = Asking()
    asking.due([hole(1, 10)], now_s=0)
    asking.answered("binance", "btcusdt")

    assert asking.due([hole(6, 10)], now_s=0.1) == [hole(6, 10)]
