"""A grid of styled cells: what `view.render` makes and `screen.Screen` paints."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from itertools import groupby
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


@dataclass(frozen=True, slots=True)
class Span:
    """Neighbouring cells of one style; a character is one cell, or two where it is a wide one."""

    text: str
    style: Style


MARGIN = 2
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
    """Write text at places; what leaves the edges is cut off, what is written later lies on top."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._cells = [[(" ", Style.PLAIN)] * width for _ in range(height)]

    def write(self, row: int, column: int, text: str, style: Style = Style.PLAIN) -> int:
        """Write from `column` on; return the column after the text.

        Args:
            row: from the top, counted from 0.
            column: cell of the first character, counted from 0.
            text: without control characters.
            style: of all of it.

        """
        end = column
        for character in text:
            begin, end = end, end + cells_of(character)
            if 0 <= row < self.height and 0 <= begin < end <= self.width:
                self._put(self._cells[row], begin, character, style)
        return end

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

    def _put(self, cells: list[tuple[str, Style]], begin: int, character: str, style: Style) -> None:
        # A wide character is followed by an empty cell. Of one that is half covered the other half is a blank.
        end = begin + cells_of(character)
        if not cells[begin][0]:
            cells[begin - 1] = (" ", cells[begin - 1][1])
        if end < self.width and not cells[end][0]:
            cells[end] = (" ", cells[end][1])
        cells[begin:end] = [(character, style)] + [("", style)] * (end - begin - 1)

    def grid(self) -> Grid:
        """Freeze what was written."""
        return tuple(
            tuple(
                Span("".join(character for character, _ in cells), style)
                for style, cells in groupby(row, key=lambda cell: cell[1])
            )
            for row in self._cells
        )


def text_of(grid: Grid) -> str:
    """The characters alone, lines without trailing blanks."""
    return "".join("".join(span.text for span in row).rstrip() + "\n" for row in grid)
