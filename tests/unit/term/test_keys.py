from __future__ import annotations

from dataclasses import replace

import pytest

from term.cells import text_of, width_of
from term.events import StatusSeen
from term.keys import BINDINGS, KEYS, Click, View, action_of, help_lines, hints, join_escapes
from term.view import render
from tests.fixtures.term_scenes import after, market, press, trading
from tickmesh_client import ServiceStatus, Status

ORIGINAL = {
    "↑/↓ or j/k": "Navigate / scroll",
    "Enter": "Select coin",
    "c": "Change coin (from dashboard)",
    "h": "View trade history",
    "r": "Refresh history (in history view)",
    "esc": "Back to dashboard",
    "q": "Quit",
}


def test_the_originals_keys_are_all_there() -> None:
    assert ORIGINAL.items() <= dict(KEYS).items()


def test_no_key_has_two_meanings_in_one_view() -> None:
    claims = [(view, key) for binding in BINDINGS for view in binding.views for key in binding.actions]
    assert len(claims) == len(set(claims))


@pytest.mark.parametrize("view", View)
def test_the_help_line_names_only_keys_that_work_there(view: View) -> None:
    assert all(view in binding.views for binding in BINDINGS if view in binding.hints)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("view", View)
def test_the_help_line_ends_with_how_to_leave_at_any_width(view: View, width: int) -> None:
    line = text_of(render(replace(trading(width=width), view=view))).splitlines()[-1]
    assert line.endswith("q quit" if view is View.HELP else "? keys   q quit")
    assert all(f"{keys} {word}" in line or width < 120 for keys, word in hints(view))


@pytest.mark.parametrize("width", [40, 57, 80, 200])
def test_the_help_tells_every_key_whole_at_any_width(width: int) -> None:
    lines = help_lines(width - 4)
    assert all(width_of(keys + text) <= width - 4 for keys, text in lines)
    texts = [""]
    for keys, text in lines:
        texts += [text] if keys.strip() else [f"{texts.pop()} {text}"]
    assert texts[1:] == [text for _, text in KEYS]


@pytest.mark.parametrize("begin", [["?"], ["1", "/", "e", "?"], ["5"]], ids=["help", "help while typing", "status"])
def test_what_scrolls_goes_to_its_end_and_back_with_every_press(begin: list[str]) -> None:
    services = tuple(ServiceStatus(name, "SERVING", "") for name in ("ingest", "signal", "store", "gateway"))
    told = StatusSeen(Status("LIVE", "", "binance", services, ()))
    first = after(market(width=40, height=12), told, *press(*begin))
    end = after(first, *press("G"))
    assert after(end, *press("j")) == end
    assert render(end) != render(first)
    assert render(after(end, *press("k"))) != render(end)
    assert render(after(end, *press("g"))) == render(first)


def test_after_the_help_one_types_on() -> None:
    model = after(market(), *press("1", "/", "e", "?", "j", "x", "t"))
    assert model.sorting.filter == "et"


def test_what_is_typed_is_seen_to_its_end() -> None:
    model = after(trading(width=40, height=12), *press("a", *"btcusdt > 123456789012345678.9 again"))
    assert "345678.9 again_" in text_of(render(model))


def test_every_key_does_something_where_it_is_bound() -> None:
    assert all(action_of(view, key) for b in BINDINGS for view in b.views for key in b.actions)


@pytest.mark.parametrize(
    ("read", "keys"),
    [
        (["esc"], ["esc"]),
        (["esc", "q"], ["esc", "q"]),
        (["esc", "esc"], ["esc", "esc"]),
        (["esc", "[", "A", "q"], ["up", "q"]),
        (["esc", "O", "B"], ["down"]),
        (["esc", "[", "5", "~", "esc", "[", "6", "~"], ["pageup", "pagedown"]),
        (["esc", "O", "M"], ["enter"]),
        (["esc", "[", "Z", "esc", "[", "D"], ["backtab", "left"]),
        ([Click(3, 4), "j"], [Click(3, 4), "j"]),
        (["esc", "[", "1", ";", "5", "D", "j"], ["j"]),  # control-left: unknown, swallowed whole
        (["up", "j"], ["up", "j"]),
    ],
)
def test_escape_sequences_become_keys(read: list[str | Click], keys: list[str | Click]) -> None:
    assert join_escapes(read) == keys
