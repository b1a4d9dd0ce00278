"""What to ask the gateway for: when a coin is shown, again and again, and where a view lacks something."""

from __future__ import annotations

from collections.abc import Sequence
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
    LoadSession,
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
"""How old the candles of a coin's last day may become, and its session."""
DAYS_AT_ONCE = 2
"""Of each kind."""


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


def wanted_rows(model: Model) -> list[LoadDay | LoadSession]:
    """List what the coins on the screen lack: their last day, and their session where no trade tells it."""
    if model.view is not View.COINS or not model.stream.open:
        return []
    first = max(model.cursor_row - visible_rows(model.height) + 1, 0)
    seen = [(symbol, model.line_of(symbol)) for symbol in model.order[first : first + visible_rows(model.height)]]
    days: list[LoadDay | LoadSession] = [LoadDay(symbol) for symbol, line in seen if _is_old(model, line.day_us)]
    sessions = [LoadSession(symbol) for symbol, line in seen if _is_old(model, line.session_us)]
    return [*_a_few(model, days), *_a_few(model, sessions)] if days or sessions else []


def _is_old(model: Model, told_us: int) -> bool:
    return not 0 <= model.now_us - told_us < DAY_US


def _a_few(model: Model, wanted: Sequence[LoadDay | LoadSession]) -> list[LoadDay | LoadSession]:
    if not wanted:
        return []
    under_way = {request for request in model.outstanding if isinstance(request, type(wanted[0]))}
    followed = {coin.symbol for coin in model.coins if coin.followed}
    new = [request for request in wanted if request.symbol in followed and request not in under_way]
    return new[: max(DAYS_AT_ONCE - len(under_way), 0)]
