"""What to ask the gateway for: when a coin is shown, again and again, and where a view lacks something."""

from __future__ import annotations

from dataclasses import replace

from term.candles import Candles
from term.chart import chart_width, visible_candles
from term.events import (
    LoadCandles,
    LoadCoins,
    LoadDay,
    LoadHistory,
    LoadPrice,
    LoadSelection,
    LoadStats,
    LoadTickSizes,
    Request,
)
from term.history import History, visible_rows
from term.keys import View
from term.model import ASKING_COVERAGE, Model, Step
from term.quote import Quote

POLL_US = 2_000_000
SELDOM_US = 10_000_000
"""How often what the stream tells is asked for all the same."""
DAY_US = 300_000_000
"""How old the candles of a coin's last day may become."""
DAYS_AT_ONCE = 2


def switched(model: Model) -> Step:
    """Begin with another coin: nothing that was known of the one before belongs to it."""
    symbol, generation = model.shown.symbol if model.shown else "", model.generation + 1
    looked = symbol if model.looked else ""
    anew = replace(
        model,
        generation=generation,
        quote=Quote(),
        history=History(),
        tape=(),
        missing=0,
        delays=(),
        candles=Candles(),
        chart=replace(model.chart, back=0, cross=None),
        coverage=ASKING_COVERAGE,
        row=0,
        whole=False,
    )
    anew, effects = anew.asking(
        LoadPrice(generation, looked), LoadStats(generation, looked), LoadHistory(generation, symbol)
    )
    anew, more = needed(anew)
    return anew, (*effects, *more)


def poll(model: Model, *, everything: bool = True) -> Step:
    """Ask for what the stream does not tell.

    Args:
        model: everything so far.
        everything: also for what the stream tells.

    """
    model = replace(model, polled_us=model.now_us)
    wanted: list[Request] = [] if model.coins else [LoadCoins()]
    looked = model.looked.symbol if model.looked else ""
    if model.stream.open and everything:
        wanted += [LoadSelection(model.generation), LoadStats(model.generation, looked)]
        wanted += [LoadTickSizes()] if model.coins and not model.tick_decimals else []
        if not model.quote.current:
            wanted.append(LoadPrice(model.generation, looked))
    model, effects = model.asking(*wanted)
    model, more = needed(model)
    return model, (*effects, *more)


def needed(model: Model) -> Step:
    """Ask for what the view shows and the stream does not tell."""
    if model.shown is None:
        return model, ()
    symbol, generation = model.shown.symbol, model.generation
    if model.view is not View.DASHBOARD or not model.chart.interval:
        return model, ()
    interval, candles = model.chart.interval, model.candles
    if not candles.fetched or candles.error:
        return model.asking(LoadCandles(generation, symbol, interval, streams=candles.streams))
    if not candles.wants_more(seen_candles(model), model.chart.back):
        return model, ()
    return model.asking(LoadCandles(generation, symbol, interval, candles.next_token))


def seen_candles(model: Model) -> int:
    """How many candles are on the screen at most."""
    cells = chart_width(model.width, tape=bool(model.tape))
    return visible_candles(model.candles, model.chart, cells, model.decimals)


def wanted_days(model: Model) -> list[LoadDay]:
    """List the coins on the screen whose last day is not known or old, a few at a time."""
    if model.view is not View.COINS or not model.stream.open:
        return []
    first = max(model.cursor_row - visible_rows(model.height) + 1, 0)
    seen = model.order[first : first + visible_rows(model.height)]
    old = [symbol for symbol in seen if not 0 <= model.now_us - model.line_of(symbol).day_us < DAY_US]
    if not old:
        return []
    under_way = {request.symbol for request in model.outstanding if isinstance(request, LoadDay)}
    wanted = {coin.symbol for coin in model.coins if coin.followed} - under_way
    return [LoadDay(symbol) for symbol in old if symbol in wanted][: max(DAYS_AT_ONCE - len(under_way), 0)]
