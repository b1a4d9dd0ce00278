"""Tables whose columns go, the least important first, where the screen is narrow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from term.cells import MARGIN, Canvas, Style
from term.formatting import fitting_text

MAX_GAP = 4


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column: the higher its priority, the longer it stays; one with `grows` takes the room that is left."""

    title: str
    width: int
    right: bool = True
    priority: int = 0
    grows: bool = False


@dataclass(frozen=True, slots=True)
class TableLayout:
    """The columns that fit, each with the cell it begins at and its width.

    Attributes:
        placed: pairs of the index among all columns, the first cell, and the width.
        columns: all columns.
        gap: blanks between two.
    """

    columns: tuple[TableColumn, ...]
    placed: tuple[tuple[int, int, int], ...]
    gap: int

    @classmethod
    def fitted(cls, columns: Sequence[TableColumn], *, left: int = MARGIN, width: int) -> TableLayout:
        """Choose and place columns.

        Args:
            columns: all of them.
            left: the first cell.
            width: how many cells there are.

        """
        kept = list(range(len(columns)))
        while len(kept) > 1 and sum(columns[i].width + 1 for i in kept) - 1 > width:
            kept.remove(min(kept, key=lambda i: (columns[i].priority, -i)))
        spare = width - sum(columns[i].width for i in kept)
        gap = min(max(spare // max(len(kept) - 1, 1), 1), MAX_GAP)
        spare -= gap * (len(kept) - 1)
        placed = []
        for i in kept:
            cells = columns[i].width + (max(spare, 0) if columns[i].grows else 0)
            placed.append((i, left, min(cells, width)))
            left += cells + gap
        return cls(tuple(columns), tuple(placed), gap)

    def titles(self, canvas: Canvas, row: int, marked: str = "", sign: str = "") -> None:
        """Write the columns' titles.

        Args:
            canvas: of the whole screen.
            row: where.
            marked: the column that `sign` is written beside; empty for none.
            sign: one cell.

        """
        for i, left, width in self.placed:
            title = self.columns[i].title
            text = title + sign if marked and title == marked else title
            self._write(canvas, row, i, left, width, (text, title[:width]), Style.DIM)

    def row(self, canvas: Canvas, row: int, cells: Sequence[Iterable[str]], styles: Sequence[Style]) -> None:
        """Write a row of texts; each is ever shorter until one fits.

        Args:
            canvas: of the whole screen.
            row: where.
            cells: of all columns.
            styles: of all columns.

        """
        for i, left, width in self.placed:
            self._write(canvas, row, i, left, width, cells[i], styles[i])

    def _write(
        self, canvas: Canvas, row: int, i: int, left: int, width: int, texts: Iterable[str], style: Style
    ) -> None:
        if self.columns[i].right:  # a long number begins in the gap, one blank after its neighbour
            canvas.write_left_of(row, left + width, fitting_text(texts, width=width + self.gap - 1), style)
        else:
            canvas.write(row, left, fitting_text(texts, width=width), style)
