"""The dashboard: the price in big digits, the session in numbers, the last minutes as a chart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

import asciichartpy

from term import chart
from term.cells import ARROWS, MARGIN, ROOMY, Canvas, Row, Span, Style, cut, width_of
from term.formatting import (
    NOTHING,
    duration_text,
    fitting_text,
    number_text,
    number_texts,
    rate_texts,
    short_texts,
    signed_text,
    time_text,
)
from term.model import SIMULATED, Model
from term.stream_state import StreamStatus

_PRICE_GAP = 3
_CHANGE_WIDTH = 29  # an arrow, thirteen cells for the change, and nine for the percent
_WIDE = 64
_CHART_ROWS = 6
_OLD = (
    StreamStatus.CONNECTING,
    StreamStatus.RECONNECTING,
    StreamStatus.STALE,
    StreamStatus.GAP,
    StreamStatus.BLOCKED,
    StreamStatus.OFFLINE,
)
_CELL_WIDTHS = (19, 16, 16, 16)  # a label and eleven to thirteen digits; three blanks between them on 80 cells


def draw(canvas: Canvas, model: Model) -> None:
    """Fill the rows between header and footer: first the chart keeps its rows, then the price, the session, the tape.

    Args:
        canvas: of the whole screen.
        model: what is shown.

    """
    roomy = canvas.height >= ROOMY
    bottom = canvas.height - 2 - roomy
    row = _large_price(canvas, model) if roomy and canvas.width >= _WIDE else _small_price(canvas, model)
    row = _session(canvas, model, top=row, rows=bottom - row - _CHART_ROWS)
    beside = bool(model.tape) and canvas.width >= chart.TAPE_BESIDE
    right = 2 * MARGIN + chart.chart_width(canvas.width, tape=bool(model.tape))
    below = bool(model.tape) and not beside and bottom - row >= 3 * _CHART_ROWS
    end = bottom - _CHART_ROWS if below else bottom
    if model.chart.interval:
        area = range(MARGIN, right - MARGIN)
        told = {"decimals": model.decimals, "zone": model.zone}
        chart.draw(canvas, model.candles, model.chart, rows=range(row, end), columns=area, **told)  # type: ignore[arg-type]
    else:
        _chart(canvas, model, top=row, bottom=end, right=right)
    if beside or below:
        _tape(canvas, model, rows=range(row if beside else end, bottom), left=right + 1 if beside else 0)


def price_style(model: Model) -> Style:
    """How a price looks: one that may have changed without our knowing is grey."""
    return Style.DIM if model.status in _OLD else Style.BOLD


def _large_price(canvas: Canvas, model: Model) -> int:
    quote = model.quote
    style = ARROWS[quote.direction][1] if quote.flashes(model.now_us) else price_style(model)
    beside = _beside_price(model)
    # A width that changed with the change would make the price's last decimals come and go.
    reserved = max((_CHANGE_WIDTH, *(sum(width_of(span.text) for span in spans) for spans in beside)))
    room = canvas.width - 2 * MARGIN - 1 - _PRICE_GAP - reserved
    lines = big(number_texts(quote.price, model.decimals), width=room)
    column = MARGIN + 1 + len(lines[0]) + _PRICE_GAP
    changed = _unchanged(big(number_texts(quote.previous, model.decimals), width=room), lines) if quote.previous else 0
    for row, line in enumerate(lines, start=3):
        canvas.write(row, MARGIN + 1, line[:changed], price_style(model))
        canvas.write(row, MARGIN + 1 + changed, line[changed:], style)
    for row, spans in enumerate(beside, start=3):
        end = column
        for span in spans:
            end = canvas.write(row, end, span.text, span.style)
    return 7


def _unchanged(before: Sequence[str], now: Sequence[str]) -> int:
    """How many cells at the left are those of digits that have not changed."""
    if len(before[0]) != len(now[0]):
        return 0
    same = 0
    for cell, (old, new) in enumerate(zip(zip(*before, strict=True), zip(*now, strict=True), strict=True), start=1):
        if old != new:
            return same
        same = cell if all(sign == " " for sign in new) else same
    return len(now[0])


def _small_price(canvas: Canvas, model: Model) -> int:
    quote = model.quote
    style = ARROWS[quote.direction][1] if quote.flashes(model.now_us) else price_style(model)
    change = _beside_price(model)[:1]
    room = canvas.width - 2 * MARGIN - 16
    end = canvas.write(2, MARGIN, fitting_text(number_texts(quote.price, model.decimals), width=room), style) + 2
    for span in change[0] if change else ():
        end = canvas.write(2, end, cut(span.text, canvas.width - MARGIN - end), span.style)
    return 3


def _beside_price(model: Model) -> tuple[Row, ...]:
    quote, selection = model.quote, model.shown
    if selection is None:
        return ()
    where = Span(cut(selection.symbol, 20), Style.DIM)
    if selection.venue == SIMULATED:
        place: Row = (where, Span("  SIM: not a real market", Style.WARN))
    else:
        place = (where, Span(f" at {selection.venue[:12]}" if selection.venue else "", Style.DIM))
    change = quote.change()
    if change is None:
        return (Span("waiting for the first trade", Style.DIM),), (), place
    moved, percent, since_session = change
    arrow, style = ARROWS["up" if moved > 0 else "down" if moved < 0 else ""]
    texts = (arrow, signed_text(moved, model.decimals, width=13), f"({signed_text(percent, 2, width=9)} %)")
    since = "since the session began" if since_session else "since this screen opened"
    return (Span(" ".join(texts).strip(), style),), (Span(since, Style.DIM),), place


def _session(canvas: Canvas, model: Model, *, top: int, rows: int) -> int:
    """Draw the session into at most so many rows, and return the row after it."""
    quote, stats = model.quote, model.quote.stats
    missed = fitting_text(number_texts(quote.missed, 0), width=13)
    notes = [f"{missed} trades not sent to this screen"] * bool(quote.missed)
    notes += [f"{model.stream.refused:,} bad frames"] * bool(model.stream.refused)
    cells: tuple[tuple[str, Iterable[str]], ...] = (
        ("average", number_texts(stats.moving_average, model.decimals)),
        ("high", number_texts(stats.high, model.decimals)),
        ("trades", number_texts(stats.count, 0)),
        ("rate", rate_texts(quote.rate(model.now_us))),
        ("", ("",)),
        ("low", number_texts(stats.low, model.decimals)),
        ("volume", short_texts(stats.volume)),
        ("delay", (NOTHING if quote.delay_us is None else duration_text(quote.delay_us),)),
    )
    per_row = len(_CELL_WIDTHS) if canvas.width >= 80 else 2
    if per_row == 2:
        cells = (cells[1], cells[5], cells[6], cells[3], cells[2], cells[7])
    lines = [cells[first : first + per_row] for first in range(0, len(cells), per_row)][: max(rows - 1, 0)]
    if not lines:
        return top
    canvas.rule(top, "session", cut(", ".join(notes), max(canvas.width - 18, 0)))
    widths = _CELL_WIDTHS[-per_row:] if per_row == 2 else _CELL_WIDTHS
    extra = (canvas.width - 2 * MARGIN - sum(widths)) // per_row
    for row, line in enumerate(lines, start=top + 1):
        column = MARGIN
        for (label, texts), width in zip(line, widths, strict=True):
            begin = canvas.write(row, column, label, Style.DIM) + 1
            # A long number goes on into the blanks right of its cell, if there are more than the two between cells.
            text = fitting_text(texts, width=column + width + max(extra - 2, 0) - begin)
            canvas.write(row, max(column + width - len(text), begin), text)
            column += width + extra
    return top + 1 + len(lines)


def _tape(canvas: Canvas, model: Model, *, rows: range, left: int) -> None:
    """Draw the last trades, the newest above: time, price and size, in the colour of the taker's side."""
    width = canvas.width - left
    canvas.write(rows[0], left, "─" * width, Style.DIM)
    canvas.write(rows[0], left + 1, " trades ", Style.PLAIN)
    for row, trade in zip(rows[1:], model.tape, strict=False):
        style = Style.UP if trade.side == "buy" else Style.DOWN
        sign = "▲" if trade.side == "buy" else "▼"
        end = canvas.write(row, left + 1, f"{time_text(trade.time_us, model.zone)[11:19]} {sign} ", style)
        price = fitting_text(number_texts(trade.price, model.decimals), width=12)
        canvas.write_left_of(row, end + 12, price, style)
        canvas.write_left_of(row, end + 21, fitting_text(short_texts(trade.quantity), width=8))


def _chart(canvas: Canvas, model: Model, *, top: int, bottom: int, right: int) -> None:
    quote = model.quote
    prices = quote.recent.prices
    width = right - 2 * MARGIN
    columns, step_us = quote.recent.columns(width - label_width(prices, model.decimals))
    if not columns:
        canvas.rule(top, "price")
        canvas.write((top + bottom) // 2, MARGIN, "no prices yet".center(width), Style.DIM)
        return
    span, note = duration_text(quote.recent.span_us), f"{duration_text(step_us)} a column"
    canvas.rule(top, f"price, last {span}", note if right == canvas.width and width >= 50 else "")
    lines = draw_chart(columns, height=bottom - top - 1, decimals=model.decimals)
    axis = label_width(columns, model.decimals) - 1
    for row, line in enumerate(lines, start=top + 1):
        canvas.write(row, MARGIN, line[:axis], Style.DIM)
        canvas.write(row, MARGIN + axis, line[axis:], Style.CHART)


# --- big digits -------------------------------------------------------------------------------------------------------
# Numbers three lines high.

_GLYPHS = {
    "0": ("┏━┓", "┃ ┃", "┗━┛"),
    "1": (" ╻ ", " ┃ ", " ╹ "),
    "2": ("╺━┓", "┏━┛", "┗━╸"),
    "3": ("╺━┓", "╺━┫", "╺━┛"),
    "4": ("╻ ╻", "┗━┫", "  ╹"),
    "5": ("┏━╸", "┗━┓", "╺━┛"),
    "6": ("┏━╸", "┣━┓", "┗━┛"),
    "7": ("╺━┓", "  ┃", "  ╹"),
    "8": ("┏━┓", "┣━┫", "┗━┛"),
    "9": ("┏━┓", "┗━┫", "╺━┛"),
    ".": (" ", " ", "▪"),
    ",": (" ", " ", "╻"),
    "—": ("   ", "╺━╸", "   "),
}
HEIGHT = 3


def big(texts: Iterable[str], *, width: int) -> tuple[str, ...]:
    """Draw the first of `texts` that fits into `width` cells; when none does, leave the first that does as it is.

    Args:
        texts: of one number, the longest first.
        width: in cells.

    """
    texts = tuple(texts)
    for text in texts:
        lines = _drawn(text) if _GLYPHS.keys() >= set(text) else ("",)
        if lines[0] and len(lines[0]) <= width:
            return lines
    small = fitting_text(texts, width=width)
    return " " * len(small), small, " " * len(small)


def _drawn(text: str) -> tuple[str, ...]:
    glyphs = [_GLYPHS[character] for character in text]
    return tuple(" ".join(glyph[line] for glyph in glyphs) for line in range(HEIGHT))


# --- the chart --------------------------------------------------------------------------------------------------------
# Prices -> lines of text, drawn by asciichartpy.


def draw_chart(prices: Sequence[Decimal], *, height: int, decimals: int) -> list[str]:
    """Draw a line chart, as wide as its labels, an axis and one column for each price.

    Args:
        prices: oldest first.
        height: how many lines it has.
        decimals: of the labels; one that would repeat the one above is left out.

    Returns:
        Exactly `height` lines of text.
    """
    if not prices or height < 1:
        return [""] * max(height, 0)
    high, low = max(prices), min(prices)
    labels = _labels(high, low, height=height, decimals=decimals)
    # Rows instead of prices: asciichartpy draws exact heights only for whole numbers, and marks a row as the zero line
    # when it is numbered 0. So the rows are 1 to height, and the labels ours.
    rows = [_row(price, high, low, height) for price in prices]
    plot = asciichartpy.plot(rows, {"min": 1, "max": height, "height": height - 1, "offset": 1, "format": " "})
    return [f"{label} {line}" for label, line in zip(labels, plot.split("\n"), strict=True)]


def label_width(prices: Sequence[Decimal], decimals: int) -> int:
    """How many cells `draw_chart` needs left of the line: the label, a space and the axis.

    Args:
        prices: all that the chart shows.
        decimals: of the labels.

    """
    return max((len(number_text(price, decimals)) for price in prices), default=0) + 2


def _row(price: Decimal, high: Decimal, low: Decimal, height: int) -> float:
    if high == low:
        return (height + 1) // 2
    return float(1 + (height - 1) * (price - low) / (high - low))


def _labels(high: Decimal, low: Decimal, *, height: int, decimals: int) -> list[str]:
    if high == low:
        middle = height - (height + 1) // 2
        texts = [number_text(high, decimals) if row == middle else "" for row in range(height)]
    else:
        step = (high - low) / max(height - 1, 1)
        texts = [number_text(high - step * row, decimals) for row in range(height)]
        texts = [text if row == 0 or text != texts[row - 1] else "" for row, text in enumerate(texts)]
    width = max(len(text) for text in texts)
    return [text.rjust(width) for text in texts]
