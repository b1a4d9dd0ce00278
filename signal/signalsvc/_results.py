"""Where libsignal writes: memory for the signals, room for candles, and values made of its structs."""

from __future__ import annotations

import ctypes
import struct
from dataclasses import fields
from typing import Any

import numpy as np

from signalsvc import _libsignal as lsig
from signalsvc._packed import PackedSignals
from signalsvc.signals import Candle, Groups, Signals, Summary


class Results:
    """Where signals are written: 8 bytes a row for each of them, all in one block, so that copying them is one copy."""

    __slots__ = ("_block", "_places")

    def __init__(self, groups: Groups, capacity: int) -> None:
        columns = (field.name for field in fields(Signals) if field.name != "candles")
        wanted = [name for name in columns if lsig.OUTPUT_GROUPS[name] & groups]
        self._places = {name: place for place, name in enumerate(wanted)}
        self._block = np.zeros((len(wanted), capacity), np.int64)

    def bind(self, columns: lsig.Columns) -> None:
        """Set the addresses of the outputs."""
        for name, place in self._places.items():
            setattr(columns, name, self._block[place].ctypes.data)

    def copy(self, n: int, candles: tuple[Candle, ...]) -> PackedSignals:
        """Return the first `n` rows in memory of their own."""
        return PackedSignals(self._block[:, :n].tobytes(), n, self._places, candles)

    def signals(self, candles: tuple[Candle, ...]) -> PackedSignals:
        """Return all rows where they are: what is written later will be seen."""
        return PackedSignals(self._block.data.cast("B"), self._block.shape[1], self._places, candles)


class ClosedCandles:
    """Room for the candles one call closes; it grows to what a call turns out to need."""

    __slots__ = ("_bytes", "_room", "wanted")

    def __init__(self, groups: Groups) -> None:
        self.wanted = Groups.CANDLES in groups
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

    def taken(self, count: int) -> tuple[Candle, ...]:
        """Return the candles the last call has closed."""
        return tuple(map(_candle_of, _CANDLE.iter_unpack(self._bytes[: count * _CANDLE.size])))

    def _make_room(self, capacity: int) -> None:
        self._room = (lsig.Candle * capacity)()
        self._bytes = memoryview(self._room).cast("B")


_CANDLE = struct.Struct(
    "@"
    + "".join(
        f"{kind._length_}Q" if issubclass(kind, ctypes.Array) else {ctypes.c_int64: "q", ctypes.c_double: "d"}[kind]
        for _, kind, *_ in lsig.Candle._fields_
    )
)
"""All numbers of one struct in one step, words of 64 bits; field by field ctypes takes eight times as long."""


def _candle_of(words: tuple[Any, ...]) -> Candle:
    volume, volume_high, bought, bought_high, quote, quote_middle, quote_high = words[10:17]
    sums = (
        volume | volume_high << 64,
        bought | bought_high << 64,
        quote | quote_middle << 64 | quote_high << 128,
    )
    return Candle(*words[:10] + sums + words[17:])


def candle_of(found: lsig.Candle) -> Candle:
    """Return a candle of libsignal's as a value."""
    return _candle_of(_CANDLE.unpack(found))


def summary_of(found: lsig.Summary) -> Summary:
    """Return a summary of libsignal's as a value."""
    values: dict[str, Any] = {field.name: getattr(found, field.name) for field in fields(Summary)}
    low, high = values["session_volume_e8"]
    values["session_volume_e8"] = low | high << 64
    return Summary(**values)
