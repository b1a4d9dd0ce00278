"""The dashboard: the price in big digits, the session in numbers, the last minutes as a chart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

import asciichartpy

from term.cells import ARROWS, MARGIN, Canvas, Row, Span, Style, cut, width_of
from term.formatting import (
    NOTHING,
    duration_text,
    fitting_text,
    number_text,
    number_texts,
    rate_texts,
    short_texts,
    signed_text,
)
from term.model import Model

_PRICE_GAP = 3
_CHANGE_WIDTH = 29  # an arrow, thirteen cells for the change, and nine for the percent
_CELL_WIDTHS = (19, 16, 16, 16)  # a label and eleven to thirteen digits; three blanks between them on 80 cells


def draw(canvas: Canvas, model: Model) -> None:
    """Fill the rows between header and footer.

    Args:
        canvas: of the whole screen.
        model: what is shown.

    """
    _price(canvas, model)
    _session(canvas, model)
    _chart(canvas, model, top=10, bottom=canvas.height - 3)


def _price(canvas: Canvas, model: Model) -> None:
    quote = model.quote
    style = ARROWS[quote.direction][1] if quote.flashes(model.now_us) else Style.BOLD
    beside = _beside_price(model)
    # A width that changed with the change would make the price's last decimals come and go.
    reserved = max((_CHANGE_WIDTH, *(sum(width_of(span.text) for span in spans) for spans in beside)))
    room = canvas.width - 2 * MARGIN - 1 - _PRICE_GAP - reserved
    lines = big(number_texts(quote.price, quote.decimals), width=room)
    column = MARGIN + 1 + len(lines[0]) + _PRICE_GAP
    for row, line in enumerate(lines, start=3):
        canvas.write(row, MARGIN + 1, line, style)
    for row, spans in enumerate(beside, start=3):
        end = column
        for span in spans:
            end = canvas.write(row, end, span.text, span.style)


def _beside_price(model: Model) -> tuple[Row, ...]:
    quote, selection = model.quote, model.selection
    if selection is None:
        return ()
    where = Span(cut(selection.symbol, 20), Style.DIM)
    if selection.venue == "sim":
        place: Row = (where, Span("  SIM: not a real market", Style.WARN))
    else:
        place = (where, Span(f" at {selection.venue[:12]}" if selection.venue else "", Style.DIM))
    change = quote.change()
    if change is None:
        return (Span("waiting for the first trade", Style.DIM),), (), place
    moved, percent, since_session = change
    arrow, style = ARROWS["up" if moved > 0 else "down" if moved < 0 else ""]
    texts = (arrow, signed_text(moved, quote.decimals, width=13), f"({signed_text(percent, 2, width=9)} %)")
    since = "since the session began" if since_session else "since this screen opened"
    return (Span(" ".join(texts).strip(), style),), (Span(since, Style.DIM),), place


def _session(canvas: Canvas, model: Model) -> None:
    quote, stats = model.quote, model.quote.stats
    missed = fitting_text(number_texts(quote.missed, 0), width=13)
    notes = [f"{missed} trades not sent to this screen"] * bool(quote.missed)
    notes += [f"{model.stream.refused:,} bad frames"] * bool(model.stream.refused)
    canvas.rule(7, "session", ", ".join(notes))
    cells: tuple[tuple[str, Iterable[str]], ...] = (
        ("average", number_texts(stats.moving_average, quote.decimals)),
        ("high", number_texts(stats.high, quote.decimals)),
        ("trades", number_texts(stats.count, 0)),
        ("rate", rate_texts(quote.rate(model.now_us))),
        ("", ("",)),
        ("low", number_texts(stats.low, quote.decimals)),
        ("volume", short_texts(stats.volume)),
        ("delay", (NOTHING if quote.delay_us is None else duration_text(quote.delay_us),)),
    )
    extra = (canvas.width - 2 * MARGIN - sum(_CELL_WIDTHS)) // len(_CELL_WIDTHS)
    for row, line in enumerate((cells[:4], cells[4:]), start=8):
        column = MARGIN
        for (label, texts), width in zip(line, _CELL_WIDTHS, strict=True):
            begin = canvas.write(row, column, label, Style.DIM) + 1
            # A long number goes on into the blanks right of its cell, if there are more than the two between cells.
            text = fitting_text(texts, width=column + width + max(extra - 2, 0) - begin)
            canvas.write(row, max(column + width - len(text), begin), text)
            column += width + extra


def _chart(canvas: Canvas, model: Model, *, top: int, bottom: int) -> None:
    quote = model.quote
    prices = quote.recent.prices
    room = canvas.width - 2 * MARGIN - label_width(prices, quote.decimals)
    columns, step_us = quote.recent.columns(room)
    if not columns:
        canvas.rule(top, "price")
        canvas.write((top + bottom) // 2, MARGIN, "no prices yet".center(canvas.width - 2 * MARGIN), Style.DIM)
        return
    span = duration_text(quote.recent.span_us)
    canvas.rule(top, f"price, last {span}", f"{duration_text(step_us)} a column")
    lines = draw_chart(columns, height=bottom - top - 1, decimals=quote.decimals)
    axis = label_width(columns, quote.decimals) - 1
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
