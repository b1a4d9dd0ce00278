from __future__ import annotations

from dataclasses import replace

import pytest

from term.cells import text_of
from term.keys import BINDINGS, KEYS, Click, View, action_of, hints, join_escapes
from term.view import render
from tests.fixtures.term_scenes import trading

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
