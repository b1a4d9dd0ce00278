"""What follows from what the gateway tells: trades, candles, the state of the stream, and answers."""

from __future__ import annotations

from dataclasses import replace

from term.asking import poll, switched
from term.board import with_trades
from term.candles import Candles
from term.events import (
    Announce,
    CandlesSeen,
    Connected,
    Connecting,
    Disconnected,
    FrameRefused,
    LoadCandles,
    LoadCoins,
    LoadDay,
    Loaded,
    LoadHistory,
    LoadSelection,
    LoadSession,
    LoadTickSizes,
    Request,
    ResetSession,
    RoundTripSeen,
    SelectCoin,
    StatusSeen,
    TapeSeen,
    TradeSeen,
    TradesMissed,
    UpstreamSeen,
)
from term.formatting import time_us_of
from term.model import ASKING_STATUS, MAX_DELAYS, MAX_TAPE, Model, Step
from term.values import CandlePage, HistoryPage, SelectedSymbol, Stats, TickSizes, Trade

CLOCK_STEP_US = 5_000_000
"""Clocks that differ by so much more or less than before were set."""
VERIFY_US = 250_000
"""How often at most it is asked which symbol is selected, because a trade of another one came."""

# --- the live stream -------------------------------------------------------------------------------------------------


def trade_seen(model: Model, event: TradeSeen) -> Step:
    """Take in a trade of the list, which has every one of the selected coin.

    Args:
        model: everything before it.
        event: the trade.

    """
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
    model = replace(model, selection=selection, now_us=max(model.now_us, event.received_us))
    if selection is not None:
        model = replace(
            model, board=with_trades(model.board, [replace(trade, symbol=selection.symbol)], event.received_us)
        )
    return watched(model if model.looked else _quoted(model, trade, event.received_us))


def tape_seen(model: Model, event: TapeSeen) -> Step:
    """Take in the next trades of the shown coin, if it is still shown.

    Args:
        model: everything before them.
        event: the trades.

    """
    shown, received_us = model.shown, event.received_us
    trades = [trade for trade in event.trades if shown is not None and trade.symbol == shown.symbol]
    if not trades:
        return model, ()  # of a coin that is no longer shown
    model = replace(model, tape=(*reversed(trades), *model.tape)[:MAX_TAPE], now_us=max(model.now_us, received_us))
    if model.looked:
        for trade in trades:
            model = _quoted(model, trade, received_us)
        model = replace(model, board=with_trades(model.board, trades[-1:], received_us))
    return watched(model)


def candles_seen(model: Model, event: CandlesSeen) -> Step:
    """Take in candles of the stream, if they are still shown.

    Args:
        model: everything before them.
        event: the candles.

    """
    shown, chart = model.shown, model.chart
    if shown is None or (event.symbol, event.interval) != (shown.symbol, chart.interval):
        return model, ()
    model = _with_candles(model, model.candles.followed_by(event.candles, first=event.first))
    if not event.first:
        return model, ()
    return model.asking(LoadCandles(model.generation, shown.symbol, chart.interval, streams=model.candles.streams))


def _with_candles(model: Model, candles: Candles) -> Model:
    """Let the chart stay where it is, unless it shows the newest."""
    chart, before = model.chart, model.candles.rows
    if 0 < chart.back < len(before):
        chart = replace(chart, back=candles.back_at(before[-1 - chart.back].time_us))
    return replace(model, candles=candles, chart=chart)


def _quoted(model: Model, trade: Trade, received_us: int) -> Model:
    quote = model.quote.traded(trade, received_us)
    delays = model.delays if quote.delay_us is None else (*model.delays, quote.delay_us)[-MAX_DELAYS:]
    return replace(model, quote=quote, delays=delays)


def watched(model: Model) -> Step:
    """Let the alerts ring that have a reason to."""
    if not model.alerts:
        return model, ()
    watched, effects = [], []
    for before in model.alerts:
        line = model.line_of(before.symbol)
        # A coin that has never traded here is silent for as long as this program runs.
        alert, why = before.checked(line.price, line.traded_us or model.begun_us, model.now_us)
        watched.append(alert)
        if why:
            effects.append(Announce(alert.symbol, f"{model.name_of(alert.symbol)} {why}", f"{line.price or 0:f}"))
    model = replace(model, alerts=tuple(watched))
    return (model.noticed("alert: " + ", ".join(each.text for each in effects)) if effects else model), tuple(effects)


def _concerns(trade: Trade, selection: SelectedSymbol) -> bool:
    same_venue = not (trade.venue and selection.venue) or trade.venue == selection.venue
    return trade.symbol in ("", selection.symbol) and same_venue


def stream_changed(
    model: Model,
    event: Connecting | Connected | Disconnected | FrameRefused | RoundTripSeen | UpstreamSeen | TradesMissed,
) -> Step:
    """Take in how the live stream is.

    Args:
        model: everything before it.
        event: what has become of it.

    """
    stream = model.stream
    match event:
        case Connecting():
            return replace(model, stream=stream.connecting()), ()
        case Connected():
            connected = stream.connected(model.now_us)
            return poll(replace(model, stream=connected, quote=model.quote.interrupted(), mesh=ASKING_STATUS))
        case Disconnected(reason, failures, retry_us):
            lost = stream.lost(reason=reason, failures=failures, retry_us=retry_us, now_us=model.now_us)
            return replace(model, stream=lost), ()
        case FrameRefused():
            return replace(model, stream=replace(stream, refused=stream.refused + 1)), ()
        case UpstreamSeen(away):
            model = replace(model, stream=replace(stream, upstream_unavailable=away))
            return (model, ()) if away else poll(replace(model, quote=model.quote.interrupted()))
        case RoundTripSeen(took_us):
            return replace(model, round_trip_us=took_us), ()
        case TradesMissed(trades):
            return replace(model, quote=model.quote.missing(trades, model.now_us)), ()


def status_seen(model: Model, event: StatusSeen) -> Model:
    """Take in how the mesh is, and by its clock when the last trades from before the stream began have happened.

    Args:
        model: everything before it.
        event: what the mesh says, or why that is not known.

    """
    told_us = None if isinstance(event.status, str) else time_us_of(event.status.time)
    if told_us is None:
        return replace(model, mesh=event.status)
    ahead_us, before_us = told_us - model.now_us, model.ahead_us
    if before_us is not None and abs(ahead_us - before_us) < CLOCK_STEP_US:
        ahead_us = max(ahead_us, before_us)  # the least delayed one is nearest to the truth
    undated = {symbol: line.dated(ahead_us) for symbol, line in model.board.items() if line.undated_us is not None}
    board = {**model.board, **undated} if undated else model.board
    return replace(model, mesh=event.status, ahead_us=ahead_us, board=board)


def selected(model: Model, selection: SelectedSymbol) -> Step:
    """Take in which symbol everybody looks at.

    Args:
        model: everything before it.
        selection: the symbol.

    """
    now = model.selection
    if now is not None and (selection.symbol, selection.venue or now.venue) == (
        now.symbol,
        now.venue or selection.venue,
    ):
        return replace(model, selection=replace(selection, venue=selection.venue or now.venue)), ()
    model = replace(model, selection=selection)
    return (model, ()) if model.looked else switched(model)


# --- answers ---------------------------------------------------------------------------------------------------------


def loaded(model: Model, event: Loaded) -> Step:
    """Take in an answer, if what was asked for is still wanted.

    Args:
        model: everything before it.
        event: the answer.

    """
    request = event.request
    if _outdated(model, request):
        return model, ()
    match event.content:
        case TickSizes(decimals, next_token):
            known = {**model.tick_decimals, **decimals}
            kept = {coin.symbol: known[coin.symbol] for coin in model.coins if coin.symbol in known}
            more = [LoadTickSizes(next_token)] * (bool(next_token) and len(kept) < len(model.coins))
            return replace(model, tick_decimals=kept).asking(*more)
        case SelectedSymbol() as selection:
            return selected(model, selection)
        case Trade() as trade:
            if model.shown is not None and not _concerns(trade, model.shown):
                return model, ()  # the coin was changed while we were away; the answer that says so is on its way
            return replace(model, quote=model.quote.asked(trade)), ()
        case Stats() as stats if isinstance(request, LoadSession):
            line = model.line_of(request.symbol)
            line = replace(line, stats=stats.merged(line.stats), session_us=model.now_us)
            return replace(model, board={**model.board, request.symbol: line}), ()
        case Stats() as stats:
            return replace(model, quote=replace(model.quote, asked_stats=stats)), ()
        case HistoryPage() as page:
            assert isinstance(request, LoadHistory)
            history = model.history.with_page(page, page_token=request.page_token)
            newest = model if request.before_us else replace(model, quote=model.quote.seeded(page))
            return replace(newest, history=history), ()
        case CandlePage() as page if isinstance(request, LoadDay):
            line = replace(model.line_of(request.symbol), day=page.candles, day_us=model.now_us)
            return replace(model, board={**model.board, request.symbol: line}), ()
        case CandlePage() as page:
            assert isinstance(request, LoadCandles)
            return _with_candles(model, model.candles.with_page(page, older=bool(request.page_token))), ()
        case None:
            return model.noticed("the session has begun anew"), ()
        case coins:
            error = "" if coins else "none is followed, SYMBOLS names them"
            return replace(model, coins=coins, coins_error=error, cursor=None).ordered().asking(LoadTickSizes())


def _outdated(model: Model, request: Request) -> bool:
    match request:
        case LoadCoins() | LoadTickSizes() | SelectCoin() | LoadDay() | LoadSession() | ResetSession():
            return False
        case LoadHistory(page_token=page_token, before_us=before_us):
            if before_us != model.history.before_us or not model.history.expects(page_token):
                return True  # asked before the history was fetched anew
        case LoadCandles(interval=interval) if interval != model.chart.interval:
            return True
    return request.generation != model.generation  # asked before the coin was changed


def request_failed(model: Model, request: Request, reason: str) -> Model:
    """Take in that a request got no answer.

    Args:
        model: everything before it.
        request: what was asked for.
        reason: why there is no answer.

    """
    match request:
        case LoadCoins():
            return replace(model, coins_error=reason)
        case SelectCoin(symbol):
            return model.noticed(f"cannot select {model.name_of(symbol)}: {reason}")
        case ResetSession(symbol):
            return model.noticed(f"cannot reset the session of {model.name_of(symbol)}: {reason}")
        case LoadDay(symbol):
            line = replace(model.line_of(symbol), day_us=model.now_us)
            return replace(model, board={**model.board, symbol: line})
        case LoadSession(symbol):
            line = replace(model.line_of(symbol), session_us=model.now_us)  # it may never have traded
            return replace(model, board={**model.board, symbol: line})
        case LoadHistory() if not _outdated(model, request):
            return replace(model, history=model.history.failed(reason))
        case LoadCandles() if not _outdated(model, request):
            return replace(model, candles=replace(model.candles, fetched=True, error=reason))
    return model  # asked again at the next poll
