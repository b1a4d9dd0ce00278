"""Trades as values: one symbol's consecutive trades in columns, and the signals that belong to them.

Hot data are columns (numpy arrays in one frozen holder), not objects. Units as everywhere in the mesh: `_e8` is
scaled by 1e8, `_us` is microseconds since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from mesh.values.candles import Candle
from mesh.values.signals import SIGNAL_NAMES, SignalValues
from mesh.values.signals import Float64s as Float64s  # noqa: PLC0414 - what columns of trades are, for who handles some
from mesh.values.signals import Int64s as Int64s  # noqa: PLC0414

Bools: TypeAlias = npt.NDArray[np.bool_]

MAX_TRADE_ID = 2**62
"""No trade has a higher id: so ids, the one after them, and the width of any range of them fit into 64 bits."""

MAX_TIME_US = 253_402_300_799_999_999
"""The end of the year 9999, where a `Timestamp` and a `datetime` end too."""

_AHEAD_US = 86_400_000_000
_CLOCK_IS_SET_US = 1_735_689_600_000_000  # 2025-01-01
_CLOCK_BEHIND_US = 400 * 86_400_000_000


@dataclass(frozen=True, slots=True, eq=False)
class TradeColumns:
    """Consecutive trades of one symbol, row by row; every array has shape (n,), ids rise."""

    venue: str
    symbol: str
    received_time_us: int
    trade_id: Int64s
    price_e8: Int64s
    quantity_e8: Int64s
    time_us: Int64s
    is_buyer_maker: Bools

    def __len__(self) -> int:
        return len(self.trade_id)

    def rows(self, which: slice | Bools | npt.NDArray[np.intp]) -> TradeColumns:
        """Return some of the rows: a slice gives views, a mask or positions copy."""
        return TradeColumns(
            self.venue,
            self.symbol,
            self.received_time_us,
            self.trade_id[which],
            self.price_e8[which],
            self.quantity_e8[which],
            self.time_us[which],
            self.is_buyer_maker[which],
        )


@dataclass(frozen=True, slots=True, eq=False)
class SignalColumns(SignalValues):
    """Trades with the signals right after each of them; every array has the trades' length.

    `candles` are those these trades closed, in order of time, shorter intervals first.
    """

    trades: TradeColumns
    raw_sequence: int
    candles: tuple[Candle, ...]

    def packed(self, names: Iterable[str]) -> list[bytes]:
        """Return signals' columns as they are on the wire: `double` or `sfixed64`, little-endian.

        Args:
            names: of the columns wanted, as in SIGNAL_NAMES.

        """
        columns: list[npt.NDArray[Any]] = [getattr(self, name) for name in names]
        return [column.astype(column.dtype.newbyteorder("<"), copy=False).tobytes() for column in columns]

    def rows(self, which: slice, candles: tuple[Candle, ...] = ()) -> SignalColumns:
        """Return some of the rows, as views, with other candles: which rows closed which, the caller knows.

        Args:
            which: the rows wanted.
            candles: those that these rows closed.

        """
        columns: dict[str, Any] = {name: getattr(self, name)[which] for name in SIGNAL_NAMES}
        return SignalColumns(trades=self.trades.rows(which), raw_sequence=self.raw_sequence, candles=candles, **columns)


@dataclass(frozen=True, slots=True, eq=False)
class TradeGroups(Sequence[TradeColumns]):
    """Trades of several symbols, those of each behind those of the one before; each group is made when it is asked for.

    What is done with all of them is done with the columns: with 300 symbols, making each group and looking at it on its
    own took half of what their trades take store.

    Attributes:
        names: venue and symbol of each group.
        received_time_us: of each group.
        ends: behind the last row of each group, shape (groups,); none is empty.
        trades: of all groups, as if one symbol without a name had them all, as early as can be.

    """

    names: Sequence[tuple[str, str]]
    received_time_us: Sequence[int]
    ends: Int64s
    trades: TradeColumns

    @classmethod
    def of(cls, groups: Sequence[TradeColumns]) -> TradeGroups:
        """Return the same groups with their trades behind each other."""
        if isinstance(groups, TradeGroups):
            return groups
        return cls(
            [(group.venue, group.symbol) for group in groups],
            [group.received_time_us for group in groups],
            np.cumsum([len(group) for group in groups], dtype=np.int64),
            concatenate_all(groups) if groups else _NO_TRADES,
        )

    @property
    def lengths(self) -> Int64s:
        """How many trades each group has, shape (groups,)."""
        return np.diff(self.ends, prepend=0)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, which: int) -> TradeColumns: ...
    @overload
    def __getitem__(self, which: slice) -> list[TradeColumns]: ...
    def __getitem__(self, which: int | slice) -> TradeColumns | list[TradeColumns]:
        if isinstance(which, slice):
            return [self[n] for n in range(*which.indices(len(self)))]
        number = range(len(self))[which]
        first = int(self.ends[number - 1]) if number else 0
        rows, trades = slice(first, int(self.ends[number])), self.trades
        return TradeColumns(
            *self.names[number],
            self.received_time_us[number],
            trades.trade_id[rows],
            trades.price_e8[rows],
            trades.quantity_e8[rows],
            trades.time_us[rows],
            trades.is_buyer_maker[rows],
        )

    def chosen(self, which: Bools) -> TradeGroups:
        """Return some of the groups, nearly always all of them or none, by a mask of shape (groups,)."""
        if which.all():
            return self
        return TradeGroups.of([self[n] for n in np.flatnonzero(which).tolist()])


def latest_us(now_us: int, received_time_us: int) -> int:
    """Return the latest time that trades may have: one far ahead would stand first in history for ever.

    Args:
        now_us: the clock here. One that has never been set says nothing, one that is months behind little.
        received_time_us: the clock of whoever received the trades.

    """
    if now_us < _CLOCK_IS_SET_US:
        return MAX_TIME_US
    received_us = received_time_us if received_time_us <= now_us + _CLOCK_BEHIND_US else 0
    return min(max(now_us, received_us) + _AHEAD_US, MAX_TIME_US)


def refusal(trades: TradeColumns, *, now_us: int | None = None) -> str:
    """Return why nobody can take in these trades, empty when all can: found, expected, at which row.

    Every reader of trades asks this of what it has read, so that what one of them refuses none of them takes in.

    Args:
        trades: of one symbol.
        now_us: the clock here; None leaves times to what can be told and kept.

    """
    time_end_us = MAX_TIME_US if now_us is None else latest_us(now_us, trades.received_time_us)
    # Four reductions for nearly every batch: as unsigned numbers those below zero are above every limit.
    if (
        trades.trade_id.view(np.uint64).max() <= MAX_TRADE_ID
        and trades.time_us.view(np.uint64).max() <= time_end_us
        and trades.price_e8.min() > 0
        and trades.quantity_e8.min() >= 0
    ):
        return ""
    for name, column, low, high in (
        ("time_us", trades.time_us, 0, time_end_us),
        ("trade_id", trades.trade_id, 0, MAX_TRADE_ID),
        ("price_e8", trades.price_e8, 1, None),
        ("quantity_e8", trades.quantity_e8, 0, None),
    ):
        wrong = column < low
        if high is not None:
            wrong |= column > high
        if wrong.any():
            row = int(wrong.argmax())
            limit = f"{low} or more" if high is None else f"{low} to {high}"
            return f"{name} is {int(column[row])}, expected {limit} (row {row} of {len(trades)})"
    raise AssertionError("one of the columns is out of bounds")


def concatenate(parts: Sequence[TradeColumns]) -> TradeColumns:
    """Join columns of one venue and symbol in the given order; `received_time_us` is the first part's."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    assert all((part.venue, part.symbol) == (first.venue, first.symbol) for part in parts)
    return _joined(first.venue, first.symbol, first.received_time_us, parts)


def concatenate_all(parts: Sequence[TradeColumns]) -> TradeColumns:
    """Join columns of any symbols in the given order, as if one without a name had them all, as early as can be."""
    return _joined("", "", 0, parts)


def _joined(venue: str, symbol: str, received_time_us: int, parts: Sequence[TradeColumns]) -> TradeColumns:
    return TradeColumns(
        venue,
        symbol,
        received_time_us,
        np.concatenate([part.trade_id for part in parts]),
        np.concatenate([part.price_e8 for part in parts]),
        np.concatenate([part.quantity_e8 for part in parts]),
        np.concatenate([part.time_us for part in parts]),
        np.concatenate([part.is_buyer_maker for part in parts]),
    )


_NO_INT64S = np.empty(0, np.int64)
_NO_TRADES = TradeColumns("", "", 0, _NO_INT64S, _NO_INT64S, _NO_INT64S, _NO_INT64S, np.empty(0, np.bool_))
