"""What a frame costs, counted: rows that are drawn, orders that are made, frames of the running program."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from decimal import Decimal

import pytest

from term.app import App
from term.cells import Grid, Row, text_of
from term.events import BoardSeen, CoinPointed, KeyPressed, StatusSeen
from term.keys import Click
from term.model import Model
from term.screen import Screen
from term.values import Trade
from term.view import render
from tests.fixtures.term_scenes import COINS, NOW_US, after, market, press, tick

SIZE = (200, 50)
FIRST_ROW = 3


def coins() -> Model:
    return after(market(width=SIZE[0], height=SIZE[1]), tick(300))


def drawn_again(before: Model, now: Model) -> list[int]:
    """The rows of coins of which more than the age, which is the last span, was drawn again."""

    def kept(row: Row, known: Row) -> bool:
        return len(row) == len(known) and all(a is b for a, b in zip(row[:-1], known[:-1], strict=True))

    pairs = zip(render(before)[FIRST_ROW:], render(now)[FIRST_ROW:], strict=True)
    return [number for number, (known, row) in enumerate(pairs) if number < len(before.order) and not kept(row, known)]


def test_a_trade_of_one_coin_draws_no_row_but_its_own() -> None:
    before = coins()
    now = after(before, BoardSeen((Trade(Decimal("3000.5"), before.order[2]),), NOW_US + 300_000_000))
    assert drawn_again(before, now) == [2]


def test_the_clock_draws_no_row_of_coins_that_nobody_trades() -> None:
    before = coins()
    now = after(before, tick(301))
    assert text_of(render(before)) != text_of(render(now))
    assert drawn_again(before, now) == []


def test_the_cursor_draws_the_row_it_leaves_and_the_one_it_comes_to() -> None:
    before = after(coins(), CoinPointed(COINS[1].symbol))
    assert drawn_again(before, after(before, *press("j"))) == [1, 2]


def test_the_clock_orders_the_coins_only_after_a_trade() -> None:
    before = after(coins(), *press("s", "s"), tick(304))
    assert after(before, tick(305)).order is before.order
    traded = after(before, BoardSeen((Trade(Decimal(10**9), before.order[2]),), NOW_US + 305_000_000), tick(306))
    assert traded.order[0] == before.order[2]


class _Frames(Screen):
    """Keeps what is painted instead of showing it."""

    def __init__(self) -> None:
        super().__init__()
        self.painted: list[Grid] = []
        self.has_painted = asyncio.Event()

    @property
    def size(self) -> tuple[int, int]:
        return SIZE

    def read_keys(self) -> list[str | Click]:
        return []

    def hung_up(self) -> bool:
        return False

    def leave(self) -> None:
        pass

    def paint(self, grid: Grid, theme: str) -> None:
        self.painted.append(grid)
        self.has_painted.set()


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard input that nothing comes from."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as keys:
        monkeypatch.setattr(sys, "stdin", keys)
        yield
    os.close(writing)


async def shown(screen: _Frames, text: str) -> None:
    async with asyncio.timeout(20):
        while not (screen.painted and text in text_of(screen.painted[-1])):
            screen.has_painted.clear()
            await screen.has_painted.wait()


@pytest.mark.usefixtures("keyboard")
async def test_all_that_comes_before_a_frame_is_in_that_one_frame() -> None:
    app, screen = App(SIZE, url="http://127.0.0.1:9", token=""), _Frames()
    running = asyncio.create_task(app.run(screen))
    app.handle(StatusSeen("the first"))
    await shown(screen, "tickmesh")
    app.handle(KeyPressed("5"))
    await shown(screen, "the first")
    for number in range(500):
        app.handle(StatusSeen(f"told {number:03}"))
    await shown(screen, "told 499")
    assert not any("told " in text_of(grid) for grid in screen.painted[:-1])
    app.stop()
    await running
