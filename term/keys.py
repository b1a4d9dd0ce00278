"""The keys: one table that the program obeys, the screen shows and docs/reference/terminal.md repeats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto


class View(Enum):
    """What the screen shows."""

    COINS = auto()
    DASHBOARD = auto()
    HISTORY = auto()
    HELP = auto()


class Action(Enum):
    """What a key asks for."""

    UP = auto()
    DOWN = auto()
    PAGE_UP = auto()
    PAGE_DOWN = auto()
    TOP = auto()
    BOTTOM = auto()
    SELECT = auto()
    COINS = auto()
    HISTORY = auto()
    REFRESH = auto()
    BACK = auto()
    HELP = auto()
    QUIT = auto()


@dataclass(frozen=True, slots=True)
class Binding:
    """One line of the table: the keys for people, what they do, and where they do it.

    `hints` says the same in one word for the help line, per view; a view that is missing there still obeys the key
    when it is in `views`.
    """

    keys: str
    text: str
    actions: Mapping[str, Action]
    views: frozenset[View]
    short_keys: str
    hints: Mapping[View, str]


_LISTS = frozenset({View.COINS, View.HISTORY})
_ALL = frozenset(View)

BINDINGS = (
    Binding(
        "↑/↓ or j/k",
        "Navigate / scroll",
        {"up": Action.UP, "k": Action.UP, "down": Action.DOWN, "j": Action.DOWN},
        _LISTS,
        "↑↓",
        {View.COINS: "navigate", View.HISTORY: "scroll"},
    ),
    Binding("Enter", "Select coin", {"enter": Action.SELECT}, frozenset({View.COINS}), "Enter", {View.COINS: "select"}),
    Binding(
        "c",
        "Change coin (from dashboard)",
        {"c": Action.COINS},
        _ALL - {View.COINS},
        "c",
        {View.DASHBOARD: "change coin"},
    ),
    Binding(
        "h",
        "View trade history",
        {"h": Action.HISTORY},
        _ALL - {View.HISTORY},
        "h",
        {View.DASHBOARD: "history"},
    ),
    Binding(
        "r",
        "Refresh history (in history view)",
        {"r": Action.REFRESH},
        frozenset({View.HISTORY}),
        "r",
        {View.HISTORY: "refresh"},
    ),
    Binding(
        "PgUp/PgDn or b/space",
        "Scroll by a page",
        {
            "pageup": Action.PAGE_UP,
            "b": Action.PAGE_UP,
            "pagedown": Action.PAGE_DOWN,
            " ": Action.PAGE_DOWN,
        },
        _LISTS,
        "PgUp PgDn",
        {View.HISTORY: "page"},
    ),
    Binding(
        "Home/End or g/G",
        "Newest / oldest loaded",
        {"home": Action.TOP, "g": Action.TOP, "end": Action.BOTTOM, "G": Action.BOTTOM},
        _LISTS,
        "g G",
        {},
    ),
    Binding(
        "esc",
        "Back to dashboard",
        {"esc": Action.BACK},
        _ALL,
        "esc",
        {View.COINS: "dashboard", View.HISTORY: "dashboard", View.HELP: "dashboard"},
    ),
    Binding("?", "Show the keys", {"?": Action.HELP}, _ALL, "?", dict.fromkeys(_ALL - {View.HELP}, "keys")),
    Binding("q", "Quit", {"q": Action.QUIT}, _ALL, "q", dict.fromkeys(View, "quit")),
)

KEYS = tuple((binding.keys, binding.text) for binding in BINDINGS)

_ACTIONS = {(view, key): action for b in BINDINGS for view in b.views for key, action in b.actions.items()}

# What terminals send after ESC for the keys we know, in both of their modes: `ESC [ A` and `ESC O A`.
_SEQUENCES = {
    "A": "up",
    "B": "down",
    "M": "enter",
    "H": "home",
    "F": "end",
    "1~": "home",
    "4~": "end",
    "5~": "pageup",
    "6~": "pagedown",
    "7~": "home",
    "8~": "end",
}


def action_of(view: View, key: str) -> Action | None:
    """Tell what `key` does in `view`; None where it does nothing.

    Args:
        view: what the screen shows.
        key: a character, or a name such as `up`.

    """
    return _ACTIONS.get((view, key))


def hints(view: View) -> tuple[tuple[str, str], ...]:
    """The help line of `view`: pairs of keys and a word."""
    return tuple((b.short_keys, b.hints[view]) for b in BINDINGS if view in b.hints)


def join_escapes(keys: Iterable[str]) -> list[str]:
    """Turn the characters read at one go into keys: an escape sequence becomes the key's name, or nothing if unknown.

    curses does this for the sequences its terminal description knows. Some terminals send the others, and a lone ESC
    must stay ESC: `["esc", "[", "A", "q"]` is `["up", "q"]`, `["esc", "q"]` stays.
    """
    pending = list(keys)
    joined = []
    while pending:
        key = pending.pop(0)
        if key == "esc" and pending and pending[0] in ("[", "O"):
            introducer = pending.pop(0)
            sequence = ""
            while pending and len(pending[0]) == 1:
                sequence += pending.pop(0)
                if introducer == "O" or "@" <= sequence[-1] <= "~":  # ECMA-48: a final byte is 0x40 to 0x7e
                    break
            key = _SEQUENCES.get(sequence, "")
        if key:
            joined.append(key)
    return joined
