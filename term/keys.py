"""The keys: one table that the program obeys, the screen shows and docs/reference/terminal.md repeats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from textwrap import wrap
from typing import NamedTuple


class View(Enum):
    """What the screen shows; Tab and the digits go through them in this order."""

    COINS = auto()
    DASHBOARD = auto()
    HISTORY = auto()
    COVERAGE = auto()
    STATUS = auto()
    ALERTS = auto()
    HELP = auto()


VIEWS = tuple(view for view in View if view is not View.HELP)


class Action(Enum):
    """What a key asks for."""

    UP = auto()
    DOWN = auto()
    PAGE_UP = auto()
    PAGE_DOWN = auto()
    TOP = auto()
    BOTTOM = auto()
    SELECT = auto()
    LOOK = auto()
    DETAIL = auto()
    COINS = auto()
    HISTORY = auto()
    REFRESH = auto()
    BACK = auto()
    NEXT_VIEW = auto()
    PREVIOUS_VIEW = auto()
    NUMBERED_VIEW = auto()
    FILTER = auto()
    SORT = auto()
    DIRECTION = auto()
    FAVOURITE = auto()
    CHART = auto()
    INTERVAL = auto()
    SHORTER = auto()
    LONGER = auto()
    OLDER = auto()
    NEWER = auto()
    CROSSHAIR = auto()
    OVERLAYS = auto()
    JUMP = auto()
    ALERT = auto()
    EDIT = auto()
    DELETE = auto()
    PAUSE = auto()
    RESET = auto()
    THEME = auto()
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
    short_keys: str = ""
    hints: Mapping[View, str] = field(default_factory=dict)


_ALL = frozenset(View)
_COINS, _DASHBOARD, _HISTORY = frozenset({View.COINS}), frozenset({View.DASHBOARD}), frozenset({View.HISTORY})
_LISTS = _ALL - {View.DASHBOARD}

BINDINGS = (
    Binding(
        "↑/↓ or j/k",
        "Navigate / scroll",
        {"up": Action.UP, "k": Action.UP, "down": Action.DOWN, "j": Action.DOWN},
        _LISTS,
        "↑↓",
        {View.COINS: "navigate", **dict.fromkeys(_LISTS - {View.COINS}, "scroll")},
    ),
    Binding("Enter", "Select coin", {"enter": Action.SELECT}, _COINS, "Enter", {View.COINS: "select for all"}),
    Binding("space", "Look at a coin in this terminal only", {" ": Action.LOOK}, _COINS, "space", {View.COINS: "look"}),
    Binding("/", "Filter the coins while typing", {"/": Action.FILTER}, _COINS, "/", {View.COINS: "filter"}),
    Binding(
        "s/S",
        "Sort by the next column / in the other direction",
        {"s": Action.SORT, "S": Action.DIRECTION},
        _COINS,
        "s",
        {View.COINS: "sort"},
    ),
    Binding("f", "Favourite coin: it stays above the others", {"f": Action.FAVOURITE}, _COINS | _DASHBOARD),
    Binding(
        "c",
        "Change coin (from dashboard)",
        {"c": Action.COINS},
        _ALL - _COINS,
        "c",
        {View.DASHBOARD: "change coin"},
    ),
    Binding("h", "View trade history", {"h": Action.HISTORY}, _ALL - _HISTORY, "h", {View.DASHBOARD: "history"}),
    Binding(
        "r",
        "Refresh history (in history view)",
        {"r": Action.REFRESH},
        _HISTORY,
        "r",
        {View.HISTORY: "refresh"},
    ),
    Binding("@", "Jump to a time", {"@": Action.JUMP}, _HISTORY, "@", {View.HISTORY: "time"}),
    Binding(
        "Enter in a list",
        "Show the trade, or the missing trades, under the cursor whole",
        {"enter": Action.DETAIL},
        frozenset({View.HISTORY, View.COVERAGE}),
        "Enter",
        {View.HISTORY: "whole", View.COVERAGE: "whole"},
    ),
    Binding("v", "Chart as candles, line or braille", {"v": Action.CHART}, _DASHBOARD, "v", {View.DASHBOARD: "chart"}),
    Binding("i", "Next interval of the candles", {"i": Action.INTERVAL}, _DASHBOARD, "i", {View.DASHBOARD: "interval"}),
    Binding("[/]", "Shorter / longer range of the chart", {"[": Action.SHORTER, "]": Action.LONGER}, _DASHBOARD),
    Binding(
        "←/→", "Older / newer candles; moves the crosshair", {"left": Action.OLDER, "right": Action.NEWER}, _DASHBOARD
    ),
    Binding("x", "Crosshair", {"x": Action.CROSSHAIR}, _DASHBOARD),
    Binding(
        "o",
        "Overlays of the chart: averages, VWAP, Bollinger, RSI, MACD",
        {"o": Action.OVERLAYS},
        _DASHBOARD,
        "o",
        {View.DASHBOARD: "overlays"},
    ),
    Binding(
        "a",
        "New alert",
        {"a": Action.ALERT},
        frozenset({View.COINS, View.DASHBOARD, View.ALERTS}),
        "a",
        {View.ALERTS: "new"},
    ),
    Binding(
        "Enter or e",
        "Change the alert",
        {"enter": Action.EDIT, "e": Action.EDIT},
        frozenset({View.ALERTS}),
        "Enter",
        {View.ALERTS: "change"},
    ),
    Binding("d", "Delete the alert", {"d": Action.DELETE}, frozenset({View.ALERTS}), "d", {View.ALERTS: "delete"}),
    Binding("p", "Pause the picture, and go on", {"p": Action.PAUSE}, _ALL),
    Binding("R", "Reset the session, after a question", {"R": Action.RESET}, _DASHBOARD),
    Binding("t", "Next theme", {"t": Action.THEME}, _ALL),
    Binding(
        "PgUp/PgDn or b",
        "Scroll by a page",
        {"pageup": Action.PAGE_UP, "b": Action.PAGE_UP, "pagedown": Action.PAGE_DOWN},
        _LISTS,
        "PgUp PgDn",
        {View.HISTORY: "page"},
    ),
    Binding("space", "Scroll down by a page", {" ": Action.PAGE_DOWN}, _LISTS - _COINS),
    Binding(
        "Home/End or g/G",
        "Newest / oldest loaded",
        {"home": Action.TOP, "g": Action.TOP, "end": Action.BOTTOM, "G": Action.BOTTOM},
        _LISTS,
    ),
    Binding(
        "Tab or 1 to 6",
        "Coins, dashboard, history, coverage, status, alerts",
        {"tab": Action.NEXT_VIEW, "backtab": Action.PREVIOUS_VIEW}
        | {str(n): Action.NUMBERED_VIEW for n in range(1, len(VIEWS) + 1)},
        _ALL,
        "Tab",
        dict.fromkeys(VIEWS, "views"),
    ),
    Binding(
        "esc",
        "Back to dashboard",
        {"esc": Action.BACK},
        _ALL,
        "esc",
        dict.fromkeys(_LISTS, "dashboard"),
    ),
    Binding("?", "Show the keys", {"?": Action.HELP}, _ALL, "?", dict.fromkeys(VIEWS, "keys")),
    Binding("q", "Quit", {"q": Action.QUIT}, _ALL, "q", dict.fromkeys(View, "quit")),
)

KEYS = tuple((binding.keys, binding.text) for binding in BINDINGS)

_ACTIONS = {(view, key): action for b in BINDINGS for view in b.views for key, action in b.actions.items()}

# What terminals send after ESC for the keys we know, in both of their modes: `ESC [ A` and `ESC O A`.
_SEQUENCES = {
    "A": "up",
    "B": "down",
    "C": "right",
    "D": "left",
    "Z": "backtab",
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


def help_lines(width: int) -> list[tuple[str, str]]:
    """The table of keys for a screen: lines of the keys, filled with blanks, and as much of their text as fits beside.

    Args:
        width: how many cells there are.

    """
    most = max(len(keys) for keys, _ in KEYS) + 2
    lines: list[tuple[str, str]] = []
    for keys, text in KEYS:
        for number, part in enumerate(wrap(text, max(width - most, 1))):
            lines.append(("" if number else keys, part))
    return [(keys.ljust(most), part) for keys, part in lines]


class Click(NamedTuple):
    """A place that was clicked."""

    row: int
    column: int


def join_escapes(keys: Iterable[str | Click]) -> list[str | Click]:
    """Turn the characters read at one go into keys: an escape sequence becomes the key's name, or nothing if unknown.

    curses does this for the sequences its terminal description knows. Some terminals send the others, and a lone ESC
    must stay ESC: `["esc", "[", "A", "q"]` is `["up", "q"]`, `["esc", "q"]` stays.
    """
    pending = list(keys)
    joined: list[str | Click] = []
    while pending:
        key = pending.pop(0)
        if key == "esc" and pending and pending[0] in ("[", "O"):
            introducer = pending.pop(0)
            sequence = ""
            while pending and len(pending[0]) == 1:
                sequence += str(pending.pop(0))
                if introducer == "O" or "@" <= sequence[-1] <= "~":  # ECMA-48: a final byte is 0x40 to 0x7e
                    break
            key = _SEQUENCES.get(sequence, "")
        if key:
            joined.append(key)
    return joined
