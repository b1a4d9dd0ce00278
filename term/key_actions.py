"""What follows from a key. Which key is which action in which view stands in keys.py."""

from __future__ import annotations

from dataclasses import replace

from term.asking import needed, seen_candles, switched
from term.board import SORT_NAMES
from term.candles import INTERVALS, Candles
from term.cells import MARGIN, THEMES
from term.chart import CELLS_A_CANDLE, KINDS
from term.events import LoadCoins, LoadHistory, Quit, SelectCoin
from term.history import visible_rows
from term.keys import VIEWS, Action, View, action_of, help_lines
from term.model import STATUS_FACTS, Model, Prompt, Step
from term.values import SelectedSymbol

SCROLLING = frozenset({Action.UP, Action.DOWN, Action.PAGE_UP, Action.PAGE_DOWN, Action.TOP, Action.BOTTOM})
HOLD_US = 3_000_000
"""After the cursor was moved the coins keep their order for so long."""


def press(model: Model, key: str) -> Step:
    """Give the model after a key, and what to do about it.

    Args:
        model: everything before it.
        key: a character, or a name such as `up`.

    """
    match action_of(model.view, key):
        case Action.QUIT:
            return model, (Quit(),)
        case Action.BACK if model.whole:
            return replace(model, whole=False), ()
        case Action.BACK:
            return _viewing(model, View.DASHBOARD)
        case Action.COINS:
            return _viewing(model, View.COINS)
        case Action.HELP:
            return helped(model), ()
        case Action.NEXT_VIEW | Action.PREVIOUS_VIEW as way:
            now = VIEWS.index(model.view if model.view in VIEWS else model.before_help)
            return _viewing(model, VIEWS[(now + (1 if way is Action.NEXT_VIEW else -1)) % len(VIEWS)])
        case Action.NUMBERED_VIEW:
            return _viewing(model, VIEWS[int(key) - 1])
        case Action.HISTORY:
            return _viewing(model, View.HISTORY)
        case Action.REFRESH:
            return _viewing(model, model.view)
        case Action.SELECT | Action.LOOK as action:
            return _select(model, for_all=action is Action.SELECT)
        case Action.DETAIL:
            return replace(model, whole=not model.whole), ()
        case Action.FILTER:
            return replace(model, prompt=Prompt("filter", model.sorting.filter)), ()
        case Action.JUMP:
            return replace(model, prompt=Prompt("time")), ()
        case Action.ALERT:
            return replace(model, prompt=Prompt("alert", f"{model.pointed} > " if model.pointed else "")), ()
        case Action.EDIT if model.row < len(model.alerts):
            return replace(model, prompt=Prompt("alert", model.alerts[model.row].text, model.row)), ()
        case Action.RESET if model.shown:
            return replace(model, prompt=Prompt("reset")), ()
        case Action.OVERLAYS:
            return replace(model, prompt=Prompt("overlays")), ()
        case Action.SORT:
            names = SORT_NAMES
            column = names[(names.index(model.sorting.column) + 1) % len(names)]
            return replace(model, sorting=replace(model.sorting, column=column)).ordered(), ()
        case Action.DIRECTION:
            sorting = replace(model.sorting, descending=not model.sorting.descending)
            return replace(model, sorting=sorting).ordered(), ()
        case Action.FAVOURITE if model.pointed:
            favourites = model.sorting.favourites ^ {model.pointed}
            model = replace(model, cursor=model.cursor or model.pointed)
            return replace(model, sorting=replace(model.sorting, favourites=favourites)).ordered(), ()
        case Action.DELETE:
            kept = model.alerts[: model.row] + model.alerts[model.row + 1 :]
            return replace(model, alerts=kept, row=max(min(model.row, len(kept) - 1), 0)), ()
        case Action.THEME:
            return replace(model, theme=THEMES[(THEMES.index(model.theme) + 1) % len(THEMES)]), ()
        case Action.PAUSE:
            return _paused(model)
        case Action.CHART | Action.INTERVAL | Action.SHORTER | Action.LONGER | Action.CROSSHAIR as action:
            return _charted(model, action)
        case Action.OLDER | Action.NEWER as action:
            return _travelled(model, 1 if action is Action.OLDER else -1)
        case None | Action.RESET | Action.FAVOURITE | Action.EDIT:
            return model, ()
        case action:
            return moved(model, action)


def _viewing(model: Model, view: View) -> Step:
    model = replace(model, view=view, row=0, whole=False)
    if view in (View.DASHBOARD, View.COINS):
        model = replace(model, cursor=None)
    return _refresh_history(model) if view is View.HISTORY else needed(model)


def helped(model: Model) -> Model:
    """Show the keys, or what was shown before them."""
    if model.view is View.HELP:
        return replace(model, view=model.before_help)
    return replace(model, view=View.HELP, before_help=model.view, row=0)


def _paused(model: Model) -> Step:
    if model.live is None:
        return replace(model, live=model), ()
    live = model.live
    kept = {"view": model.view, "width": model.width, "height": model.height, "prompt": model.prompt, "row": model.row}
    live = replace(live, **kept, outstanding=model.outstanding, theme=model.theme, cursor=model.cursor)  # type: ignore[arg-type]
    live = replace(live, sorting=model.sorting, alerts=model.alerts, before_help=model.before_help).ordered()
    same = live.generation == model.generation
    return (replace(live, chart=model.chart, history=model.history, whole=model.whole) if same else live), ()


def _select(model: Model, *, for_all: bool) -> Step:
    if not model.coins:
        return model.asking(LoadCoins())
    if not model.order:
        return model, ()
    symbol = model.pointed
    coin = next(coin for coin in model.coins if coin.symbol == symbol)
    model = replace(model, view=View.DASHBOARD, cursor=None)
    before = model.shown.symbol if model.shown else ""
    venue = model.selection.venue if model.selection else ""
    looked = None if for_all or model.is_selected(coin) else SelectedSymbol(symbol, coin.name, venue)
    model = replace(model, looked=looked)
    # A coin that is to be selected for everybody is shown when the gateway says that it is.
    step: Step = switched(model) if (model.shown.symbol if model.shown else "") != before else needed(model)
    if not for_all or model.is_selected(coin):
        return step
    model, effects = step[0].asking(SelectCoin(symbol))
    return model, (*step[1], *effects)


def _refresh_history(model: Model) -> Step:
    symbol = model.shown.symbol if model.shown else ""
    model = replace(model, history=replace(model.history, top=0, cursor=0, error="", before_us=None))
    return model.asking(LoadHistory(model.generation, symbol))


def _charted(model: Model, action: Action) -> Step:
    chart = model.chart
    interval = chart.interval
    if action is Action.CHART:
        kind = KINDS[(KINDS.index(chart.kind) + 1) % len(KINDS)] if interval else "candles"
        chart = replace(chart, kind=kind, interval=interval or "1m")
    elif action is Action.INTERVAL:
        names = ("", *INTERVALS)
        chart = replace(chart, interval=names[(names.index(interval) + 1) % len(names)], back=0, cross=None)
    elif action is Action.CROSSHAIR:
        chart = replace(chart, cross=None if chart.cross is not None or not interval else 0)
    else:
        step = -1 if action is Action.LONGER else 1
        sizes = sorted(CELLS_A_CANDLE)
        cells = sizes[min(max(sizes.index(chart.cells) + step, 0), len(sizes) - 1)]
        chart = replace(chart, cells=cells)
    candles = model.candles if chart.interval == interval else Candles()
    return needed(replace(model, chart=chart, candles=candles))


def _travelled(model: Model, older: int) -> Step:
    chart = model.chart
    if not chart.interval:
        return model, ()
    seen = seen_candles(model)
    if chart.cross is not None:
        cross = chart.cross + older
        inside = min(max(cross, 0), min(seen, len(model.candles.rows)) - 1)
        chart = replace(chart, cross=max(inside, 0))
        if cross == inside:
            return replace(model, chart=chart), ()
        step = older
    else:
        step = older * max(seen // 4, 1)
    if older < 0 and not chart.back and model.candles.ahead:
        return needed(replace(model, candles=Candles()))  # the newest are no longer here
    back = min(max(chart.back + step, 0), max(len(model.candles.rows) - seen, 0))
    return needed(replace(model, chart=replace(chart, back=back)))


def moved(model: Model, action: Action) -> Step:
    """Move the cursor, or what is shown.

    Args:
        model: everything before it.
        action: up or down: by a row, by a page, or to the end.

    """
    visible = visible_rows(model.height)
    everything = len(model.history.trades) + len(model.coins) + 10_000
    rows = {
        Action.UP: -1,
        Action.DOWN: 1,
        Action.PAGE_UP: -visible,
        Action.PAGE_DOWN: visible,
        Action.TOP: -everything,
        Action.BOTTOM: everything,
    }[action]
    if model.view is View.COINS:
        if not model.order:
            return model, ()
        row = max(min(model.cursor_row + rows, len(model.order) - 1), 0)
        return replace(model, cursor=model.order[row], held_until_us=model.now_us + HOLD_US), ()
    if model.view is not View.HISTORY:
        services = 0 if isinstance(model.mesh, str) else len(model.mesh.services)
        last = {
            View.COVERAGE: 0 if isinstance(model.coverage, str) else len(model.coverage.holes) - 1,
            View.ALERTS: len(model.alerts) - 1,
            # Of these the row that is shown first.
            View.STATUS: services + len(STATUS_FACTS) - visible,
            View.HELP: len(help_lines(model.width - 2 * MARGIN)) - visible - 1,
        }.get(model.view, 0)
        return replace(model, row=max(min(model.row + rows, last), 0)), ()
    if action is Action.TOP and model.history.forgotten:
        return _refresh_history(model)  # the newest are no longer here
    history = model.history.scrolled(rows, visible=visible)
    model = replace(model, history=history)
    if rows > 0 and history.wants_more(visible=visible) and not model.fetching_history and model.shown:
        symbol = model.shown.symbol
        return model.asking(LoadHistory(model.generation, symbol, history.next_token, history.before_us))
    return model, ()
