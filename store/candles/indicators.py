"""Indicators of a series of candles, gone on with from any candle that has them all. Pure.

The very arithmetic of `libsignal/src/indicators.hpp`, operation by operation, so that the same candles give the same
bits; tests/contract/test_indicators.py holds the two together. store has its own because services import nothing of
each other, and because what it goes on from is a row.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

_SCALE = 1e8
_NO_MOVE = 2.0**-1000
"""What is left of a move so long ago has lost its digits."""


class Indicators(NamedTuple):
    """The indicators right after a candle, NaN until warm; columns of the table, in its order."""

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


@dataclass(frozen=True, slots=True)
class Periods:
    """How many candles the indicators look at; the settings of the same names."""

    rsi_period: int
    atr_period: int
    macd_fast_period: int
    macd_slow_period: int
    macd_signal_period: int
    candle_ema_period: int
    candle_sma_period: int

    @property
    def memory(self) -> int:
        """After so many candles what came before them counts for less than 2^-53 of itself."""
        macd = (self.macd_slow_period + self.macd_signal_period) // 2 + 1
        slowest = max(self.rsi_period, self.atr_period, macd, self.candle_ema_period // 2 + 1)
        return 37 * slowest + self.candle_sma_period


class Series:
    """Indicators of consecutive candles: those of none so far, or `resume` where others have stopped."""

    def __init__(self, periods: Periods) -> None:
        self._slow_first = periods.macd_slow_period - periods.macd_fast_period
        self._gain = _Average(periods.rsi_period, 1 / periods.rsi_period)
        self._loss = _Average(periods.rsi_period, 1 / periods.rsi_period)
        self._range = _Average(periods.atr_period, 1 / periods.atr_period)
        self._fast = _Average(periods.macd_fast_period, 2 / (periods.macd_fast_period + 1))
        self._slow = _Average(periods.macd_slow_period, 2 / (periods.macd_slow_period + 1))
        self._signal = _Average(periods.macd_signal_period, 2 / (periods.macd_signal_period + 1))
        self._exponential = _Average(periods.candle_ema_period, 2 / (periods.candle_ema_period + 1))
        self._closes: deque[int] = deque(maxlen=periods.candle_sma_period)
        self._sum = 0
        self._n = 0
        self._previous_e8 = 0

    def resume(self, closes_e8: Sequence[int], last: Indicators) -> bool:
        """Go on behind a candle that is warm; return whether it is. `closes_e8` are the last ones, up to its own."""
        known = (
            (self._gain, last.average_gain),
            (self._loss, last.average_loss),
            (self._range, last.atr),
            (self._fast, last.macd_fast),
            (self._slow, last.macd_slow),
            (self._signal, last.macd_signal),
            (self._exponential, last.ema),
        )
        if any(math.isnan(value) for _, value in known):
            return False
        for average, value in known:
            average.resume(value)
        self._closes.extend(closes_e8)
        self._sum = sum(self._closes)
        self._n = self._slow_first + 1
        self._previous_e8 = closes_e8[-1]
        return True

    def close(self, high_e8: int, low_e8: int, close_e8: int) -> Indicators:
        """Take in the next candle and return the indicators right after it."""
        close = float(close_e8) / _SCALE
        if self._n:
            change = float(close_e8 - self._previous_e8) / _SCALE
            self._gain.add(change if change > 0 else 0.0)
            self._loss.add(-change if change < 0 else 0.0)
            self._range.add(float(max(high_e8, self._previous_e8) - min(low_e8, self._previous_e8)) / _SCALE)
        # The fast average starts late, so that both know the same candles when the slow one is warm.
        if self._n >= self._slow_first:
            self._fast.add(close)
        self._slow.add(close)
        macd = self._fast.value - self._slow.value
        if not math.isnan(macd):
            self._signal.add(macd)
        self._exponential.add(close)
        if len(self._closes) == self._closes.maxlen:
            self._sum -= self._closes[0]
        self._closes.append(close_e8)
        self._sum += close_e8
        self._previous_e8 = close_e8
        self._n += 1

        gain, loss = self._gain.value, self._loss.value
        return Indicators(
            rsi=0.0 if gain + loss < _NO_MOVE else 100 * (gain / (gain + loss)),
            atr=self._range.value,
            macd=macd,
            macd_signal=self._signal.value,
            macd_histogram=macd - self._signal.value,
            ema=self._exponential.value,
            sma=self._mean(),
            average_gain=gain,
            average_loss=loss,
            macd_fast=self._fast.value,
            macd_slow=self._slow.value,
        )

    def _mean(self) -> float:
        if len(self._closes) != self._closes.maxlen:
            return math.nan
        return self._sum / (len(self._closes) * 10**8)  # of whole numbers: the double nearest to the exact mean


class _Average:
    """Starts as the mean of its first `period` values and is then pulled towards each new one; NaN until then."""

    __slots__ = ("_n", "_period", "_pull", "_sum", "value")

    def __init__(self, period: int, pull: float) -> None:
        self._period = period
        self._pull = pull
        self._n = 0
        self._sum = 0.0
        self.value = math.nan

    def add(self, value: float) -> None:
        if self._pull == 1:  # nothing older is left, not even as a rounding error of what was far larger
            self._n, self.value = self._period, value
            return
        if self._n == self._period:
            self.value += (value - self.value) * self._pull
            return
        self._sum += value
        self._n += 1
        if self._n == self._period:
            self.value = self._sum / self._period

    def resume(self, value: float) -> None:
        self._n = self._period
        self.value = value
