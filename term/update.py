"""How each event changes the model, and what to ask the gateway for. Pure: time comes in with the events.

The events that answer what was asked are fed back into `update` like all others.
"""

from __future__ import annotations

from dataclasses import replace

from term.commands import press
from term.events import (
    CoinsLoaded,
    Connected,
    Connecting,
    Disconnected,
    Event,
    FeedLoaded,
    FrameRefused,
    HistoryLoaded,
    KeyPressed,
    LoadCoins,
    LoadFeed,
    LoadHistory,
    LoadPrice,
    LoadSelection,
    LoadStats,
    PriceLoaded,
    Request,
    RequestFailed,
    Resized,
    SelectCoin,
    SelectionLoaded,
    SelectionSeen,
    SourceSeen,
    StatsLoaded,
    Ticked,
    TradeSeen,
    TradesMissed,
)
from term.history import History, visible_rows
from term.model import Model, Step
from term.quote import Quote
from term.values import Selection, Trade

Loaded = CoinsLoaded | SelectionLoaded | FeedLoaded | PriceLoaded | StatsLoaded | HistoryLoaded

POLL_US = 2_000_000
VERIFY_US = 250_000


def update(model: Model, event: Event) -> Step:
    """Give the model after `event`, and what to do about it."""
    match event:
        case TradeSeen():
            return _trade_seen(model, event)
        case Ticked(now_us):
            return _ticked(replace(model, now_us=now_us))
        case KeyPressed(key):
            return press(model, key)
        case Resized(width, height):
            visible = visible_rows(height)
            return replace(model, width=width, height=height, history=model.history.scrolled(0, visible=visible)), ()
        case Connecting() | Connected() | Disconnected() | FrameRefused() | SourceSeen() | TradesMissed():
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
        selection = Selection(trade.symbol, model.name_of(trade.symbol), trade.venue)
    if selection is not None and not _concerns(trade, selection):
        # Either it was on its way when the coin was changed here, or the coin was changed elsewhere: the gateway knows.
        if event.received_us - model.verified_us < VERIFY_US:
            return model, ()
        return replace(model, verified_us=event.received_us).asking(LoadSelection(model.generation))
    if selection is not None and not selection.venue:
        selection = replace(selection, venue=trade.venue)
    quote = model.quote.traded(trade, event.received_us)
    return replace(model, selection=selection, quote=quote, now_us=max(model.now_us, event.received_us)), ()


def _concerns(trade: Trade, selection: Selection) -> bool:
    same_venue = not (trade.venue and selection.venue) or trade.venue == selection.venue
    return trade.symbol in ("", selection.symbol) and same_venue


def _stream_changed(
    model: Model, event: Connecting | Connected | Disconnected | FrameRefused | SourceSeen | TradesMissed
) -> Step:
    link = model.link
    match event:
        case Connecting():
            return replace(model, link=link.connecting()), ()
        case Connected():
            connected = link.connected(model.now_us)
            return _poll(replace(model, link=connected, quote=model.quote.interrupted()))
        case Disconnected(reason, failures, retry_us):
            lost = link.lost(reason=reason, failures=failures, retry_us=retry_us, now_us=model.now_us)
            return replace(model, link=lost), ()
        case FrameRefused():
            return replace(model, link=replace(link, refused=link.refused + 1)), ()
        case SourceSeen(away):
            model = replace(model, link=replace(link, source_away=away))
            return (model, ()) if away else _poll(replace(model, quote=model.quote.interrupted()))
        case TradesMissed(trades):
            return replace(model, quote=model.quote.missing(trades, model.now_us)), ()


def _selected(model: Model, selection: Selection) -> Step:
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
    match event:
        case CoinsLoaded(coins=coins):
            return replace(model, coins=coins, coins_error="", cursor=None), ()
        case SelectionLoaded(selection=selection):
            return _selected(model, selection)
        case FeedLoaded(feed=feed):
            return replace(model, feed=feed, feed_us=model.now_us), ()
        case PriceLoaded(trade=trade):
            if model.selection is not None and not _concerns(trade, model.selection):
                return model, ()  # the coin was changed while we were away; the answer that says so is on its way
            return replace(model, quote=model.quote.asked(trade)), ()
        case StatsLoaded(stats=stats):
            return replace(model, quote=replace(model.quote, asked_stats=stats)), ()
        case HistoryLoaded(request=LoadHistory(page_token=page_token), page=page):
            history = model.history.with_page(page, page_token=page_token)
            return replace(model, history=history, quote=model.quote.seeded(page)), ()


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
    if model.link.open:
        wanted += [LoadFeed(), LoadSelection(model.generation), LoadStats(model.generation)]
        if not model.quote.current:
            wanted.append(LoadPrice(model.generation))
    return model.asking(*wanted)
