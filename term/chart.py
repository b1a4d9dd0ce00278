"""Candles -> a chart of cells: half blocks, a line of asciichartpy's, or braille; with overlays and a crosshair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from decimal import Decimal

import asciichartpy

from term.candles import INTERVALS, OVERLAYS, PANES, SWITCHED, Candles, Line
from term.cells import MARGIN, Canvas, Style
from term.formatting import moment, number_text, number_texts, short_texts, time_text
from term.values import Bar

KINDS = ("candles", "line", "braille")
CELLS_A_CANDLE = (4, 3, 2, 1)
PANE_ROWS = 4
TAPE_WIDTH = 36
TAPE_BESIDE = 100
"""From so many cells on the last trades stand beside the chart."""
_LEAST_ROWS = 5


@dataclass(frozen=True, slots=True)
class ChartOptions:
    """What of the candles is drawn, and how.

    Attributes:
        kind: one of `KINDS`.
        interval: one of `INTERVALS`; empty for the prices of the last minutes as they came.
        cells: of a candle.
        back: how many candles the last one shown is before the newest.
        cross: how many candles the crosshair is before the last one shown; None for no crosshair.
        overlays: the keys of what lies over the prices, or below.
    """

    kind: str = "line"
    interval: str = ""
    cells: int = 1
    back: int = 0
    cross: int | None = None
    overlays: frozenset[str] = frozenset()


def draw(
    canvas: Canvas,
    candles: Candles,
    options: ChartOptions,
    *,
    rows: range,
    columns: range,
    decimals: int,
    zone: tzinfo | None,
) -> None:
    """Draw the chart with its title.

    Args:
        canvas: of the whole screen.
        candles: of the interval.
        options: how.
        rows: of the screen: the title's and all below.
        columns: of the screen.
        decimals: of a price.
        zone: of the times; None for this machine's. Days and weeks are UTC's: so they are cut.

    """
    zone = UTC if INTERVALS[options.interval] >= INTERVALS["1d"] else zone
    shown = candles.window(visible_candles(candles, options, len(columns), decimals), options.back)
    title = f"{options.interval} {options.kind}"
    if not shown:
        text = f"no candles: {candles.error}" if candles.error else "no candles yet" if candles.fetched else "asking …"
        _title(canvas, title, "", row=rows[0], columns=columns)
        canvas.write(rows[len(rows) // 2], columns[0] + 2, text[: len(columns) - 2], Style.DIM)
        return
    first = candles.rows.index(shown[0])
    end = first + len(shown)
    wanted = [line for key, (_, lines) in OVERLAYS.items() if key in options.overlays for line in lines]
    overlays = [line(candles.rows, first, end) for line in wanted]
    panes = [key for key in PANES if key in options.overlays and len(rows) >= _LEAST_ROWS + 2 + PANE_ROWS]
    panes = panes[: (len(rows) - 2 - _LEAST_ROWS) // PANE_ROWS]
    prices = rows[1 : len(rows) - 1 - PANE_ROWS * len(panes)]
    cross = None if options.cross is None else max(len(shown) - 1 - options.cross, 0)
    names = " ".join(name for key, (name, _) in SWITCHED.items() if key in options.overlays)
    names += ": too few rows" * any(key in options.overlays and key not in panes for key in PANES)
    note = names if cross is None else _told(shown[cross], decimals, zone, len(columns) - len(title) - 10)
    _title(canvas, title, note, row=rows[0], columns=columns)
    decimals = _axis_decimals(shown, decimals, len(columns))
    _Plot(canvas, shown, options, prices, columns, decimals).draw(overlays, cross)
    axis = columns[_axis_width(shown, decimals) :]
    for number, key in enumerate(panes):
        name, pane_lines = PANES[key]
        top = prices.stop + PANE_ROWS * number
        values = [line(candles.rows, first, end) for line in pane_lines]
        _pane(canvas, name, values, rows=range(top, top + PANE_ROWS), columns=axis, cells=options.cells)
    _times(canvas, shown, options, row=rows[-1], columns=axis, zone=zone)


def _title(canvas: Canvas, title: str, note: str, *, row: int, columns: range) -> None:
    canvas.write(row, columns[0] - MARGIN, "─" * (len(columns) + 2 * MARGIN), Style.DIM)
    canvas.write(row, columns[0], f" {title} ")
    if note:
        canvas.write_left_of(row, columns[-1] + 1, f" {note[: len(columns) - len(title) - 6]} ", Style.DIM)


def chart_width(width: int, *, tape: bool) -> int:
    """How many cells of a screen the chart has.

    Args:
        width: of the screen.
        tape: whether there are trades, which stand beside the chart where there is room.

    """
    return width - 2 * MARGIN - (TAPE_WIDTH if tape and width >= TAPE_BESIDE else 0)


def visible_candles(candles: Candles, options: ChartOptions, width: int, decimals: int) -> int:
    """How many candles a chart of so many cells shows at most.

    Args:
        candles: of the interval.
        options: how.
        width: of the chart.
        decimals: of a price.

    """
    rows = candles.rows[-2000:]
    return max((width - _axis_width(rows, _axis_decimals(rows, decimals, width))) // options.cells, 1)


def _axis_decimals(rows: Sequence[Bar], decimals: int, cells: int) -> int:
    """Fewer than a price has where the labels would take more than a third of the chart."""
    high = max((candle.high for candle in rows), default=Decimal(0))
    return next((fewer for fewer in range(decimals, 0, -1) if len(number_text(high, fewer)) <= cells // 3), 0)


def _axis_width(rows: Sequence[Bar], decimals: int) -> int:
    return max((len(number_text(max(rows, key=lambda c: c.high).high, decimals)) if rows else 0, 4)) + 2


def _told(candle: Bar, decimals: int, zone: tzinfo | None, width: int) -> str:
    time = time_text(candle.time_us, zone)[:19]
    prices = "  ".join(
        f"{name} {number_text(price, decimals)}"
        for name, price in zip("OHLC", (candle.open, candle.high, candle.low, candle.close), strict=True)
    )
    texts = (
        f"{time}  {prices}  V {next(short_texts(candle.volume))}",
        f"{time}  C {number_text(candle.close, decimals)}",
    )
    return next((text for text in texts if len(text) <= width), texts[-1])


def _times(
    canvas: Canvas, shown: Sequence[Bar], options: ChartOptions, *, row: int, columns: range, zone: tzinfo | None
) -> None:
    seconds = INTERVALS[options.interval]
    form = "%H:%M:%S" if seconds < 60 else "%d %H:%M" if seconds < 86_400 else "%Y-%m-%d"
    step = 16 // options.cells * options.cells
    for left in range(0, len(columns) - 10, max(step, options.cells)):
        index = left // options.cells
        if index >= len(shown):
            break
        canvas.write(row, columns[left], f"{moment(shown[index].time_us, zone):{form}}", Style.DIM)


# --- the prices ------------------------------------------------------------------------------------------------------


class _Plot:
    """Prices on the rows of a canvas."""

    def __init__(
        self,
        canvas: Canvas,
        shown: Sequence[Bar],
        options: ChartOptions,
        rows: range,
        columns: range,
        decimals: int,
    ) -> None:
        self._canvas, self._shown, self._options, self._rows = canvas, shown, options, rows
        self._left = columns[0] + _axis_width(shown, decimals)
        self._high, self._low = max(c.high for c in shown), min(c.low for c in shown)
        for row in range(len(rows)):
            price = self._high - (self._high - self._low) * row / max(len(rows) - 1, 1)
            text = next(number_texts(price, decimals))
            canvas.write_left_of(rows[row], self._left - 1, f"{text} ┤" if row % 2 == 0 else "┤", Style.DIM)

    def draw(self, overlays: Sequence[Line], cross: int | None) -> None:
        cells = self._options.cells
        for line in overlays:
            for index, value in enumerate(line):
                if value is not None and float(self._low) <= value <= float(self._high):
                    self._put(self._position(Decimal(value), 1), index * cells, "·", Style.WARN)
        if cross is not None:
            for row in range(len(self._rows)):
                self._put(row, cross * cells, "┊", Style.DIM)
        {"candles": self._candles, "line": self._line, "braille": self._braille}[self._options.kind]()

    def _candles(self) -> None:
        body = max(self._options.cells - 1, 1)
        for index, candle in enumerate(self._shown):
            style = Style.UP if candle.close >= candle.open else Style.DOWN
            high, low = self._position(candle.high, 2), self._position(candle.low, 2)
            top, bottom = sorted((self._position(candle.open, 2), self._position(candle.close, 2)))
            left = index * self._options.cells
            for row in range(high // 2, low // 2 + 1):
                upper, lower = (
                    "body" if top <= half <= bottom else "wick" if high <= half <= low else ""
                    for half in (2 * row, 2 * row + 1)
                )
                sign = _HALVES[upper, lower]
                if "body" in (upper, lower):
                    self._put(row, left, sign * body, style)
                else:
                    self._put(row, left + body // 2, sign, style)

    def _line(self) -> None:
        height = len(self._rows)
        closes = [candle.close for candle in self._shown for _ in range(self._options.cells)]
        points = [float(height - self._position(close, 1)) for close in closes]
        plot = asciichartpy.plot(points, {"min": 1, "max": height, "height": height - 1, "offset": 1, "format": " "})
        for row, line in enumerate(plot.split("\n")):
            for column, sign in enumerate(line[2:]):
                if sign != " ":
                    self._put(row, column, sign, Style.CHART)

    def _braille(self) -> None:
        points = [self._position(candle.close, 4) for candle in self._shown]
        for row, column, sign in braille(points, self._options.cells * 2):
            self._put(row, column, sign, Style.CHART)

    def _position(self, price: Decimal, parts: int) -> int:
        steps = parts * len(self._rows) - 1
        if self._high == self._low:
            return steps // 2
        return round(steps * float((self._high - price) / (self._high - self._low)))

    def _put(self, row: int, column: int, sign: str, style: Style) -> None:
        self._canvas.write(self._rows[row], self._left + column, sign, style)


_HALVES = {
    ("", ""): " ",
    ("body", "body"): "█",
    ("body", ""): "▀",
    ("", "body"): "▄",
    ("body", "wick"): "▀",
    ("wick", "body"): "▄",
    ("wick", "wick"): "│",
    ("wick", ""): "╵",
    ("", "wick"): "╷",
}
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Of a braille character: by column and row."""


def braille(points: Sequence[int], dots: int) -> list[tuple[int, int, str]]:
    """Connect points by dots, four to a row and two to a column of cells.

    Args:
        points: how far down each is, in dots.
        dots: from one point to the next.

    Returns:
        Row, column and sign of each cell that is not empty.
    """
    cells: dict[tuple[int, int], int] = {}
    for index, point in enumerate(points):
        before = points[index - 1] if index else point
        for step in range(dots):
            x = index * dots + step - dots + 1
            near, far = (before + (point - before) * (step + part) // dots for part in (0, 1))
            for y in range(min(near, far), max(near, far) + 1) if x >= 0 else ():
                key = (y // 4, x // 2)
                cells[key] = cells.get(key, 0) | _DOTS[x % 2][y % 4]
    return [(row, column, chr(0x2800 + bits)) for (row, column), bits in cells.items()]


def _pane(canvas: Canvas, name: str, lines: Sequence[Line], *, rows: range, columns: range, cells: int) -> None:
    canvas.write_left_of(rows[0], columns[0] - 1, name, Style.DIM)
    known = [value for line in lines for value in line if value is not None]
    if not known:
        canvas.write(rows[0], columns[0], "not enough candles yet", Style.DIM)
        return
    low, high = min(known), max(known)
    last = next((value for value in reversed(lines[0]) if value is not None), known[-1])
    canvas.write_left_of(rows[1], columns[0] - 1, f"{last:,.1f}"[: columns[0] - 1], Style.PLAIN)
    for line, style in reversed(tuple(zip(lines, (Style.CHART, Style.WARN), strict=False))):
        start = next((i for i, value in enumerate(line) if value is not None), len(line))
        steps = 4 * len(rows) - 1
        size = (high - low) or 1.0
        points = [round(steps * (high - (value or 0)) / size) for value in line[start:]]
        for row, column, sign in braille([min(max(point, 0), steps) for point in points], 2 * cells):
            canvas.write(rows[row], columns[0] + start * cells + column, sign, style)


def sparkline(values: Sequence[Decimal], width: int) -> str:
    """Draw values as a row of bars, one a cell, the newest last.

    Args:
        values: oldest first.
        width: in cells.

    """
    values = values[-width:] if width > 0 else ()
    low, high = min(values, default=Decimal(0)), max(values, default=Decimal(0))
    return "".join("▁▂▃▄▅▆▇█"[int(7 * (value - low) / (high - low)) if high > low else 3] for value in values)
