"""What libsignal takes and gives, as values: trades in columns, their signals, candles, where a state stands.

`libsignal/include/libsignal.h` says what each field means and how exact it is; the names are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import Protocol, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from mesh.values.trades import Float64s, Int64s

Uint8s: TypeAlias = npt.NDArray[np.uint8]


class SignalGroups(IntFlag):
    """SignalGroups of signals a state works out; those left out cost nothing."""

    MOVING_AVERAGE = 1
    EXPONENTIAL_AVERAGE = 2
    WINDOW_VWAP = 4
    DEVIATION = 8
    EXTREMES = 16
    FLOW = 32
    RATE = 64
    VOLATILITY = 128
    SESSION = 256
    CANDLES = 512
    ALL = 1023


class Trades(Protocol):
    """Consecutive trades of one symbol, every array of shape (n,): `mesh.values.trades.TradeColumns` is one."""

    @property
    def trade_id(self) -> Int64s: ...
    @property
    def price_e8(self) -> Int64s: ...
    @property
    def quantity_e8(self) -> Int64s: ...
    @property
    def time_us(self) -> Int64s: ...
    @property
    def is_buyer_maker(self) -> npt.NDArray[np.bool_] | Uint8s: ...


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Trades in the very types libsignal reads, every array of shape (n,)."""

    trade_id: Int64s
    price_e8: Int64s
    quantity_e8: Int64s
    time_us: Int64s
    is_buyer_maker: Uint8s


class Candle(msgspec.Struct, frozen=True):
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
    rsi: float
    atr: float
    macd: float
    macd_signal: float
    macd_histogram: float
    ema: float
    sma: float
    average_gain: float
    average_loss: float
    macd_fast: float
    macd_slow: float


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """The signals right after each trade, one row per trade; of shape (0,) where the state does not work them out.

    `candles` are those the trades closed, in order of time, shorter intervals first.
    """

    moving_average: Float64s
    exponential_average: Float64s
    window_vwap: Float64s
    deviation: Float64s
    bollinger_upper: Float64s
    bollinger_middle: Float64s
    bollinger_lower: Float64s
    buy_share: Float64s
    flow_imbalance: Float64s
    trade_rate: Float64s
    volatility: Float64s
    session_volume: Float64s
    session_vwap: Float64s
    window_high_e8: Int64s
    window_low_e8: Int64s
    session_open_e8: Int64s
    session_high_e8: Int64s
    session_low_e8: Int64s
    session_count: Int64s
    late_intervals: Uint8s
    candles: tuple[Candle, ...]


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
