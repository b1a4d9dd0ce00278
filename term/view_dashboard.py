"""The dashboard: the price in big digits, the session in numbers, the last minutes as a chart."""

from __future__ import annotations

from term import chart, digits
from term.cells import ARROWS, MARGIN, Canvas, Style
from term.figures import NOTHING, duration_text, number_text, rate_text, short_text, signed_text
from term.model import Model

_CELL_WIDTHS = (19, 16, 16, 16)  # a label and eleven to thirteen digits; three blanks between them on 80 cells


def draw(canvas: Canvas, model: Model) -> None:
    """Fill the rows between header and footer."""
    _price(canvas, model)
    _session(canvas, model)
    _chart(canvas, model, top=10, bottom=canvas.height - 3)


def _price(canvas: Canvas, model: Model) -> None:
    quote, selection = model.quote, model.selection
    arrow, moving = ARROWS[quote.direction]
    style = moving if quote.flashes(model.now_us) else Style.BOLD
    column = 0
    for row, line in enumerate(digits.big(number_text(quote.price, quote.decimals)), start=3):
        column = canvas.write(row, MARGIN + 1, line, style) + 3
    if selection is None:
        return
    change = quote.change()
    if change is None:
        canvas.write(3, column, "waiting for the first trade", Style.DIM)
    else:
        moved, percent, since_session = change
        arrow, style = ARROWS["up" if moved > 0 else "down" if moved < 0 else ""]
        texts = (arrow, signed_text(moved, quote.decimals), f"({signed_text(percent, 2)} %)")
        canvas.write(3, column, " ".join(texts).strip(), style)
        canvas.write(4, column, "since the session began" if since_session else "since this screen opened", Style.DIM)
    end = canvas.write(5, column, selection.symbol, Style.DIM)
    if selection.venue == "sim":
        canvas.write(5, end + 2, "SIM: not a real market", Style.WARN)
    elif selection.venue:
        canvas.write(5, end, f" at {selection.venue}", Style.DIM)


def _session(canvas: Canvas, model: Model) -> None:
    quote, stats = model.quote, model.quote.stats
    notes = [f"{quote.missed:,} trades not sent to this screen"] * bool(quote.missed)
    notes += [f"{model.link.refused:,} bad frames"] * bool(model.link.refused)
    canvas.rule(7, "session", ", ".join(notes))
    cells = (
        ("average", number_text(stats.moving_average, quote.decimals)),
        ("high", number_text(stats.high, quote.decimals)),
        ("trades", _count_text(stats.count)),
        ("rate", rate_text(quote.rate(model.now_us))),
        ("", ""),
        ("low", number_text(stats.low, quote.decimals)),
        ("volume", short_text(stats.volume)),
        ("delay", NOTHING if quote.delay_us is None else duration_text(quote.delay_us)),
    )
    extra = (canvas.width - 2 * MARGIN - sum(_CELL_WIDTHS)) // len(_CELL_WIDTHS)
    for row, line in enumerate((cells[:4], cells[4:]), start=8):
        column = MARGIN
        for (label, text), width in zip(line, _CELL_WIDTHS, strict=True):
            canvas.write(row, column, label, Style.DIM)
            canvas.write_left_of(row, column + width, text)
            column += width + extra


def _count_text(count: int | None) -> str:
    return f"{count:,}" if count is not None and count < 10_000_000 else short_text(count)


def _chart(canvas: Canvas, model: Model, *, top: int, bottom: int) -> None:
    quote = model.quote
    prices = quote.recent.prices
    room = canvas.width - 2 * MARGIN - chart.label_width(prices, quote.decimals)
    columns, step_us = quote.recent.columns(room)
    if not columns:
        canvas.rule(top, "price")
        canvas.write((top + bottom) // 2, MARGIN, "no prices yet".center(canvas.width - 2 * MARGIN), Style.DIM)
        return
    span = duration_text(quote.recent.span_us)
    canvas.rule(top, f"price, last {span}", f"{duration_text(step_us)} a column")
    lines = chart.draw(columns, height=bottom - top - 1, decimals=quote.decimals)
    axis = chart.label_width(columns, quote.decimals) - 1
    for row, line in enumerate(lines, start=top + 1):
        canvas.write(row, MARGIN, line[:axis], Style.DIM)
        canvas.write(row, MARGIN + axis, line[axis:], Style.CHART)
