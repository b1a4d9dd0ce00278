"""What can happen (events) and what can be asked of the world (requests): the two alphabets of `update.update`.

Every request is answered by exactly one event: `Loaded` or `RequestFailed`. Answers carry the request they
belong to, so that one which comes too late, after the coin was changed, can be told from a current one.
Times are microseconds since 1970 UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

from term.values import Coin, Feed, HistoryPage, SelectedSymbol, Stats, Trade

# --- requests --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoadCoins:
    """Ask which coins there are."""


@dataclass(frozen=True, slots=True)
class LoadSelection:
    """Ask which symbol is selected. `generation` counts the switches seen so far."""

    generation: int


@dataclass(frozen=True, slots=True)
class LoadFeed:
    """Ask how it stands with the trades from the venue."""


@dataclass(frozen=True, slots=True)
class LoadPrice:
    """Ask for the last trade's price of the selected symbol."""

    generation: int


@dataclass(frozen=True, slots=True)
class LoadStats:
    """Ask for the statistics of the selected symbol."""

    generation: int


@dataclass(frozen=True, slots=True)
class LoadHistory:
    """Ask for a page of trades; an empty `page_token` asks for the newest."""

    generation: int
    symbol: str
    page_token: str = ""


@dataclass(frozen=True, slots=True)
class SelectCoin:
    """Select a symbol, for every client at once. Answered by the symbol that is selected then."""

    symbol: str


Request = LoadCoins | LoadSelection | LoadFeed | LoadPrice | LoadStats | LoadHistory | SelectCoin


@dataclass(frozen=True, slots=True)
class Quit:
    """Leave the program."""


Effect = Request | Quit

# --- answers ---------------------------------------------------------------------------------------------------------


Content = tuple[Coin, ...] | SelectedSymbol | Feed | Trade | Stats | HistoryPage


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
class SelectionSeen:
    """Somebody changed the coin; the trades that follow are the new one's."""

    selection: SelectedSymbol


@dataclass(frozen=True, slots=True)
class TradesMissed:
    """We read too slowly, and the gateway left out as many trades."""

    trades: int


@dataclass(frozen=True, slots=True)
class UpstreamSeen:
    """The gateway says that trades have stopped because a part of the mesh is away, or that they go on."""

    unavailable: bool


@dataclass(frozen=True, slots=True)
class FrameRefused:
    """A frame that could not be understood was left out."""

    reason: str


Stream = Connecting | Connected | Disconnected | TradeSeen | SelectionSeen | TradesMissed | UpstreamSeen | FrameRefused

# --- the person and the clock ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """A key was pressed: a character, or a name as in `keys.py` (`up`, `enter`, `esc`)."""

    key: str


@dataclass(frozen=True, slots=True)
class Resized:
    """The terminal has a new size, in cells."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""

    now_us: int


Event = Answer | Stream | KeyPressed | Resized | Ticked
