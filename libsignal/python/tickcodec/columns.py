"""Trades of the bus -> columns, those of each symbol together, for batches as they nearly always are."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from ctypes import POINTER, addressof, c_int64, c_size_t, c_ubyte, c_void_p
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mesh.values.trades import TradeColumns
from tickcodec.library import LIBRARY

_MAX_GROUPS = 4096
_SLOTS = 4 * _MAX_GROUPS


class CountedTrades(NamedTuple):
    """How much a message holds."""

    batches: int
    rows: int
    """Trades of all batches together."""


class JoinedGroup(NamedTuple):
    """The trades of one symbol, in the order of the batches."""

    names: bytes
    """How its first batch begins: its venue and symbol."""
    received_time_us: int
    """Of its first batch."""
    first_row: int
    rows: int


class _Group(ctypes.Structure):
    """`tickcodec_joined_group`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = tuple(
        (name, c_int64) for name in ("names_at", "names_size", "received_time_us", "first_row", "rows")
    )


class _Joined(ctypes.Structure):
    """`tickcodec_joined`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("struct_size", c_size_t),
        ("messages", c_void_p),
        ("size", c_size_t),
        ("batches", c_size_t),
        ("rows", c_size_t),
        ("max_rows", c_size_t),
        ("columns", c_void_p * 4),
        ("makers", c_void_p),
        ("group_of_batch", c_void_p),
        ("slots", c_void_p),
        ("slot_count", c_size_t),
        ("groups", POINTER(_Group)),
        ("max_groups", c_size_t),
        ("group_count", c_size_t),
    )


class TradeJoiner:
    """Puts the trades of messages into columns; not to be called by two threads at once.

    Args:
        max_rows: how many trades a batch may have.

    """

    def __init__(self, *, max_rows: int) -> None:
        self._max_rows = max_rows
        self._batches, self._rows = c_size_t(), c_size_t()
        self._batches_at, self._rows_at = addressof(self._batches), addressof(self._rows)
        self._groups = (_Group * _MAX_GROUPS)()
        self._groups_bytes = memoryview((c_ubyte * ctypes.sizeof(self._groups)).from_buffer(self._groups))
        self._slots = (c_int64 * _SLOTS)()

    def count(self, message: bytes) -> CountedTrades | None:
        """Return how much a message holds; None where it cannot be read here.

        Args:
            message: a serialized `tickmesh.v1.TradeBatches`.

        """
        if _count_trades(message, len(message), self._max_rows, self._batches_at, self._rows_at):
            return None
        return CountedTrades(self._batches.value, self._rows.value)

    def join(self, messages: bytes, counted: CountedTrades) -> tuple[TradeColumns, list[JoinedGroup]] | None:
        """Put the trades of messages into columns, all of one venue and symbol behind each other.

        Args:
            messages: one behind the other, each one that `count` can read.
            counted: what they hold together.

        Returns:
            the trades, as if one symbol without a name had them all, as early as can be; and whose rows they are, in
            the order in which symbols come first. None where they cannot be read here.

        """
        ids, prices, quantities, times = np.empty((4, counted.rows), np.int64)
        makers, group_of_batch = np.empty(counted.rows, np.bool_), np.empty(counted.batches, np.int64)
        # As an object of its own: an address in `bytes` is only kept alive by what holds these.
        text = ctypes.c_char_p(messages)
        call = _Joined(
            struct_size=ctypes.sizeof(_Joined),
            messages=ctypes.cast(text, c_void_p),
            size=len(messages),
            batches=counted.batches,
            rows=counted.rows,
            max_rows=self._max_rows,
            columns=(c_void_p * 4)(*(column.ctypes.data for column in (ids, prices, quantities, times))),
            makers=makers.ctypes.data,
            group_of_batch=group_of_batch.ctypes.data,
            slots=addressof(self._slots),
            slot_count=_SLOTS,
            groups=self._groups,
            max_groups=_MAX_GROUPS,
        )
        if _join_trades(addressof(call)):
            return None
        groups = [
            JoinedGroup(messages[at : at + size], *numbers)
            for at, size, *numbers in _GROUP.iter_unpack(self._groups_bytes[: _GROUP.size * call.group_count])
        ]
        return TradeColumns("", "", 0, ids, prices, quantities, times, makers), groups


_GROUP = struct.Struct("=5q")  # tickcodec_joined_group
_count_trades = LIBRARY.holding_gil.tickcodec_count_trades
_join_trades = LIBRARY.releasing_gil.tickcodec_join_trades
