"""What the gateway tells us, as values. Prices and quantities are exact decimals in the coin's own units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Literal

Side = Literal["buy", "sell"]


@dataclass(frozen=True, slots=True)
class Coin:
    """A coin one can select."""

    symbol: str
    name: str


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

    def merged(self, newer: Stats) -> Stats:
        """Take from `newer` what it tells, keep the rest."""
        known = {one.name: value for one in fields(newer) if (value := getattr(newer, one.name)) is not None}
        return replace(self, **known)


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade; only the price is sure, as in the original's API.

    `time_us` is the venue's time in microseconds since 1970 UTC, `side` the taker's.
    """

    price: Decimal
    symbol: str = ""
    venue: str = ""
    quantity: Decimal | None = None
    trade_id: int | None = None
    time_us: int | None = None
    side: Side | None = None
    stats: Stats = field(default_factory=Stats)


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Trades newest first, and the token of the page after them; an empty token says that this is the last one."""

    trades: tuple[Trade, ...]
    next_token: str = ""


@dataclass(frozen=True, slots=True)
class SymbolFeed:
    """How it stands with a symbol's trades: a word (LIVE, QUIET, STALE, GAP, BLOCKED, SIM, OFFLINE), and why."""

    state: str
    message: str


@dataclass(frozen=True, slots=True)
class Feed:
    """How it stands with the trades from the venue, as the mesh says; `symbols` are those it follows."""

    together: SymbolFeed
    symbols: Mapping[str, SymbolFeed]

    def of(self, symbol: str) -> SymbolFeed:
        """How it stands with one symbol; what is true of all together where it is not listed."""
        return self.symbols.get(symbol, self.together)
