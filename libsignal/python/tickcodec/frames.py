"""The venue's frames -> messages of the bus, for trades as they are nearly always written."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator, Sequence
from ctypes import POINTER, addressof, c_char_p, c_int64, c_size_t, c_void_p
from functools import lru_cache
from typing import Any, ClassVar

import msgspec

from mesh.values.symbols import parse_symbol
from tickcodec.library import FRAME_BYTES, LIBRARY

MAX_GROUPS = 1024
"""Symbols of frames that are read together, at most."""


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


class ReadTrades(msgspec.Struct, gc=False):
    """Trades of one symbol, in the order of the frames, for a message of the bus, and what is asked of them first.

    Attributes:
        symbol: in lower case.
        received_time_us: when the first frame came, in microseconds since 1970.
        batch: a `tickmesh.v1.TradeBatches` with one batch, that of all of them: such may stand behind each other.
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
    batch: bytes
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


class ReadBatches(msgspec.Struct, gc=False):
    """Trades that came together, by symbol, in the order in which symbols come first.

    Attributes:
        received_time_us: when the first frame came, in microseconds since 1970.
        batches: a serialized `tickmesh.v1.TradeBatches` with one batch for each symbol.
        groups: a `tickcodec_group` for each.

    """

    received_time_us: int
    batches: bytes
    groups: bytes

    def __len__(self) -> int:
        return len(self.groups) // _GROUP.size

    def __iter__(self) -> Iterator[ReadTrades]:
        return map(self.of, range(len(self)))

    def of(self, number: int) -> ReadTrades:
        """Return the trades of one symbol; 0 is the first one."""
        name, length, at, size, *numbers = _GROUP.unpack_from(self.groups, _GROUP.size * number)
        symbol, batch = _symbol(self.batches[name : name + length]), self.batches[at : at + size]
        return ReadTrades(symbol, self.received_time_us, batch, *numbers)


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
        self._groups = (_Group * MAX_GROUPS)()
        self._others = (c_int64 * max_frames)()
        self._call = _Frames(
            struct_size=ctypes.sizeof(_Frames),
            max_frames=max_frames,
            max_groups=MAX_GROUPS,
            max_id=max_id,
            venue=venue.encode(),
            venue_size=len(venue.encode()),
            out=addressof(self._out),
            groups=self._groups,
            others=self._others,
        )
        # A struct's members, and what it points to, are read three times as fast past ctypes.
        self._call_bytes, self._groups_bytes, self._out_bytes = (
            memoryview(memory).cast("B") for memory in (self._call, self._groups, self._out)
        )
        self._address = addressof(self._call)

    def read(self, frames: Sequence[bytes], received_time_us: int) -> tuple[ReadBatches | None, list[int]]:
        """Read the trades among some frames of Binance's combined streams.

        Args:
            frames: in the order in which they came.
            received_time_us: when the first of them came, in microseconds since 1970.

        Returns:
            the trades, None where there are none; and which frames are left: all that are not trades in the one form
            in which they are nearly always written.

        """
        text = b"\n".join(frames)
        self._call.received_time_us = received_time_us
        if _read_frames(self._address, text, len(text), len(frames)):
            return None, list(range(len(frames)))
        group_count, other_count = _COUNTS.unpack_from(self._call_bytes, _COUNTS_AT)
        others = self._others[:other_count] if other_count else []
        if not group_count:
            return None, others
        groups = bytes(self._groups_bytes[: _GROUP.size * group_count])
        at, size = _PLACE.unpack_from(groups, len(groups) - _GROUP.size + _PLACE_AT)
        return ReadBatches(received_time_us, bytes(self._out_bytes[: at + size]), groups), others


@lru_cache(maxsize=4096)
def _symbol(name: bytes) -> str:
    return parse_symbol(name.decode())


_GROUP = struct.Struct("=12q")
_PLACE, _PLACE_AT = struct.Struct("=2q"), _Group.at.offset  # and `size` behind it
_COUNTS, _COUNTS_AT = struct.Struct("@NN"), _Frames.group_count.offset  # and `other_count` behind it
_read_frames = LIBRARY.holding_gil.tickcodec_read_frames
