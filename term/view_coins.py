"""The coins: one live table of all that are followed, as many columns as there is room for."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache

from term.board import Line
from term.cells import ARROWS, MARGIN, Canvas, Style, cut
from term.chart import sparkline
from term.events import CoinPointed, ColumnPointed
from term.formatting import NOTHING, coarse_text, cut_texts, number_texts, plain, short_texts, signed_text
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
    canvas.rule(1, cut(f"coins {kept}".strip(), canvas.width - 30), current)
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
    coins = {coin.symbol: coin for coin in model.coins}
    for row, symbol in enumerate(model.order[first : first + rows], start=3):
        _coin(canvas, model, table, row, coins[symbol])


def _none(model: Model) -> tuple[str, ...]:
    """Why there are no coins, and what to do about it."""
    if not model.coins_error:
        return "asking for the coins from", model.url
    told = f"no coins from {model.url}:", model.coins_error
    if model.stream.open:
        return *told, "5 shows how the services are"
    return *told, "make run starts a mesh here,", "--url names another one"


def _coin(canvas: Canvas, model: Model, table: TableLayout, row: int, coin: Coin) -> None:
    line, at_cursor = model.line_of(coin.symbol), coin.symbol == model.pointed
    canvas.zones.append((row, range(canvas.width), CoinPointed(coin.symbol)))
    sign = "●" if model.is_selected(coin) else "○" if model.looked and model.looked.symbol == coin.symbol else " "
    favourite = "*" if coin.symbol in model.sorting.favourites else " "
    if at_cursor:
        canvas.write(row, 0, " " * canvas.width, Style.CURSOR)
    plainly = Style.CURSOR if at_cursor else Style.PLAIN
    canvas.write(row, MARGIN, favourite, Style.CURSOR if at_cursor else Style.FAVOURITE)
    canvas.write(row, MARGIN + 1, f"{sign}{'▸' if at_cursor else ' '}", plainly)
    old = line.traded_us and model.now_us - line.traded_us >= STALE_AFTER_US
    flashes = 0 <= model.now_us - line.changed_us < FLASH_US and line.changed_us
    price_style = ARROWS[line.direction][1] if flashes else Style.DIM if old else Style.BOLD
    styles = [
        Style.BOLD if sign != " " else Style.PLAIN,
        price_style,
        _direction(line.session_change),
        _direction(line.day_change),
        *[Style.PLAIN] * 4,
        Style.CHART,
        Style.DIM,
    ]
    decimals = model.decimals_of(coin.symbol, line.decimals)
    texts = _texts(table, line, decimals, coin.name, _age(line, model.now_us))
    table.write(canvas, row, texts, [Style.CURSOR] * len(styles) if at_cursor else styles)


@lru_cache(maxsize=512)  # of the rows on a screen few change from one frame to the next
def _texts(table: TableLayout, line: Line, decimals: int, name: str, age: str) -> tuple[str, ...]:
    stats = line.stats
    cells: tuple[Iterable[str], ...] = (
        cut_texts(name),
        number_texts(line.price, decimals),
        _percent(line.session_change),
        _percent(line.day_change),
        number_texts(stats.high, decimals),
        number_texts(stats.low, decimals),
        short_texts(stats.volume),
        number_texts(stats.rate, 1),
        (sparkline([candle.close for candle in line.day], _SPARK_WIDTH),),
        (age,),
    )
    return table.fit(cells)


def _percent(change: Decimal | None) -> Iterable[str]:
    if change is None:
        return (NOTHING,)
    return (signed_text(change, 2, width=8) + "%", signed_text(change, 1, width=8) + "%")


def _direction(change: Decimal | None) -> Style:
    return Style.UP if change and change > 0 else Style.DOWN if change and change < 0 else Style.DIM


def _age(line: Line, now_us: int) -> str:
    return coarse_text(max(now_us - line.traded_us, 0) // 1_000_000).replace(" ", "") if line.traded_us else NOTHING
