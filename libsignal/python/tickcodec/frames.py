"""The venue's frames -> columns, for trades as they are nearly always written; the others are left to the caller."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, addressof, c_int64, c_size_t, c_void_p, string_at
from typing import Any, ClassVar, TypeAlias

import numpy as np

from mesh.values.trades import Bools, Int64s
from tickcodec.library import LIBRARY

_MAX_GROUPS = 1024
_FRAME_BYTES = 88

Columns: TypeAlias = tuple[Int64s, Int64s, Int64s, Int64s, Bools]
"""Trade ids, prices and quantities (scaled by 1e8), times (microseconds since 1970), whether the buyer was the maker;
read-only, of the same length."""


class _Group(ctypes.Structure):
    """`tickcodec_group`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("name_at", c_int64),
        ("name_size", c_int64),
        ("at", c_int64),
        ("rows", c_int64),
    )


class _Frames(ctypes.Structure):
    """`tickcodec_frames`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("struct_size", c_size_t),
        ("max_frames", c_size_t),
        ("max_groups", c_size_t),
        ("max_id", c_int64),
        ("out", c_void_p),
        ("groups", POINTER(_Group)),
        ("others", POINTER(c_int64)),
        ("group_count", c_size_t),
        ("other_count", c_size_t),
    )


class FrameReader:
    """Reads frames that came together; not to be called by two threads at once.

    Args:
        max_frames: how many frames a call may take.
        max_id: the highest id that a trade may have.

    """

    def __init__(self, *, max_frames: int, max_id: int) -> None:
        self.max_frames = max_frames
        self._out = (c_int64 * (_FRAME_BYTES // 8 * max_frames))()
        self._groups = (_Group * _MAX_GROUPS)()
        self._others = (c_int64 * max_frames)()
        self._call = _Frames(
            ctypes.sizeof(_Frames),
            max_frames,
            _MAX_GROUPS,
            max_id,
            addressof(self._out),
            self._groups,
            self._others,
        )
        self._address = addressof(self._call)
        self._out_address = addressof(self._out)

    def read(self, frames: Sequence[bytes]) -> tuple[list[tuple[bytes, Columns]], list[int]]:
        """Read the trades among some frames of Binance's combined streams.

        Args:
            frames: in the order in which they came.

        Returns:
            the trades by symbol, each as the venue writes it, in the order in which symbols come first; and which
            frames are left: all that are not trades in the one form in which they are nearly always written.

        """
        text = b"\n".join(frames)
        if _read_frames(self._address, text, len(text), len(frames)):
            return [], list(range(len(frames)))
        call, trades = self._call, []
        for group in self._groups[: call.group_count]:
            rows, name_at = group.rows, group.name_at
            block = string_at(self._out_address + group.at, 33 * rows)
            ids, prices, quantities, times = np.frombuffer(block, np.int64, 4 * rows).reshape(4, rows)
            columns = (ids, prices, quantities, times, np.frombuffer(block, np.bool_, rows, 32 * rows))
            trades.append((text[name_at : name_at + group.name_size], columns))
        return trades, self._others[: call.other_count]


_read_frames = LIBRARY.holding_gil.tickcodec_read_frames
