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
    """Where signals are written: one block a type, a row for each signal worked out, so that a copy is three copies."""

    _NAMES = tuple(field.name for field in fields(Signals) if field.name != "candles")
    _DOUBLES = _NAMES[: _NAMES.index("window_high_e8")]
    _INTEGERS = _NAMES[len(_DOUBLES) : -1]

    __slots__ = ("_bytes", "_doubles", "_integers", "_rows")

    def __init__(self, groups: Groups, capacity: int) -> None:
        wanted = {name for name in self._NAMES if lsig.OUTPUT_GROUPS[name] & groups}
        doubles = [name for name in self._DOUBLES if name in wanted]
        integers = [name for name in self._INTEGERS if name in wanted]
        self._doubles = np.empty((len(doubles), capacity), np.float64)
        self._integers = np.empty((len(integers), capacity), np.int64)
        self._bytes: Uint8s = np.empty(capacity if "late_intervals" in wanted else 0, np.uint8)
        # Which row of both blocks together each signal has, None for those left out; or that all are there, in order.
        rows = [*doubles, *integers]
        places = [rows.index(name) if name in wanted else None for name in (*self._DOUBLES, *self._INTEGERS)]
        self._rows = places if None in places else None

    def bind(self, columns: lsig.Columns) -> None:
        """Set the addresses of the outputs."""
        signals = self.signals(())
        for name in self._NAMES:
            column = getattr(signals, name)
            if len(column):
                setattr(columns, name, column.ctypes.data)

    def copy(self, n: int) -> Results:
        """Return the first `n` rows in memory of their own."""
        copied = Results.__new__(Results)
        copied._rows = self._rows
        copied._doubles = self._doubles[:, :n].copy()
        copied._integers = self._integers[:, :n].copy()
        copied._bytes = self._bytes[:n].copy()
        return copied

    def signals(self, candles: tuple[Candle, ...]) -> Signals:
        """Return the rows under their names: views, not copies."""
        there: list[Any] = [*self._doubles, *self._integers]  # Any: of several types, in the order of Signals' fields
        if self._rows is not None:
            empty = [_NO_DOUBLES] * len(self._DOUBLES) + [_NO_INTEGERS] * len(self._INTEGERS)
            there = [nothing if row is None else there[row] for row, nothing in zip(self._rows, empty, strict=True)]
        there += [self._bytes, candles]
        return Signals(*there)


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
        return tuple([value_of(Candle, self._room[i]) for i in range(count)]) if count else ()


_Value = TypeVar("_Value", Candle, Summary)


def value_of(cls: type[_Value], struct: ctypes.Structure) -> _Value:
    """Return a value with the fields of a struct of libsignal's."""
    found = {field.name: getattr(struct, field.name) for field in fields(cls)}
    for name, number in found.items():
        if isinstance(number, ctypes.Array):  # words, the low one first
            found[name] = sum(word << 64 * k for k, word in enumerate(number))
    return cls(**found)
