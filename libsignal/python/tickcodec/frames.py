"""The venue's frames -> messages of the bus, for trades as they are nearly always written."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from ctypes import POINTER, addressof, c_char_p, c_int64, c_size_t, c_ubyte, c_void_p, string_at
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from mesh.values.symbols import parse_symbol
from tickcodec.library import FRAME_BYTES, LIBRARY

_MAX_GROUPS = 1024


class _Group(ctypes.Structure):
    """`tickcodec_group`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = tuple(
        (name, c_int64)
        for name in (
            *("name_at", "name_size", "at", "size", "rows", "first_id", "last_id", "highest_id"),
            *("is_consecutive", "earliest_us", "latest_us", "last_us"),
        )
    )


class _Frames(ctypes.Structure):
    """`tickcodec_frames`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("struct_size", c_size_t),
        ("max_frames", c_size_t),
        ("max_groups", c_size_t),
        ("max_id", c_int64),
        ("venue", c_char_p),
        ("venue_size", c_size_t),
        ("received_time_us", c_int64),
        ("out", c_void_p),
        ("groups", POINTER(_Group)),
        ("others", POINTER(c_int64)),
        ("group_count", c_size_t),
        ("other_count", c_size_t),
    )


@dataclass(slots=True)
class ReadTrades:
    """Trades of one symbol, in the order of the frames, as a message of the bus, and what is asked of them first.

    Attributes:
        symbol: in lower case.
        received_time_us: when the first frame came, in microseconds since 1970.
        payload: a `tickmesh.v1.TradeBatch` of all of them.
        rows: how many trades there are.
        first_id: the id of the first one.
        last_id: the id of the last one.
        highest_id: the highest id.
        is_consecutive: whether each id is the one after that before it.
        earliest_us: the lowest of the times, in microseconds since 1970.
        latest_us: the highest.
        last_us: the time of the last one.

    """

    symbol: str
    received_time_us: int
    payload: bytes
    rows: int
    first_id: int
    last_id: int
    highest_id: int
    is_consecutive: bool
    earliest_us: int
    latest_us: int
    last_us: int

    def __len__(self) -> int:
        return self.rows


class FrameReader:
    """Reads frames that came together; not to be called by two threads at once.

    Args:
        venue: the name that trades get, at most 16 letters.
        max_frames: how many frames a call may take.
        max_id: the highest id that a trade may have.

    """

    def __init__(self, venue: str, *, max_frames: int, max_id: int) -> None:
        self.max_frames = max_frames
        self._out = (c_int64 * (FRAME_BYTES // 8 * max_frames))()
        self._groups = (_Group * _MAX_GROUPS)()
        self._others = (c_int64 * max_frames)()
        self._call = _Frames(
            struct_size=ctypes.sizeof(_Frames),
            max_frames=max_frames,
            max_groups=_MAX_GROUPS,
            max_id=max_id,
            venue=venue.encode(),
            venue_size=len(venue.encode()),
            out=addressof(self._out),
            groups=self._groups,
            others=self._others,
        )
        self._groups_bytes = memoryview((c_ubyte * ctypes.sizeof(self._groups)).from_buffer(self._groups))
        self._address = addressof(self._call)
        self._out_address = addressof(self._out)

    def read(self, frames: Sequence[bytes], received_time_us: int) -> tuple[list[ReadTrades], list[int]]:
        """Read the trades among some frames of Binance's combined streams.

        Args:
            frames: in the order in which they came.
            received_time_us: when the first of them came, in microseconds since 1970.

        Returns:
            the trades by symbol, in the order in which symbols come first; and which frames are left: all that are
            not trades in the one form in which they are nearly always written.

        """
        text, call = b"\n".join(frames), self._call
        call.received_time_us = received_time_us
        if _read_frames(self._address, text, len(text), len(frames)):
            return [], list(range(len(frames)))
        groups = list(_GROUP.iter_unpack(self._groups_bytes[: _GROUP.size * call.group_count]))
        if not groups:
            return [], self._others[: call.other_count]
        written = string_at(self._out_address, groups[-1][2] + groups[-1][3])  # they stand one behind the other
        trades = [
            ReadTrades(
                _symbol(text[name_at : name_at + name_size]), received_time_us, written[at : at + size], *numbers
            )
            for name_at, name_size, at, size, *numbers in groups
        ]
        return trades, self._others[: call.other_count]


@lru_cache(maxsize=4096)
def _symbol(name: bytes) -> str:
    return parse_symbol(name.decode())


_GROUP = struct.Struct("=12q")
_read_frames = LIBRARY.holding_gil.tickcodec_read_frames
