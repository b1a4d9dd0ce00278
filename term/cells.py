"""A grid of styled cells: what `view.render` makes and `screen.Screen` paints."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from itertools import groupby


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
    """Neighbouring cells of one style; one character is one cell."""

    text: str
    style: Style


MARGIN = 2
ARROWS = {"up": ("▲", Style.UP), "down": ("▼", Style.DOWN), "": (" ", Style.PLAIN)}

Row = tuple[Span, ...]
Grid = tuple[Row, ...]


class Canvas:
    """Write text at places; what leaves the edges is cut off, what is written later lies on top."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._cells = [[(" ", Style.PLAIN)] * width for _ in range(height)]

    def write(self, row: int, column: int, text: str, style: Style = Style.PLAIN) -> int:
        """Write from `column` on; return the column after the text."""
        if 0 <= row < self.height:
            for i, character in enumerate(text, start=column):
                if 0 <= i < self.width:
                    self._cells[row][i] = (character, style)
        return column + len(text)

    def write_left_of(self, row: int, column: int, text: str, style: Style = Style.PLAIN) -> int:
        """Write so that the text ends before `column`; return the column it begins at."""
        self.write(row, column - len(text), text, style)
        return column - len(text)

    def rule(self, row: int, title: str = "", note: str = "") -> None:
        """Draw a line across, with a title at the left and a note at the right."""
        self.write(row, 0, "─" * self.width, Style.DIM)
        if title:
            self.write(row, 2, f" {title} ", Style.PLAIN)
        if note:
            self.write_left_of(row, self.width - 2, f" {note} ", Style.DIM)

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
