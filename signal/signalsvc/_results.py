"""Where libsignal writes: blocks of memory for the signals, room for candles, and values made of its structs."""

from __future__ import annotations

import ctypes
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

from signalsvc import _libsignal as lsig
from signalsvc.signals import Candle, Groups, Signals, Summary, Uint8s

_NO_DOUBLES = np.empty(0, np.float64)
_NO_INTEGERS = np.empty(0, np.int64)


class Results:
    """Where signals are written: one block a type, a row for each signal, so that a copy is three copies."""

    _NAMES = tuple(field.name for field in fields(Signals) if field.name != "candles")
    _DOUBLES = _NAMES[: _NAMES.index("window_high_e8")]
    _INTEGERS = _NAMES[len(_DOUBLES) : -1]

    __slots__ = ("_bytes", "_doubles", "_groups", "_integers")

    def __init__(self, groups: Groups, capacity: int) -> None:
        self._groups = groups
        self._doubles = np.empty((self._wanted(self._DOUBLES).count(True), capacity), np.float64)
        self._integers = np.empty((self._wanted(self._INTEGERS).count(True), capacity), np.int64)
        self._bytes: Uint8s = np.empty(capacity if Groups.CANDLES in groups else 0, np.uint8)

    def _wanted(self, names: tuple[str, ...]) -> list[bool]:
        return [bool(lsig.OUTPUT_GROUPS[name] & self._groups) for name in names]

    def bind(self, columns: lsig.Columns) -> None:
        """Set the addresses of the outputs."""
        signals = self.signals(())
        for name in self._NAMES:
            if lsig.OUTPUT_GROUPS[name] & self._groups:
                setattr(columns, name, getattr(signals, name).ctypes.data)

    def copy(self, n: int) -> Results:
        """Return the first `n` rows in memory of their own."""
        copied = Results.__new__(Results)
        copied._groups = self._groups
        copied._doubles = self._doubles[:, :n].copy()
        copied._integers = self._integers[:, :n].copy()
        copied._bytes = self._bytes[:n].copy()
        return copied

    def signals(self, candles: tuple[Candle, ...]) -> Signals:
        """Return the rows under their names: views, not copies."""
        columns: list[Any] = [*self._doubles, *self._integers]  # Any: of several types, in the order of Signals' fields
        if self._groups is not Groups.ALL:
            there = iter(columns)
            columns = [next(there) if wanted else _NO_DOUBLES for wanted in self._wanted(self._DOUBLES)]
            columns += [next(there) if wanted else _NO_INTEGERS for wanted in self._wanted(self._INTEGERS)]
        columns += [self._bytes, candles]
        return Signals(*columns)


class ClosedCandles:
    """Room for the candles one call closes; it grows to what a call turns out to need."""

    __slots__ = ("_room", "_wanted")

    def __init__(self, groups: Groups) -> None:
        self._wanted = Groups.CANDLES in groups
        self._room = (lsig.Candle * 64)()

    def bind(self, columns: lsig.Columns) -> None:
        """Set the address and the capacity of the candles."""
        if self._wanted:
            columns.candles = ctypes.addressof(self._room)
            columns.candle_capacity = len(self._room)

    def grow(self, columns: lsig.Columns) -> None:
        """Make the room that a refused call has asked for."""
        self._room = (lsig.Candle * (2 * columns.candle_count))()
        self.bind(columns)

    def taken(self, count: int) -> tuple[Candle, ...]:
        """Return the candles the last call has closed."""
        return tuple(value_of(Candle, self._room[i]) for i in range(count))


_Value = TypeVar("_Value", Candle, Summary)


def value_of(cls: type[_Value], struct: ctypes.Structure) -> _Value:
    """Return a value with the fields of a struct of libsignal's."""
    found = {field.name: getattr(struct, field.name) for field in fields(cls)}
    for name, number in found.items():
        if isinstance(number, ctypes.Array):  # words, the low one first
            found[name] = sum(word << 64 * k for k, word in enumerate(number))
    return cls(**found)
