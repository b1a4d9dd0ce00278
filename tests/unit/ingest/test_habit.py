"""When silence means that a connection has died without a word."""

from __future__ import annotations

import random

from ingest.connection.habit import ALL, LEAST_ALONE_S, LEAST_S, MOST_S, UNKNOWN_S, Habit


def talking(habit: Habit, symbol: str, *, every_s: float, from_s: float = 0.0, times: int = 200) -> float:
    """Let a symbol speak; return when it spoke last."""
    now_s = from_s
    for _ in range(times):
        now_s += every_s
        habit.heard(symbol, now_s)
    return now_s


def test_a_busy_coin_is_missed_after_seconds() -> None:
    habit = Habit()
    habit.listen(["btcusdt"], 0)
    last_s = talking(habit, "btcusdt", every_s=0.05)
    assert habit.silent(["btcusdt"], last_s + LEAST_S - 0.1) is None
    assert habit.silent(["btcusdt"], last_s + LEAST_S + 0.1) == ALL


def test_a_quiet_coin_is_not_missed_for_many_minutes() -> None:
    habit = Habit()
    habit.listen(["rareusdt"], 0)
    last_s = talking(habit, "rareusdt", every_s=60, times=20)
    assert habit.silent(["rareusdt"], last_s + 19 * 60) is None
    assert habit.silent(["rareusdt"], last_s + 21 * 60) == ALL


def test_one_silent_symbol_among_talking_ones_is_named() -> None:
    habit = Habit()
    habit.listen(["btcusdt", "ethusdt"], 0)
    last_s = talking(habit, "ethusdt", every_s=0.05)
    talking(habit, "btcusdt", every_s=0.05, times=2000)
    assert habit.silent(["btcusdt", "ethusdt"], last_s + LEAST_ALONE_S - 1) is None
    assert habit.silent(["btcusdt", "ethusdt"], 100.0) == "ethusdt"


def test_a_coin_that_hardly_ever_speaks_is_not_missed_while_others_do() -> None:
    habit = Habit()
    habit.listen(["btcusdt", "rareusdt"], 0)
    talking(habit, "rareusdt", every_s=0.1, times=20)
    last_s = talking(habit, "btcusdt", every_s=1, times=5000)
    assert habit.silent(["btcusdt", "rareusdt"], last_s + 1) is None


def test_a_coin_that_is_not_followed_any_more_is_not_missed() -> None:
    habit = Habit()
    habit.listen(["btcusdt", "ethusdt"], 0)
    talking(habit, "ethusdt", every_s=0.05)
    last_s = talking(habit, "btcusdt", every_s=0.05, times=500)
    assert habit.silent(["btcusdt"], last_s + 1) is None


def test_who_has_not_shown_a_habit_yet_is_given_long() -> None:
    habit = Habit()
    habit.listen(["btcusdt"], 0)
    assert habit.silent(["btcusdt"], UNKNOWN_S - 1) is None
    assert habit.silent(["btcusdt"], UNKNOWN_S + 1) == ALL


def test_pauses_that_belong_to_the_habit_are_no_silence() -> None:
    habit = Habit()
    habit.listen(["dogeusdt"], 0)
    now_s = 0.0
    for _ in range(20):
        now_s = talking(habit, "dogeusdt", every_s=0.01, from_s=now_s + 8, times=100)
    assert habit.silent(["dogeusdt"], now_s + 16) is None


def test_a_replacement_in_vain_doubles_the_patience_and_a_word_ends_that() -> None:
    habit = Habit()
    habit.listen(["btcusdt"], 0)
    last_s = talking(habit, "btcusdt", every_s=0.05)
    habit.replaced(ALL)
    assert habit.silent(["btcusdt"], last_s + 2 * LEAST_S - 0.1) is None
    assert habit.silent(["btcusdt"], last_s + 2 * LEAST_S + 0.1) == ALL
    habit.heard("btcusdt", last_s + 11)
    assert habit.silent(["btcusdt"], last_s + 11 + 3 * 11 + 1) == ALL


def test_the_slowest_habit_is_waited_for_an_hour() -> None:
    habit = Habit()
    habit.listen(["rareusdt"], 0)
    last_s = talking(habit, "rareusdt", every_s=7200, times=20)
    assert habit.silent(["rareusdt"], last_s + MOST_S - 1) is None
    assert habit.silent(["rareusdt"], last_s + MOST_S + 1) == ALL


def test_time_in_which_nobody_listened_is_no_silence() -> None:
    habit = Habit()
    habit.listen(["btcusdt"], 0)
    last_s = talking(habit, "btcusdt", every_s=0.05)
    habit.listen(["btcusdt"], last_s + 100)
    assert habit.silent(["btcusdt"], last_s + 104) is None
    last_s = talking(habit, "btcusdt", every_s=0.05, from_s=last_s + 104)
    assert habit.silent(["btcusdt"], last_s + LEAST_S + 1) == ALL


def test_coins_that_speak_at_random_are_hardly_ever_accused() -> None:
    chance = random.Random(1)
    habit = Habit()
    habit.listen(["btcusdt"], 0)
    now_s, accused = 0.0, 0
    for _ in range(20_000):
        gap_s = chance.expovariate(1 / 3)
        accused += habit.silent(["btcusdt"], now_s + gap_s) is not None
        now_s += gap_s
        habit.heard("btcusdt", now_s)
    assert accused == 0
