"""What the person's keys do to the model. Which key is which action in which view: see `keys.py`."""

from __future__ import annotations

from dataclasses import replace

from term.events import LoadCoins, LoadHistory, Quit, SelectCoin
from term.history import visible_rows
from term.keys import Action, View, action_of
from term.model import Model, Step


def press(model: Model, key: str) -> Step:
    """Give the model after a key, and what to do about it."""
    match action_of(model.view, key):
        case Action.QUIT:
            return model, (Quit(),)
        case Action.BACK:
            return replace(model, view=View.DASHBOARD, cursor=None), ()
        case Action.COINS:
            return replace(model, view=View.COINS, cursor=None), ()
        case Action.HELP:
            return replace(model, view=View.DASHBOARD if model.view is View.HELP else View.HELP), ()
        case Action.HISTORY | Action.REFRESH:
            return _refresh_history(replace(model, view=View.HISTORY))
        case Action.SELECT:
            return _select(model)
        case None:
            return model, ()
        case action:
            return _moved(model, action)


def _select(model: Model) -> Step:
    if not model.coins:
        return model.asking(LoadCoins())
    coin = model.coins[model.cursor_row]
    model = replace(model, view=View.DASHBOARD, cursor=None)
    return (model, ()) if model.is_selected(coin) else model.asking(SelectCoin(coin.symbol))


def _refresh_history(model: Model) -> Step:
    symbol = model.selection.symbol if model.selection else ""
    model = replace(model, history=replace(model.history, top=0, error=""))
    return model.asking(LoadHistory(model.generation, symbol))


def _moved(model: Model, action: Action) -> Step:
    visible = visible_rows(model.height)
    rows = {
        Action.UP: -1,
        Action.DOWN: 1,
        Action.PAGE_UP: -visible,
        Action.PAGE_DOWN: visible,
        Action.TOP: -len(model.history.trades) - len(model.coins),
        Action.BOTTOM: len(model.history.trades) + len(model.coins),
    }[action]
    if model.view is View.COINS:
        return replace(model, cursor=max(min(model.cursor_row + rows, len(model.coins) - 1), 0)), ()
    history = model.history.scrolled(rows, visible=visible)
    model = replace(model, history=history)
    if rows > 0 and history.wants_more(visible=visible) and not model.fetching_history and model.selection:
        return model.asking(LoadHistory(model.generation, model.selection.symbol, history.next_token))
    return model, ()
