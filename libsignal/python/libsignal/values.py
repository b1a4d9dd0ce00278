"""What libsignal takes and gives, as values: settings, trades in columns, their signals, candles, where a state stands.

`libsignal/include/libsignal.h` says what each field means and how exact it is; the names are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from mesh.values.candles import INDICATORS, INTERVALS_US, Candle, Indicators
from mesh.values.signals import Int64s, SignalValues
from mesh.values.trades import TradeColumns

_INTERVALS = {length_us: interval for interval, length_us in INTERVALS_US.items()}
Uint8s: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Periods:
    """How many closed candles the indicators look at; the settings of the same names."""

    rsi_period: int = 14
    atr_period: int = 14
    macd_fast_period: int = 12
    macd_slow_period: int = 26
    macd_signal_period: int = 9
    candle_ema_period: int = 20
    candle_sma_period: int = 20

    @property
    def memory(self) -> int:
        """After so many candles what came before them counts for less than 2^-53 of itself."""
        macd = (self.macd_slow_period + self.macd_signal_period) // 2 + 1
        slowest = max(self.rsi_period, self.atr_period, macd, self.candle_ema_period // 2 + 1)
        return 37 * slowest + self.candle_sma_period


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSettings(Periods):
    """The settings of a state. Windows are in trades, the newest included.

    Attributes:
        empty_candles: up to so many empty intervals in a row become candles.
        bollinger_width: distance of Bollinger's bands, in standard deviations.

    """

    moving_average_window: int = 20
    exponential_window: int = 20
    vwap_window: int = 20
    deviation_window: int = 20
    extremes_window: int = 20
    flow_window: int = 20
    rate_window: int = 20
    volatility_window: int = 20
    empty_candles: int = 0
    bollinger_width: float = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Trades in the very types libsignal reads, every array of shape (n,)."""

    trade_id: Int64s
    price_e8: Int64s
    quantity_e8: Int64s
    time_us: Int64s
    is_buyer_maker: Uint8s


Trades: TypeAlias = TradeColumns | Inputs
"""Consecutive trades of one symbol, every array of shape (n,)."""


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

    def closed(self) -> Candle:
        """Return it as the bus and the database have closed candles."""
        # By position, which costs a third of naming them; test_engine.py holds the two orders together.
        numbers: Any = msgspec.structs.astuple(self)
        interval_us, start_us, *prices, count, first, last, _, volume, bought, quote = numbers[len(INDICATORS) :]
        own = (_INTERVALS[interval_us], start_us, *prices, volume, quote, bought, count, first, last)
        return Candle(*numbers[: len(INDICATORS)], *own)


@dataclass(frozen=True, slots=True, eq=False)
class CandleColumns:
    """Some of what candles have, column by column; each a list or an array of their length.

    Attributes:
        interval_us: how long each is.
        start_us: when it begins.
        count: how many trades it has.
        indicators: shape (candles, indicators), these in the order of INDICATORS.

    """

    interval_us: Sequence[int]
    start_us: Sequence[int]
    count: Sequence[int]
    indicators: npt.NDArray[np.float64]


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
