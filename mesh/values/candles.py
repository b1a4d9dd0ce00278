"""Candles as values: the trades of one interval of time, closed."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

INTERVALS_US = {
    "1s": 1_000_000,
    "1m": 60_000_000,
    "5m": 300_000_000,
    "15m": 900_000_000,
    "1h": 3_600_000_000,
    "1d": 86_400_000_000,
}
"""Length of each interval, each a multiple of the one before, in libsignal's order: interval number k is the k-th."""


class Indicators(msgspec.Struct, frozen=True):
    """The indicators right after a closed candle, NaN until they are warm: their one declaration in Python.

    Of it are made libsignal's candle for ctypes, and what reads and writes the table of candles. The proto of a candle
    says what each of them means. In the order of `lsig_candle`.
    """

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


INDICATORS = Indicators.__struct_fields__
"""The names of the indicators, in the order of `lsig_candle`."""


class Candle(Indicators, frozen=True):
    """A closed candle with the indicators right after it; sums are exact and of any size.

    `_e16` is scaled by 1e16. The proto of the same name says what each field means.
    """

    interval: str
    time_us: int
    open_e8: int
    high_e8: int
    low_e8: int
    close_e8: int
    volume_e8: int
    quote_volume_e16: int
    taker_buy_volume_e8: int
    count: int
    first_trade_id: int
    last_trade_id: int
    revision: int = 0

    @property
    def end_us(self) -> int:
        """The first microsecond after it."""
        return self.time_us + INTERVALS_US[self.interval]


@dataclass(frozen=True, slots=True)
class ClosedCandles:
    """What a batch of signals says of one symbol's candles: those it closed, and up to where intervals are closed.

    An interval is closed when it ends at or before `reached_us`, the time of a trade that signal has seen.
    """

    venue: str
    symbol: str
    raw_sequence: int
    reached_us: int
    candles: tuple[Candle, ...]
