"""A grid of styled cells: what `view.render` makes and `screen.Screen` paints."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from itertools import groupby
from typing import Any, NamedTuple
from unicodedata import combining, east_asian_width


class Style(Enum):
    """How a cell looks; the screen decides which colours that is."""

    PLAIN = auto()
    DIM = auto()
    BOLD = auto()
    UP = auto()
    DOWN = auto()
    CHART = auto()
    WARN = auto()
    LOUD = auto()
    CURSOR = auto()
    FAVOURITE = auto()


class Span(NamedTuple):
    """Neighbouring cells of one style; a character is one cell, or two where it is a wide one."""

    text: str
    style: Style


THEMES = ("dark", "light", "contrast", "16", "mono")
"""The names of the colours in which a screen may be."""
MARGIN = 2
ROOMY = 20
"""From so many rows on there is room for a line between the screen and the keys, and for large digits."""
ARROWS = {"up": ("▲", Style.UP), "down": ("▼", Style.DOWN), "": (" ", Style.PLAIN)}

Row = tuple[Span, ...]
Grid = tuple[Row, ...]


def cells_of(character: str) -> int:
    """Return how many cells a printable character takes: 2 for the wide ones of East Asia, 0 for an accent."""
    if character.isascii():
        return 1
    if combining(character):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def width_of(text: str) -> int:
    """Return how many cells a printable text takes."""
    return len(text) if text.isascii() else sum(map(cells_of, text))


def cut(text: str, width: int) -> str:
    """Return as much of the beginning of a printable text as fits into so many cells.

    Args:
        text: without control characters.
        width: in cells.

    """
    if text.isascii():
        return text[: max(width, 0)]
    for end, character in enumerate(text):
        width -= cells_of(character)
        if width < 0:
            return text[:end]
    return text


def fit(text: str, width: int) -> str:
    """Return a text cut or filled with blanks to so many cells.

    Args:
        text: without control characters.
        width: in cells.

    """
    text = cut(text, width)
    return text + " " * (width - width_of(text))


class Canvas:
    """Write text at places; what leaves the edges is cut off, what is written later lies on top.

    `zones` are the places one can click: row, first and last column, and what a click means.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self.zones: list[tuple[int, range, Any]] = []
        self._blank: Row = (Span(" " * width, Style.PLAIN),) if width else ()
        self._finished: dict[int, Row] = {}
        self._written: dict[int, tuple[list[str], list[Style]]] = {}  # the other rows that are not blank, cell by cell
        self._wide: set[int] = set()  # those of them with wide characters

    def write(self, row: int, column: int, text: str, style: Style = Style.PLAIN) -> int:
        """Write from `column` on; return the column after the text.

        Args:
            row: from the top, counted from 0.
            column: cell of the first character, counted from 0.
            text: without control characters.
            style: of all of it.

        """
        end = column + width_of(text)
        if not 0 <= row < self.height:
            return end
        signs, styles = self._written.get(row) or self._begin(row)
        if (
            end - column == len(text) and row not in self._wide
        ):  # of nearly all texts: no character is wide or an accent
            first, last = max(column, 0), min(end, self.width)
            if first < last:
                signs[first:last] = text[first - column : last - column]
                styles[first:last] = [style] * (last - first)
            return end
        self._wide.add(row)
        for character in text:
            begin, column = column, column + cells_of(character)
            if 0 <= begin < column <= self.width:
                _put(signs, styles, begin, character, style)
        return end

    def place(self, row: int, spans: Row) -> None:
        """Let a row be one that was drawn before, exactly as wide: to draw it again would cost more than all the rest.

        Args:
            row: from the top, counted from 0.
            spans: of the row of a `grid`.

        """
        self._written.pop(row, None)
        self._finished[row] = spans

    def _begin(self, row: int) -> tuple[list[str], list[Style]]:
        written = self._written[row] = [" "] * self.width, [Style.PLAIN] * self.width
        column = 0
        for span in self._finished.pop(row, ()):
            column = self.write(row, column, span.text, span.style)
        return written

    def write_left_of(self, row: int, column: int, text: str, style: Style = Style.PLAIN) -> int:
        """Write so that the text ends before `column`; return the column it begins at.

        Args:
            row: from the top, counted from 0.
            column: cell after the last character.
            text: without control characters.
            style: of all of it.

        """
        self.write(row, column - width_of(text), text, style)
        return column - width_of(text)

    def rule(self, row: int, title: str = "", note: str = "") -> None:
        """Draw a line across, with a title at the left and a note at the right.

        Args:
            row: from the top, counted from 0.
            title: at the left; empty for none.
            note: at the right; empty for none.

        """
        self.write(row, 0, "─" * self.width, Style.DIM)
        if title:
            self.write(row, 2, f" {title} ", Style.PLAIN)
        if note:
            self.write_left_of(row, self.width - 2, f" {note} ", Style.DIM)

    def box(self, lines: Sequence[str], *, rows: int) -> None:
        """Lay lines in reverse over the upper right corner, below the title.

        Args:
            lines: without control characters.
            rows: how many there is room for, with an empty one above and below.

        """
        width = min(max(map(width_of, lines)) + 4, self.width)
        for row, line in enumerate(("", *lines, "")[:rows], start=2):
            self.write(row, self.width - width, fit(f"  {line}", width), Style.CURSOR)

    def grid(self) -> Grid:
        """Freeze what was written."""
        return tuple(map(self._row, range(self.height)))

    def _row(self, row: int) -> Row:
        if row in self._written:
            return _spans(*self._written[row])
        return self._finished.get(row, self._blank)


def _put(signs: list[str], styles: list[Style], begin: int, character: str, style: Style) -> None:
    # A wide character is followed by an empty cell. Of one that is half covered the other half is a blank.
    end = begin + cells_of(character)
    if not signs[begin]:
        signs[begin - 1] = " "
    if end < len(signs) and not signs[end]:
        signs[end] = " "
    signs[begin:end] = [character] + [""] * (end - begin - 1)
    styles[begin:end] = [style] * (end - begin)


def _spans(signs: list[str], styles: list[Style]) -> Row:
    spans, begin = [], 0
    for style, cells in groupby(styles):
        end = begin + len(list(cells))
        spans.append(Span("".join(signs[begin:end]), style))
        begin = end
    return tuple(spans)


def text_of(grid: Grid) -> str:
    """The characters alone, lines without trailing blanks."""
    return "".join("".join(span.text for span in row).rstrip() + "\n" for row in grid)
