"""How each event changes the model, and what to ask the gateway for. Pure: time comes in with the events.

The events that answer what was asked are fed back into `update` like all others.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, tzinfo

from term import alerts
from term.board import SORT_NAMES, with_trades
from term.candles import INTERVALS, SWITCHED, Candles
from term.chart import CELLS_A_CANDLE, KINDS, visible_candles
from term.events import (
    Announce,
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
    LoadCoins,
    LoadDay,
    Loaded,
    LoadHistory,
    LoadPrice,
    LoadSelection,
    LoadStats,
    LoadTickSizes,
    Quit,
    Request,
    RequestFailed,
    ResetSession,
    Resized,
    RoundTripSeen,
    SelectCoin,
    SelectionSeen,
    StatusSeen,
    TapeSeen,
    Ticked,
    TradeSeen,
    TradesMissed,
    UpstreamSeen,
)
from term.formatting import moment
from term.history import History, visible_rows
from term.keys import VIEWS, Action, View, action_of
from term.model import ASKING_COVERAGE, ASKING_STATUS, MAX_DELAYS, MAX_TAPE, Model, Prompt, Step
from term.quote import Quote
from term.values import CandlePage, HistoryPage, SelectedSymbol, Stats, TickSizes, Trade

POLL_US = 2_000_000
SELDOM_US = 10_000_000
"""How often what the stream tells is asked for all the same."""
VERIFY_US = 250_000
HOLD_US = 3_000_000
"""After the cursor was moved the coins keep their order for so long."""
DAY_US = 300_000_000
"""How old the candles of a coin's last day may become."""
DAYS_AT_ONCE = 2
THEMES = ("dark", "light", "contrast", "16", "mono")


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
            return _trade_seen(model, event)
        case BoardSeen(trades, received_us):
            board = with_trades(model.board, trades, received_us)
            return _watched(replace(model, board=board, now_us=max(model.now_us, received_us)))
        case TapeSeen():
            return _tape_seen(model, event)
        case CandlesSeen():
            return _candles_seen(model, event)
        case CoverageSeen(symbol, coverage):
            known = isinstance(coverage, str) and not isinstance(model.coverage, str)
            concerns = model.shown is not None and symbol == model.shown.symbol and not known
            return (replace(model, coverage=coverage) if concerns else model), ()
        case StatusSeen(status):
            return replace(model, mesh=status), ()
        case IdsMissing(trades):
            return replace(model, missing=model.missing + trades), ()
        case Ticked(now_us):
            return _ticked(replace(model, now_us=now_us))
        case KeyPressed(key):
            return _typed(model, model.prompt, key) if model.prompt else _press(model, key)
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
            return _stream_changed(model, event)
        case UpstreamSeen() | TradesMissed():
            return _stream_changed(model, event)
        case SelectionSeen(selection):
            return _selected(replace(model, stream=replace(model.stream, tells_selection=True)), selection)
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
    model = replace(model, selection=selection, now_us=max(model.now_us, event.received_us))
    if selection is not None:
        model = replace(
            model, board=with_trades(model.board, [replace(trade, symbol=selection.symbol)], event.received_us)
        )
    return _watched(model if model.looked else _quoted(model, trade, event.received_us))


def _tape_seen(model: Model, event: TapeSeen) -> Step:
    shown, received_us = model.shown, event.received_us
    trades = [trade for trade in event.trades if shown is not None and trade.symbol == shown.symbol]
    if not trades:
        return model, ()  # of a coin that is no longer shown
    model = replace(model, tape=(*reversed(trades), *model.tape)[:MAX_TAPE], now_us=max(model.now_us, received_us))
    if model.looked:
        for trade in trades:
            model = _quoted(model, trade, received_us)
        model = replace(model, board=with_trades(model.board, trades[-1:], received_us))
    return _watched(model)


def _candles_seen(model: Model, event: CandlesSeen) -> Step:
    shown, chart = model.shown, model.chart
    if shown is None or (event.symbol, event.interval) != (shown.symbol, chart.interval):
        return model, ()
    model = replace(model, candles=model.candles.followed_by(event.candles, first=event.first))
    if not event.first:
        return model, ()
    return model.asking(LoadCandles(model.generation, shown.symbol, chart.interval, streams=model.candles.streams))


def _quoted(model: Model, trade: Trade, received_us: int) -> Model:
    quote = model.quote.traded(trade, received_us)
    delays = model.delays if quote.delay_us is None else (*model.delays, quote.delay_us)[-MAX_DELAYS:]
    return replace(model, quote=quote, delays=delays)


def _watched(model: Model) -> Step:
    """Let the alerts ring that have a reason to."""
    if not model.alerts:
        return model, ()
    watched, effects = [], []
    for before in model.alerts:
        line = model.line_of(before.symbol)
        alert, why = before.checked(line.price, line.traded_us, model.now_us)
        watched.append(alert)
        if why:
            effects.append(Announce(alert.symbol, f"{model.name_of(alert.symbol)} {why}", f"{line.price or 0:f}"))
    model = replace(model, alerts=tuple(watched))
    return (model.noticed("alert: " + ", ".join(each.text for each in effects)) if effects else model), tuple(effects)


def _concerns(trade: Trade, selection: SelectedSymbol) -> bool:
    same_venue = not (trade.venue and selection.venue) or trade.venue == selection.venue
    return trade.symbol in ("", selection.symbol) and same_venue


def _stream_changed(
    model: Model,
    event: Connecting | Connected | Disconnected | FrameRefused | RoundTripSeen | UpstreamSeen | TradesMissed,
) -> Step:
    stream = model.stream
    match event:
        case Connecting():
            return replace(model, stream=stream.connecting()), ()
        case Connected():
            connected = stream.connected(model.now_us)
            return _poll(replace(model, stream=connected, quote=model.quote.interrupted(), mesh=ASKING_STATUS))
        case Disconnected(reason, failures, retry_us):
            lost = stream.lost(reason=reason, failures=failures, retry_us=retry_us, now_us=model.now_us)
            return replace(model, stream=lost), ()
        case FrameRefused():
            return replace(model, stream=replace(stream, refused=stream.refused + 1)), ()
        case UpstreamSeen(away):
            model = replace(model, stream=replace(stream, upstream_unavailable=away))
            return (model, ()) if away else _poll(replace(model, quote=model.quote.interrupted()))
        case RoundTripSeen(took_us):
            return replace(model, round_trip_us=took_us), ()
        case TradesMissed(trades):
            return replace(model, quote=model.quote.missing(trades, model.now_us)), ()


def _selected(model: Model, selection: SelectedSymbol) -> Step:
    now = model.selection
    if now is not None and (selection.symbol, selection.venue or now.venue) == (
        now.symbol,
        now.venue or selection.venue,
    ):
        return replace(model, selection=replace(selection, venue=selection.venue or now.venue)), ()
    model = replace(model, selection=selection)
    return (model, ()) if model.looked else _switched(model)


def _switched(model: Model) -> Step:
    """Begin with another coin: nothing that was known of the one before belongs to it."""
    symbol, generation = model.shown.symbol if model.shown else "", model.generation + 1
    looked = symbol if model.looked else ""
    switched = replace(
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
    switched, effects = switched.asking(
        LoadPrice(generation, looked), LoadStats(generation, looked), LoadHistory(generation, symbol)
    )
    switched, more = _needed(switched)
    return switched, (*effects, *more)


# --- answers ---------------------------------------------------------------------------------------------------------


def _loaded(model: Model, event: Loaded) -> Step:
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
            return _selected(model, selection)
        case Trade() as trade:
            if model.shown is not None and not _concerns(trade, model.shown):
                return model, ()  # the coin was changed while we were away; the answer that says so is on its way
            return replace(model, quote=model.quote.asked(trade)), ()
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
            return replace(model, candles=model.candles.with_page(page, older=bool(request.page_token))), ()
        case None:
            return model.noticed("the session has begun anew"), ()
        case coins:
            error = "" if coins else "none is followed, SYMBOLS names them"
            return replace(model, coins=coins, coins_error=error, cursor=None).ordered().asking(LoadTickSizes())


def _outdated(model: Model, request: Request) -> bool:
    match request:
        case LoadCoins() | LoadTickSizes() | SelectCoin() | LoadDay() | ResetSession():
            return False
        case LoadHistory(page_token=page_token, before_us=before_us):
            if before_us != model.history.before_us or not model.history.expects(page_token):
                return True  # asked before the history was fetched anew
        case LoadCandles(interval=interval) if interval != model.chart.interval:
            return True
    return request.generation != model.generation  # asked before the coin was changed


def _request_failed(model: Model, request: Request, reason: str) -> Model:
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
        case LoadHistory() if not _outdated(model, request):
            return replace(model, history=model.history.failed(reason))
        case LoadCandles() if not _outdated(model, request):
            return replace(model, candles=replace(model.candles, fetched=True, error=reason))
    return model  # asked again at the next poll


# --- the clock -------------------------------------------------------------------------------------------------------


def _ticked(model: Model) -> Step:
    if model.now_us >= model.held_until_us and model.board is not model.ordered_by:
        model = model.ordered()
    model, effects = _watched(model)
    model, asked = model.asking(*_wanted_days(model))
    seldom = model.now_us // SELDOM_US != model.polled_us // SELDOM_US
    everything = seldom or not model.stream.tells_selection
    due = model.now_us - model.polled_us >= POLL_US
    model, polled = _poll(model, everything=everything) if due else (model, ())
    return model, (*effects, *asked, *polled)


def _wanted_days(model: Model) -> list[LoadDay]:
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


def _poll(model: Model, *, everything: bool = True) -> Step:
    model = replace(model, polled_us=model.now_us)
    wanted: list[Request] = [] if model.coins else [LoadCoins()]
    looked = model.looked.symbol if model.looked else ""
    if model.stream.open and everything:
        wanted += [LoadSelection(model.generation), LoadStats(model.generation, looked)]
        wanted += [LoadTickSizes()] if model.coins and not model.tick_decimals else []
        if not model.quote.current:
            wanted.append(LoadPrice(model.generation, looked))
    model, effects = model.asking(*wanted)
    model, more = _needed(model)
    return model, (*effects, *more)


def _needed(model: Model) -> Step:
    """Ask for what the view shows and the stream does not tell."""
    if model.shown is None:
        return model, ()
    symbol, generation = model.shown.symbol, model.generation
    if model.view is not View.DASHBOARD or not model.chart.interval:
        return model, ()
    interval, candles = model.chart.interval, model.candles
    if not candles.fetched or candles.error:
        return model.asking(LoadCandles(generation, symbol, interval, streams=candles.streams))
    seen = visible_candles(candles, model.chart, model.width, model.decimals)
    if not candles.wants_more(seen, model.chart.back):
        return model, ()
    return model.asking(LoadCandles(generation, symbol, interval, candles.next_token))


# --- keys: which key is which action in which view stands in keys.py ---


def _press(model: Model, key: str) -> Step:
    """Give the model after a key, and what to do about it."""
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
            return _helped(model), ()
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
            return _moved(model, action)


def _viewing(model: Model, view: View) -> Step:
    model = replace(model, view=view, row=0, whole=False)
    if view in (View.DASHBOARD, View.COINS):
        model = replace(model, cursor=None)
    return _refresh_history(model) if view is View.HISTORY else _needed(model)


def _helped(model: Model) -> Model:
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
    step: Step = _switched(model) if (model.shown.symbol if model.shown else "") != before else _needed(model)
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
    return _needed(replace(model, chart=chart, candles=candles))


def _travelled(model: Model, older: int) -> Step:
    chart = model.chart
    if not chart.interval:
        return model, ()
    seen = visible_candles(model.candles, chart, model.width, model.decimals)
    if chart.cross is not None:
        cross = chart.cross + older
        inside = min(max(cross, 0), min(seen, len(model.candles.rows)) - 1)
        chart = replace(chart, cross=max(inside, 0))
        if cross == inside:
            return replace(model, chart=chart), ()
        step = older
    else:
        step = older * max(seen // 4, 1)
    back = min(max(chart.back + step, 0), max(len(model.candles.rows) - seen, 0))
    return _needed(replace(model, chart=replace(chart, back=back)))


def _moved(model: Model, action: Action) -> Step:
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
        last = {
            View.COVERAGE: 0 if isinstance(model.coverage, str) else len(model.coverage.holes),
            View.ALERTS: len(model.alerts),
        }.get(model.view, 100)
        return replace(model, row=max(min(model.row + rows, last - 1), 0)), ()
    history = model.history.scrolled(rows, visible=visible)
    model = replace(model, history=history)
    if rows > 0 and history.wants_more(visible=visible) and not model.fetching_history and model.shown:
        symbol = model.shown.symbol
        return model.asking(LoadHistory(model.generation, symbol, history.next_token, history.before_us))
    return model, ()


# --- what is typed ---------------------------------------------------------------------------------------------------


def _typed(model: Model, prompt: Prompt, key: str) -> Step:
    if model.view is View.HELP:
        return _helped(model), ()
    if key == "?":
        return _helped(model), ()
    if key == "esc":
        sorting = replace(model.sorting, filter="") if prompt.kind == "filter" else model.sorting
        return replace(model, prompt=None, sorting=sorting).ordered(), ()
    if prompt.kind == "reset":
        model = replace(model, prompt=None)
        return model.asking(ResetSession(model.shown.symbol)) if key == "y" and model.shown else (model, ())
    if prompt.kind == "overlays":
        if key not in SWITCHED:
            return replace(model, prompt=None), ()
        chart = replace(model.chart, overlays=model.chart.overlays ^ {key}, interval=model.chart.interval or "1m")
        kind = chart.kind if model.chart.interval else "candles"
        return _needed(replace(model, chart=replace(chart, kind=kind)))
    if key == "enter":
        return _entered(replace(model, prompt=None), prompt)
    if prompt.kind == "filter" and key in ("up", "down"):
        return _moved(model, Action.UP if key == "up" else Action.DOWN)
    text = prompt.text[:-1] if key == "backspace" else prompt.text + key if len(key) == 1 else prompt.text
    model = replace(model, prompt=replace(prompt, text=text[:80]))
    if prompt.kind == "filter":
        return replace(model, sorting=replace(model.sorting, filter=text[:80]), cursor=None).ordered(), ()
    return model, ()


def _entered(model: Model, prompt: Prompt) -> Step:
    try:
        if prompt.kind == "alert":
            alert = alerts.parse(prompt.text, model.pointed)
            row = len(model.alerts) if prompt.row is None else prompt.row
            if row >= alerts.MAX_ALERTS:
                raise ValueError(f"found {len(model.alerts)} alerts, expected less: delete one first")
            watched = (*model.alerts[:row], alert, *model.alerts[row + 1 :])
            return replace(model, alerts=watched).noticed(f"watching: {alert.text}"), ()
        if prompt.kind == "time":
            before_us = _time_us(prompt.text.strip(), model.now_us, model.zone)
            model = replace(model, history=History(before_us=before_us))
            symbol = model.shown.symbol if model.shown else ""
            return model.asking(LoadHistory(model.generation, symbol, before_us=before_us))
    except ValueError as exc:
        return replace(model.noticed(str(exc)), prompt=prompt), ()
    return model, ()


def _time_us(text: str, now_us: int, zone: tzinfo | None) -> int:
    """Read a time of a zone, or of UTC where it ends in `Z`: whole, or of the day that is today."""
    zone = UTC if text.endswith("Z") else zone
    today = moment(now_us, zone)
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%H:%M:%S", "%H:%M"):
        try:
            time = datetime.strptime(text.replace("T", " ").rstrip("Z"), form).replace(tzinfo=zone)
        except ValueError:
            continue
        if "%Y" not in form:
            time = time.replace(year=today.year, month=today.month, day=today.day)
        return int(time.timestamp()) * 1_000_000
    raise ValueError(f"found the time {text!r}, expected one such as 2024-07-05 21:34:58 or 21:34")
