"""The history: a table of the trades that were kept, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from term.cells import MARGIN, Canvas, Style, cut
from term.formatting import NOTHING, fitting_text, number_texts, time_text
from term.history import visible_rows
from term.model import Model
from term.values import Trade

_SIDE_STYLES = {"buy": Style.UP, "sell": Style.DOWN, None: Style.DIM}


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    width: int
    right: bool = True


_COLUMNS = (
    _Column("time (UTC)", 26, right=False),
    _Column("price", 14),
    _Column("quantity", 15),
    _Column("side", 4),
    _Column("trade id", 12),
)
_NATURAL_WIDTH = sum(column.width for column in _COLUMNS)


def draw(canvas: Canvas, model: Model) -> None:
    """Fill the rows between header and footer.

    Args:
        canvas: of the whole screen.
        model: what is shown.

    """
    history = model.history
    shown = history.trades[history.top : history.top + visible_rows(canvas.height)]
    canvas.rule(1, "trades, newest first", _note(model, len(shown)))
    _write_row(canvas, 2, [(column.title,) for column in _COLUMNS], [Style.DIM] * len(_COLUMNS))
    for row, trade in enumerate(shown, start=3):
        styles = [Style.DIM, Style.BOLD, Style.PLAIN, _SIDE_STYLES[trade.side], Style.DIM]
        _write_row(canvas, row, _cells(trade, model), styles)
    if not shown:
        canvas.write(4, MARGIN, cut(_nothing_text(model), canvas.width - 2 * MARGIN), Style.DIM)


def _cells(trade: Trade, model: Model) -> tuple[Iterable[str], ...]:
    return (
        (time_text(trade.time_us),),
        number_texts(trade.price, max(model.quote.decimals, model.history.price_decimals)),
        number_texts(trade.quantity, model.history.quantity_decimals),
        (trade.side or NOTHING,),
        _id_texts(trade.trade_id),
    )


def _id_texts(trade_id: int | None) -> Iterator[str]:
    if trade_id is None:
        yield NOTHING
        return
    digits = str(trade_id)
    # Neighbours differ in their last digits.
    yield from (f"…{digits[left_out:]}" if left_out else digits for left_out in range(len(digits)))


def _write_row(canvas: Canvas, row: int, cells: Sequence[Iterable[str]], styles: Sequence[Style]) -> None:
    gap = min(max((canvas.width - 2 * MARGIN - _NATURAL_WIDTH) // (len(_COLUMNS) - 1), 1), 4)
    start = MARGIN
    for column, texts, style in zip(_COLUMNS, cells, styles, strict=True):
        if column.right:  # a long number begins in the gap, one blank after its neighbour
            text = fitting_text(texts, width=column.width + gap - 1)
            canvas.write_left_of(row, start + column.width, text, style)
        else:
            canvas.write(row, start, fitting_text(texts, width=column.width), style)
        start += column.width + gap


def _note(model: Model, shown: int) -> str:
    history = model.history
    if model.fetching_history:
        return "fetching …"
    if history.error and history.trades:
        return cut(f"no answer: {history.error}", 44)
    if not shown:
        return ""
    rows = f"{history.top + 1:,} to {history.top + shown:,} of {len(history.trades):,} fetched"
    return f"{rows}, more below" if history.next_token else rows


def _nothing_text(model: Model) -> str:
    if model.history.error:
        return f"no history from {model.url}: {model.history.error}"
    return "no trades kept yet" if model.history.fetched else "asking for the trades …"
