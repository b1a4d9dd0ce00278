"""What the program knows. Pure; `update.update` gives the next one after each event, `view.render` shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, tzinfo

from term.alerts import Alert
from term.board import UNKNOWN, Board, Line, Sorting
from term.candles import Candles
from term.chart import ChartOptions
from term.events import Effect, Follow, LoadCoins, LoadHistory, LoadSelection, Request, SelectCoin
from term.history import History
from term.keys import View
from term.quote import FLASH_US, Quote
from term.stream_state import StreamState, StreamStatus
from term.values import Coin, SelectedSymbol, Trade
from tickmesh_client import Coverage, Status, SymbolFeed

SIMULATED = "sim"
"""The venue whose prices are not real."""
STATUS_FACTS = ("feed", "symbols", "delay", "by hop", "rate", "stream", "missed")
"""What the status says below the services."""
NOTICE_US = 6_000_000
ASKING_COVERAGE = "asking what is stored …"
ASKING_STATUS = "asking how the mesh is …"
USUAL_DECIMALS = 2
"""Of a price whose smallest step is not known."""
JUST_NOW_US = 5_000_000
MAX_TAPE = 200
MAX_DELAYS = 500


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question on the screen: what the keys type goes into it.

    Attributes:
        kind: `filter`, `alert`, `time`, `reset` or `overlays`.
        text: typed so far.
        row: of the alert that is changed; None for a new one.
    """

    kind: str
    text: str = ""
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """Everything the screen is drawn from. Times are microseconds since 1970 UTC.

    Attributes:
        url: the gateway's, as the screen may show it.
        width: cells of the terminal from left to right.
        height: its rows.
        now_us: the time of the last event that told one.
        begun_us: when the program began.
        view: which screen is shown.
        stream: how the live stream is.
        coins: to choose from.
        coins_error: why there are none.
        tick_decimals: how many decimals the smallest step of a price has, by symbol.
        cursor: the symbol under the cursor of the coin list; None while it stays on the shown coin.
        selection: the symbol that everybody looks at; None before the gateway has told it.
        looked: the symbol that this terminal looks at instead; None for the selected one.
        generation: counts switches of the shown coin, so that answers from before one can be told.
        quote: what is known of the shown coin.
        history: its trades that were fetched.
        tape: its last trades, newest first, none missing and none twice.
        missing: how many of its trades the mesh itself does not have.
        candles: its candles.
        chart: how they are drawn.
        coverage: which of its trades are stored, or why that is not known.
        board: the newest of all coins.
        sorting: how the coins are sorted.
        order: the symbols of the coins as they stand in the list.
        ordered_by: the board by which they stand so.
        held_until_us: until when that order does not change, because the cursor was moved.
        alerts: what is watched.
        row: under the cursor of the history, the holes or the alerts.
        whole: whether that row is shown whole.
        prompt: what is asked now.
        theme: the name of the colours.
        zone: the time zone of all times; None is this machine's.
        before_help: what help goes back to.
        following: what the gateway is asked to tell of.
        delays: microseconds from the exchange to here of the last trades.
        round_trip_us: how long a ping to the gateway took to come back; None before the first one.
        live: while the picture is paused, the model that goes on.
        outstanding: requests not yet answered; none is made twice at a time.
        mesh: its state, or why that is not known.
        ahead_us: how far the clock of the mesh is ahead of ours; None while that is not known.
        polled_us: when the gateway was last asked for what it does not tell by itself.
        verified_us: when it was last asked which symbol is selected, because a trade of another one came.
        notice: a message for the person; shown until `notice_until_us`.
        notice_until_us: until when it is shown.
    """

    url: str
    width: int
    height: int
    now_us: int
    begun_us: int = 0
    view: View = View.COINS
    stream: StreamState = field(default_factory=StreamState)
    coins: tuple[Coin, ...] = ()
    coins_error: str = ""
    tick_decimals: Mapping[str, int] = field(default_factory=dict)
    cursor: str | None = None
    selection: SelectedSymbol | None = None
    looked: SelectedSymbol | None = None
    generation: int = 0
    quote: Quote = field(default_factory=Quote)
    history: History = field(default_factory=History)
    tape: tuple[Trade, ...] = ()
    missing: int = 0
    candles: Candles = field(default_factory=Candles)
    chart: ChartOptions = field(default_factory=ChartOptions)
    coverage: Coverage | str = ASKING_COVERAGE
    board: Board = field(default_factory=dict)
    sorting: Sorting = field(default_factory=Sorting)
    order: tuple[str, ...] = ()
    ordered_by: Board | None = None
    held_until_us: int = 0
    alerts: tuple[Alert, ...] = ()
    row: int = 0
    whole: bool = False
    prompt: Prompt | None = None
    theme: str = "dark"
    zone: tzinfo | None = UTC
    before_help: View = View.DASHBOARD
    following: Follow = field(default_factory=Follow)
    delays: tuple[int, ...] = ()
    round_trip_us: int | None = None
    live: Model | None = None
    outstanding: frozenset[Request] = frozenset()
    mesh: Status | str = ASKING_STATUS
    ahead_us: int | None = None
    polled_us: int = 0
    verified_us: int = 0
    notice: str = ""
    notice_until_us: int = 0

    @property
    def feed(self) -> Status | SymbolFeed | None:
        """What the mesh says of the shown symbol, or of all where it is not listed; None while it says nothing."""
        if isinstance(self.mesh, str):
            return None
        shown = self.shown.symbol if self.shown else ""
        return next((feed for feed in self.mesh.symbols if feed.symbol == shown), self.mesh)

    @property
    def status(self) -> StreamStatus:
        """How much one may trust the price: what the mesh says of the feed, and what arrives here."""
        seen = self.stream.status(self.quote.traded_us, self.now_us)
        if seen is StreamStatus.LIVE and self.shown is not None and self.shown.venue == SIMULATED:
            seen = StreamStatus.SIM
        feed = self.feed
        if feed is None or not self.stream.open:
            return seen
        reported = StreamStatus.__members__.get(feed.state, seen)
        if reported is StreamStatus.QUIET and self.now_us - (self.quote.traded_us or 0) < JUST_NOW_US:
            return seen  # something was traded since it was asked
        # What does not arrive here is not fresh, whatever the mesh receives.
        return seen if reported in (StreamStatus.LIVE, StreamStatus.SIM) and seen is StreamStatus.STALE else reported

    @property
    def shown(self) -> SelectedSymbol | None:
        """The coin that this terminal shows."""
        return self.looked or self.selection

    @property
    def cursor_row(self) -> int:
        """The coin list's row under the cursor."""
        under = self.cursor or (self.shown.symbol if self.shown else "")
        return self.order.index(under) if under in self.order else 0

    @property
    def pointed(self) -> str:
        """The symbol under the cursor, or the shown one where there is no cursor; empty when there is none."""
        if self.view is View.COINS:
            return self.order[self.cursor_row] if self.order else ""
        return self.shown.symbol if self.shown else ""

    @property
    def decimals(self) -> int:
        """How many decimals a price of the shown coin has."""
        return self.decimals_of(
            self.shown.symbol if self.shown else "", max(self.quote.decimals, self.history.price_decimals)
        )

    def decimals_of(self, symbol: str, seen: int) -> int:
        """Return how many decimals a price of a coin has: those of its smallest step, and never less than were seen.

        Args:
            symbol: of the coin, in lower case.
            seen: how many its prices had so far.

        """
        return max(self.tick_decimals.get(symbol, USUAL_DECIMALS), seen)

    @property
    def favourite(self) -> bool:
        """Whether the coin that is pointed at is a favourite."""
        return self.pointed in self.sorting.favourites

    @property
    def flashing(self) -> bool:
        """Whether a price may have to calm down soon."""
        changed_us = max((line.changed_us for line in self.board.values()), default=0)
        return self.now_us - max(changed_us, self.quote.changed_us) < 2 * FLASH_US

    def line_of(self, symbol: str) -> Line:
        """What is known of a coin."""
        return self.board.get(symbol, UNKNOWN)

    def ordered(self) -> Model:
        """Bring the coins into order."""
        return replace(self, order=self.sorting.order(self.coins, self.board), ordered_by=self.board)

    @property
    def switching_to(self) -> str | None:
        """The symbol that was asked for and is not confirmed yet."""
        return next((request.symbol for request in self.outstanding if isinstance(request, SelectCoin)), None)

    @property
    def fetching_history(self) -> bool:
        """Whether a page of history is on its way."""
        asked = [request for request in self.outstanding if isinstance(request, LoadHistory)]
        return any(request.generation == self.generation for request in asked)

    def is_selected(self, coin: Coin) -> bool:
        """Tell whether `coin` is the one everybody looks at."""
        return self.selection is not None and coin.symbol == self.selection.symbol

    def name_of(self, symbol: str) -> str:
        """The name of a symbol for people."""
        return next((coin.name for coin in self.coins if coin.symbol == symbol), symbol)

    def is_followed(self, symbol: str) -> bool:
        """Tell whether the mesh follows a symbol, as far as it has told which ones it does."""
        return not self.coins or any(coin.symbol == symbol and coin.followed for coin in self.coins)

    def noticed(self, notice: str) -> Model:
        """Show `notice` for a while."""
        return replace(self, notice=notice, notice_until_us=self.now_us + NOTICE_US)

    def looks_like(self, before: Model) -> bool:
        """Tell whether the screen is the same for both, except for ages and for what calms down with time.

        Args:
            before: of the same program, earlier.

        """
        return (
            (self.live is None, self.switching_to, self.fetching_history)
            == (before.live is None, before.switching_to, before.fetching_history)
        ) and all(
            (value := getattr(self, name)) is (known := getattr(before, name)) or value == known for name in _SHOWN
        )

    def asking(self, *requests: Request) -> Step:
        """Make the requests that are not on their way already."""
        new = tuple(request for request in requests if request not in self.outstanding)
        return replace(self, outstanding=self.outstanding.union(new)), new

    def answered(self, request: Request) -> Model:
        """Take a request off the list, as its answer has come."""
        return replace(self, outstanding=self.outstanding - {request})


_SHOWN = tuple(
    field.name
    for field in fields(Model)
    if field.name not in ("now_us", "held_until_us", "live", "ordered_by", "following", "outstanding")
    and field.name not in ("polled_us", "verified_us", "ahead_us")
)

Step = tuple[Model, tuple[Effect, ...]]


@dataclass(frozen=True, slots=True)
class Remembered:
    """What outlives the program."""

    view: View = View.COINS
    sorting: Sorting = field(default_factory=Sorting)
    chart: ChartOptions = field(default_factory=ChartOptions)
    alerts: tuple[Alert, ...] = ()
    theme: str = "dark"
    zone: tzinfo | None = UTC


def start(
    *, url: str, width: int, height: int, now_us: int, remembered: Remembered | None = None, notices: Sequence[str] = ()
) -> Step:
    """Begin with the coin list, or where the person was before.

    Args:
        url: the gateway's, as the screen may show it.
        width: cells of the terminal from left to right.
        height: its rows.
        now_us: the time, in microseconds since 1970 UTC.
        remembered: what the settings say.
        notices: what is wrong with them.

    Returns:
        The first model, and the first requests.
    """
    kept = remembered or Remembered()
    model = Model(
        url=url,
        width=width,
        height=height,
        now_us=now_us,
        begun_us=now_us,
        stream=StreamState(since_us=now_us),
        view=kept.view,
        sorting=kept.sorting,
        chart=kept.chart,
        alerts=kept.alerts,
        theme=kept.theme,
        zone=kept.zone,
    )
    model = model.noticed("; ".join(notices)) if notices else model
    return model.asking(LoadCoins(), LoadSelection(0))
