"""How each event changes the model, and what to ask the gateway for. Pure: time comes in with the events.

The events that answer what was asked are fed back into `update` like all others.
"""

from __future__ import annotations

from dataclasses import replace

from term.events import (
    Connected,
    Connecting,
    Disconnected,
    Event,
    FrameRefused,
    KeyPressed,
    LoadCoins,
    Loaded,
    LoadFeed,
    LoadHistory,
    LoadPrice,
    LoadSelection,
    LoadStats,
    Quit,
    Request,
    RequestFailed,
    Resized,
    SelectCoin,
    SelectionSeen,
    Ticked,
    TradeSeen,
    TradesMissed,
    UpstreamSeen,
)
from term.history import History, visible_rows
from term.keys import Action, View, action_of
from term.model import Model, Step
from term.quote import Quote
from term.values import Feed, HistoryPage, SelectedSymbol, Stats, Trade

POLL_US = 2_000_000
VERIFY_US = 250_000


def update(model: Model, event: Event) -> Step:
    """Decide what follows from an event.

    Args:
        model: everything before it.
        event: what happened.

    Returns:
        The model after it, and what to do next: requests to make, or `Quit`.
    """
    match event:
        case TradeSeen():
            return _trade_seen(model, event)
        case Ticked(now_us):
            return _ticked(replace(model, now_us=now_us))
        case KeyPressed(key):
            return _press(model, key)
        case Resized(width, height):
            visible = visible_rows(height)
            return replace(model, width=width, height=height, history=model.history.scrolled(0, visible=visible)), ()
        case Connecting() | Connected() | Disconnected() | FrameRefused() | UpstreamSeen() | TradesMissed():
            return _stream_changed(model, event)
        case SelectionSeen(selection):
            return _selected(model, selection)
        case RequestFailed(request, reason):
            return _request_failed(model.answered(request), request, reason), ()
    return _loaded(model.answered(event.request), event)


# --- the live stream -------------------------------------------------------------------------------------------------


def _trade_seen(model: Model, event: TradeSeen) -> Step:
    trade, selection = event.trade, model.selection
    if selection is None and trade.symbol:
        selection = SelectedSymbol(trade.symbol, model.name_of(trade.symbol), trade.venue)
    if selection is not None and not _concerns(trade, selection):
        # Either it was on its way when the coin was changed here, or the coin was changed elsewhere: the gateway knows.
        if event.received_us - model.verified_us < VERIFY_US:
            return model, ()
        return replace(model, verified_us=event.received_us).asking(LoadSelection(model.generation))
    if selection is not None and not selection.venue:
        selection = replace(selection, venue=trade.venue)
    quote = model.quote.traded(trade, event.received_us)
    return replace(model, selection=selection, quote=quote, now_us=max(model.now_us, event.received_us)), ()


def _concerns(trade: Trade, selection: SelectedSymbol) -> bool:
    same_venue = not (trade.venue and selection.venue) or trade.venue == selection.venue
    return trade.symbol in ("", selection.symbol) and same_venue


def _stream_changed(
    model: Model, event: Connecting | Connected | Disconnected | FrameRefused | UpstreamSeen | TradesMissed
) -> Step:
    stream = model.stream
    match event:
        case Connecting():
            return replace(model, stream=stream.connecting()), ()
        case Connected():
            connected = stream.connected(model.now_us)
            return _poll(replace(model, stream=connected, quote=model.quote.interrupted()))
        case Disconnected(reason, failures, retry_us):
            lost = stream.lost(reason=reason, failures=failures, retry_us=retry_us, now_us=model.now_us)
            return replace(model, stream=lost), ()
        case FrameRefused():
            return replace(model, stream=replace(stream, refused=stream.refused + 1)), ()
        case UpstreamSeen(away):
            model = replace(model, stream=replace(stream, upstream_unavailable=away))
            return (model, ()) if away else _poll(replace(model, quote=model.quote.interrupted()))
        case TradesMissed(trades):
            return replace(model, quote=model.quote.missing(trades, model.now_us)), ()


def _selected(model: Model, selection: SelectedSymbol) -> Step:
    now = model.selection
    if now is not None and (selection.symbol, selection.venue or now.venue) == (
        now.symbol,
        now.venue or selection.venue,
    ):
        return replace(model, selection=replace(selection, venue=selection.venue or now.venue)), ()
    generation = model.generation + 1
    switched = replace(model, selection=selection, generation=generation, quote=Quote(), history=History())
    return switched.asking(
        LoadPrice(generation),
        LoadStats(generation),
        LoadHistory(generation, selection.symbol),
    )


# --- answers ---------------------------------------------------------------------------------------------------------


def _loaded(model: Model, event: Loaded) -> Step:
    request = event.request
    if _outdated(model, request):
        return model, ()
    match event.content:
        case SelectedSymbol() as selection:
            return _selected(model, selection)
        case Feed() as feed:
            return replace(model, feed=feed, feed_us=model.now_us), ()
        case Trade() as trade:
            if model.selection is not None and not _concerns(trade, model.selection):
                return model, ()  # the coin was changed while we were away; the answer that says so is on its way
            return replace(model, quote=model.quote.asked(trade)), ()
        case Stats() as stats:
            return replace(model, quote=replace(model.quote, asked_stats=stats)), ()
        case HistoryPage() as page:
            assert isinstance(request, LoadHistory)
            history = model.history.with_page(page, page_token=request.page_token)
            return replace(model, history=history, quote=model.quote.seeded(page)), ()
        case coins:
            return replace(model, coins=coins, coins_error="", cursor=None), ()


def _outdated(model: Model, request: Request) -> bool:
    match request:
        case LoadCoins() | LoadFeed() | SelectCoin():
            return False
        case LoadHistory(page_token=page_token) if not model.history.expects(page_token):
            return True  # asked before the history was fetched anew
    return request.generation != model.generation  # asked before the coin was changed


def _request_failed(model: Model, request: Request, reason: str) -> Model:
    match request:
        case LoadCoins():
            return replace(model, coins_error=reason)
        case SelectCoin(symbol):
            return model.noticed(f"cannot select {model.name_of(symbol)}: {reason}")
        case LoadHistory() if not _outdated(model, request):
            return replace(model, history=model.history.failed(reason))
    return model  # asked again at the next poll


# --- the clock -------------------------------------------------------------------------------------------------------


def _ticked(model: Model) -> Step:
    if model.now_us - model.polled_us < POLL_US:
        return model, ()
    return _poll(model)


def _poll(model: Model) -> Step:
    model = replace(model, polled_us=model.now_us)
    wanted: list[Request] = [] if model.coins else [LoadCoins()]
    if model.stream.open:
        wanted += [LoadFeed(), LoadSelection(model.generation), LoadStats(model.generation)]
        if not model.quote.current:
            wanted.append(LoadPrice(model.generation))
    return model.asking(*wanted)


# --- keys: which key is which action in which view stands in keys.py ---


def _press(model: Model, key: str) -> Step:
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
