"""Candles as values: the trades of one interval of time, closed."""

from __future__ import annotations

import re
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

MAX_PARTS = 86_400
"""Stored candles that a candle may consist of."""
_UNITS_US = {"s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86_400 * 10**6, "w": 7 * 86_400 * 10**6}
_INTERVAL = re.compile(r"([1-9][0-9]{0,8})([smhdw])")
_MONDAY_US = -3 * 86_400 * 10**6


@dataclass(frozen=True, slots=True)
class CandleInterval:
    """The length of candles: a stored interval or a multiple of one.

    Attributes:
        name: such as `3m`.
        length_us: in microseconds.
        part: the longest stored interval that divides it; `name` itself where that is stored.
        origin_us: where one of them begins, in microseconds since 1970 UTC.

    """

    name: str
    length_us: int
    part: str
    origin_us: int

    @property
    def parts(self) -> int:
        """How many stored candles make one."""
        return self.length_us // INTERVALS_US[self.part]

    def floor(self, time_us: int) -> int:
        """Return when the candle that holds a time begins, in microseconds since 1970 UTC."""
        return time_us - (time_us - self.origin_us) % self.length_us

    def ceil(self, time_us: int) -> int:
        """Return when the first candle that does not begin before a time begins."""
        return time_us + (self.origin_us - time_us) % self.length_us


def parse_interval(name: str, *, max_parts: int = MAX_PARTS) -> CandleInterval:
    """Return the interval with a name; one that is as long as a stored one is that one.

    Args:
        name: a number and `s`, `m`, `h`, `d` or `w`.
        max_parts: so many stored candles it may take.

    Raises:
        ValueError: it is none, or takes too many stored candles.

    """
    if not (found := _INTERVAL.fullmatch(name)):
        raise ValueError(f"{name[:20]!r}, expected a number and s, m, h, d or w, such as 1m, 3m or 1w")
    number, unit = found.groups()
    length_us = int(number) * _UNITS_US[unit]
    part = next(each for each, part_us in reversed(INTERVALS_US.items()) if length_us % part_us == 0)
    interval = CandleInterval(name, length_us, part, _MONDAY_US if unit == "w" else 0)
    if interval.parts > max_parts:
        raise ValueError(f"{name!r}, which takes {interval.parts} candles of {part}, expected at most {max_parts}")
    return CandleInterval(part, length_us, part, 0) if length_us == INTERVALS_US[part] else interval


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
