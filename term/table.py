"""Tables whose columns go, the least important first, where the screen is narrow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

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


@dataclass(frozen=True, slots=True, eq=False)  # by identity, so that what is drawn with it can be kept
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
    @lru_cache(maxsize=64)
    def fitted(cls, columns: tuple[TableColumn, ...], *, left: int = MARGIN, width: int) -> TableLayout:
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
        return cls(columns, tuple(placed), gap)

    def titles(self, canvas: Canvas, row: int, marked: str = "", sign: str = "") -> None:
        """Write the columns' titles.

        Args:
            canvas: of the whole screen.
            row: where.
            marked: the column that `sign` is written beside; empty for none.
            sign: one cell.

        """
        names = [column.title for column in self.columns]
        signed = [name + sign if marked and name == marked else name for name in names]
        texts = self.fit([(text, name) for text, name in zip(signed, names, strict=True)])
        self.write(canvas, row, texts, [Style.DIM] * len(names))

    def fit(self, cells: Sequence[Iterable[str]]) -> tuple[str, ...]:
        """Choose the texts of a row: of each column that is placed the first that fits.

        Args:
            cells: of all columns, each ever shorter.

        """
        # A long number begins in the gap, one blank after its neighbour.
        spare = [self.gap - 1 if self.columns[i].right else 0 for i, _, _ in self.placed]
        placed = zip(self.placed, spare, strict=True)
        return tuple(fitting_text(cells[i], width=width + more) for (i, _, width), more in placed)

    def write(self, canvas: Canvas, row: int, texts: Sequence[str], styles: Sequence[Style]) -> None:
        """Write a row.

        Args:
            canvas: of the whole screen.
            row: where.
            texts: of the columns that are placed, from `fit`.
            styles: of all columns.

        """
        for (i, left, width), text in zip(self.placed, texts, strict=True):
            if self.columns[i].right:
                canvas.write_left_of(row, left + width, text, styles[i])
            else:
                canvas.write(row, left, text, styles[i])

    def row(self, canvas: Canvas, row: int, cells: Sequence[Iterable[str]], styles: Sequence[Style]) -> None:
        """Write a row of texts; each is ever shorter until one fits.

        Args:
            canvas: of the whole screen.
            row: where.
            cells: of all columns.
            styles: of all columns.

        """
        self.write(canvas, row, self.fit(cells), styles)
