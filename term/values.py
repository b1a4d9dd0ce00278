"""What the gateway tells us, as values. Prices and quantities are exact decimals in the coin's own units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Literal

Side = Literal["buy", "sell"]


@dataclass(frozen=True, slots=True)
class Coin:
    """A coin one can select; only what is `followed` has a price before it is selected."""

    symbol: str
    name: str
    followed: bool = True


@dataclass(frozen=True, slots=True)
class TickSizes:
    """By symbol, how many decimals the smallest step of its price has, and the token of the page after this one."""

    decimals: Mapping[str, int]
    next_token: str = ""


@dataclass(frozen=True, slots=True)
class SelectedSymbol:
    """The symbol everybody looks at; `venue` is empty where nobody tells it, `status` also while it is traded."""

    symbol: str
    name: str
    venue: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True)
class Stats:
    """Signals of a session; None is what the gateway did not tell."""

    moving_average: Decimal | None = None
    high: Decimal | None = None
    low: Decimal | None = None
    opened: Decimal | None = None
    count: int | None = None
    volume: Decimal | None = None
    rate: Decimal | None = None

    def merged(self, newer: Stats) -> Stats:
        """Take from `newer` what it tells, keep the rest."""
        known = {name: value for name in Stats.__slots__ if (value := getattr(newer, name)) is not None}
        return newer if len(known) == len(Stats.__slots__) else replace(self, **known)


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade; only the price is sure, as in the original's API.

    `time_us` is the venue's time in microseconds since 1970 UTC, `side` the taker's; `is_new` says that it has just
    happened, and is not only the last one from before the stream began.
    """

    price: Decimal
    symbol: str = ""
    venue: str = ""
    quantity: Decimal | None = None
    trade_id: int | None = None
    time_us: int | None = None
    side: Side | None = None
    stats: Stats = field(default_factory=Stats)
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Trades newest first, and the token of the page after them; an empty token says that this is the last one."""

    trades: tuple[Trade, ...]
    next_token: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """The trades of `[time_us, time_us + interval)`; an indicator is missing where it is not defined yet."""

    time_us: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = Decimal(0)
    quote_volume: Decimal = Decimal(0)
    count: int = 0
    closed: bool = True
    indicators: Mapping[str, float] = field(default_factory=dict)
    revision: int = 0

    @property
    def state(self) -> tuple[bool, int, int]:
        """Rises with all that can happen to a candle: it closes, it is computed again, it gets more trades."""
        return self.closed, self.revision, self.count


@dataclass(frozen=True, slots=True)
class CandlePage:
    """Candles, oldest first, and the token of the page before them; an empty one says that there are no older ones."""

    candles: tuple[Bar, ...]
    next_token: str = ""
