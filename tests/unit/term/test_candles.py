from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from decimal import Decimal
from typing import Any

import pytest

from term.candles import SWITCHED, Candles, bollinger, vwap
from term.cells import text_of
from term.chart import braille, sparkline
from term.events import CandlesSeen, Effect, Follow, LoadCandles, Loaded, RequestFailed, ResetSession
from term.formatting import time_text
from term.values import Bar, CandlePage
from term.view import render
from tests.fixtures.term_scenes import COINS, after, after_asking, candle, charting, press, tick, trading

MINUTE_US = 60_000_000


def page(*numbers: int, token: str = "", closed: bool = True, close: str = "10") -> CandlePage:
    return CandlePage(tuple(candle(n, close, closed=closed or n != numbers[-1]) for n in numbers), token)


def times(candles: Candles) -> list[int]:
    first = candle(0, "1").time_us
    return [(row.time_us - first) // MINUTE_US for row in candles.rows]


def test_pages_join_without_a_double() -> None:
    candles = Candles().with_page(page(3, 4, 5, token="older"))
    candles = candles.with_page(page(1, 2, 3, token="oldest"), older=True)
    candles = candles.with_page(page(5, 6, token="useless"))
    assert (times(candles), candles.next_token) == ([1, 2, 3, 4, 5, 6], "oldest")


def test_after_a_hole_everything_is_fetched_anew() -> None:
    candles = Candles().with_page(page(3, 4, 5, token="older")).with_page(page(8, 9, token="hole"))
    assert (times(candles), candles.next_token) == ([8, 9], "hole")


def test_an_answer_that_is_behind_does_not_move_the_open_candle_back() -> None:
    candles = Candles().with_page(page(1, 2, closed=False))
    ahead = candles.followed_by([replace(candles.rows[-1], close=Decimal(12), count=11)])
    assert ahead.with_page(page(2, closed=False)).rows[-1].close == 12
    assert ahead.with_page(page(2, closed=True)).rows[-1].close == 10


def test_a_window_ends_before_the_newest_and_stays_filled() -> None:
    candles = Candles().with_page(page(*range(10)))
    assert [row.time_us for row in candles.window(3, 2)] == [row.time_us for row in candles.rows[5:8]]
    assert candles.window(3, 100) == candles.rows[:3]
    assert candles.window(100, 0) == candles.rows


def test_vwap_weighs_prices_by_volume() -> None:
    first = replace(candle(0, "1"), volume=Decimal(1), quote_volume=Decimal(10))
    second = replace(first, volume=Decimal(3), quote_volume=Decimal(60))
    assert vwap([first, second]) == [10.0, 17.5]
    assert vwap([replace(first, volume=Decimal(0))]) == [None]


def test_vwap_begins_anew_each_day() -> None:
    rows = [
        replace(candle(i, "1"), time_us=i * 43_200_000_000, volume=Decimal(1), quote_volume=Decimal(10 * i))
        for i in range(4)
    ]
    assert vwap(rows) == [None, 5.0, 20.0, 25.0]


@pytest.mark.parametrize("first", [0, 7, 19, 20, 1500, 1999, 2000])
def test_what_is_drawn_of_some_candles_is_what_is_drawn_of_all(first: int) -> None:
    rows = [
        replace(candle(i, str(10 + i % 7)), volume=Decimal(1 + i % 3), quote_volume=Decimal(i + 1)) for i in range(2000)
    ]
    end = first + 50
    assert vwap(rows, first, end) == vwap(rows)[first:end]
    assert bollinger(rows, 2, first, end) == bollinger(rows, 2)[first:end]


class Looked(list[Bar]):
    """Candles, and how many of them were looked at."""

    looked = 0

    def __getitem__(self, at: Any) -> Any:
        self.looked += len(range(*at.indices(len(self)))) if isinstance(at, slice) else 1
        return super().__getitem__(at)


@pytest.mark.parametrize("key", [*SWITCHED])
def test_what_is_drawn_over_a_screen_looks_at_no_more_than_its_day(key: str) -> None:
    rows = Looked(candle(i, "1") for i in range(20_000))
    for line in SWITCHED[key][1]:
        assert len(line(rows, 19_900, 20_000)) == 100
    assert rows.looked < 6 * 1440


def test_bollinger_needs_twenty_candles() -> None:
    rows = [candle(i, str(10 + i % 2)) for i in range(21)]
    assert bollinger(rows, 2)[:19] == [None] * 19
    assert bollinger(rows, 2)[19:] == pytest.approx([11.5, 11.5], abs=0.01)


def test_braille_connects_points() -> None:
    assert {(row, column) for row, column, _ in braille([0, 3], 2)} == {(0, 0), (0, 1)}
    assert {row for row, _, _ in braille([0, 11], 2)} == {0, 1, 2}


def test_a_sparkline_shows_the_newest_values() -> None:
    assert sparkline([Decimal(n) for n in (9, 1, 2, 8)], 3) == "▁▂█"
    assert sparkline([Decimal(1)] * 2, 5) == "▄▄"
    assert sparkline([], 5) == ""


def test_an_interval_asks_for_its_candles_and_follows_them() -> None:
    model, effects = after_asking(trading(), *press("v"))
    assert effects[0] == LoadCandles(1, "btcusdt", "1m")
    assert effects[1:] == [Follow("btcusdt", tuple(coin.symbol for coin in COINS), "1m", status=True)]
    model, effects = after_asking(charting(), *press("i"))
    following = Follow("btcusdt", tuple(coin.symbol for coin in COINS), "3m", status=True)
    assert effects == [LoadCandles(1, "btcusdt", "3m"), following]
    assert after_asking(charting(), *press("1"))[1] == [replace(following, interval="")]
    assert after(model, *press("i")).candles == Candles()


def test_candles_of_an_interval_that_is_no_longer_shown_are_dropped() -> None:
    model = after(charting(), *press("i"), Loaded(LoadCandles(1, "btcusdt", "1m"), page(1, 2)))
    assert model.candles.rows == ()


def test_older_candles_are_fetched_without_end() -> None:
    model, effects = after_asking(charting(), *press(*["left"] * 4))
    assert effects == [LoadCandles(1, "btcusdt", "1m", "more")]
    older = page(*range(-300, 0), token="even older")
    model = after(model, Loaded(effects[0], older))  # type: ignore[arg-type]
    assert len(model.candles.rows) == 422  # the stream has begun one
    assert after(model, *press(*["left"] * 50)).chart.back > 300
    assert after(model, *press(*["left"] * 50, *["right"] * 60)).chart.back == 0


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=str)
def test_the_crosshair_goes_to_the_oldest_candle_with_every_press(size: tuple[int, int]) -> None:
    model = charting(width=size[0], height=size[1])
    model = after(model, Loaded(LoadCandles(1, "btcusdt", "1m"), page(*range(-60, 120))), *press("x"))
    oldest_us = model.candles.rows[0].time_us
    for row in reversed(model.candles.rows):
        assert time_text(row.time_us, UTC)[:19] in text_of(render(model))
        model = after(model, *press("left"))
    assert time_text(oldest_us, UTC)[:19] in text_of(render(model))


def test_candles_go_back_without_end_and_a_bounded_part_of_them_is_kept() -> None:
    model, asked = charting(), LoadCandles(1, "btcusdt", "1m", "more")
    for end in range(0, -40_000, -5_000):
        effects: list[Effect] = []
        while asked not in effects:
            model, effects = after_asking(model, *press("left"))
        edge = model.candles.window(1, model.chart.back)
        model = after(model, Loaded(asked, page(*range(end - 5_000, end), token="more")))
        assert model.candles.window(1, model.chart.back) == edge  # it has not moved under one's eyes
        assert len(model.candles.rows) <= 20_000
    assert times(model.candles) == list(range(-40_000, -20_000))
    newest = charting().candles.rows[-1:]
    assert after(model, CandlesSeen("btcusdt", "1m", newest, first=True)).candles.rows == model.candles.rows
    while LoadCandles(1, "btcusdt", "1m") not in effects:
        model, effects = after_asking(model, *press("right"))
    model = after(model, Loaded(LoadCandles(1, "btcusdt", "1m"), page(*range(121), token="more", closed=False)))
    assert times(model.candles)[-1] == 120


def test_a_candle_that_closes_does_not_move_older_ones() -> None:
    model = after(charting(), *press("left", "left"))
    edge = model.candles.window(1, model.chart.back)
    begun = replace(model.candles.rows[-1], time_us=model.candles.rows[-1].time_us + MINUTE_US)
    model = after(model, CandlesSeen("btcusdt", "1m", (begun,)))
    assert model.candles.window(1, model.chart.back) == edge
    assert after(charting(), CandlesSeen("btcusdt", "1m", (begun,))).chart.back == 0


def test_candles_that_cannot_be_had_are_told_and_asked_for_again() -> None:
    model = after(trading(), *press("v"), RequestFailed(LoadCandles(1, "btcusdt", "1m"), "store is away"))
    assert model.candles.error == "store is away"
    assert LoadCandles(1, "btcusdt", "1m") in after_asking(model, tick(62.5))[1]


def test_candles_of_the_stream_replace_and_follow_those_that_were_fetched() -> None:
    before = charting().candles.rows
    moved, begun = replace(before[-1], close=Decimal(7), count=99), replace(before[-1], time_us=before[-1].time_us + 1)
    model = after(charting(), CandlesSeen("btcusdt", "1m", (moved, begun)))
    assert model.candles.rows == (*before[:-1], moved, begun)
    assert after(charting(), CandlesSeen("ethusdt", "1m", (moved,))) == charting()
    assert after(charting(), CandlesSeen("btcusdt", "5m", (moved,))) == charting()


def test_where_a_stream_of_candles_begins_what_came_before_it_is_asked_for() -> None:
    seen = CandlesSeen("btcusdt", "1m", charting().candles.rows[-1:], first=True)
    assert after_asking(charting(), seen)[1] == [LoadCandles(1, "btcusdt", "1m", streams=1)]


def test_a_candle_that_closes_between_the_answer_and_the_stream_is_closed_on_the_screen() -> None:
    model = after(trading(), *press("v"))  # asks at once, and subscribes
    closed, begun = candle(7, "10"), candle(8, "11", closed=False)
    asked, again = LoadCandles(1, "btcusdt", "1m"), LoadCandles(1, "btcusdt", "1m", streams=1)
    model, effects = after_asking(model, CandlesSeen("btcusdt", "1m", (begun,), first=True))
    assert effects == [again]  # though the first answer has not come
    answers = Loaded(asked, page(5, 6, 7, closed=False)), Loaded(again, page(5, 6, 7))
    for order in (answers, answers[::-1]):
        joined = after(model, *order)
        assert joined.candles.rows[-2:] == (closed, begun)
        assert times(joined.candles) == [5, 6, 7, 8]


def test_a_candle_that_was_computed_again_is_not_taken_back() -> None:
    candles = Candles().with_page(page(1, 2))
    revised = replace(candles.rows[-1], close=Decimal(12), revision=1)
    assert candles.followed_by([revised]).with_page(page(1, 2)).rows[-1] == revised
    assert candles.followed_by([revised]).followed_by([candles.rows[-1]]).rows[-1] == revised


def test_a_stream_that_begins_after_a_hole_leaves_no_hole() -> None:
    candles = Candles().with_page(page(1, 2)).followed_by([candle(9, "10")], first=True)
    assert times(candles.with_page(page(6, 7, 8, token="hole"))) == [6, 7, 8, 9]


def test_the_session_is_reset_only_after_a_yes() -> None:
    assert after_asking(trading(), *press("R", "n"))[1] == []
    assert after_asking(trading(), *press("R", "y"))[1] == [ResetSession("btcusdt")]
