"""The indicators of closed candles without their trades: worked out anew, or gone on with from a stored candle."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from libsignal import declarations as lsig
from libsignal.errors import UnusableCandle, check
from libsignal.loader import LIBRARY
from libsignal.values import Periods
from mesh.values.candles import INDICATORS, Indicators

_CANDLES = np.dtype(lsig.CandleStruct)


@lru_cache(maxsize=16)  # it costs more than what a series of a few candles does
def _config(periods: Periods) -> lsig.Config:
    return lsig.Config(struct_size=ctypes.sizeof(lsig.Config), **asdict(periods))


class CandleSeries:
    """Indicators of consecutive candles of one interval: of none so far, or `resume` where others have stopped."""

    def __init__(self, periods: Periods) -> None:
        """Make a series that has seen no candle.

        Args:
            periods: of the indicators.

        Raises:
            LibraryError: a period is out of range.

        """
        self._handle = ctypes.c_void_p()
        check(LIBRARY.holding_gil.lsig_series_new(_config(periods), self._handle))
        weakref.finalize(self, LIBRARY.holding_gil.lsig_series_free, self._handle)

    def resume(self, last: Indicators, closes_e8: Sequence[int]) -> bool:
        """Go on behind a closed candle, to the bit as if all candles up to it had been seen.

        Args:
            last: the indicators of that candle.
            closes_e8: the closes of the candles up to it, its own as the last one; `candle_sma_period` of them are
                needed for the `sma` of the next one.

        Returns:
            whether the candle is warm; where it is not, the series is as it was.

        Raises:
            LibraryError: no closes, or one that is not above zero.

        """
        candle = lsig.CandleStruct(**{name: getattr(last, name) for name in INDICATORS})
        closes = np.array(closes_e8, np.int64)
        code = LIBRARY.holding_gil.lsig_series_resume(self._handle, candle, closes.ctypes.data, len(closes))
        if code != lsig.E_NOT_WARM:
            check(code)
        return bool(code == lsig.OK)

    def close(self, high_e8: Sequence[int], low_e8: Sequence[int], close_e8: Sequence[int]) -> list[Indicators]:
        """Take in the next candles, prices in columns, and return the indicators right after each of them.

        Args:
            high_e8: the highest price of each, scaled by 1e8.
            low_e8: the lowest.
            close_e8: the last.

        Raises:
            UnusableCandle: prices that are not 0 < low <= close <= high; nothing has changed.

        """
        candles = _with_prices(high_e8, low_e8, close_e8)
        row = ctypes.c_size_t()
        code = LIBRARY.releasing_gil.lsig_series_close(self._handle, candles.ctypes.data, len(candles), row)
        _check_closed(code, candles, row.value)
        return list(map(Indicators, *(candles[name].tolist() for name in INDICATORS)))


def close_each(
    periods: Periods,
    counts: Sequence[int],
    high_e8: npt.NDArray[np.int64],
    low_e8: npt.NDArray[np.int64],
    close_e8: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Return the indicators right after each candle of several series, each of which begins here.

    They are those of `CandleSeries.close`, without an object for each series and each candle: where 300 series have a
    few candles each, that takes a tenth of the time.

    Args:
        periods: of the indicators.
        counts: how many candles each series has.
        high_e8: the highest prices, scaled by 1e8, of the candles of all series behind each other.
        low_e8: the lowest.
        close_e8: the last.

    Returns:
        shape (candles, indicators), these in the order of INDICATORS.

    Raises:
        UnusableCandle: prices that are not 0 < low <= close <= high.
        LibraryError: a period is out of range.

    """
    candles = _with_prices(high_e8, low_e8, close_e8)
    config, handle, row = _config(periods), ctypes.c_void_p(), ctypes.c_size_t()
    calls, at, first = LIBRARY.holding_gil, candles.ctypes.data, 0
    for count in counts:
        check(calls.lsig_series_new(config, handle))
        code = calls.lsig_series_close(handle, at + first * _CANDLES.itemsize, count, row)
        calls.lsig_series_free(handle)
        _check_closed(code, candles, first + row.value)
        first += count
    return np.stack([candles[name] for name in INDICATORS], axis=1)


def _with_prices(high_e8: Any, low_e8: Any, close_e8: Any) -> npt.NDArray[Any]:
    candles = np.zeros(len(close_e8), _CANDLES)
    candles["high_e8"], candles["low_e8"], candles["close_e8"] = high_e8, low_e8, close_e8
    return candles


def _check_closed(code: int, candles: npt.NDArray[Any], row: int) -> None:
    """Raise what a code of `lsig_series_close` says of some candles."""
    if code == lsig.E_CANDLE:
        high, low, close = (candles[name][row] for name in ("high_e8", "low_e8", "close_e8"))
        found = f"high {high}, low {low}, close {close} (each times 1e8) at row {row}"
        raise UnusableCandle(f"a candle's prices are {found}, expected 0 < low <= close <= high")
    check(code)
