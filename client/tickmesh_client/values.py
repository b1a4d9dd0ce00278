"""What the gateway answers, as values. Prices, quantities and volumes are exact decimals, times are in UTC.

The fields are those of the JSON, and `docs/reference/rest.md` of tickmesh says what they mean. An answer with further
fields is read all the same, so that this library reads newer gateways.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec


class Trade(msgspec.Struct, frozen=True):
    """One trade."""

    venue: str
    symbol: str
    trade_id: int
    """The venue's own id; the ids of a symbol rise by one."""
    price: Decimal
    quantity: Decimal
    timestamp: datetime
    side: str
    """The taker's: `BUY` or `SELL`."""
    epoch: int = 0
    """How many times the venue had restarted the symbol's ids before."""

    @property
    def key(self) -> tuple[int, int]:
        """Epoch and id: rises from trade to trade of a symbol, whatever the venue does with its ids."""
        return self.epoch, self.trade_id


class Tick(Trade, frozen=True, kw_only=True):
    """One trade, and the signals right after it."""

    signals: dict[str, float | None] | None = None
    """By their names in `Stats`; None where the trade was fetched from the store, which has none."""


class Price(msgspec.Struct, frozen=True):
    """The last trade's price."""

    venue: str
    symbol: str
    price: Decimal
    quantity: Decimal
    trade_id: int
    timestamp: datetime
    epoch: int = 0


class Stats(msgspec.Struct, frozen=True):
    """The signals after the last trade; None where one is not defined yet."""

    venue: str
    symbol: str
    timestamp: datetime
    moving_average: float | None
    open: Decimal
    high: Decimal
    low: Decimal
    window_high: Decimal
    window_low: Decimal
    count: int
    volume: float | None
    vwap: float | None
    window_vwap: float | None
    exponential_average: float | None
    deviation: float | None
    bollinger_upper: float | None
    bollinger_middle: float | None
    bollinger_lower: float | None
    buy_share: float | None
    flow_imbalance: float | None
    trade_rate: float | None
    volatility: float | None


class Candle(msgspec.Struct, frozen=True):
    """The trades of `[time, time + interval)`, and the indicators after them; None where one is not defined yet."""

    time: datetime
    interval: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    taker_buy_volume: Decimal
    count: int
    first_trade_id: int
    last_trade_id: int
    revision: int
    rsi: float | None
    atr: float | None
    macd: float | None
    macd_signal: float | None
    macd_histogram: float | None
    ema: float | None
    sma: float | None
    average_gain: float | None
    average_loss: float | None
    macd_fast: float | None
    macd_slow: float | None
    epoch: int = 0
    closed: bool = True
    """Whether it can only change by a revision. A candle that is not closed changes with each trade."""


class SymbolCandle(Candle, frozen=True, kw_only=True):
    """A live candle, and whose it is."""

    symbol: str


class Symbol(msgspec.Struct, frozen=True):
    """The selected symbol."""

    symbol: str
    name: str
    venue: str
    status: str
    """The venue's trading status; empty while it is not known."""


class Coin(msgspec.Struct, frozen=True):
    """A coin that can be selected."""

    symbol: str
    name: str
    status: str
    followed: bool
    """Whether its price and trades are there without selecting it."""


class Instrument(msgspec.Struct, frozen=True):
    """A symbol that the venue lists."""

    symbol: str
    base_asset: str
    quote_asset: str
    tick_size: Decimal
    """The smallest step of the price."""
    step_size: Decimal
    """The smallest step of the quantity."""
    status: str
    """The venue's trading status: `TRADING`, or why nothing is traded."""


class IdRange(msgspec.Struct, frozen=True):
    """Consecutive trade ids; both ends belong to it."""

    first_trade_id: int
    last_trade_id: int
    epoch: int = 0


class Missing(IdRange, frozen=True, kw_only=True):
    """Trade ids of a symbol that the mesh itself does not have."""

    symbol: str


class NextTrades(msgspec.Struct, frozen=True):
    """Trades that follow a trade, in the order of their ids."""

    trades: tuple[Trade, ...]
    newest_trade_id: int
    """The highest stored id; -1 when no trade is stored."""
    newest_epoch: int = 0


class Hole(IdRange, frozen=True):
    """Trade ids that are missing, or were missing once."""

    state: str = ""
    """`OPEN`, `FILLED`, `ABSENT`, `EXPIRED` or `LOST`."""
    seen_time: datetime | None = None
    closed_time: datetime | None = None


class Minute(msgspec.Struct, frozen=True):
    """How the stored trades of one minute compare with the venue's candle."""

    start_time: datetime
    state: str
    """`PENDING`, `VERIFIED` or `MISMATCH`."""
    first_trade_id: int
    last_trade_id: int
    trade_count: int
    difference: str
    epoch: int = 0


class EpochCoverage(msgspec.Struct, frozen=True):
    """The stored ids of one epoch."""

    epoch: int
    first_trade_id: int
    last_trade_id: int
    stored: int
    open: int
    absent: int
    lost: int
    end_unknown: bool


class Summary(msgspec.Struct, frozen=True):
    """How the price of a symbol has moved."""

    symbol: str
    close: tuple[Decimal, ...]
    """The closing prices of its last 60 candles of a minute, oldest first."""
    day_open: Decimal | None
    """The opening price of its first candle of a minute within the last 24 hours; None where there is none."""


class Summaries(msgspec.Struct, frozen=True):
    """The summaries of symbols, of those that have candles."""

    venue: str
    summaries: tuple[Summary, ...]


class Coverage(msgspec.Struct, frozen=True):
    """The stored and the missing trade ids of a symbol: the answer to "is anything lost?"."""

    venue: str
    symbol: str
    complete: bool
    """Whether nothing that the venue can still have is missing."""
    stored: int
    open: int
    absent: int
    lost: int
    ranges: tuple[IdRange, ...]
    holes: tuple[Hole, ...]
    epochs: tuple[EpochCoverage, ...]
    minutes: tuple[Minute, ...]
    minutes_verified: int
    minutes_mismatched: int
    followed: bool = False
    last_trade_time: datetime | None = None


class Condition(msgspec.Struct, frozen=True):
    """One condition of a service, such as its connection to the bus."""

    name: str
    state: str
    """`OK`, `DEGRADED` or `FAILED`."""
    message: str = ""
    since: datetime | None = None


class Feed(msgspec.Struct, frozen=True):
    """The feed from the venue, as ingest sees it."""

    venue: str = ""
    lag_p50_s: float | None = None
    """From the venue's time of a trade to its arrival, in seconds: the median of the last minute."""
    lag_p99_s: float | None = None
    """The same of the slowest hundredth."""


class ServiceReport(msgspec.Struct, frozen=True):
    """What a service last said of itself."""

    started_time: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    version: str = ""
    feed: Feed | None = None
    """Only of ingest."""


class ServiceStatus(msgspec.Struct, frozen=True):
    """The state of one service of the mesh."""

    service: str
    state: str
    """`SERVING`, `DEGRADED`, `NOT_SERVING`, `STOPPED` or `UNREACHABLE`."""
    message: str
    report: ServiceReport | None = None
    """None when none has arrived."""


class SymbolFeed(msgspec.Struct, frozen=True):
    """How the trades of one symbol come in."""

    symbol: str
    state: str
    message: str
    last_trade_time: datetime | None = None
    last_trade_id: int = 0


class Status(msgspec.Struct, frozen=True):
    """The state of the mesh and of the feed from the venue."""

    state: str
    """Of the feed: `LIVE`, `QUIET`, `STALE`, `GAP`, `BLOCKED`, `SIM` or `OFFLINE`."""
    message: str
    venue: str
    services: tuple[ServiceStatus, ...]
    symbols: tuple[SymbolFeed, ...]
    time: datetime | None = None
