"""What libsignal takes and gives, as values: trades in columns, their signals, candles, where a state stands.

`libsignal/include/libsignal.h` says what each field means and how exact it is; the names are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from mesh.values.candles import Indicators
from mesh.values.signals import Int64s, SignalValues

Uint8s: TypeAlias = npt.NDArray[np.uint8]


class Trades(Protocol):
    """Consecutive trades of one symbol, every array of shape (n,): `mesh.values.trades.TradeColumns` is one."""

    @property
    def trade_id(self) -> Int64s:
        """Ids, consecutive."""

    @property
    def price_e8(self) -> Int64s:
        """Prices, scaled by 1e8."""

    @property
    def quantity_e8(self) -> Int64s:
        """Quantities, scaled by 1e8."""

    @property
    def time_us(self) -> Int64s:
        """Microseconds since 1970 UTC."""

    @property
    def is_buyer_maker(self) -> npt.NDArray[np.bool_] | Uint8s:
        """Whether the buyer was the maker."""


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Trades in the very types libsignal reads, every array of shape (n,)."""

    trade_id: Int64s
    price_e8: Int64s
    quantity_e8: Int64s
    time_us: Int64s
    is_buyer_maker: Uint8s


class SignalCandle(Indicators, frozen=True):
    """A candle with the indicators right after it, NaN until they are warm; `_e16` is scaled by 1e16."""

    interval_us: int
    start_us: int
    open_e8: int
    high_e8: int
    low_e8: int
    close_e8: int
    count: int
    first_trade_id: int
    last_trade_id: int
    empty_before: int
    volume_e8: int
    taker_buy_volume_e8: int
    quote_volume_e16: int


@dataclass(frozen=True, slots=True, eq=False)
class Signals(SignalValues):
    """The signals right after each trade, one row per trade; of shape (0,) where the state does not work them out.

    `candles` are those the trades closed, in order of time, shorter intervals first.
    """

    late_intervals: Uint8s
    candles: tuple[SignalCandle, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """Where a state stands; prices and times are 0 as long as there is no trade they could be of."""

    count: int
    last_trade_id: int  # -1 before the first trade
    last_price_e8: int
    last_time_us: int
    session_count: int
    session_open_e8: int
    session_open_time_us: int
    session_high_e8: int
    session_low_e8: int
    session_volume_e8: int  # exact, of any size
