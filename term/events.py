"""What can happen (events) and what can be asked of the world (requests): the two alphabets of `update.update`.

Every request is answered by exactly one event: `Loaded` or `RequestFailed`. Answers carry the request they
belong to, so that one which comes too late, after the coin was changed, can be told from a current one.
Times are microseconds since 1970 UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

from term.values import Bar, CandlePage, Coin, HistoryPage, SelectedSymbol, Stats, TickSizes, Trade
from tickmesh_client import Coverage, Status

# --- requests --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoadCoins:
    """Ask which coins there are."""


@dataclass(frozen=True, slots=True)
class LoadTickSizes:
    """Ask for a page of what the venue lists, with the steps of the prices."""

    page_token: str = ""


@dataclass(frozen=True, slots=True)
class LoadSelection:
    """Ask which symbol is selected. `generation` counts the switches seen so far."""

    generation: int


@dataclass(frozen=True, slots=True)
class LoadPrice:
    """Ask for the last trade's price; an empty `symbol` is the selected one, as in all requests."""

    generation: int
    symbol: str = ""


@dataclass(frozen=True, slots=True)
class LoadStats:
    """Ask for the statistics of a symbol."""

    generation: int
    symbol: str = ""


@dataclass(frozen=True, slots=True)
class LoadHistory:
    """Ask for a page of trades; an empty `page_token` asks for the newest, or the newest before `before_us`."""

    generation: int
    symbol: str
    page_token: str = ""
    before_us: int | None = None


@dataclass(frozen=True, slots=True)
class LoadCandles:
    """Ask for the newest candles, or for a page of older ones.

    `streams` counts how often the stream of these candles has begun: what was asked before it began may have missed
    that a candle has closed.
    """

    generation: int
    symbol: str
    interval: str
    page_token: str = ""
    streams: int = 0


@dataclass(frozen=True, slots=True)
class LoadDay:
    """Ask for the candles of a symbol's last 24 hours."""

    symbol: str


@dataclass(frozen=True, slots=True)
class LoadSession:
    """Ask for the session of a symbol of which no trade has come that would tell it."""

    symbol: str


@dataclass(frozen=True, slots=True)
class ResetSession:
    """Let a symbol's session begin anew, for every client at once."""

    symbol: str


@dataclass(frozen=True, slots=True)
class SelectCoin:
    """Select a symbol, for every client at once. Answered by the symbol that is selected then."""

    symbol: str


Request = (
    LoadCoins
    | LoadTickSizes
    | LoadSelection
    | LoadPrice
    | LoadStats
    | LoadHistory
    | LoadCandles
    | LoadDay
    | LoadSession
    | SelectCoin
    | ResetSession
)


@dataclass(frozen=True, slots=True)
class Follow:
    """Follow every trade of `shown`, and the newest trade of all `coins`, instead of those followed before.

    With an `interval` also the candles of `shown`; what is stored of the symbol `coverage`; the state of the mesh.
    """

    shown: str = ""
    coins: tuple[str, ...] = ()
    interval: str = ""
    coverage: str = ""
    status: bool = False


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the person of an alert, also where this screen is not looked at."""

    symbol: str
    text: str
    price: str


@dataclass(frozen=True, slots=True)
class Quit:
    """Leave the program."""


Effect = Request | Follow | Announce | Quit

# --- answers ---------------------------------------------------------------------------------------------------------


Content = tuple[Coin, ...] | TickSizes | SelectedSymbol | Trade | Stats | HistoryPage | CandlePage | None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was asked for: the coins to choose from, the symbol that is selected now, or what else the request says."""

    request: Request
    content: Content


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """A request that got no answer, and why."""

    request: Request
    reason: str


Answer = Loaded | RequestFailed

# --- the live stream -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connecting:
    """The live stream is being opened."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The live stream is open."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The live stream is gone, or could not be opened.

    `failures` counts the attempts since it last told us something; the next one is made at `retry_us`.
    """

    reason: str
    failures: int
    retry_us: int


@dataclass(frozen=True, slots=True)
class TradeSeen:
    """A trade came over the live stream at `received_us`."""

    trade: Trade
    received_us: int


@dataclass(frozen=True, slots=True)
class BoardSeen:
    """The newest trades of the coins, each of another one, with their statistics, came until `received_us`."""

    trades: tuple[Trade, ...]
    received_us: int


@dataclass(frozen=True, slots=True)
class TapeSeen:
    """The next trades of the shown coin came: every one, whatever was lost on the way, oldest first."""

    trades: tuple[Trade, ...]
    received_us: int


@dataclass(frozen=True, slots=True)
class CandlesSeen:
    """Candles of the shown coin closed or changed, oldest first; before the `first` ones some may have been missed."""

    symbol: str
    interval: str
    candles: tuple[Bar, ...]
    first: bool = False


@dataclass(frozen=True, slots=True)
class CoverageSeen:
    """What is stored of a symbol is new or has changed; a text says why it cannot be told."""

    symbol: str
    coverage: Coverage | str


@dataclass(frozen=True, slots=True)
class StatusSeen:
    """The state of the mesh is new or has changed; a text says why it cannot be told."""

    status: Status | str


@dataclass(frozen=True, slots=True)
class IdsMissing:
    """The mesh itself does not have as many trades of the shown coin."""

    trades: int


@dataclass(frozen=True, slots=True)
class SelectionSeen:
    """Somebody changed the coin; the trades that follow are the new one's."""

    selection: SelectedSymbol


@dataclass(frozen=True, slots=True)
class TradesMissed:
    """We read too slowly, and the gateway left out as many trades."""

    trades: int


@dataclass(frozen=True, slots=True)
class RoundTripSeen:
    """A ping went to the gateway and came back within so many microseconds."""

    took_us: int


@dataclass(frozen=True, slots=True)
class UpstreamSeen:
    """The gateway says that trades have stopped because a part of the mesh is away, or that they go on."""

    unavailable: bool


@dataclass(frozen=True, slots=True)
class FrameRefused:
    """A frame that could not be understood was left out."""

    reason: str


Stream = (
    Connecting
    | Connected
    | Disconnected
    | TradeSeen
    | SelectionSeen
    | TradesMissed
    | RoundTripSeen
    | UpstreamSeen
    | FrameRefused
)
Follows = BoardSeen | TapeSeen | CandlesSeen | CoverageSeen | StatusSeen | IdsMissing

# --- the person and the clock ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """A key was pressed: a character, or a name as in `keys.py` (`up`, `enter`, `esc`)."""

    key: str


@dataclass(frozen=True, slots=True)
class CoinPointed:
    """A coin of the table was clicked."""

    symbol: str


@dataclass(frozen=True, slots=True)
class ColumnPointed:
    """The head of a column of the coins was clicked."""

    title: str


@dataclass(frozen=True, slots=True)
class Resized:
    """The terminal has a new size, in cells."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""

    now_us: int


Pointed = KeyPressed | CoinPointed | ColumnPointed
Event = Answer | Stream | Follows | Pointed | Resized | Ticked
