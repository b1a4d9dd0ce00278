"""libsignal for Python: the signals of one symbol's trades, columns in and columns out.

    state = SignalState(moving_average_window=20)
    signals = state.process(trades)        # mesh.trades.TradeColumns
    signals.moving_average[-1]             # right after the last trade
    saved = state.save()                   # and, maybe in another process:
    state = SignalState.load(saved)

`libsignal/include/libsignal.h` is the manual: units, exactness, threads. The shared library is looked for at
import, see `signalsvc._libsignal.candidates`; an import that finds none names every place.
"""

from __future__ import annotations

import ctypes
import weakref
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

import signalsvc
from mesh.candles import INTERVALS_US
from mesh.errors import LibraryError
from signalsvc import _libsignal as lsig
from signalsvc._results import ClosedCandles, Results, value_of
from signalsvc.signals import Candle, Groups, Inputs, Signals, Summary, Trades

WINDOW_MAX = lsig.WINDOW_MAX

LIBRARY = lsig.load(package_folders=signalsvc.__path__)

# Up to here a call takes some 10 us at most: shorter than waiting for the GIL once it has been given away.
_ROWS_HOLDING_GIL = 256


class RefusedTrade(LibraryError):
    """A trade is not what a trade must be; the state is as it was before the call."""

    def __init__(self, message: str, *, row: int) -> None:
        super().__init__(message)
        self.row = row


class UnusableState(LibraryError):
    """Saved bytes are damaged, foreign, or of another format version."""


_REFUSED_COLUMN = {
    lsig.E_TRADE_ID: "trade_id",
    lsig.E_PRICE: "price_e8",
    lsig.E_QUANTITY: "quantity_e8",
    lsig.E_TIME: "time_us",
    lsig.E_SIDE: "is_buyer_maker",
}
_HIGHEST = {"window": lsig.WINDOW_MAX, "period": lsig.PERIOD_MAX}


class SignalState:
    """The signals of one symbol: feed every trade once, in the order of the venue's ids.

    One thread at a time; different states share nothing. Memory is taken at construction and given back with the
    object.
    """

    def __init__(
        self,
        groups: Groups = Groups.ALL,
        *,
        # Rows of `inputs` and `outputs`
        capacity: int = 4096,
        # Windows, in trades, the newest included
        moving_average_window: int = 20,
        exponential_window: int = 20,
        vwap_window: int = 20,
        deviation_window: int = 20,
        extremes_window: int = 20,
        flow_window: int = 20,
        rate_window: int = 20,
        volatility_window: int = 20,
        # Periods, in closed candles
        rsi_period: int = 14,
        atr_period: int = 14,
        macd_fast_period: int = 12,
        macd_slow_period: int = 26,
        macd_signal_period: int = 9,
        candle_ema_period: int = 20,
        candle_sma_period: int = 20,
        # Up to so many empty intervals in a row become candles
        empty_candles: int = 0,
        # Distance of Bollinger's bands, in standard deviations
        bollinger_width: float = 2.0,
    ) -> None:
        """Make a state that has seen no trade.

        Raises:
            ValueError: a setting is out of range.
        """
        windows_and_periods = {
            "moving_average_window": moving_average_window,
            "exponential_window": exponential_window,
            "vwap_window": vwap_window,
            "deviation_window": deviation_window,
            "extremes_window": extremes_window,
            "flow_window": flow_window,
            "rate_window": rate_window,
            "volatility_window": volatility_window,
            "rsi_period": rsi_period,
            "atr_period": atr_period,
            "macd_fast_period": macd_fast_period,
            "macd_slow_period": macd_slow_period,
            "macd_signal_period": macd_signal_period,
            "candle_ema_period": candle_ema_period,
            "candle_sma_period": candle_sma_period,
        }
        for name, length in windows_and_periods.items():
            _check_setting(name, length, 1, _HIGHEST[name.rpartition("_")[2]])
        _check_setting("macd_fast_period", macd_fast_period, 1, macd_slow_period - 1)
        _check_setting("empty_candles", empty_candles, 0, lsig.EMPTY_MAX)
        _check_setting("groups", groups, 1, Groups.ALL)
        if not 0 < bollinger_width < float("inf"):
            raise ValueError(f"bollinger_width is {bollinger_width}, expected above 0")
        config = lsig.Config(
            struct_size=ctypes.sizeof(lsig.Config),
            signals=groups,
            **windows_and_periods,
            empty_candles=empty_candles,
            bollinger_width=bollinger_width,
        )
        handle = ctypes.c_void_p()
        _check(LIBRARY.holding_gil.lsig_state_new(config, handle))
        self._own(handle, groups, capacity)

    @classmethod
    def load(cls, saved: bytes, *, capacity: int = 4096) -> SignalState:
        """Make a state from what `save` returned: it goes on exactly as the saved one would have.

        Raises:
            UnusableState: the bytes are damaged, foreign, or of another format version.
            ValueError: the capacity is below 1.
        """
        handle = ctypes.c_void_p()
        code = LIBRARY.releasing_gil.lsig_load(saved, len(saved), handle)
        if code in (lsig.E_DAMAGED, lsig.E_FORMAT):
            raise UnusableState(f"{_message(code)}: {len(saved)} bytes")
        _check(code)
        config = lsig.Config(struct_size=ctypes.sizeof(lsig.Config))
        _check(LIBRARY.holding_gil.lsig_get_config(handle, config))
        state = cls.__new__(cls)
        state._own(handle, Groups(config.signals), capacity)
        return state

    def _own(self, handle: ctypes.c_void_p, groups: Groups, capacity: int) -> None:
        weakref.finalize(self, LIBRARY.holding_gil.lsig_state_free, handle)
        _check_setting("capacity", capacity, 1, 2**31)
        self.groups = groups
        self.capacity = capacity
        self._handle = handle
        self._process_holding_gil = LIBRARY.holding_gil.lsig_process
        self._process_releasing_gil = LIBRARY.releasing_gil.lsig_process
        self.inputs = Inputs(
            trade_id=np.empty(capacity, np.int64),
            price_e8=np.empty(capacity, np.int64),
            quantity_e8=np.empty(capacity, np.int64),
            time_us=np.empty(capacity, np.int64),
            is_buyer_maker=np.empty(capacity, np.uint8),
        )
        self._results = Results(groups, capacity)
        self._candles = ClosedCandles(groups)
        self._columns = self._bind(self.inputs, self._results)
        self._columns_address = ctypes.c_void_p(ctypes.addressof(self._columns))
        self.outputs = self._results.signals(())

    def process(self, trades: Trades) -> Signals:
        """Take in some trades, any number of them, and return their signals in arrays of their own.

        Raises:
            RefusedTrade: an id is not above the one before, or a value is out of range; nothing has changed.
            ValueError: the columns are not of one length.
            TypeError: a column holds no integers.
        """
        n = len(trades.trade_id)
        if n > self.capacity:
            return self._process_in_place(trades, n)
        inputs = self.inputs
        _copy(trades.trade_id, inputs.trade_id, n)
        _copy(trades.price_e8, inputs.price_e8, n)
        _copy(trades.quantity_e8, inputs.quantity_e8, n)
        _copy(trades.time_us, inputs.time_us, n)
        _copy(trades.is_buyer_maker, inputs.is_buyer_maker, n)
        candles = self.run(n)
        return self._results.copy(n).signals(candles)

    def run(self, n: int) -> tuple[Candle, ...]:
        """Take in the first `n` rows of `inputs`, write those of `outputs`, return the candles closed: without copies.

        Raises:
            RefusedTrade: as for `process`.
            ValueError: `n` is not in 0..capacity.
        """
        if not 0 <= n <= self.capacity:
            raise ValueError(f"n is {n}, expected 0 to {self.capacity}")
        columns = self._columns
        columns.n = n
        process = self._process_holding_gil if n <= _ROWS_HOLDING_GIL else self._process_releasing_gil
        code = process(self._handle, self._columns_address)
        if code == lsig.E_CAPACITY:
            self._candles.grow(columns)
            code = process(self._handle, self._columns_address)
        if code:
            _refuse(code, self.inputs, columns.error_row)
        return self._candles.taken(columns.candle_count) if self._candles.wanted else ()

    def reset_session(self) -> None:
        """Begin a new session with the next trade; windows and candles go on."""
        _check(LIBRARY.holding_gil.lsig_reset_session(self._handle))

    def summarize(self) -> Summary:
        """Tell where the state stands."""
        found = lsig.Summary(struct_size=ctypes.sizeof(lsig.Summary))
        _check(LIBRARY.holding_gil.lsig_summarize(self._handle, found))
        return value_of(Summary, found)

    def open_candle(self, interval: str) -> Candle | None:
        """Tell the candle of `interval` ("1s" to "1d") that is still open, as it is now; None before the first trade.

        Raises:
            LibraryError: the state works out no candles.
        """
        found = lsig.Candle()
        _check(LIBRARY.holding_gil.lsig_open_candle(self._handle, list(INTERVALS_US).index(interval), found))
        return value_of(Candle, found) if found.count else None

    def save(self) -> bytes:
        """Return the whole state, settings included: the same state gives the same bytes."""
        size = ctypes.c_size_t()
        LIBRARY.holding_gil.lsig_save(self._handle, None, 0, size)
        room = ctypes.create_string_buffer(size.value)
        _check(LIBRARY.releasing_gil.lsig_save(self._handle, room, size.value, size))
        return room.raw

    def _process_in_place(self, trades: Trades, n: int) -> Signals:
        inputs = Inputs(
            trade_id=_contiguous(trades.trade_id, np.int64, n),
            price_e8=_contiguous(trades.price_e8, np.int64, n),
            quantity_e8=_contiguous(trades.quantity_e8, np.int64, n),
            time_us=_contiguous(trades.time_us, np.int64, n),
            is_buyer_maker=_contiguous(trades.is_buyer_maker, np.uint8, n),
        )
        results = Results(self.groups, n)
        columns = self._bind(inputs, results)
        columns.n = n
        code = self._process_releasing_gil(self._handle, ctypes.addressof(columns))
        if code == lsig.E_CAPACITY:
            self._candles.grow(columns)
            self._candles.bind(self._columns)
            code = self._process_releasing_gil(self._handle, ctypes.addressof(columns))
        if code:
            _refuse(code, inputs, columns.error_row)
        return results.signals(self._candles.taken(columns.candle_count))

    def _bind(self, inputs: Inputs, results: Results) -> lsig.Columns:
        columns = lsig.Columns(struct_size=ctypes.sizeof(lsig.Columns))
        for field in fields(Inputs):
            setattr(columns, field.name, getattr(inputs, field.name).ctypes.data)
        results.bind(columns)
        self._candles.bind(columns)
        return columns


def _copy(column: npt.NDArray[Any], to: npt.NDArray[Any], n: int) -> None:
    if column.shape != (n,):  # numpy would stretch a column of one
        raise ValueError(f"a column has shape {column.shape}, expected ({n},) as trade_id")
    np.copyto(to[:n], column)  # refuses floats, which would lose what is behind the point


def _contiguous(column: npt.NDArray[Any], dtype: type[np.integer[Any]], n: int) -> npt.NDArray[Any]:
    if column.shape != (n,):
        raise ValueError(f"a column has shape {column.shape}, expected ({n},) as trade_id")
    return np.ascontiguousarray(column.astype(dtype, casting="same_kind", copy=False))


def _check_setting(name: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise ValueError(f"{name} is {value}, expected {lowest} to {highest}")


def _refuse(code: int, inputs: Inputs, row: int) -> None:
    name = _REFUSED_COLUMN.get(code)
    if name is None:
        _check(code)
    else:
        found, trade_id = getattr(inputs, name)[row], inputs.trade_id[row]
        raise RefusedTrade(f"{_message(code)}: found {found} at row {row}, trade {trade_id}", row=row)


def _check(code: int) -> None:
    if code == lsig.E_MEMORY:
        raise MemoryError(_message(code))
    if code:
        raise LibraryError(_message(code))


def _message(code: int) -> str:
    return str(LIBRARY.holding_gil.lsig_error_message(code).decode())
