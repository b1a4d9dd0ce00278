"""libsignal for Python: the signals of one symbol's trades, columns in and columns out.

    state = SignalState(moving_average_window=20)
    signals = state.process(trades)        # mesh.trades.TradeColumns
    signals.moving_average[-1]             # right after the last trade

`libsignal/include/libsignal.h` is the manual: units, exactness, threads. The shared library is looked for at
import, see `signalsvc._libsignal.candidates`; an import that finds none names every place.
"""

from __future__ import annotations

import ctypes
import weakref
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

import signalsvc
from mesh.errors import LibraryError
from mesh.trades import Float64s, Int64s
from signalsvc import _libsignal as lsig

WINDOW_DEFAULT = lsig.WINDOW_DEFAULT
WINDOW_MAX = lsig.WINDOW_MAX

LIBRARY = lsig.load(package_folders=signalsvc.__path__)

# Up to here a call takes less than some 10 us: shorter than waiting for the GIL once it has been given away.
_ROWS_HOLDING_GIL = 256


class Trades(Protocol):
    """Consecutive trades of one symbol, every array of shape (n,): `mesh.trades.TradeColumns` is one."""

    @property
    def trade_id(self) -> Int64s: ...
    @property
    def price_e8(self) -> Int64s: ...
    @property
    def quantity_e8(self) -> Int64s: ...
    @property
    def time_us(self) -> Int64s: ...
    @property
    def is_buyer_maker(self) -> npt.NDArray[np.bool_] | npt.NDArray[np.uint8]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Where `SignalState.run` finds its trades: arrays of shape (capacity,), to be written in place."""

    trade_id: Int64s
    price_e8: Int64s
    quantity_e8: Int64s
    time_us: Int64s
    is_buyer_maker: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """The signals right after each trade; every array has one row per trade. The header says what each one is."""

    moving_average: Float64s
    session_volume: Float64s
    window_high_e8: Int64s
    window_low_e8: Int64s
    session_high_e8: Int64s
    session_low_e8: Int64s
    session_count: Int64s


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


class RefusedTrade(LibraryError):  # noqa: N818 - named for what it tells
    """A trade is not what a trade must be; the state is as it was before the call."""

    def __init__(self, message: str, *, row: int) -> None:
        super().__init__(message)
        self.row = row


_INPUTS = tuple(field.name for field in fields(Inputs))
_OUTPUTS = tuple(field.name for field in fields(Signals))
_FLOATS = tuple(name for name in _OUTPUTS if lsig.COLUMN_TYPES[name] is ctypes.c_double)
_INTEGERS = tuple(name for name in _OUTPUTS if lsig.COLUMN_TYPES[name] is ctypes.c_int64)
assert _FLOATS + _INTEGERS == _OUTPUTS, "Signals names its doubles first: results are copied out in two blocks"

_REFUSED_COLUMN = {
    lsig.E_TRADE_ID: "trade_id",
    lsig.E_PRICE: "price_e8",
    lsig.E_QUANTITY: "quantity_e8",
    lsig.E_TIME: "time_us",
    lsig.E_SIDE: "is_buyer_maker",
}


class SignalState:
    """The signals of one symbol: feed every trade once, in the order of the venue's ids.

    One thread at a time; different states share nothing. Memory is taken at construction and given back with the
    object.
    """

    def __init__(
        self,
        *,
        # Windows, in trades, the newest included
        moving_average_window: int = WINDOW_DEFAULT,
        extremes_window: int = WINDOW_DEFAULT,
        # Rows of `inputs` and `outputs`
        capacity: int = 4096,
    ) -> None:
        """Make a state that has seen no trade.

        Raises:
            ValueError: a window is not in 1..WINDOW_MAX, or the capacity is below 1.
        """
        windows = {"moving_average_window": moving_average_window, "extremes_window": extremes_window}
        for name, window in windows.items():
            if not 1 <= window <= WINDOW_MAX:
                raise ValueError(f"{name} is {window}, expected 1 to {WINDOW_MAX}")
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}, expected at least 1")
        handle = ctypes.c_void_p()
        config = lsig.Config(struct_size=ctypes.sizeof(lsig.Config), **windows)
        _check(LIBRARY.holding_gil.lsig_state_new(config, handle))
        self._handle = handle
        weakref.finalize(self, LIBRARY.holding_gil.lsig_state_free, handle)

        self._process_holding_gil = LIBRARY.holding_gil.lsig_process
        self._process_releasing_gil = LIBRARY.releasing_gil.lsig_process
        self._floats = np.empty((len(_FLOATS), capacity), np.float64)
        self._integers = np.empty((len(_INTEGERS), capacity), np.int64)
        self.capacity = capacity
        self.inputs = Inputs(
            trade_id=np.empty(capacity, np.int64),
            price_e8=np.empty(capacity, np.int64),
            quantity_e8=np.empty(capacity, np.int64),
            time_us=np.empty(capacity, np.int64),
            is_buyer_maker=np.empty(capacity, np.uint8),
        )
        self.outputs = Signals(*self._floats, *self._integers)
        self._columns = _bind(self.inputs, self.outputs)
        self._columns_pointer = ctypes.pointer(self._columns)

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
        self.run(n)
        return Signals(*self._floats[:, :n].copy(), *self._integers[:, :n].copy())

    def run(self, n: int) -> None:
        """Take in the first `n` rows of `inputs` and write those of `outputs`: the way without copies.

        Raises:
            RefusedTrade: as for `process`.
            ValueError: `n` is not in 0..capacity.
        """
        if not 0 <= n <= self.capacity:
            raise ValueError(f"n is {n}, expected 0 to {self.capacity}")
        columns = self._columns
        columns.n = n
        process = self._process_holding_gil if n <= _ROWS_HOLDING_GIL else self._process_releasing_gil
        code = process(self._handle, self._columns_pointer)
        if code:
            _refuse(code, self.inputs, columns.error_row)

    def reset_session(self) -> None:
        """Begin a new session with the next trade; windows go on."""
        _check(LIBRARY.holding_gil.lsig_reset_session(self._handle))

    def summarize(self) -> Summary:
        """Tell where the state stands."""
        found = lsig.Summary(struct_size=ctypes.sizeof(lsig.Summary))
        _check(LIBRARY.holding_gil.lsig_summarize(self._handle, found))
        low, high = found.session_volume_e8
        plain = {field.name: getattr(found, field.name) for field in fields(Summary)}
        return Summary(**(plain | {"session_volume_e8": high << 64 | low}))

    def _process_in_place(self, trades: Trades, n: int) -> Signals:
        inputs = Inputs(
            trade_id=_contiguous(trades.trade_id, np.int64, n),
            price_e8=_contiguous(trades.price_e8, np.int64, n),
            quantity_e8=_contiguous(trades.quantity_e8, np.int64, n),
            time_us=_contiguous(trades.time_us, np.int64, n),
            is_buyer_maker=_contiguous(trades.is_buyer_maker, np.uint8, n),
        )
        outputs = Signals(*np.empty((len(_FLOATS), n), np.float64), *np.empty((len(_INTEGERS), n), np.int64))
        columns = _bind(inputs, outputs)
        columns.n = n
        code = self._process_releasing_gil(self._handle, ctypes.byref(columns))
        if code:
            _refuse(code, inputs, columns.error_row)
        return outputs


def _bind(inputs: Inputs, outputs: Signals) -> lsig.Columns:
    columns = lsig.Columns(struct_size=ctypes.sizeof(lsig.Columns))
    for names, arrays in ((_INPUTS, inputs), (_OUTPUTS, outputs)):
        for name in names:
            setattr(columns, name, getattr(arrays, name).ctypes.data)
    return columns


def _copy(column: npt.NDArray[Any], to: npt.NDArray[Any], n: int) -> None:
    if column.shape != (n,):  # numpy would stretch a column of one
        raise ValueError(f"a column has shape {column.shape}, expected ({n},) as trade_id")
    np.copyto(to[:n], column)  # refuses floats, which would lose what is behind the point


def _contiguous(column: npt.NDArray[Any], dtype: type[np.integer[Any]], n: int) -> npt.NDArray[Any]:
    if column.shape != (n,):
        raise ValueError(f"a column has shape {column.shape}, expected ({n},) as trade_id")
    return np.ascontiguousarray(column.astype(dtype, casting="same_kind", copy=False))


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
