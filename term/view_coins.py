"""The coins: one live table of all that are followed, as many columns as there is room for."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from term.board import Line
from term.cells import ARROWS, MARGIN, Canvas, Row, Span, Style, cut, width_of
from term.chart import sparkline
from term.events import CoinPointed, ColumnPointed
from term.formatting import NOTHING, coarse_text, cut_texts, fitting_text, number_texts, plain, short_texts, signed_text
from term.history import visible_rows
from term.model import Model
from term.quote import FLASH_US
from term.stream_state import STALE_AFTER_US
from term.table import TableColumn, TableLayout
from term.values import Coin

_SPARK_WIDTH = 12
_COLUMNS = (
    TableColumn("coin", 14, right=False, priority=9, grows=True),
    TableColumn("last", 13, priority=8),
    TableColumn("session", 9, priority=7),
    TableColumn("24 h", 9, priority=6),
    TableColumn("high", 12, priority=2),
    TableColumn("low", 12, priority=1),
    TableColumn("volume", 8, priority=4),
    TableColumn("trades/s", 8, priority=3),
    TableColumn("24 hours", _SPARK_WIDTH, right=False, priority=5),
    TableColumn("age", 8, priority=0),
)
_SORTED = {"coin", "last", "session", "24 h", "high", "low", "volume", "trades/s"}


def draw(canvas: Canvas, model: Model) -> None:
    """Fill the rows between header and footer.

    Args:
        canvas: of the whole screen.
        model: what is shown.

    """
    current = f"● current {model.selection.symbol}" if model.selection else ""
    sorting = model.sorting
    kept = f"{len(model.order)} of {len(model.coins)}, filter {sorting.filter}" if sorting.filter else ""
    title = f"coins {kept}".strip()
    if width_of(title) + width_of(current) + 10 > canvas.width:
        current = "" if kept else current
    canvas.rule(1, cut(title, canvas.width - 10), current)
    if not model.coins:
        for row, text in enumerate(_none(model), start=3):
            canvas.write(row, MARGIN, cut(plain(text), canvas.width - 2 * MARGIN), Style.DIM)
        return
    table = TableLayout.fitted(_COLUMNS, left=MARGIN + 4, width=canvas.width - 2 * MARGIN - 4)
    table.titles(canvas, 2, sorting.column, "▼" if sorting.descending else "▲")
    for i, left, width in table.placed:
        if _COLUMNS[i].title in _SORTED:
            canvas.zones.append((2, range(left, left + width), ColumnPointed(_COLUMNS[i].title)))
    rows = visible_rows(canvas.height)
    first = max(model.cursor_row - rows + 1, 0)
    coins, pointed = {coin.symbol: coin for coin in model.coins}, model.pointed
    for row, symbol in enumerate(model.order[first : first + rows], start=3):
        canvas.zones.append((row, range(canvas.width), CoinPointed(symbol)))
        canvas.place(row, _coin(canvas.width, model, table, coins[symbol], at_cursor=symbol == pointed))


def _none(model: Model) -> tuple[str, ...]:
    """Why there are no coins, and what to do about it."""
    if not model.coins_error:
        return "asking for the coins from", model.url
    told = f"no coins from {model.url}:", model.coins_error
    if model.stream.open:
        return *told, "5 shows how the services are"
    return *told, "make run starts a mesh here,", "--url names another one"


def _coin(width: int, model: Model, table: TableLayout, coin: Coin, *, at_cursor: bool) -> Row:
    line = model.line_of(coin.symbol)
    mark = "●" if model.is_selected(coin) else "○" if model.looked and model.looked.symbol == coin.symbol else " "
    old = line.traded_us and model.now_us - line.traded_us >= STALE_AFTER_US
    flashes = 0 <= model.now_us - line.changed_us < FLASH_US and line.changed_us
    price_style = ARROWS[line.direction][1] if flashes else Style.DIM if old else Style.BOLD
    decimals = model.decimals_of(coin.symbol, line.decimals)
    shown = _Shown(line, coin.name, decimals, mark, price_style, coin.symbol in model.sorting.favourites, at_cursor)
    column, begin, cells = table.placed[-1]
    if _COLUMNS[column].title != "age":
        return _drawn(width, table, shown)
    # All ages change each second, and nothing else of a row that nobody trades.
    age = fitting_text((_age(line, model.now_us),), width=cells).rjust(cells) + " " * (width - begin - cells)
    return (*_drawn(begin, table, shown), Span(age, Style.CURSOR if at_cursor else Style.DIM))


class _Shown(NamedTuple):
    """All that the row of a coin shows, but for the age."""

    line: Line
    name: str
    decimals: int
    mark: str
    price_style: Style
    favourite: bool
    at_cursor: bool


@lru_cache(maxsize=512)  # of the rows on a screen few change from one frame to the next
def _drawn(width: int, table: TableLayout, shown: _Shown) -> Row:
    line, mark, at_cursor, decimals = shown.line, shown.mark, shown.at_cursor, shown.decimals
    canvas = Canvas(width, 1)
    if at_cursor:
        canvas.write(0, 0, " " * width, Style.CURSOR)
    canvas.write(0, MARGIN, "*" if shown.favourite else " ", Style.CURSOR if at_cursor else Style.FAVOURITE)
    canvas.write(0, MARGIN + 1, f"{mark}{'▸' if at_cursor else ' '}", Style.CURSOR if at_cursor else Style.PLAIN)
    styles = [
        Style.BOLD if mark != " " else Style.PLAIN,
        shown.price_style,
        _direction(line.session_change),
        _direction(line.day_change),
        *[Style.PLAIN] * 4,
        Style.CHART,
        Style.DIM,
    ]
    stats = line.stats
    cells: tuple[Iterable[str], ...] = (
        cut_texts(shown.name),
        number_texts(line.price, decimals),
        _percent(line.session_change),
        _percent(line.day_change),
        number_texts(stats.high, decimals),
        number_texts(stats.low, decimals),
        short_texts(stats.volume),
        number_texts(stats.rate, 1),
        (sparkline([candle.close for candle in line.day], _SPARK_WIDTH),),
        ("",),
    )
    table.row(canvas, 0, cells, [Style.CURSOR] * len(styles) if at_cursor else styles)
    return canvas.grid()[0]


def _percent(change: Decimal | None) -> Iterable[str]:
    if change is None:
        return (NOTHING,)
    return (signed_text(change, 2, width=8) + "%", signed_text(change, 1, width=8) + "%")


def _direction(change: Decimal | None) -> Style:
    return Style.UP if change and change > 0 else Style.DOWN if change and change < 0 else Style.DIM


def _age(line: Line, now_us: int) -> str:
    return coarse_text(max(now_us - line.traded_us, 0) // 1_000_000).replace(" ", "") if line.traded_us else NOTHING
