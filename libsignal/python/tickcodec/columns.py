"""Trades of the bus -> columns, those of each symbol together, for batches as they nearly always are."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import addressof, c_int64, c_size_t, c_void_p
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mesh.values.trades import Int64s, TradeColumns
from tickcodec.library import LIBRARY

_MAX_GROUPS = 4096
_SLOTS = 4 * _MAX_GROUPS
_GROUP_NUMBERS = 5
"""Of `tickcodec_joined_group`: where its names are, how long, when it was received, its first row, how many rows."""


class CountedTrades(NamedTuple):
    """How much a message holds."""

    batches: int
    rows: int
    """Trades of all batches together."""


class JoinedTrades(NamedTuple):
    """The trades of messages, all of one venue and symbol behind each other, in the order in which these come first."""

    trades: TradeColumns
    """As if one symbol without a name had them all, as early as can be."""
    names: Sequence[bytes]
    """How the first batch of each symbol begins: its venue and symbol."""
    received_time_us: Sequence[int]
    """Of the first batch of each symbol."""
    ends: Int64s
    """Behind the last row of each symbol."""


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
        ("groups", c_void_p),
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
        self._groups = np.zeros((_MAX_GROUPS, _GROUP_NUMBERS), np.int64)
        self._slots = (c_int64 * _SLOTS)()

    def count(self, message: bytes) -> CountedTrades | None:
        """Return how much a message holds; None where it cannot be read here.

        Args:
            message: a serialized `tickmesh.v1.TradeBatches`.

        """
        if _count_trades(message, len(message), self._max_rows, self._batches_at, self._rows_at):
            return None
        return CountedTrades(self._batches.value, self._rows.value)

    def join(self, messages: bytes, counted: CountedTrades) -> JoinedTrades | None:
        """Put the trades of messages into columns, all of one venue and symbol behind each other.

        Args:
            messages: one behind the other, each one that `count` can read.
            counted: what they hold together.

        Returns:
            the trades, and whose rows they are; None where they cannot be read here.

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
            groups=self._groups.ctypes.data,
            max_groups=_MAX_GROUPS,
        )
        if _join_trades(addressof(call)):
            return None
        names_at, names_size, received_time_us, _, rows = self._groups[: call.group_count].T
        names_end = names_at + names_size
        names = [messages[at:end] for at, end in zip(names_at.tolist(), names_end.tolist(), strict=True)]
        trades = TradeColumns("", "", 0, ids, prices, quantities, times, makers)
        return JoinedTrades(trades, names, received_time_us.tolist(), np.cumsum(rows))


_count_trades = LIBRARY.holding_gil.tickcodec_count_trades
_join_trades = LIBRARY.releasing_gil.tickcodec_join_trades
