from __future__ import annotations

import pytest

from term.keys import BINDINGS, KEYS, View, action_of, hints, join_escapes

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
def test_the_help_line_names_only_keys_that_work_there_and_fits(view: View) -> None:
    assert all(view in binding.views for binding in BINDINGS if view in binding.hints)
    assert sum(len(keys) + len(word) + 4 for keys, word in hints(view)) < 78


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
        (["esc", "[", "1", ";", "5", "D", "j"], ["j"]),  # control-left: unknown, swallowed whole
        (["up", "j"], ["up", "j"]),
    ],
)
def test_escape_sequences_become_keys(read: list[str], keys: list[str]) -> None:
    assert join_escapes(read) == keys
