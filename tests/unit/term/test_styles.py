"""How loud things are: what the screens as text cannot show."""

from __future__ import annotations

from dataclasses import replace

import pytest

from term.cells import Grid, Style
from term.events import Disconnected, UpstreamSeen
from term.model import Model
from term.view import render
from tests.fixtures.term_scenes import BITCOIN, after, connected, press, reading, tick, trade, trading

SIM = replace(BITCOIN, venue="sim")


def styles_of(text: str, grid: Grid) -> set[Style]:
    """The styles of everything that is drawn in one style and has `text` in it."""
    return {span.style for row in grid for span in row if text in span.text}


def price_after(*prices: str, seconds: float) -> tuple[set[Style], set[Style]]:
    """The styles of the big price's first and last digit, so many seconds after the last of `prices` arrived."""
    trades = [trade(price, at_s=i) for i, price in enumerate(prices)]
    model = after(connected(), *press("esc"), *trades, tick(len(prices) - 1 + seconds))
    rows = [[span.style for span in row for _ in span.text] for row in render(model)[3:6]]
    return {row[3] for row in rows}, {row[11] for row in rows}  # digits are three cells and a blank


@pytest.mark.parametrize(("first", "then", "style"), [("100", "101", Style.UP), ("101", "100", Style.DOWN)])
def test_the_digits_that_changed_flash_in_the_direction_and_calm_down(first: str, then: str, style: Style) -> None:
    assert price_after(first, then, seconds=0) == ({Style.BOLD}, {style})
    assert price_after(first, then, seconds=0.39) == ({Style.BOLD}, {style})
    assert price_after(first, then, seconds=0.4) == ({Style.BOLD}, {Style.BOLD})


def test_a_price_that_has_not_moved_does_not_flash() -> None:
    assert price_after("100", seconds=0) == ({Style.BOLD}, {Style.BOLD})
    assert price_after("100", "100", seconds=0) == ({Style.BOLD}, {Style.BOLD})


def test_a_price_that_is_old_is_grey() -> None:
    model = after(trading(), Disconnected("gone", failures=1, retry_us=0))
    assert Style.DIM in styles_of("61,861.50", render(model))
    assert Style.BOLD not in styles_of("61,861.50", render(model))


@pytest.mark.parametrize("key", ["c", "h", "?", "esc"])
def test_a_market_that_is_not_real_is_marked_loudly_on_every_screen(key: str) -> None:
    model = after(connected(selection=SIM), *press("esc", key))
    assert styles_of(" SIM ", render(model)) == {Style.LOUD}


def test_a_market_that_is_not_real_says_so_beside_the_price() -> None:
    model = after(connected(selection=SIM), *press("esc"))
    assert styles_of("SIM: not a real market", render(model)) == {Style.WARN}


@pytest.mark.parametrize("key", ["c", "h", "?", "esc"])
def test_nothing_is_loud_in_a_real_market(key: str) -> None:
    grid = render(after(trading(), *press(key)))
    assert Style.LOUD not in {span.style for row in grid for span in row}


@pytest.mark.parametrize(
    ("model", "status", "style"),
    [
        (trading(), "● LIVE", Style.UP),
        (after(trading(), UpstreamSeen(unavailable=True)), "○ STALE", Style.WARN),
        (after(trading(), Disconnected("gone", failures=1, retry_us=0)), "◌ RECONNECTING", Style.DOWN),
    ],
    ids=["live", "stale", "reconnecting"],
)
def test_the_state_of_the_stream_is_told_by_colour_too(model: Model, status: str, style: Style) -> None:
    assert styles_of(status, render(model)) == {style}


def test_the_takers_side_is_told_by_colour_too() -> None:
    rows = render(reading())[4:10]  # below the cursor
    assert (styles_of("buy", rows), styles_of("sell", rows)) == ({Style.UP}, {Style.DOWN})


def test_the_row_under_the_cursor_stands_out() -> None:
    grid = render(after(connected(), *press("j")))
    assert (styles_of("Ethereum", grid), styles_of("Solana", grid)) == ({Style.CURSOR}, {Style.PLAIN})
