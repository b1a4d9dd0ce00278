"""What signal sends -> the messages of `/ws`, each in its WebSocket frame, for batches as they nearly always are."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from ctypes import POINTER, addressof, byref, c_char_p, c_int64, c_size_t, c_void_p, string_at
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, ClassVar, overload

from tickcodec.library import DOUBLE, E8, INTEGER, LIBRARY

__all__ = ["DOUBLE", "E8", "INTEGER", "FoundBatch", "FoundBatches", "Member", "TickFrames", "alone"]

_MAX_BATCHES = 1024
_ROW_BYTES = 1024
"""Room for a row; it usually takes 400."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the JSON: a column of `SignalBatch`.

    Attributes:
        key: what stands before the number: `,"high":`.
        field: the column's number in `SignalBatch`.
        kind: `E8`, `INTEGER` or `DOUBLE`.

    """

    key: str
    field: int
    kind: int


@dataclass(slots=True)
class FoundBatch:
    """A `tickmesh.v1.SignalBatch` in a serialized `WatchResponse`, and what is asked of its trades first.

    Attributes:
        place: which of the batches of the response it is.
        at: where in the response it stands.
        size: its bytes.
        venue: as the batch has it.
        symbol: likewise.
        rows: how many trades there are, at least 1.
        first_id: the id of the first one.
        last_id: the id of the last one.
        last_us: the time of the last one, in microseconds since 1970.

    """

    place: int
    at: int
    size: int
    venue: str
    symbol: str
    rows: int
    first_id: int
    last_id: int
    last_us: int


@dataclass(slots=True)
class FoundBatches(Sequence[FoundBatch]):
    """The batches of a serialized `WatchResponse`, column by column: of 300 symbols nearly each has one trade.

    Attributes:
        at: where each stands in the response.
        sizes: its bytes.
        keys: its venue and symbol.
        rows: how many trades there are, at least 1.
        first_ids: the id of the first one.
        last_ids: the id of the last one.
        last_us: the time of the last one, in microseconds since 1970.

    """

    at: list[int]
    sizes: list[int]
    keys: list[tuple[str, str]]
    rows: list[int]
    first_ids: list[int]
    last_ids: list[int]
    last_us: list[int]

    def __len__(self) -> int:
        return len(self.at)

    @overload
    def __getitem__(self, place: int) -> FoundBatch: ...
    @overload
    def __getitem__(self, place: slice) -> list[FoundBatch]: ...
    def __getitem__(self, place: int | slice) -> FoundBatch | list[FoundBatch]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        numbers = self.rows[place], self.first_ids[place], self.last_ids[place], self.last_us[place]
        return FoundBatch(place % len(self), self.at[place], self.sizes[place], *self.keys[place], *numbers)


class _Member(ctypes.Structure):
    """`tickcodec_member`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("key", c_char_p),
        ("key_size", c_size_t),
        ("field", c_size_t),
        ("kind", c_int64),
    )


class _Ticks(ctypes.Structure):
    """`tickcodec_ticks`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("struct_size", c_size_t),
        ("members", POINTER(_Member)),
        ("member_count", c_size_t),
        ("head", c_char_p),
        ("head_size", c_size_t),
        ("out", c_void_p),
        ("out_size", c_size_t),
        ("written", c_size_t),
        ("tail", c_char_p),
        ("tail_size", c_size_t),
        ("as_list", c_int64),
    )


class TickFrames:
    """Writes the trades of batches as text frames; not to be called by two threads at once.

    Args:
        members: of the JSON, behind the trade's own, in order.
        max_rows: how many trades a call may write.
        tail: what ends a trade.
        as_list: write no frames, so that with `},` for a tail there are items of a list; each trade says its epoch.

    """

    def __init__(self, members: Sequence[Member], *, max_rows: int, tail: bytes = b"}", as_list: bool = False) -> None:
        keys = [member.key.encode() for member in members]
        self._members = (_Member * len(keys))(
            *(_Member(key, len(key), member.field, member.kind) for key, member in zip(keys, members, strict=True))
        )
        self._out = ctypes.create_string_buffer(_ROW_BYTES * max_rows)
        self._ticks = _Ticks(
            struct_size=ctypes.sizeof(_Ticks),
            members=self._members,
            member_count=len(keys),
            out=addressof(self._out),
            out_size=len(self._out),
            tail=tail,
            tail_size=len(tail),
            as_list=as_list,
        )
        self._ticks_at, self._out_at = addressof(self._ticks), addressof(self._out)
        self._batches = ctypes.create_string_buffer(_BATCH_BYTES * _MAX_BATCHES)
        self._numbers = memoryview(self._batches).cast("B").cast("q")
        self._batches_at = addressof(self._batches)
        self._count = c_size_t()
        self._count_at = byref(self._count)

    def find(self, response: bytes) -> Sequence[FoundBatch] | None:
        """Return the batches of a serialized `WatchResponse`; None when it has anything else or cannot be read.

        Several are `FoundBatches`, so that they can be looked at column by column.
        """
        if _find_batches(response, len(response), self._batches_at, _MAX_BATCHES, self._count_at):
            return None
        numbers: list[int] = self._numbers[: _EACH * self._count.value].tolist()
        try:
            if len(numbers) > _EACH:
                return _found(response, numbers)
            return [_found_alone(response, *numbers)] if numbers else []
        except UnicodeDecodeError:
            return None

    def write(self, response: bytes, batch: FoundBatch, head: bytes, *, first: int, rows: int) -> bytes | None:
        """Return some trades, one after the other; None when they cannot be written here.

        Args:
            response: that `find` was given last.
            batch: one that it found.
            head: what stands before a price: `{"symbol":"btcusdt","name":"Bitcoin (BTC)","venue":"sim","price":`.
            first: the first row to write.
            rows: how many, at most `max_rows`.

        """
        ticks = self._ticks
        ticks.head, ticks.head_size = head, len(head)
        if _write_ticks(self._ticks_at, response, self._batches_at + batch.place * _BATCH_BYTES, first, rows):
            return None
        return string_at(self._out_at, ticks.written)

    def write_several(self, response: bytes, places: Sequence[int], heads: Sequence[bytes]) -> bytes | None:
        """Return all trades of some batches, one after the other; None when they cannot be written here.

        Args:
            response: that `find` was given last.
            places: of the batches, at most `max_rows` trades together.
            heads: what stands before a price, of each batch.

        """
        ticks, whole = self._ticks, b"".join(heads)
        ticks.head = whole
        numbers = [0] * (2 * len(places))
        numbers[::2], numbers[1::2] = places, map(len, heads)
        headed = array("q", numbers)
        if _write_batches(self._ticks_at, response, self._batches_at, headed.buffer_info()[0], len(places)):
            return None
        return string_at(self._out_at, ticks.written)


def alone(response: bytes, batch: FoundBatch) -> bytes:
    """Return a serialized `WatchResponse` with nothing but one batch of another one.

    Args:
        response: the other one.
        batch: that was found in it.

    """
    size, varint = batch.size, bytearray()
    while size > 0x7F:
        varint.append(size & 0x7F | 0x80)
        size >>= 7
    varint.append(size)
    return b"\x0a" + varint + response[batch.at : batch.at + batch.size]


def _found_alone(
    response: bytes, at: int, size: int, venue_at: int, venue_size: int, symbol_at: int, symbol_size: int, *others: int
) -> FoundBatch:
    return FoundBatch(0, at, size, *_key(response, venue_at, venue_size, symbol_at, symbol_size), *others)


def _found(response: bytes, numbers: list[int]) -> FoundBatches:
    at, sizes, *names, rows, first_ids, last_ids, last_us = [numbers[column::_EACH] for column in range(_EACH)]
    keys = _usual_keys(response, *names) or list(map(partial(_key, response), *names))
    return FoundBatches(at, sizes, keys, rows, first_ids, last_ids, last_us)


def _usual_keys(
    response: bytes, venues_at: list[int], venue_sizes: list[int], symbols_at: list[int], symbol_sizes: list[int]
) -> list[tuple[str, str]] | None:
    """Return venues and symbols where each symbol follows its venue, as signal writes them; None where one does not."""
    if 0 in venues_at or max(venue_sizes) > _MAX_NAME_BYTES:
        return None
    try:
        # One lookup for both. The length that stands before the venue is in it, so that no two names have the same.
        ends = zip(venues_at, symbols_at, symbol_sizes, strict=True)
        return [_usual_key(response[venue - 1 : symbol + size]) for venue, symbol, size in ends]
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def _usual_key(names: bytes) -> tuple[str, str]:
    venue_end = 1 + names[0] if names else 0
    venue, between, symbol = names[1:venue_end], names[venue_end : venue_end + 2], names[venue_end + 2 :]
    if between != bytes([_SYMBOL_TAG, len(symbol) & 0x7F]) or len(symbol) > _MAX_NAME_BYTES:
        raise ValueError("the symbol does not follow the venue")
    return venue.decode(), symbol.decode()


def _key(response: bytes, venue_at: int, venue_size: int, symbol_at: int, symbol_size: int) -> tuple[str, str]:
    """Return venue and symbol wherever they stand.

    Raises:
        UnicodeDecodeError: one is no text.

    """
    return _text(response[venue_at : venue_at + venue_size]), _text(response[symbol_at : symbol_at + symbol_size])


@lru_cache(maxsize=4096)
def _text(value: bytes) -> str:
    return value.decode()


_MAX_NAME_BYTES = 0x7F  # whose length takes one byte
_SYMBOL_TAG = 0x12
_EACH = 10  # the numbers of a `tickcodec_batch`
_BATCH_BYTES = 8 * _EACH
_find_batches = LIBRARY.holding_gil.tickcodec_find_batches
_write_batches = LIBRARY.holding_gil.tickcodec_write_batches
_write_ticks = LIBRARY.holding_gil.tickcodec_write_ticks
