"""The history: a table of the trades that were kept, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import tzinfo

from term.cells import MARGIN, Canvas, Style, cut
from term.formatting import NOTHING, number_texts, time_text, zone_name
from term.history import visible_rows
from term.model import Model
from term.table import TableColumn, TableLayout
from term.values import Trade

_SIDE_STYLES = {"buy": Style.UP, "sell": Style.DOWN, None: Style.DIM}
_COLUMNS = (
    TableColumn("time", 12, right=False, priority=5),
    TableColumn("price", 14, priority=9),
    TableColumn("quantity", 15, priority=3),
    TableColumn("side", 4, priority=4),
    TableColumn("trade id", 12, priority=2),
)


def draw(canvas: Canvas, model: Model) -> None:
    """Fill the rows between header and footer.

    Args:
        canvas: of the whole screen.
        model: what is shown.

    """
    history = model.history
    visible = visible_rows(canvas.height)
    shown = history.trades[history.top : history.top + visible]
    canvas.rule(1, "trades, newest first", cut(_note(model, len(shown)), max(canvas.width - 30, 0)))
    table = _table(canvas.width, model.zone)
    table.titles(canvas, 2)
    for row, trade in enumerate(shown):
        styles = [Style.DIM, Style.DIM, Style.BOLD, Style.PLAIN, _SIDE_STYLES[trade.side], Style.DIM]
        at_cursor = history.top + row == history.cursor
        table.row(canvas, 3 + row, _cells(trade, model), [Style.CURSOR] * len(styles) if at_cursor else styles)
    if not shown:
        canvas.write(4, MARGIN, cut(_nothing_text(model), canvas.width - 2 * MARGIN), Style.DIM)
    elif model.whole:
        canvas.box(_whole(history.trades[history.cursor], model.zone), rows=visible + 1)


def _table(width: int, zone: tzinfo | None) -> TableLayout:
    """One of the two columns of time goes: the whole one where it does not fit, else the short one."""
    columns = (TableColumn(f"time ({zone_name(zone)})"[:26], 26, right=False, priority=1), *_COLUMNS)
    table = TableLayout.fitted(columns[:1] + columns[2:], width=width - 2 * MARGIN)
    whole = any(i == 0 for i, _, _ in table.placed)
    kept = [i for i in range(len(columns)) if i != (1 if whole else 0)]
    fitted = TableLayout.fitted(tuple(columns[i] for i in kept), width=width - 2 * MARGIN)
    return TableLayout(columns, tuple((kept[i], left, cells) for i, left, cells in fitted.placed), fitted.gap)


def _whole(trade: Trade, zone: tzinfo | None) -> tuple[str, ...]:
    return (
        f"trade id  {NOTHING if trade.trade_id is None else trade.trade_id}",
        f"symbol    {trade.symbol} at {trade.venue or NOTHING}",
        f"time      {time_text(trade.time_us, zone, named=True)}",
        f"price     {trade.price:f}",
        f"quantity  {NOTHING if trade.quantity is None else f'{trade.quantity:f}'}",
        f"taker     {trade.side or NOTHING}",
    )


def _cells(trade: Trade, model: Model) -> tuple[Iterable[str], ...]:
    time = time_text(trade.time_us, model.zone)
    return (
        (time,),
        (time[11:23] or time,),
        number_texts(trade.price, model.decimals),
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


def _note(model: Model, shown: int) -> str:
    history = model.history
    if model.fetching_history:
        return "fetching …"
    if history.error and history.trades:
        return cut(f"no answer: {history.error}", 44)
    if not shown:
        return ""
    first = history.forgotten + history.top
    rows = f"{first + 1:,} to {first + shown:,} of {history.forgotten + len(history.trades):,} fetched"
    return f"{rows}, more below" if history.next_token else rows


def _nothing_text(model: Model) -> str:
    if model.history.error:
        return f"no history from {model.url}: {model.history.error}"
    if not model.history.fetched:
        return "asking for the trades …"
    before_us = model.history.before_us
    return "no trades kept yet" if before_us is None else f"no trades before {time_text(before_us, model.zone)[:19]}"
