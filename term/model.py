"""What the program knows, and how each event changes it. Pure: time comes in with the events.

`start` gives the first model, `update` the next one; both also say what to ask the gateway for. The events that answer
are fed back into `update`. `view.render` shows a model.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from term.events import (
    CoinsLoaded,
    Connected,
    Connecting,
    Disconnected,
    Effect,
    Event,
    FrameRefused,
    HistoryLoaded,
    KeyPressed,
    LoadCoins,
    LoadHistory,
    LoadPrice,
    LoadSelection,
    LoadStats,
    PriceLoaded,
    Quit,
    Request,
    RequestFailed,
    Resized,
    SelectCoin,
    SelectionLoaded,
    SelectionSeen,
    StatsLoaded,
    Ticked,
    TradeSeen,
    TradesMissed,
)
from term.history import History, visible_rows
from term.keys import Action, View, action_of
from term.link import Link, Status
from term.quote import Quote
from term.values import Coin, Selection

POLL_US = 2_000_000
VERIFY_US = 250_000
NOTICE_US = 6_000_000


@dataclass(frozen=True, slots=True)
class Model:
    """Everything the screen is drawn from.

    `cursor` is the row of the coin list, None while it stays on the selected coin. `generation` counts switches of the
    coin, so that answers from before one can be told. `outstanding` are the requests not yet answered; none is made
    twice at a time.
    """

    url: str
    width: int
    height: int
    now_us: int
    view: View = View.COINS
    link: Link = field(default_factory=Link)
    coins: tuple[Coin, ...] = ()
    coins_error: str = ""
    cursor: int | None = None
    selection: Selection | None = None
    generation: int = 0
    quote: Quote = field(default_factory=Quote)
    history: History = field(default_factory=History)
    outstanding: frozenset[Request] = frozenset()
    polled_us: int = 0
    verified_us: int = 0
    notice: str = ""
    notice_until_us: int = 0

    @property
    def status(self) -> Status:
        """The state of the live stream."""
        return self.link.status(self.quote.traded_us, self.now_us)

    @property
    def cursor_row(self) -> int:
        """The coin list's row under the cursor."""
        if self.cursor is not None:
            return self.cursor
        return next((i for i, coin in enumerate(self.coins) if self.is_selected(coin)), 0)

    @property
    def switching_to(self) -> str | None:
        """The symbol that was asked for and is not confirmed yet."""
        return next((request.symbol for request in self.outstanding if isinstance(request, SelectCoin)), None)

    @property
    def fetching_history(self) -> bool:
        """Whether a page of history is on its way."""
        return any(isinstance(request, LoadHistory) for request in self.outstanding)

    def is_selected(self, coin: Coin) -> bool:
        """Tell whether `coin` is the one everybody looks at."""
        return self.selection is not None and coin.symbol == self.selection.symbol

    def name_of(self, symbol: str) -> str:
        """The name of a symbol for people."""
        return next((coin.name for coin in self.coins if coin.symbol == symbol), symbol)


Step = tuple[Model, tuple[Effect, ...]]


def start(*, url: str, width: int, height: int, now_us: int) -> Step:
    """Begin with the coin list."""
    model = Model(url=url, width=width, height=height, now_us=now_us, link=Link(since_us=now_us))
    return _ask(model, LoadCoins(), LoadSelection(0))


def update(model: Model, event: Event) -> Step:
    """Give the model after `event`, and what to do about it."""
    match event:
        case TradeSeen():
            return _trade_seen(model, event)
        case Ticked(now_us):
            return _ticked(replace(model, now_us=now_us))
        case KeyPressed(key):
            return _key_pressed(model, key)
        case Resized(width, height):
            visible = visible_rows(height)
            return replace(model, width=width, height=height, history=model.history.scrolled(0, visible=visible)), ()
        case Connecting() | Connected() | Disconnected() | FrameRefused() | TradesMissed():
            return _stream_changed(model, event)
        case SelectionSeen(selection):
            return _selected(model, selection)
        case RequestFailed(request, reason):
            return _request_failed(_answered(model, request), request, reason), ()
    return _loaded(_answered(model, event.request), event)


# --- the live stream -------------------------------------------------------------------------------------------------


def _trade_seen(model: Model, event: TradeSeen) -> Step:
    trade, selection = event.trade, model.selection
    if selection is None and trade.symbol:
        selection = Selection(trade.symbol, model.name_of(trade.symbol), trade.venue)
    elif selection is not None and not selection.venue and trade.venue:
        selection = replace(selection, venue=trade.venue)
    if selection is not None and (trade.symbol or selection.symbol, trade.venue or selection.venue) != (
        selection.symbol,
        selection.venue,
    ):
        # Either it was on its way when the coin was changed here, or the coin was changed elsewhere: the gateway knows.
        if event.received_us - model.verified_us < VERIFY_US:
            return model, ()
        return _ask(replace(model, verified_us=event.received_us), LoadSelection(model.generation))
    quote = model.quote.traded(trade, event.received_us)
    return replace(model, selection=selection, quote=quote, now_us=max(model.now_us, event.received_us)), ()


def _stream_changed(model: Model, event: Connecting | Connected | Disconnected | FrameRefused | TradesMissed) -> Step:
    link = model.link
    match event:
        case Connecting():
            return replace(model, link=link.connecting()), ()
        case Connected():
            return _poll(replace(model, link=link.connected(model.now_us)))
        case Disconnected(reason, failures, retry_us):
            lost = link.lost(reason=reason, failures=failures, retry_us=retry_us, now_us=model.now_us)
            return replace(model, link=lost), ()
        case FrameRefused():
            return replace(model, link=replace(link, refused=link.refused + 1)), ()
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
    return _ask(
        switched,
        LoadPrice(generation),
        LoadStats(generation),
        LoadHistory(generation, selection.symbol),
    )


# --- answers ---------------------------------------------------------------------------------------------------------


def _loaded(model: Model, event: CoinsLoaded | SelectionLoaded | PriceLoaded | StatsLoaded | HistoryLoaded) -> Step:
    request = event.request
    if not isinstance(request, LoadCoins | SelectCoin) and request.generation != model.generation:
        return model, ()  # asked before the coin was changed
    match event:
        case CoinsLoaded(coins=coins):
            return replace(model, coins=coins, coins_error="", cursor=None), ()
        case SelectionLoaded(selection=selection):
            return _selected(model, selection)
        case PriceLoaded(trade=trade):
            known = model.quote.price is not None
            return (model if known else replace(model, quote=model.quote.priced(trade, model.now_us))), ()
        case StatsLoaded(stats=stats):
            return replace(model, quote=replace(model.quote, asked_stats=stats)), ()
        case HistoryLoaded(request=LoadHistory(page_token=page_token), page=page):
            history = model.history.with_page(page, page_token=page_token)
            return replace(model, history=history, quote=model.quote.seeded(page)), ()


def _request_failed(model: Model, request: Request, reason: str) -> Model:
    match request:
        case LoadCoins():
            return replace(model, coins_error=reason)
        case SelectCoin(symbol):
            return _noticed(model, f"cannot select {model.name_of(symbol)}: {reason}")
        case LoadHistory(generation=generation) if generation == model.generation:
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
        wanted += [LoadSelection(model.generation), LoadStats(model.generation)]
        if model.quote.price is None:
            wanted.append(LoadPrice(model.generation))
    return _ask(model, *wanted)


def _noticed(model: Model, notice: str) -> Model:
    return replace(model, notice=notice, notice_until_us=model.now_us + NOTICE_US)


def _ask(model: Model, *requests: Request) -> Step:
    new = tuple(request for request in requests if request not in model.outstanding)
    return replace(model, outstanding=model.outstanding.union(new)), new


def _answered(model: Model, request: Request) -> Model:
    return replace(model, outstanding=model.outstanding - {request})


# --- the person ------------------------------------------------------------------------------------------------------


def _key_pressed(model: Model, key: str) -> Step:
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
        return _ask(model, LoadCoins())
    coin = model.coins[model.cursor_row]
    model = replace(model, view=View.DASHBOARD, cursor=None)
    return (model, ()) if model.is_selected(coin) else _ask(model, SelectCoin(coin.symbol))


def _refresh_history(model: Model) -> Step:
    symbol = model.selection.symbol if model.selection else ""
    model = replace(model, history=replace(model.history, top=0, error=""))
    return _ask(model, LoadHistory(model.generation, symbol))


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
        return _ask(model, LoadHistory(model.generation, model.selection.symbol, history.next_token))
    return model, ()
