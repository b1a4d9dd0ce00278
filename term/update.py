"""How each event changes the model, and what to ask the gateway for. Pure: time comes in with the events.

The events that answer what was asked are fed back into `update` like all others.
"""

from __future__ import annotations

from dataclasses import replace

from term.asking import POLL_US, SELDOM_US, poll, wanted_rows
from term.board import with_trades
from term.events import (
    BoardSeen,
    CandlesSeen,
    CoinPointed,
    ColumnPointed,
    Connected,
    Connecting,
    CoverageSeen,
    Disconnected,
    Event,
    Follow,
    FrameRefused,
    IdsMissing,
    KeyPressed,
    LoadCandles,
    Loaded,
    LoadHistory,
    RequestFailed,
    Resized,
    RoundTripSeen,
    SelectionSeen,
    StatusSeen,
    TapeSeen,
    Ticked,
    TradeSeen,
    TradesMissed,
    UpstreamSeen,
)
from term.gateway_events import (
    candles_seen,
    loaded,
    request_failed,
    selected,
    status_seen,
    stream_changed,
    tape_seen,
    trade_seen,
    watched,
)
from term.history import visible_rows
from term.key_actions import HOLD_US, press
from term.keys import View
from term.model import Model, Step
from term.prompts import typed


def update(model: Model, event: Event) -> Step:
    """Decide what follows from an event.

    Args:
        model: everything before it.
        event: what happened.

    Returns:
        The model after it, and what to do next: requests to make, or `Quit`.
    """
    if model.live is not None and not isinstance(event, KeyPressed | CoinPointed | ColumnPointed | Resized):
        live, effects = update(model.live, event)
        if isinstance(event, Loaded | RequestFailed) and isinstance(event.request, LoadHistory | LoadCandles):
            model, _ = _updated(model, event)  # one may read in what is stored meanwhile
        return replace(model, live=live, outstanding=live.outstanding), effects
    coins = model.coins
    model, effects = _updated(model, event)
    if model.live is not None:
        model = replace(model, live=replace(model.live, outstanding=model.outstanding))
    shown = model.shown.symbol if model.shown else ""
    interval = model.chart.interval if model.view is View.DASHBOARD else ""
    same = model.coins is coins
    followed = model.following.coins if same else tuple(coin.symbol for coin in model.coins if coin.followed)
    coverage = shown if model.view is View.COVERAGE else ""
    follow = Follow(shown, followed, shown and interval, coverage, status=model.stream.open)
    if follow == model.following:
        return model, effects
    return replace(model, following=follow), (*effects, follow)


def _updated(model: Model, event: Event) -> Step:
    match event:
        case TradeSeen():
            return trade_seen(model, event)
        case BoardSeen(trades, received_us):
            board = with_trades(model.board, trades, received_us, ahead_us=model.ahead_us)
            return watched(replace(model, board=board, now_us=max(model.now_us, received_us)))
        case TapeSeen():
            return tape_seen(model, event)
        case CandlesSeen():
            return candles_seen(model, event)
        case CoverageSeen(symbol, coverage):
            known = isinstance(coverage, str) and not isinstance(model.coverage, str)
            concerns = model.shown is not None and symbol == model.shown.symbol and not known
            return (replace(model, coverage=coverage) if concerns else model), ()
        case StatusSeen():
            return status_seen(model, event), ()
        case IdsMissing(trades):
            return replace(model, missing=model.missing + trades), ()
        case Ticked(now_us):
            return _ticked(replace(model, now_us=now_us))
        case KeyPressed(key):
            return typed(model, model.prompt, key) if model.prompt else press(model, key)
        case CoinPointed(symbol):
            return replace(model, cursor=symbol, held_until_us=model.now_us + HOLD_US), ()
        case ColumnPointed(title):
            sorting = model.sorting
            again = sorting.column == title
            sorting = replace(sorting, column=title, descending=not (again and sorting.descending))
            return replace(model, sorting=sorting).ordered(), ()
        case Resized(width, height):
            visible = visible_rows(height)
            return replace(model, width=width, height=height, history=model.history.scrolled(0, visible=visible)), ()
        case Connecting() | Connected() | Disconnected() | FrameRefused() | RoundTripSeen():
            return stream_changed(model, event)
        case UpstreamSeen() | TradesMissed():
            return stream_changed(model, event)
        case SelectionSeen(selection):
            return selected(replace(model, stream=replace(model.stream, tells_selection=True)), selection)
        case RequestFailed(request, reason):
            return request_failed(model.answered(request), request, reason), ()
    return loaded(model.answered(event.request), event)


def _ticked(model: Model) -> Step:
    if model.now_us >= model.held_until_us and model.board is not model.ordered_by:
        model = model.ordered()
    model, effects = watched(model)
    model, asked = model.asking(*wanted_rows(model))
    seldom = model.now_us // SELDOM_US != model.polled_us // SELDOM_US
    everything = seldom or not model.stream.tells_selection
    due = model.now_us - model.polled_us >= POLL_US
    model, polled = poll(model, everything=everything) if due else (model, ())
    return model, (*effects, *asked, *polled)
