"""Memory that libsignal reads and writes: trades in columns, signals in one block, room for candles."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from libsignal import declarations as lsig
from libsignal.values import Inputs, SignalCandle, Signals, Summary, Trades
from mesh.values.signals import SIGNALS, SignalGroups

# --- inputs: memory for a few trades, or the caller's own columns in the types libsignal knows ---

_BOOL = np.dtype(np.bool_)


def input_memory(capacity: int) -> Inputs:
    """Return memory for so many trades."""
    return Inputs(
        trade_id=np.empty(capacity, np.int64),
        price_e8=np.empty(capacity, np.int64),
        quantity_e8=np.empty(capacity, np.int64),
        time_us=np.empty(capacity, np.int64),
        is_buyer_maker=np.empty(capacity, np.uint8),
    )


def fill(inputs: Inputs, trades: Trades, n: int) -> None:
    """Copy `n` trades. Raises: ValueError for a shape, TypeError for a dtype; as `SignalState.process`."""
    _copy("trade_id", trades.trade_id, inputs.trade_id, n)
    _copy("price_e8", trades.price_e8, inputs.price_e8, n)
    _copy("quantity_e8", trades.quantity_e8, inputs.quantity_e8, n)
    _copy("time_us", trades.time_us, inputs.time_us, n)
    _copy("is_buyer_maker", trades.is_buyer_maker, inputs.is_buyer_maker, n)


def in_place(trades: Trades, n: int) -> Inputs:
    """Return the trades where they are, as far as their columns are what libsignal reads. Raises: as `fill`."""
    return Inputs(
        trade_id=_contiguous("trade_id", trades.trade_id, np.int64, n),
        price_e8=_contiguous("price_e8", trades.price_e8, np.int64, n),
        quantity_e8=_contiguous("quantity_e8", trades.quantity_e8, np.int64, n),
        time_us=_contiguous("time_us", trades.time_us, np.int64, n),
        is_buyer_maker=_contiguous("is_buyer_maker", trades.is_buyer_maker, np.uint8, n),
    )


def bind_inputs(inputs: Inputs, columns: lsig.Columns) -> None:
    """Set the addresses of the inputs."""
    for field in fields(Inputs):
        setattr(columns, field.name, getattr(inputs, field.name).ctypes.data)


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


def _contiguous(name: str, column: npt.NDArray[Any], dtype: type[np.integer[Any]], n: int) -> npt.NDArray[Any]:
    _check_shape(name, column, n)
    _check_type(name, column, np.dtype(dtype))
    return np.ascontiguousarray(column.astype(dtype, copy=False))


def _check_shape(name: str, column: npt.NDArray[Any], n: int) -> None:
    if column.shape != (n,):  # numpy would stretch a column of one, and read one of two dimensions flat
        raise ValueError(f"{name} has shape {column.shape}, expected ({n},) as trade_id has rows")


def _check_type(name: str, column: npt.NDArray[Any], wanted: np.dtype[Any]) -> None:
    # What may not fit would lose something without a word: floats what is behind the point, wide integers their top.
    if not np.can_cast(column.dtype, wanted, "safe"):
        raise TypeError(f"{name} has dtype {column.dtype}, expected {wanted} or one that always fits into it")


# --- outputs ---

DTYPES = {signal.name: signal.dtype for signal in SIGNALS} | {"late_intervals": np.dtype(np.uint8)}
"""The columns of `Signals`, and what each row of them is."""
_ROW_BYTES = 8


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


class Results:
    """Where signals are written: 8 bytes a row for each of them, all in one block, so that copying them is one copy."""

    __slots__ = ("_block", "_places")

    def __init__(self, groups: SignalGroups, capacity: int) -> None:
        wanted = [name for name in DTYPES if lsig.OUTPUT_GROUPS[name] & groups]
        self._places = {name: place for place, name in enumerate(wanted)}
        self._block = np.zeros((len(wanted), capacity), np.int64)

    def bind(self, columns: lsig.Columns) -> None:
        """Set the addresses of the outputs."""
        for name, place in self._places.items():
            setattr(columns, name, self._block[place].ctypes.data)

    def copy(self, n: int, candles: tuple[SignalCandle, ...]) -> PackedSignals:
        """Return the first `n` rows in memory of their own."""
        return PackedSignals(self._block[:, :n].tobytes(), n, self._places, candles)

    def signals(self, candles: tuple[SignalCandle, ...]) -> PackedSignals:
        """Return all rows where they are: what is written later will be seen."""
        return PackedSignals(self._block.data.cast("B"), self._block.shape[1], self._places, candles)


class CandleBuffer:
    """Room for the candles one call closes; it grows to what a call turns out to need."""

    __slots__ = ("_bytes", "_room", "wanted")

    def __init__(self, groups: SignalGroups) -> None:
        self.wanted = SignalGroups.CANDLES in groups
        self._make_room(64)

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
    sums = (
        volume | volume_high << 64,
        bought | bought_high << 64,
        quote | quote_middle << 64 | quote_high << 128,
    )
    return SignalCandle(*words[17:] + words[:10] + sums)


def candle_of(found: lsig.CandleStruct) -> SignalCandle:
    """Return a candle of libsignal's as a value."""
    return _candle_of(_CANDLE.unpack(found))


def summary_of(found: lsig.SummaryStruct) -> Summary:
    """Return a summary of libsignal's as a value."""
    values: dict[str, Any] = {field.name: getattr(found, field.name) for field in fields(Summary)}
    low, high = values["session_volume_e8"]
    values["session_volume_e8"] = low | high << 64
    return Summary(**values)
