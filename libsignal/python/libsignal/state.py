"""The signals of one symbol's trades: a state of libsignal's, with columns in and columns out."""

from __future__ import annotations

import ctypes
import weakref

from libsignal import declarations as lsig
from libsignal.columns import (
    CandleBuffer,
    PackedSignals,
    Results,
    bind_inputs,
    candle_of,
    fill,
    in_place,
    input_memory,
    summary_of,
)
from libsignal.errors import check, refuse
from libsignal.loader import LIBRARY
from libsignal.values import Inputs, SignalCandle, Summary, Trades
from mesh.values.candles import INTERVALS_US
from mesh.values.signals import SignalGroups

# Up to here a call takes some 10 us at most: shorter than waiting for the GIL once it has been given away.
_ROWS_HOLDING_GIL = 256

_HIGHEST = {"window": lsig.WINDOW_MAX, "period": lsig.PERIOD_MAX}


class SignalState:
    """The signals of one symbol: feed every trade once, in the order of the venue's ids.

    One thread at a time; different states share nothing. Memory is taken at construction and given back with the
    object.
    """

    def __init__(
        self,
        groups: SignalGroups = SignalGroups.ALL,
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
        _check_setting("groups", groups, 1, SignalGroups.ALL)
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
        check(LIBRARY.holding_gil.lsig_state_new(config, handle))
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
        check(code, f"{len(saved)} bytes")
        config = lsig.Config(struct_size=ctypes.sizeof(lsig.Config))
        check(LIBRARY.holding_gil.lsig_get_config(handle, config))
        state = cls.__new__(cls)
        state._own(handle, SignalGroups(config.signals), capacity)
        return state

    def _own(self, handle: ctypes.c_void_p, groups: SignalGroups, capacity: int) -> None:
        weakref.finalize(self, LIBRARY.holding_gil.lsig_state_free, handle)
        _check_setting("capacity", capacity, 1, 2**31)
        self.groups = groups
        self.capacity = capacity
        self._handle = handle
        self.inputs = input_memory(capacity)
        self._results = Results(groups, capacity)
        self._candles = CandleBuffer(groups)
        self._columns = self._bind(self.inputs, self._results)
        self._columns_address = ctypes.c_void_p(ctypes.addressof(self._columns))
        self._set_rows(0)  # `run` changes what is not as it was at the call before
        self.outputs = self._results.signals(())

    def process(self, trades: Trades) -> PackedSignals:
        """Take in some trades, any number of them, and return their signals in memory of their own.

        Raises:
            RefusedTrade: an id is not above the one before, or a value is out of range; nothing has changed.
            ValueError: a column is not of shape (n,), n being the rows of trade_id.
            TypeError: the dtype of a column may not fit into what libsignal reads: int64, and uint8 for is_buyer_maker.
        """
        n = len(trades.trade_id)
        if n > self.capacity:
            return self._process_in_place(trades, n)
        fill(self.inputs, trades, n)
        candles = self.run(n)
        return self._results.copy(n, candles)

    def run(self, n: int) -> tuple[SignalCandle, ...]:
        """Take in the first `n` rows of `inputs`, write those of `outputs`, return the candles closed: without copies.

        Raises:
            RefusedTrade: as for `process`.
            ValueError: `n` is not in 0..capacity.
        """
        if n != self._columns_n:
            self._set_rows(n)
        code = self._process(self._handle, self._columns_address)
        if code:
            self._make_room_or_refuse(code)
        if self._candles.wanted and (closed := self._columns.candle_count):
            return self._candles.taken(closed)
        return ()

    def _set_rows(self, n: int) -> None:
        if not 0 <= n <= self.capacity:
            raise ValueError(f"n is {n}, expected 0 to {self.capacity}")
        face = LIBRARY.holding_gil if n <= _ROWS_HOLDING_GIL else LIBRARY.releasing_gil
        self._process = face.lsig_process
        self._columns.n = self._columns_n = n

    def _make_room_or_refuse(self, code: int) -> None:
        columns = self._columns
        if code == lsig.E_CAPACITY:
            self._candles.grow(columns)
            code = self._process(self._handle, self._columns_address)
        if code:
            refuse(code, self.inputs, columns.error_row)

    def reset_session(self) -> None:
        """Begin a new session with the next trade; windows and candles go on."""
        check(LIBRARY.holding_gil.lsig_reset_session(self._handle))

    def summarize(self) -> Summary:
        """Tell where the state stands."""
        found = lsig.SummaryStruct(struct_size=ctypes.sizeof(lsig.SummaryStruct))
        check(LIBRARY.holding_gil.lsig_summarize(self._handle, found))
        return summary_of(found)

    def open_candle(self, interval: str) -> SignalCandle | None:
        """Tell the candle of `interval` ("1s" to "1d") that is still open, as it is now; None before the first trade.

        Raises:
            LibraryError: the state works out no candles.
        """
        found = lsig.CandleStruct()
        check(LIBRARY.holding_gil.lsig_open_candle(self._handle, list(INTERVALS_US).index(interval), found))
        return candle_of(found) if found.count else None

    def save(self) -> bytes:
        """Return the whole state, settings included: the same state gives the same bytes."""
        size = ctypes.c_size_t()
        LIBRARY.holding_gil.lsig_save(self._handle, None, 0, size)
        room = ctypes.create_string_buffer(size.value)
        check(LIBRARY.releasing_gil.lsig_save(self._handle, room, size.value, size))
        return room.raw

    def _process_in_place(self, trades: Trades, n: int) -> PackedSignals:
        inputs = in_place(trades, n)
        results = Results(self.groups, n)
        columns = self._bind(inputs, results)
        columns.n = n
        process = LIBRARY.releasing_gil.lsig_process
        code = process(self._handle, ctypes.addressof(columns))
        if code == lsig.E_CAPACITY:
            self._candles.grow(columns)
            self._candles.bind(self._columns)
            code = process(self._handle, ctypes.addressof(columns))
        if code:
            refuse(code, inputs, columns.error_row)
        return results.signals(self._candles.taken(columns.candle_count))

    def _bind(self, inputs: Inputs, results: Results) -> lsig.Columns:
        columns = lsig.Columns(struct_size=ctypes.sizeof(lsig.Columns))
        bind_inputs(inputs, columns)
        results.bind(columns)
        self._candles.bind(columns)
        return columns


def _check_setting(name: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise ValueError(f"{name} is {value}, expected {lowest} to {highest}")
