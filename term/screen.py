"""The terminal, by curses. Nothing else here knows that curses exists."""

from __future__ import annotations

import curses
import locale
import os
import select
import sys
from contextlib import suppress
from types import TracebackType
from typing import Self

from term.cells import Grid, Style, cells_of, cut, width_of
from term.keys import join_escapes

ESCAPE_DELAY_MS = 25
MAX_KEYS_AT_ONCE = 1024

_KEY_NAMES = {
    27: "esc",
    10: "enter",
    13: "enter",
    curses.KEY_ENTER: "enter",
    curses.KEY_UP: "up",
    curses.KEY_DOWN: "down",
    curses.KEY_PPAGE: "pageup",
    curses.KEY_NPAGE: "pagedown",
    curses.KEY_HOME: "home",
    curses.KEY_END: "end",
}

_COLOURS = {
    Style.UP: curses.COLOR_GREEN,
    Style.DOWN: curses.COLOR_RED,
    Style.CHART: curses.COLOR_CYAN,
    Style.WARN: curses.COLOR_YELLOW,
    Style.LOUD: curses.COLOR_YELLOW,
}
_ATTRIBUTES = {
    Style.PLAIN: curses.A_NORMAL,
    Style.DIM: curses.A_DIM,
    Style.BOLD: curses.A_BOLD,
    Style.UP: curses.A_BOLD,
    Style.DOWN: curses.A_BOLD,
    Style.CHART: curses.A_NORMAL,
    Style.WARN: curses.A_BOLD,
    Style.LOUD: curses.A_REVERSE | curses.A_BOLD,
    Style.CURSOR: curses.A_REVERSE,
}

# For a terminal whose encoding has no box drawing: the same shapes, as far as ASCII goes.
_ASCII = str.maketrans("─│┼┤╶╴╰╭╮╯━┃┏┓┗┛┣┫╻╹╺╸▪▲▼●○◌▸—−…·↑↓", "-|++--'..'-|..''++||--.^v*oo>--..^v")


def in_ascii(text: str) -> str:
    """Draw `text` with ASCII alone, cell by cell; what has no shape there is a question mark."""
    text = text.translate(_ASCII)
    return text if text.isascii() else "".join(c if c.isascii() else "?" * cells_of(c) for c in text)


class ScreenError(Exception):
    """The terminal cannot show us; the message says why."""


class Screen:
    """The whole terminal, from entering the context to leaving it; leaving gives it back as it was."""

    def __init__(self, *, colour: bool = True) -> None:
        self._colour = colour

    def __enter__(self) -> Self:
        _check_terminal()
        with suppress(locale.Error):  # a locale that is not installed leaves C, as in other programs
            locale.setlocale(locale.LC_ALL, "")
        # What curses goes by; the preferred encoding is UTF-8 in Python's UTF-8 mode, which LC_ALL=C turns on.
        self._ascii_only = "utf" not in locale.nl_langinfo(locale.CODESET).lower()
        for exported in ("LINES", "COLUMNS"):  # some shells' settings; curses would believe them, not the terminal
            os.environ.pop(exported, None)
        self._window = curses.initscr()
        try:
            self._set_up()
        except BaseException:
            curses.endwin()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Give the terminal back; more than once does no harm."""
        if not curses.isendwin():
            with suppress(curses.error):  # all of it at once: keypad, echo, cursor, the screen from before
                curses.endwin()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in cells."""
        height, width = self._window.getmaxyx()
        return width, height

    def resize(self) -> tuple[int, int]:
        """Follow the terminal after it has changed its size (SIGWINCH); return the new size."""
        width, height = os.get_terminal_size(sys.stdout.fileno())
        if width > 0 and height > 0:
            curses.resizeterm(height, width)
            self._window.clear()
        return self.size

    def read_keys(self) -> list[str]:
        """Read the keys pressed so far, without waiting: characters, or names as in `keys.py`."""
        codes: list[int] = []
        while len(codes) < MAX_KEYS_AT_ONCE and (code := self._window.getch()) != curses.ERR:
            codes.append(code)
        return join_escapes(name for name in map(_key_name, codes) if name)

    def hung_up(self) -> bool:
        """Tell whether the terminal is gone, so that reading would say "nothing" for ever."""
        poll = select.poll()
        poll.register(sys.stdin.fileno(), select.POLLIN)
        gone = select.POLLHUP | select.POLLERR | select.POLLNVAL
        return any(happened & gone for _, happened in poll.poll(0))

    def paint(self, grid: Grid) -> None:
        """Show a grid; curses sends only what differs from the last one."""
        self._window.erase()
        height, width = self._window.getmaxyx()
        for y, row in enumerate(grid[:height]):
            x = 0
            for span in row:
                text = cut(span.text, width - x)
                self._write(y, x, in_ascii(text) if self._ascii_only else text, span.style)
                x += width_of(text)
        self._window.refresh()

    def _write(self, y: int, x: int, text: str, style: Style) -> None:
        if not text:
            return
        try:
            self._window.addstr(y, x, text, self._attributes[style])
        except curses.error:
            # Writing the last cell of the screen leaves the cursor nowhere to go, which curses calls an error.
            if (y + 1, x + width_of(text)) != self._window.getmaxyx():
                raise

    def _set_up(self) -> None:
        curses.noecho()
        curses.cbreak()
        curses.set_escdelay(ESCAPE_DELAY_MS)
        self._window.keypad(True)
        self._window.nodelay(True)
        _show_cursor(False)
        self._attributes = dict(_ATTRIBUTES)
        if self._colour:
            self._attributes.update(_coloured(_COLOURS))


def _check_terminal() -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ScreenError("found no terminal on standard input and output, expected one")
    try:
        curses.setupterm()
    except curses.error as exc:
        raise ScreenError(f"found TERM={os.environ.get('TERM', '')!r}, expected a known terminal: {exc}") from exc
    if not curses.tigetstr("cup"):
        raise ScreenError(f"found TERM={os.environ.get('TERM', '')!r}, expected a terminal that can move its cursor")


def _show_cursor(visible: bool) -> None:
    try:
        curses.curs_set(int(visible))
    except curses.error:
        return  # a terminal whose cursor cannot be hidden is still a terminal


def _coloured(colours: dict[Style, int]) -> dict[Style, int]:
    if not curses.has_colors():
        return {}
    curses.start_color()
    curses.use_default_colors()
    for pair, colour in enumerate(colours.values(), start=1):
        curses.init_pair(pair, colour, -1)
    return {style: _ATTRIBUTES[style] | curses.color_pair(pair) for pair, style in enumerate(colours, start=1)}


def _key_name(code: int) -> str:
    return _KEY_NAMES.get(code) or (chr(code) if 32 <= code < 127 else "")
