"""The signals of one symbol's trades: a state of libsignal's, with columns in and columns out, and their memory."""

from __future__ import annotations

import ctypes
import struct
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from libsignal import declarations as lsig
from libsignal.errors import check, refuse
from libsignal.loader import LIBRARY
from libsignal.values import CandleColumns, Inputs, SignalCandle, Signals, StateSettings, Summary, Trades
from mesh.values.candles import INDICATORS, INTERVALS_US
from mesh.values.signals import SIGNALS, SignalGroups

# Up to here a call takes some 10 us at most: shorter than waiting for the GIL once it has been given away.
_ROWS_HOLDING_GIL = 256
_BYTES_HOLDING_GIL = 16 * 1024  # of a saved state

_HIGHEST = {
    field.name: {"window": lsig.WINDOW_MAX, "period": lsig.PERIOD_MAX}.get(field.name.rpartition("_")[2], 0)
    for field in fields(StateSettings)
}
"""Every setting, and its highest value where it is a window or a period, else 0."""

# Inputs: memory for a few trades, or the caller's own columns in the types libsignal knows

_BOOL = np.dtype(np.bool_)
_INPUT_DTYPES = {
    field.name: np.dtype(np.uint8 if field.name == "is_buyer_maker" else np.int64) for field in fields(Inputs)
}


def _input_memory(capacity: int) -> Inputs:
    return Inputs(**{name: np.empty(capacity, dtype) for name, dtype in _INPUT_DTYPES.items()})


def _fill(inputs: Inputs, trades: Trades, n: int) -> None:
    _copy("trade_id", trades.trade_id, inputs.trade_id, n)
    _copy("price_e8", trades.price_e8, inputs.price_e8, n)
    _copy("quantity_e8", trades.quantity_e8, inputs.quantity_e8, n)
    _copy("time_us", trades.time_us, inputs.time_us, n)
    _copy("is_buyer_maker", trades.is_buyer_maker, inputs.is_buyer_maker, n)


def _in_place(trades: Trades, n: int) -> Inputs:
    # Where they are, as far as they are what libsignal reads.
    return Inputs(**{name: _contiguous(name, getattr(trades, name), dtype, n) for name, dtype in _INPUT_DTYPES.items()})


def _bind_inputs(inputs: Inputs, columns: lsig.Columns) -> None:
    for name in _INPUT_DTYPES:
        setattr(columns, name, getattr(inputs, name).ctypes.data)


def _copy(name: str, column: npt.NDArray[Any], to: npt.NDArray[Any], n: int) -> None:
    _check_shape(name, column, n)
    # Nearly always there is nothing to refuse, and then np.copyto costs twice as much; a slice, again, for one number.
    if column.dtype is not to.dtype and column.dtype is not _BOOL:
        _check_type(name, column, to.dtype)
        np.copyto(to[:n], column)
    elif n == 1:
        to[0] = column[0]
    else:
        to[:n] = column


def _contiguous(name: str, column: npt.NDArray[Any], dtype: np.dtype[Any], n: int) -> npt.NDArray[Any]:
    _check_shape(name, column, n)
    _check_type(name, column, dtype)
    return np.ascontiguousarray(column.astype(dtype, copy=False))


def _check_shape(name: str, column: npt.NDArray[Any], n: int) -> None:
    if column.shape != (n,):  # numpy would stretch a column of one, and read one of two dimensions flat
        raise ValueError(f"{name} has shape {column.shape}, expected ({n},) as trade_id has rows")


def _check_type(name: str, column: npt.NDArray[Any], wanted: np.dtype[Any]) -> None:
    # What may not fit would lose something without a word: floats what is behind the point, wide integers their top.
    if not np.can_cast(column.dtype, wanted, "safe"):
        raise TypeError(f"{name} has dtype {column.dtype}, expected {wanted} or one that always fits into it")


# Outputs

DTYPES = {signal.name: signal.dtype for signal in SIGNALS} | {"late_intervals": np.dtype(np.uint8)}
"""The columns of `Signals`, and what each row of them is."""
_ROW_BYTES = 8

OUTPUT_OFFSETS: dict[str, int] = {signal.name: getattr(lsig.Columns, signal.name).offset for signal in SIGNALS}
"""Where the address of each signal's column stands in `lsig_columns`, for who calls `lsig_process` from C++."""
INDICATOR_OFFSETS: dict[str, int] = {name: getattr(lsig.CandleStruct, name).offset for name in INDICATORS}
"""Where each indicator stands in `lsig_candle`, likewise."""
PROCESS_ADDRESS = ctypes.cast(LIBRARY.holding_gil.lsig_process, ctypes.c_void_p).value or 0
"""The address of `lsig_process`, likewise."""


class PackedSignals(Signals):
    """Signals whose columns lie one after the other in one block, 8 bytes a row; without one that is not worked out.

    For a few trades the arrays would cost more than libsignal: 20 of them take some 5 us. `packed` does without.
    """

    __slots__ = ("_columns",)

    _columns: tuple[bytes | memoryview, int, Mapping[str, int]]  # in one, as putting it into a frozen object is dear

    def __init__(
        self, block: bytes | memoryview, length: int, places: Mapping[str, int], candles: tuple[SignalCandle, ...]
    ) -> None:
        """Take a block of columns `length` rows long, of which `places` tells the position."""
        object.__setattr__(self, "_columns", (block, length, places))
        object.__setattr__(self, "candles", candles)

    def packed(self, names: Iterable[str]) -> list[bytes]:
        """Return columns of 8 bytes a row as on the wire: packed `double` or `sfixed64`, little-endian.

        Not `late_intervals`: the wire does not know it, and its rows are single bytes.

        Raises:
            KeyError: there is no such column, or the state does not work it out.
        """
        block, length, places = self._columns
        size = _ROW_BYTES * length
        return [bytes(block[(begin := places[name] * size) : begin + size]) for name in names]

    if not TYPE_CHECKING:  # Signals declares the columns; this is for those that are not made yet

        def __getattr__(self, name: str) -> Any:
            if name not in DTYPES:
                raise AttributeError(f"{type(self).__name__} has no {name}")
            self._unpack()
            return getattr(self, name)

    def _unpack(self) -> None:
        put = object.__setattr__
        block, length, places = self._columns
        integers = np.ndarray((len(places), length), np.int64, block)
        doubles = integers.view(np.float64)
        for name, dtype in DTYPES.items():
            place = places.get(name)
            if place is None:
                put(self, name, np.empty(0, dtype))
            elif dtype.itemsize == 1:
                put(self, name, integers[place].view(dtype)[:length])
            else:
                put(self, name, (doubles if dtype.kind == "f" else integers)[place])


class _Results:
    """Where signals are written: 8 bytes a row for each of them, all in one block, so that copying them is one copy."""

    __slots__ = ("_block", "_places")

    def __init__(self, groups: SignalGroups, capacity: int) -> None:
        wanted = [name for name in DTYPES if lsig.OUTPUT_GROUPS[name] & groups]
        self._places = {name: place for place, name in enumerate(wanted)}
        self._block = np.zeros((len(wanted), capacity), np.int64)

    def bind(self, columns: lsig.Columns) -> None:
        """Set the addresses of the outputs."""
        first, row = self._block.ctypes.data, self._block.strides[0]
        for name, place in self._places.items():
            setattr(columns, name, first + row * place)

    def copy(self, n: int, candles: tuple[SignalCandle, ...]) -> PackedSignals:
        """Return the first `n` rows in memory of their own."""
        return PackedSignals(self._block[:, :n].tobytes(), n, self._places, candles)

    def signals(self, candles: tuple[SignalCandle, ...]) -> PackedSignals:
        """Return all rows where they are: what is written later will be seen."""
        return PackedSignals(self._block.data.cast("B"), self._block.shape[1], self._places, candles)


class CandleBuffer:
    """Room for the candles one call closes; it grows to what a call turns out to need."""

    __slots__ = ("_bytes", "_room", "wanted")

    def __init__(self, groups: SignalGroups, *, capacity: int = 64) -> None:
        self.wanted = SignalGroups.CANDLES in groups
        self._make_room(capacity)

    @property
    def place(self) -> tuple[int, int]:
        """The address of the first candle, and for how many there is room; not after `grow`."""
        return ctypes.addressof(self._room), len(self._room)

    def bind(self, columns: lsig.Columns) -> None:
        """Set the address and the capacity of the candles."""
        if self.wanted:
            columns.candles = ctypes.addressof(self._room)
            columns.candle_capacity = len(self._room)

    def grow(self, columns: lsig.Columns) -> None:
        """Make the room that a refused call has asked for."""
        self._make_room(2 * columns.candle_count)
        self.bind(columns)

    def taken(self, count: int) -> tuple[SignalCandle, ...]:
        """Return the candles the last call has closed."""
        return tuple(map(_candle_of, _CANDLE.iter_unpack(self._bytes[: count * _CANDLE.size])))

    def taken_columns(self, count: int) -> CandleColumns:
        """Return what of these candles is asked without an object for each."""
        each = _CANDLE.size // 8
        words = np.frombuffer(self._bytes, np.int64, count * each).reshape(count, each)
        indicators = words[:, -len(INDICATORS) :].copy().view(np.float64)
        return CandleColumns(words[:, 0].tolist(), words[:, 1].tolist(), words[:, 6].tolist(), indicators)

    def _make_room(self, capacity: int) -> None:
        self._room = (lsig.CandleStruct * capacity)()
        self._bytes = memoryview(self._room).cast("B")


_CANDLE = struct.Struct(
    "@"
    + "".join(
        f"{kind._length_}Q" if issubclass(kind, ctypes.Array) else {ctypes.c_int64: "q", ctypes.c_double: "d"}[kind]
        for _, kind, *_ in lsig.CandleStruct._fields_
    )
)
"""All numbers of one struct in one step, words of 64 bits; field by field ctypes takes eight times as long."""


def _candle_of(words: tuple[Any, ...]) -> SignalCandle:
    volume, volume_high, bought, bought_high, quote, quote_middle, quote_high = words[10:17]
    sums = (volume | volume_high << 64, bought | bought_high << 64, quote | quote_middle << 64 | quote_high << 128)
    return SignalCandle(*words[17:] + words[:10] + sums)


def _summary_of(found: lsig.SummaryStruct) -> Summary:
    values: dict[str, Any] = {field.name: getattr(found, field.name) for field in fields(Summary)}
    low, high = values["session_volume_e8"]
    values["session_volume_e8"] = low | high << 64
    return Summary(**values)


# The state


class SignalState:
    """The signals of one symbol: feed every trade once, in the order of the venue's ids.

    One thread at a time; different states share nothing. Memory is taken at construction and given back with the
    object.
    """

    def __init__(self, groups: SignalGroups = SignalGroups.ALL, *, capacity: int = 4096, **settings: float) -> None:
        """Make a state that has seen no trade.

        Args:
            groups: the signals it works out; the others cost nothing.
            capacity: the rows of `inputs` and `outputs`.
            settings: those of `StateSettings` that are not the default.

        Raises:
            ValueError: a setting is out of range.
            TypeError: there is no such setting.

        """
        given = StateSettings(**settings)  # type: ignore[arg-type]  # checked below
        wanted = {name: getattr(given, name) for name in _HIGHEST}
        for name, highest in _HIGHEST.items():
            if highest:
                _check_setting(name, wanted[name], 1, highest)
        _check_setting("macd_fast_period", wanted["macd_fast_period"], 1, wanted["macd_slow_period"] - 1)
        _check_setting("empty_candles", wanted["empty_candles"], 0, lsig.EMPTY_MAX)
        _check_setting("groups", groups, 1, SignalGroups.ALL)
        if not 0 < wanted["bollinger_width"] < float("inf"):
            raise ValueError(f"bollinger_width is {wanted['bollinger_width']}, expected above 0")
        config = lsig.Config(struct_size=ctypes.sizeof(lsig.Config), signals=groups, **wanted)
        handle = ctypes.c_void_p()
        check(LIBRARY.holding_gil.lsig_state_new(config, handle))
        self._own(handle, groups, capacity)

    @classmethod
    def load(cls, saved: bytes, *, capacity: int = 4096) -> SignalState:
        """Make a state from what `save` returned: it goes on exactly as the saved one would have.

        Args:
            saved: the bytes.
            capacity: the rows of `inputs` and `outputs`.

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
        self.inputs = _input_memory(capacity)
        self._results = _Results(groups, capacity)
        self._candles = CandleBuffer(groups)
        self._columns = self._bind(self.inputs, self._results)
        self._columns_address = ctypes.c_void_p(ctypes.addressof(self._columns))
        self._set_rows(0)  # `run` changes what is not as it was at the call before
        self.outputs = self._results.signals(())

    @property
    def address(self) -> int:
        """The address of the `lsig_state`, for who calls `lsig_process` from C++; good as long as this object is."""
        assert self._handle.value is not None
        return self._handle.value

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
        _fill(self.inputs, trades, n)
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
        return _summary_of(found)

    def open_candle(self, interval: str) -> SignalCandle | None:
        """Tell the candle of `interval` ("1s" to "1d") that is still open, as it is now; None before the first trade.

        Raises:
            LibraryError: the state works out no candles.
        """
        found = lsig.CandleStruct()
        check(LIBRARY.holding_gil.lsig_open_candle(self._handle, list(INTERVALS_US).index(interval), found))
        return _candle_of(_CANDLE.unpack(found)) if found.count else None

    def save(self) -> bytes:
        """Return the whole state, settings included: the same state gives the same bytes."""
        size = ctypes.c_size_t()
        LIBRARY.holding_gil.lsig_save(self._handle, None, 0, size)
        room = ctypes.create_string_buffer(size.value)
        face = LIBRARY.holding_gil if size.value <= _BYTES_HOLDING_GIL else LIBRARY.releasing_gil
        check(face.lsig_save(self._handle, room, size.value, size))
        return room.raw

    def _process_in_place(self, trades: Trades, n: int) -> PackedSignals:
        inputs = _in_place(trades, n)
        results = _Results(self.groups, n)
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

    def _bind(self, inputs: Inputs, results: _Results) -> lsig.Columns:
        columns = lsig.Columns(struct_size=ctypes.sizeof(lsig.Columns))
        _bind_inputs(inputs, columns)
        results.bind(columns)
        self._candles.bind(columns)
        return columns


def _check_setting(name: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise ValueError(f"{name} is {value}, expected {lowest} to {highest}")
