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

from term.cells import Grid, Row, Style, cells_of, cut, width_of
from term.keys import Click, join_escapes

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
    curses.KEY_LEFT: "left",
    curses.KEY_RIGHT: "right",
    curses.KEY_BACKSPACE: "backspace",
    127: "backspace",
    8: "backspace",
    9: "tab",
    curses.KEY_BTAB: "backtab",
}
_WHEEL = ((curses.BUTTON4_PRESSED, "up"), (getattr(curses, "BUTTON5_PRESSED", 0x200000), "down"))

_COLOURED = (Style.UP, Style.DOWN, Style.CHART, Style.WARN, Style.LOUD, Style.FAVOURITE)
_GREEN, _RED, _YELLOW, _CYAN, _BLUE = (
    curses.COLOR_GREEN,
    curses.COLOR_RED,
    curses.COLOR_YELLOW,
    curses.COLOR_CYAN,
    curses.COLOR_BLUE,
)
_THEMES = {  # colours of _COLOURED: where there are 256, and where there are 8 or 16
    "dark": ((77, 203, 80, 220, 220, 220), (_GREEN, _RED, _CYAN, _YELLOW, _YELLOW, _YELLOW)),
    "light": ((28, 160, 25, 130, 130, 130), (_GREEN, _RED, _BLUE, _RED, _RED, _BLUE)),
    "contrast": ((46, 196, 51, 226, 226, 226), (_GREEN, _RED, _CYAN, _YELLOW, _YELLOW, _YELLOW)),
    "16": ((_GREEN, _RED, _CYAN, _YELLOW, _YELLOW, _YELLOW),) * 2,
}
"""One that is not here has no colours."""
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
    Style.FAVOURITE: curses.A_BOLD,
}

# For a terminal whose encoding has no box drawing: the same shapes, as far as ASCII goes.
_ASCII = str.maketrans(
    "─│┼┤╶╴╰╭╮╯━┃┏┓┗┛┣┫╻╹╺╸▪▲▼●○◌▸—−…·↑↓┬┊╵╷←→■□×█▀▄▁▂▃▅▆▇",
    "-|++--'..'-|..''++||--.^v*oo>--..^v+:||<>#ox#'.__-==#",
)


def in_ascii(text: str) -> str:
    """Draw `text` with ASCII alone, cell by cell; what has no shape there is a question mark."""
    text = "".join("." if "\u2800" < sign <= "\u28ff" else sign for sign in text.translate(_ASCII))
    return text if text.isascii() else "".join(c if c.isascii() else "?" * cells_of(c) for c in text)


class ScreenError(Exception):
    """The terminal cannot show us; the message says why."""


class Screen:
    """The whole terminal, from entering the context to leaving it; leaving gives it back as it was."""

    def __init__(self) -> None:
        self._theme = ""
        self._painted: Grid = ()

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
        self._painted = ()
        return self.size

    def read_keys(self) -> list[str | Click]:
        """Read the keys pressed so far, without waiting: characters, names as in `keys.py`, or clicks."""
        keys: list[str | Click] = []
        for _ in range(MAX_KEYS_AT_ONCE):
            try:
                code = self._window.get_wch()
            except curses.error:  # nothing more
                break
            if key := _clicked() if code == curses.KEY_MOUSE else _key_name(code):
                keys.append(key)
        return join_escapes(keys)

    def ring(self) -> None:
        """Ring the terminal's bell."""
        curses.beep()

    def hung_up(self) -> bool:
        """Tell whether the terminal is gone, so that reading would say "nothing" for ever."""
        poll = select.poll()
        poll.register(sys.stdin.fileno(), select.POLLIN)
        gone = select.POLLHUP | select.POLLERR | select.POLLNVAL
        return any(happened & gone for _, happened in poll.poll(0))

    def paint(self, grid: Grid, theme: str) -> None:
        """Show a grid in the colours of a theme.

        Only rows that differ from those of the last one are given to curses, which sends only the cells that do.

        Args:
            grid: the rows of the screen, each as spans of one style.
            theme: one of `THEMES`.

        """
        if theme != self._theme:
            self._theme = theme
            self._attributes = _ATTRIBUTES | _coloured(theme)
            self._painted = ()
        if len(grid) != len(self._painted):
            self._painted = ()
            self._window.erase()
        for y, row in enumerate(grid):
            if not self._painted or row != self._painted[y]:
                self._paint_row(y, row)
        self._painted = grid
        self._window.refresh()

    def _paint_row(self, y: int, row: Row) -> None:
        height, width = self._window.getmaxyx()
        if y >= height:
            return
        self._window.move(y, 0)
        self._window.clrtoeol()
        x = 0
        for span in row:
            text = cut(span.text, width - x)
            self._write(y, x, in_ascii(text) if self._ascii_only else text, span.style)
            x += width_of(text)

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
        curses.mouseinterval(0)  # a click is told at once
        curses.mousemask(curses.BUTTON1_PRESSED | _WHEEL[0][0] | _WHEEL[1][0])
        if curses.has_colors():
            curses.start_color()
            curses.use_default_colors()


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


def _coloured(theme: str) -> dict[Style, int]:
    if theme not in _THEMES or not curses.has_colors():
        return {}
    direct = curses.COLORS > 256  # then a colour is no place in a palette, but red, green and blue
    few = curses.COLORS < 256 or (direct and not curses.has_extended_color_support())
    colours = _THEMES[theme][few]
    for pair, colour in enumerate(map(_rgb, colours) if direct else colours, start=1):
        curses.init_pair(pair, colour, -1)
    return {style: _ATTRIBUTES[style] | curses.color_pair(pair) for pair, style in enumerate(_COLOURED, start=1)}


def _rgb(colour: int) -> int:
    """Return the 24 bits of a colour of the 256; the first eight are the terminal's own there, too."""
    if colour < 16:
        return colour
    levels = (0, 95, 135, 175, 215, 255)
    red, (green, blue) = (colour - 16) // 36, divmod((colour - 16) % 36, 6)
    return levels[red] << 16 | levels[green] << 8 | levels[blue]


def _key_name(code: int | str) -> str:
    name = _KEY_NAMES.get(ord(code) if isinstance(code, str) else code, "")
    return name or (code if isinstance(code, str) and code.isprintable() else "")


def _clicked() -> str | Click:
    try:
        _, column, row, _, buttons = curses.getmouse()
    except curses.error:  # curses knows no mouse event after all
        return ""
    return next((key for button, key in _WHEEL if buttons & button), None) or Click(row, column)
