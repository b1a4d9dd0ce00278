"""The terminal client in tmux against the whole mesh: every key, every click, and what it shows after faults."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import psutil
import pytest

from term.keys import BINDINGS, VIEWS
from tests.chaos.world import World, running_world, until
from tests.fixtures.mesh import Issued, issued_in
from tests.fixtures.tmux import Tmux, running_tmux

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")]

_NAMES = {
    "up": "Up",
    "down": "Down",
    "left": "Left",
    "right": "Right",
    "enter": "Enter",
    "esc": "Escape",
    "tab": "Tab",
    "backtab": "BTab",
    "pageup": "PPage",
    "pagedown": "NPage",
    "home": "Home",
    "end": "End",
    " ": "Space",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("term"), seed=16) as world:
        world.feed(20)
        yield world


@pytest.fixture
def term(world: World, tmp_path: Path) -> Iterator[Tmux]:
    world.feed(20)
    command = (sys.executable, "-m", "term", "--url", world.mesh.url)
    homes = {"XDG_STATE_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PYTHONPATH": str(Path.cwd())}
    with running_tmux(command, tmp_path, homes) as tmux:
        tmux.shows("LIVE", "● current btcusdt", "Solana (SOL)")
        yield tmux


def header(text: str) -> str:
    return text.splitlines()[0]


def tape_of(text: str) -> list[tuple[str, Decimal]]:
    """Side and price of the trades on the tape, newest first; times and sizes are rounded there."""
    rows = re.findall(r"\d\d:\d\d:\d\d ([▲▼]) +([\d,.]+) +[\d,.]+[kMBT]?$", text, re.MULTILINE)
    return [("buy" if sign == "▲" else "sell", Decimal(price.replace(",", ""))) for sign, price in rows]


def issued(world: World, symbol: str = "btcusdt") -> list[Issued]:
    return [trade for trade in issued_in(world.log) if trade.symbol == symbol]


def told(trades: list[Issued]) -> list[tuple[str, Decimal]]:
    """As `tape_of` has them."""
    return [("sell" if trade.is_buyer_maker else "buy", trade.price) for trade in reversed(trades)]


def test_every_key_of_the_table_in_every_view(term: Tmux) -> None:
    keys = [key for binding in BINDINGS for key in binding.actions if key not in ("q", "R")]
    for number in range(1, len(VIEWS) + 1):
        for key in keys:
            term.press("Escape")
            time.sleep(0.05)  # or ESC and the next key are one sequence
            term.press(str(number), _NAMES.get(key, key))
        term.press("Escape")
        time.sleep(0.05)
        term.press("Escape")
        assert "Traceback" not in term.shows("tickmesh")
    term.press("1")
    term.shows("coins")
    term.press("q")
    term.shows("bash-")


def test_a_session_begins_anew_for_every_client_when_the_question_is_answered_with_yes(
    term: Tmux, world: World
) -> None:
    def count() -> int:
        return int(world.mesh.get("/api/stats", symbol="btcusdt")["count"])

    term.press("Enter")
    term.shows("since the session began")
    until(lambda: count() > 20 or None, timeout_s=30, what="trades of the session")
    before = count()
    term.press("R")
    term.shows("for every client? y / n")
    term.press("n")
    until(lambda: "for every client?" not in term.text or None, timeout_s=10, what="the end of the question")
    assert count() >= before
    term.press("R")
    term.shows("for every client? y / n")
    term.press("y")
    until(lambda: count() < before or None, timeout_s=30, what="a session with fewer trades")


def test_clicks_point_sort_and_press(term: Tmux) -> None:
    lines = term.shows("Solana (SOL)", "LIVE").splitlines()
    row = next(i for i, line in enumerate(lines) if "Solana (SOL)" in line)
    _click(term, row, 20)
    term.shows("▸ Solana (SOL)")
    _click(term, 2, lines[2].index("session") + 2)
    term.shows("session▼")
    _click(term, len(lines) - 1, lines[-1].index("/ filter"))
    term.press("e", "t")
    term.shows("1 of 3, filter et", "Ethereum (ETH)")


def _click(term: Tmux, row: int, column: int) -> None:
    # As tmux passes a click on: a button, and the place counted from 33; then that it is up again.
    place = f"{chr(33 + column)}{chr(33 + row)}"
    term.type(f"\x1b[M {place}\x1b[M#{place}")


def test_after_gateway_and_signal_were_killed_tape_and_candles_are_what_was_issued(term: Tmux, world: World) -> None:
    term.press("Enter")
    term.shows("since the session began")
    term.press("v")  # candles of a minute
    term.shows("1m candles", " trades ")
    before = len(issued(world))
    world.kill("gateway", "signal")
    until(lambda: len(issued(world)) > before + 30, timeout_s=60, what="trades while both are away")
    until(world.ready, timeout_s=60, what="the mesh is ready again")
    term.shows("● LIVE")
    world.feed(0)
    last = issued(world)[-40:]
    until(lambda: tape_of(term.text)[:20] == told(last)[:20], timeout_s=30, what=f"{told(last)[:20]} on the tape")
    term.press("x")
    for _ in range(2):
        minute = _candle_under_crosshair(term, issued(world))
        assert minute
        term.press("Left")


def _candle_under_crosshair(term: Tmux, trades: list[Issued]) -> bool:
    """Wait until what the crosshair says of its candle is what was issued in that minute."""

    def same() -> bool:
        said = re.search(r"(\d{4}-\d\d-\d\d \d\d:\d\d):00.*?C ([\d,.]+)", term.text)
        if said is None:
            return False
        stamp = time.strptime(said[1] + " UTC", "%Y-%m-%d %H:%M %Z")
        begin_us = int(time.mktime(stamp) - time.timezone) * 1_000_000
        inside = [trade for trade in trades if 0 <= trade.time_us - begin_us < 60_000_000]
        return bool(inside) and Decimal(said[2].replace(",", "")) == inside[-1].price

    return until(same, timeout_s=30, what="the candle as it was issued")


def test_sizes_from_the_smallest_to_the_largest_and_back(term: Tmux) -> None:
    for width, height in ((40, 12), (300, 100), (39, 11), (57, 19), (200, 50), (120, 40)) * 3:
        term.resize(width, height)
    term.shows("tickmesh", "● current btcusdt", "? keys   q quit")
    assert len(header(term.text)) == 118


def test_it_stops_and_goes_on_as_other_programs_do(term: Tmux) -> None:
    term.press("C-z")
    term.shows("Stopped", "bash-")
    term.type("fg\n")
    term.shows("● current btcusdt", "? keys   q quit")
    term.press("2")
    term.shows("session")


def test_a_terminal_that_closes_leaves_no_process_behind(term: Tmux, world: World) -> None:
    def running() -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline"]):
            line = process.info["cmdline"] or []
            if "term" in line and world.mesh.url in line:
                found.append(process)
        return found

    assert len(running()) == 1
    term.run("kill-server")
    until(lambda: not running(), timeout_s=20, what="the program ends with its terminal")


def test_what_was_chosen_is_there_again(term: Tmux, world: World) -> None:
    term.press("s", "s", "G", "f")
    term.shows("last▼", "*")
    term.press("q")
    term.shows("bash-")
    term.type(f"{sys.executable} -m term --url {world.mesh.url}\n")
    term.shows("last▼", "● current btcusdt")
