"""Signals as the bytes libsignal wrote, of which arrays are made only when somebody asks for one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from signalsvc.signals import Candle, Signals

_COLUMNS = tuple((field.name, str(field.type)) for field in fields(Signals) if field.name != "candles")
_EMPTY = {"Float64s": np.empty(0, np.float64), "Int64s": np.empty(0, np.int64), "Uint8s": np.empty(0, np.uint8)}
_ROW_BYTES = 8


class PackedSignals(Signals):
    """Signals whose columns lie one after the other in one block, 8 bytes a row; without one that is not worked out.

    For a few trades the arrays would cost more than libsignal: 20 of them take some 5 us. `packed` does without.
    """

    __slots__ = ("_columns",)

    _columns: tuple[bytes | memoryview, int, Mapping[str, int]]  # in one, as putting it into a frozen object is dear

    def __init__(
        self, block: bytes | memoryview, length: int, places: Mapping[str, int], candles: tuple[Candle, ...]
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
            if name in self.__slots__ or name not in Signals.__slots__:
                raise AttributeError(f"{type(self).__name__} has no {name}")
            self._unpack()
            return getattr(self, name)

    def _unpack(self) -> None:
        put = object.__setattr__
        block, length, places = self._columns
        integers = np.ndarray((len(places), length), np.int64, block)
        doubles = integers.view(np.float64)
        for name, kind in _COLUMNS:
            place = places.get(name)
            if place is None:
                put(self, name, _EMPTY[kind])
            elif kind == "Uint8s":
                put(self, name, integers[place].view(np.uint8)[:length])
            else:
                put(self, name, (doubles if kind == "Float64s" else integers)[place])
