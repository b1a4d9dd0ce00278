"""After how much silence a connection is in doubt."""

from __future__ import annotations

import random
from itertools import pairwise

from ingest.publish.published_symbol import PassedTrades
from ingest.websocket.silence_watchdog import (
    ALL,
    BEHIND_S,
    LEAST_ALONE_S,
    LEAST_S,
    MOST_QUIET_S,
    MOST_S,
    UNKNOWN_S,
    Doubt,
    SilenceWatchdog,
)


def talking(watchdog: SilenceWatchdog, symbol: str, *, every_s: float, from_s: float = 0.0, times: int = 200) -> float:
    """Let a symbol speak; return when it spoke last."""
    now_s = from_s
    for _ in range(times):
        now_s += every_s
        watchdog.traded({symbol: 1}, now_s)
    return now_s


def silent(watchdog: SilenceWatchdog, symbols: list[str], now_s: float) -> str | None:
    """Return whose silence is in doubt."""
    doubt = watchdog.doubt(symbols, now_s)
    return None if doubt is None else doubt.symbol


def test_a_busy_coin_is_missed_after_seconds() -> None:
    watchdog = SilenceWatchdog()
    watchdog.listen(["btcusdt"], 0)
    last_s = talking(watchdog, "btcusdt", every_s=0.05)
    assert silent(watchdog, ["btcusdt"], last_s + LEAST_S - 0.1) is None
    assert silent(watchdog, ["btcusdt"], last_s + LEAST_S + 0.1) == ALL


def test_symbols_whose_trades_come_together_are_each_heard() -> None:
    passed = [
        PassedTrades({"btcusdt": (50, n, 2.0 * n), "ethusdt": (40, 3 * n, 2.0 * n)}, 90, 2.0 * n) for n in range(1, 6)
    ]
    watchdog = SilenceWatchdog(lambda: passed.pop(0) if passed else PassedTrades({}, 0, 0.0))
    watchdog.listen(["btcusdt", "ethusdt"], 0)
    while passed:
        assert silent(watchdog, ["btcusdt", "ethusdt"], 11.0) is None
    assert (watchdog.newest_id("btcusdt"), watchdog.newest_id("ethusdt")) == (5, 15)
    talking(watchdog, "btcusdt", every_s=0.05, from_s=10, times=4000)
    assert silent(watchdog, ["btcusdt", "ethusdt"], 10 + LEAST_ALONE_S - 1) is None
    assert silent(watchdog, ["btcusdt", "ethusdt"], 210.0) == "ethusdt"


def test_of_trades_that_passed_together_each_symbol_is_heard_when_its_own_came() -> None:
    passed = [PassedTrades({"ethusdt": (200, 1, 10.0), "btcusdt": (2000, 1, 100.0)}, 2000, 100.0)]
    watchdog = SilenceWatchdog(lambda: passed.pop(0) if passed else PassedTrades({}, 0, 0.0))
    watchdog.listen(["btcusdt", "ethusdt"], 0)
    watchdog.take_note()
    talking(watchdog, "ethusdt", every_s=0.1, from_s=0.0)
    passed.append(PassedTrades({"ethusdt": (10, 1, 21.0), "btcusdt": (2000, 1, 100.0)}, 2000, 100.0))
    watchdog.take_note()
    assert silent(watchdog, ["btcusdt", "ethusdt"], 21.0 + LEAST_ALONE_S - 1) is None
    assert silent(watchdog, ["btcusdt", "ethusdt"], 100.0) == "ethusdt"


def test_a_trade_that_a_minute_named_has_come_though_a_repeat_of_an_older_one_follows_at_once() -> None:
    watchdog = SilenceWatchdog()
    watchdog.listen(["btcusdt"], 0)
    watchdog.traded({"btcusdt": 100}, 0.5)
    watchdog.minutes({"btcusdt": 100}, 1.0)
    watchdog.minutes({"btcusdt": 105}, 2.0)
    watchdog.traded({"btcusdt": 105}, 2.5)
    watchdog.traded({"btcusdt": 101}, 2.55)
    assert silent(watchdog, ["btcusdt"], 2.5 + BEHIND_S + 1) is None


def test_a_silence_before_trades_that_come_together_is_known_as_whole() -> None:
    watchdog = SilenceWatchdog()
    watchdog.listen(["btcusdt"], 0)
    for begin_s in range(0, 400, 20):
        talking(watchdog, "btcusdt", every_s=0.001, from_s=begin_s, times=50)
    assert silent(watchdog, ["btcusdt"], 380 + 3 * 19) is None
    assert silent(watchdog, ["btcusdt"], 380 + 3 * 21) == ALL


def test_a_quiet_coin_is_not_missed_for_many_minutes() -> None:
    watchdog = SilenceWatchdog()
    watchdog.listen(["rareusdt"], 0)
    last_s = talking(watchdog, "rareusdt", every_s=60, times=20)
    assert silent(watchdog, ["rareusdt"], last_s + 19 * 60) is None
    assert silent(watchdog, ["rareusdt"], last_s + 21 * 60) == ALL


def test_one_silent_symbol_among_talking_ones_is_named() -> None:
    watchdog = SilenceWatchdog()
    watchdog.listen(["btcusdt", "ethusdt"], 0)
    last_s = talking(watchdog, "ethusdt", every_s=0.05)
    talking(watchdog, "btcusdt", every_s=0.05, times=2000)
    assert silent(watchdog, ["btcusdt", "ethusdt"], last_s + LEAST_ALONE_S - 1) is None
    assert silent(watchdog, ["btcusdt", "ethusdt"], 100.0) == "ethusdt"


def test_a_coin_that_hardly_ever_speaks_is_not_missed_while_others_do() -> None:
    watchdog = SilenceWatchdog()
    watchdog.listen(["btcusdt", "rareusdt"], 0)
    talking(watchdog, "rareusdt", every_s=0.1, times=20)
    last_s = talking(watchdog, "btcusdt", every_s=1, times=5000)
    assert silent(watchdog, ["btcusdt", "rareusdt"], last_s + 1) is None


def test_a_coin_that_is_not_followed_any_more_is_not_missed() -> None:
    watchdog = SilenceWatchdog()
    watchdog.listen(["btcusdt", "ethusdt"], 0)
    talking(watchdog, "ethusdt", every_s=0.05)
    last_s = talking(watchdog, "btcusdt", every_s=0.05, times=500)
    assert silent(watchdog, ["btcusdt"], last_s + 1) is None


def test_whom_nobody_knows_yet_is_given_long() -> None:
    watchdog = SilenceWatchdog()
    watchdog.listen(["btcusdt"], 0)
    assert silent(watchdog, ["btcusdt"], UNKNOWN_S - 1) is None
    assert silent(watchdog, ["btcusdt"], UNKNOWN_S + 1) == ALL


def test_pauses_that_are_usual_are_no_silence() -> None:
    watchdog = SilenceWatchdog()
    watchdog.listen(["dogeusdt"], 0)
    now_s = 0.0
    for _ in range(20):
        now_s = talking(watchdog, "dogeusdt", every_s=0.01, from_s=now_s + 8, times=100)
    assert silent(watchdog, ["dogeusdt"], now_s + 16) is None


def test_a_replacement_in_vain_doubles_the_patience_and_a_word_ends_that() -> None:
    watchdog = SilenceWatchdog()
    watchdog.listen(["btcusdt"], 0)
    last_s = talking(watchdog, "btcusdt", every_s=0.05)
    watchdog.replaced(Doubt(ALL, ()))
    assert silent(watchdog, ["btcusdt"], last_s + 2 * LEAST_S - 0.1) is None
    assert silent(watchdog, ["btcusdt"], last_s + 2 * LEAST_S + 0.1) == ALL
    watchdog.traded({"btcusdt": 1}, last_s + 11)
    assert silent(watchdog, ["btcusdt"], last_s + 11 + 3 * 11 + 1) == ALL


def test_the_rarest_trades_are_waited_for_an_hour() -> None:
    watchdog = SilenceWatchdog()
    watchdog.listen(["rareusdt"], 0)
    last_s = talking(watchdog, "rareusdt", every_s=7200, times=20)
    assert silent(watchdog, ["rareusdt"], last_s + MOST_S - 1) is None
    assert silent(watchdog, ["rareusdt"], last_s + MOST_S + 1) == ALL


def test_time_in_which_nobody_listened_is_no_silence() -> None:
    watchdog = SilenceWatchdog()
    watchdog.listen(["btcusdt"], 0)
    last_s = talking(watchdog, "btcusdt", every_s=0.05)
    watchdog.listen(["btcusdt"], last_s + 100)
    assert silent(watchdog, ["btcusdt"], last_s + 104) is None
    last_s = talking(watchdog, "btcusdt", every_s=0.05, from_s=last_s + 104)
    assert silent(watchdog, ["btcusdt"], last_s + LEAST_S + 1) == ALL


def test_coins_that_speak_at_random_are_hardly_ever_accused() -> None:
    chance = random.Random(1)
    watchdog = SilenceWatchdog()
    watchdog.listen(["btcusdt"], 0)
    now_s, accused = 0.0, 0
    for _ in range(20_000):
        gap_s = chance.expovariate(1 / 3)
        accused += silent(watchdog, ["btcusdt"], now_s + gap_s) is not None
        now_s += gap_s
        watchdog.traded({"btcusdt": 1}, now_s)
    assert accused == 0


def test_minutes_prove_that_the_connection_of_a_market_that_rests_lives() -> None:
    watchdog = SilenceWatchdog()
    watchdog.listen(["btcusdt"], 0)
    now_s = talking(watchdog, "btcusdt", every_s=0.05)
    watchdog.traded({"btcusdt": 500}, now_s)
    for _ in range(14):
        now_s += 2
        watchdog.minutes({"btcusdt": 500}, now_s)
        assert silent(watchdog, ["btcusdt"], now_s) is None


def test_a_trade_that_a_minute_names_and_that_does_not_come_is_missed_after_seconds() -> None:
    watchdog = SilenceWatchdog()
    watchdog.listen(["btcusdt", "ethusdt"], 0)
    watchdog.minutes({"btcusdt": 500}, 1.0)
    assert silent(watchdog, ["btcusdt", "ethusdt"], 60.0) is None  # what was before the connection is fetched anyway
    watchdog.minutes({"btcusdt": 501}, 60.0)
    watchdog.minutes({"btcusdt": 509}, 62.0)
    assert watchdog.doubt(["btcusdt", "ethusdt"], 60.0 + BEHIND_S) is None
    assert watchdog.doubt(["btcusdt", "ethusdt"], 60.1 + BEHIND_S) == Doubt("btcusdt", ("btcusdt",))
    watchdog.traded({"btcusdt": 509}, 66.0)
    assert silent(watchdog, ["btcusdt", "ethusdt"], 67.0) is None


def test_the_first_minute_counts_where_trades_have_come_before_it() -> None:
    watchdog = SilenceWatchdog()
    watchdog.listen(["btcusdt"], 0)
    watchdog.traded({"btcusdt": 500}, 1.0)
    watchdog.minutes({"btcusdt": 501}, 2.0)
    assert watchdog.doubt(["btcusdt"], 2.1 + BEHIND_S) == Doubt("btcusdt", ("btcusdt",))


def test_a_minute_that_names_a_trade_which_never_was_is_doubted_more_and_more_seldom() -> None:
    watchdog = SilenceWatchdog()
    watchdog.listen(["btcusdt"], 0)
    watchdog.minutes({"btcusdt": 500}, 0)
    doubted_s, now_s = [], 0.0
    for number in range(600):
        now_s += 1
        watchdog.minutes({"btcusdt": 2**62 + number % 2}, now_s)
        if (doubt := watchdog.doubt(["btcusdt"], now_s)) is not None:
            doubted_s.append(now_s)
            watchdog.quiet(doubt, now_s)
    assert len(doubted_s) < 15
    assert min(late - soon for soon, late in pairwise(doubted_s[5:])) >= MOST_QUIET_S


def test_rest_is_asked_about_those_that_trade_most_often() -> None:
    watchdog = SilenceWatchdog()
    symbols = ["rareusdt", "neverusdt", "btcusdt", "ethusdt", "bnbusdt"]
    watchdog.listen(symbols, 0)
    last_s = 0.0
    for symbol, every_s in (("rareusdt", 9), ("btcusdt", 0.01), ("ethusdt", 0.02), ("bnbusdt", 0.03)):
        last_s = talking(watchdog, symbol, every_s=every_s, from_s=last_s, times=150)
    assert watchdog.doubt(symbols, last_s + 10_000) == Doubt(ALL, ("btcusdt", "ethusdt", "bnbusdt"))


def test_a_market_that_rests_is_asked_about_later_and_later_but_every_minute() -> None:
    watchdog = SilenceWatchdog()
    watchdog.listen(["btcusdt"], 0)
    last_s = talking(watchdog, "btcusdt", every_s=0.05)
    asked_s, now_s = [], last_s
    while now_s < last_s + 400:
        now_s += 0.5
        if (doubt := watchdog.doubt(["btcusdt"], now_s)) is not None:
            asked_s.append(now_s - last_s)
            watchdog.quiet(doubt, now_s)
    waits = [late - soon for soon, late in pairwise([0.0, *asked_s])]
    assert [round(wait) for wait in waits] == [6, 10, 20, 40, 60, 60, 60, 60, 60]


def test_ids_that_begin_again_are_compared_with_the_newest_and_not_with_the_highest() -> None:
    watchdog = SilenceWatchdog()
    watchdog.listen(["btcusdt"], 0)
    watchdog.traded({"btcusdt": 10_000}, 1.0)
    watchdog.traded({"btcusdt": 3}, 2.0)
    assert watchdog.newest_id("btcusdt") == 3
