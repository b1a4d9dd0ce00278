"""What the program knows. Pure; `update.update` gives the next one after each event, `view.render` shows it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from term.events import Effect, LoadCoins, LoadHistory, LoadSelection, Request, SelectCoin
from term.history import History
from term.keys import View
from term.quote import Quote
from term.stream_state import StreamState, StreamStatus
from term.values import Coin, Feed, SelectedSymbol, SymbolFeed

NOTICE_US = 6_000_000
FEED_KEPT_US = 10_000_000
"""What the mesh said of the feed counts for so long."""
JUST_NOW_US = 5_000_000


@dataclass(frozen=True, slots=True)
class Model:
    """Everything the screen is drawn from. Times are microseconds since 1970 UTC.

    Attributes:
        url: the gateway's, as the screen may show it.
        width: cells of the terminal from left to right.
        height: its rows.
        now_us: the time of the last event that told one.
        view: which screen is shown.
        stream: how the live stream is.
        coins: to choose from.
        coins_error: why there are none.
        cursor: row of the coin list; None while it stays on the selected coin.
        selection: the symbol that is followed; None before the gateway has told it.
        generation: counts switches of the coin, so that answers from before one can be told.
        quote: what is known of the selected coin.
        history: its trades that were fetched.
        outstanding: requests not yet answered; none is made twice at a time.
        feed: what the mesh said of its trades the last time it was asked.
        feed_us: when it said so.
        polled_us: when the gateway was last asked for what it does not tell by itself.
        verified_us: when it was last asked which symbol is selected, because a trade of another one came.
        notice: a message for the person; shown until `notice_until_us`.
        notice_until_us: until when it is shown.
    """

    url: str
    width: int
    height: int
    now_us: int
    view: View = View.COINS
    stream: StreamState = field(default_factory=StreamState)
    coins: tuple[Coin, ...] = ()
    coins_error: str = ""
    cursor: int | None = None
    selection: SelectedSymbol | None = None
    generation: int = 0
    quote: Quote = field(default_factory=Quote)
    history: History = field(default_factory=History)
    outstanding: frozenset[Request] = frozenset()
    feed: Feed | None = None
    feed_us: int = 0
    polled_us: int = 0
    verified_us: int = 0
    notice: str = ""
    notice_until_us: int = 0

    @property
    def symbol_feed(self) -> SymbolFeed | None:
        """What the mesh says of the selected symbol's trades; None when it has not said so lately."""
        if self.feed is None or self.now_us - self.feed_us > FEED_KEPT_US:
            return None
        return self.feed.together if self.selection is None else self.feed.of(self.selection.symbol)

    @property
    def status(self) -> StreamStatus:
        """How much one may trust the price: what the mesh says of the feed, and what arrives here."""
        seen = self.stream.status(self.quote.traded_us, self.now_us)
        feed = self.symbol_feed
        if feed is None or not self.stream.open:
            return seen
        reported = StreamStatus.__members__.get(feed.state, seen)
        if reported is StreamStatus.QUIET and self.now_us - (self.quote.traded_us or 0) < JUST_NOW_US:
            return seen  # something was traded since it was asked
        # What does not arrive here is not fresh, whatever the mesh receives.
        return seen if reported in (StreamStatus.LIVE, StreamStatus.SIM) and seen is StreamStatus.STALE else reported

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

    def noticed(self, notice: str) -> Model:
        """Show `notice` for a while."""
        return replace(self, notice=notice, notice_until_us=self.now_us + NOTICE_US)

    def asking(self, *requests: Request) -> Step:
        """Make the requests that are not on their way already."""
        new = tuple(request for request in requests if request not in self.outstanding)
        return replace(self, outstanding=self.outstanding.union(new)), new

    def answered(self, request: Request) -> Model:
        """Take a request off the list, as its answer has come."""
        return replace(self, outstanding=self.outstanding - {request})


Step = tuple[Model, tuple[Effect, ...]]


def start(*, url: str, width: int, height: int, now_us: int) -> Step:
    """Begin with the coin list.

    Args:
        url: the gateway's, as the screen may show it.
        width: cells of the terminal from left to right.
        height: its rows.
        now_us: the time, in microseconds since 1970 UTC.

    Returns:
        The first model, and the first requests.
    """
    model = Model(url=url, width=width, height=height, now_us=now_us, stream=StreamState(since_us=now_us))
    return model.asking(LoadCoins(), LoadSelection(0))
