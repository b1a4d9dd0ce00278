"""Where libsignal writes: memory for the signals, room for candles, and values made of its structs."""

from __future__ import annotations

import ctypes
from dataclasses import fields
from typing import Any, TypeVar

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

    __slots__ = ("_room", "wanted")

    def __init__(self, groups: Groups) -> None:
        self.wanted = Groups.CANDLES in groups
        self._room = (lsig.Candle * 64)()

    def bind(self, columns: lsig.Columns) -> None:
        """Set the address and the capacity of the candles."""
        if self.wanted:
            columns.candles = ctypes.addressof(self._room)
            columns.candle_capacity = len(self._room)

    def grow(self, columns: lsig.Columns) -> None:
        """Make the room that a refused call has asked for."""
        self._room = (lsig.Candle * (2 * columns.candle_count))()
        self.bind(columns)

    def taken(self, count: int) -> tuple[Candle, ...]:
        """Return the candles the last call has closed."""
        return tuple([value_of(Candle, self._room[i]) for i in range(count)])


_Value = TypeVar("_Value", Candle, Summary)


def value_of(cls: type[_Value], struct: ctypes.Structure) -> _Value:
    """Return a value with the fields of a struct of libsignal's."""
    found: dict[str, Any] = {field.name: getattr(struct, field.name) for field in fields(cls)}
    for name, number in found.items():
        if isinstance(number, ctypes.Array):  # words, the low one first
            found[name] = sum(word << 64 * k for k, word in enumerate(number))
    return cls(**found)
