"""Trades and their ledger into the database: one transaction a batch, together with the position in the stream.

Ids the ledger has are repeats and left out before they reach the database, so that plain COPY, the fastest way, is the
rule. When the unique key objects all the same (rows somebody put there by hand), the same batch is written so that rows
with the same ids make room for those from the bus; its neighbours are never lost.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psycopg

from libsignal import Periods
from mesh.bus.partitions import partition_of
from mesh.bus.position import Position
from mesh.values.id_ranges import IdRanges
from mesh.values.trades import Int64s, TradeColumns, TradeGroups
from store.candles import rows as candle_rows
from store.candles.rows import END, FIRST, TimeRange
from store.database import Connection, Database, fetch_all
from store.database.copy_rows import copy_data
from store.database.times import time_of
from store.intake import sql
from store.intake.position import Positions
from store.ledger import rows as ledger_rows
from store.ledger.ranges import record


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What a transaction did.

    Attributes:
        stored: how many trades it stored, by (venue, symbol).
        repeated: how many were stored already.
        may_open: whether it may have opened holes in the ledger.
        connection: that has done it; None where it was done before, and the answer lost.
        following: (venue, symbol) of all of whose trades the ids follow all that were stored of their symbol.

    """

    stored: dict[tuple[str, str], int]
    repeated: int
    may_open: bool = False
    connection: Connection | None = None
    following: frozenset[tuple[str, str]] = frozenset()

    def __add__(self, other: WriteResult) -> WriteResult:
        """Return what both did in one transaction, this first."""
        stored = {
            name: self.stored.get(name, 0) + other.stored.get(name, 0) for name in self.stored.keys() | other.stored
        }
        following = self.following - other.stored.keys() | other.following
        may_open = self.may_open or other.may_open
        return WriteResult(stored, self.repeated + other.repeated, may_open, self.connection, following)


class TradeWriter:
    """Writes batches of trades; keeps nothing in memory between them.

    Every method waits for the database as long as that is unavailable, and raises what `Database.write` raises.

    Args:
        database: where to.
        periods: of the candles' indicators.

    """

    def __init__(self, database: Database, periods: Periods) -> None:
        self._database = database
        self._positions = Positions(database)
        self._periods = periods

    async def newest_epochs(self) -> dict[tuple[str, str], int]:
        """Return the newest epoch of each (venue, symbol) of which something is stored, where that is not 0."""
        return await self._database.write(ledger_rows.newest_epochs)

    async def holds(self, trades: TradeColumns) -> bool:
        """Return whether all ids of these trades are stored."""

        async def work(connection: Connection) -> bool:
            [(stored, _)] = await ledger_rows.around(connection, [_rising(trades)])
            return bool(stored.contains(trades.trade_id).all())

        return await self._database.write(work)

    async def store(
        self,
        after: Position,
        to: Position,
        groups: Sequence[TradeColumns],
        *,
        repairs: Sequence[TradeColumns] = (),
        lift_limits: bool = False,
    ) -> WriteResult:
        """Store the trades of consecutive messages and move the position behind them.

        Args:
            after: where the position is.
            to: where it is then.
            groups: the trades between, each venue and symbol once.
            repairs: those of them that replace what is stored with their ids, each venue and symbol once.
            lift_limits: see `Database.write`.

        Raises:
            PositionMovedError: the position is not where it should be.

        """
        groups, repairs = _all_rising(groups), _all_rising(repairs)
        try:
            return await self._store(after, to, groups, repairs, unique=True, lift_limits=lift_limits)
        except psycopg.errors.UniqueViolation:
            return await self._store(after, to, groups, repairs, unique=False, lift_limits=lift_limits)

    async def add(self, trades: TradeColumns) -> WriteResult:
        """Store trades that are no part of a stream being read; no position moves."""

        async def work(connection: Connection) -> WriteResult:
            await ledger_rows.lock(connection, [partition_of(trades.venue, trades.symbol, self._database.partitions)])
            groups = TradeGroups.of([_rising(trades)])
            return await _store_groups(connection, groups, self._periods, unique=False, unseen=True)

        return self._told(await self._database.write(work, lift_limits=True))

    async def _store(
        self,
        after: Position,
        to: Position,
        groups: TradeGroups,
        repairs: TradeGroups,
        *,
        unique: bool,
        lift_limits: bool,
    ) -> WriteResult:
        async def work(connection: Connection) -> WriteResult:
            written = await _store_groups(connection, groups, self._periods, unique=unique)
            if not repairs:
                return written
            # Behind the others: what they replace may be among those.
            return written + await _store_groups(connection, repairs, self._periods, unique=unique, replace=True)

        written = await self._positions.advance(after, to, work, lift_limits=lift_limits)
        if written is None:  # it was done before
            written = WriteResult(_counts(groups) | _counts(repairs), 0, may_open=True)
        return self._told(written)

    def _told(self, written: WriteResult) -> WriteResult:
        if written.may_open:
            self._database.holes_opened.set()
        return written


def _all_rising(groups: Sequence[TradeColumns]) -> TradeGroups:
    """Return each as `_rising` does; nearly always all are so already, which one look at some hundred symbols tells."""
    groups = TradeGroups.of(groups)
    ids = groups.trades.trade_id
    rises = ids[1:] > ids[:-1]
    rises[groups.ends[:-1] - 1] = True
    return groups if rises.all() else TradeGroups.of(list(map(_rising, groups)))


def _counts(groups: TradeGroups) -> dict[tuple[str, str], int]:
    return dict(zip(groups.names, groups.lengths.tolist(), strict=True))


def _rising(trades: TradeColumns) -> TradeColumns:
    """Sort by id; of trades with the same id the first one stays."""
    ids = trades.trade_id
    if (ids[1:] > ids[:-1]).all():
        return trades
    return trades.rows(np.unique(trades.trade_id, return_index=True)[1])


async def _store_groups(
    connection: Connection,
    groups: TradeGroups,
    periods: Periods,
    *,
    unique: bool,
    replace: bool = False,
    unseen: bool = False,
) -> WriteResult:
    """Store trades; what is stored with their ids stays, or with `replace` makes room for them.

    `unique` says that no row of the table has ids that the ledger does not know as stored, `unseen` that signal may not
    have seen these trades.
    """
    stored: dict[tuple[str, str], int] = {}
    following: frozenset[tuple[str, str]] = frozenset()
    repeated = 0
    changes = []
    added = TradeGroups.of([])
    if not replace:
        extended = await ledger_rows.extend(connection, groups)
        added, groups = groups.chosen(extended), groups.chosen(~extended)
        stored = _counts(added)
        following = frozenset(stored)
    joining = []
    for group, (known, holes) in zip(groups, await ledger_rows.around(connection, groups), strict=True):
        is_known = known.contains(group.trade_id)
        known_count = int(is_known.sum())
        fresh = group.rows(~is_known) if known_count and not replace else group
        repeated += known_count
        if len(fresh):
            change = record(IdRanges.from_ids(fresh.trade_id), stored=known, holes=holes)
            if len(group) > known_count:
                stored[group.venue, group.symbol] = len(group) - known_count
            joining.append(fresh)
            changes.append((group.venue, group.symbol, change))
            # What fills a hole may be there all the same: its minute did not agree, and it was requested again.
            unique = unique and not change.filled and not (replace and known_count)
    if joining:
        added = TradeGroups.of([*added, *joining])
    if added:
        removed = await _copy(connection, copy_data(added), added, unique=unique)
        await ledger_rows.write(connection, changes)
        if replace:
            for group in added:
                await ledger_rows.compare_minutes_again(connection, group.venue, group.symbol, group.time_us)
        await candle_rows.renew(connection, added, periods, removed=removed, unseen=replace or unseen)
    return WriteResult(stored, repeated, any(change.opened for _, _, change in changes), connection, following)


async def _copy(
    connection: Connection, data: memoryview, groups: TradeGroups, *, unique: bool
) -> dict[tuple[str, str], Int64s]:
    """Store rows; unless `unique`, rows that have their ids are removed first, whatever their time.

    Returns:
        The times (us) of removed rows whose trade has another time now, by (venue, symbol).

    """
    cursor = connection.cursor()
    if not unique:
        await cursor.execute(sql.MAKE_INCOMING)
    async with cursor.copy(sql.COPY_TRADES if unique else sql.COPY_INCOMING) as copy:
        await copy.write(data)
    if unique:
        return {}
    removed = {}
    for group in groups:
        moved_us = await _remove_old_rows(connection, group)
        if len(moved_us):
            removed[group.venue, group.symbol] = moved_us
            await ledger_rows.compare_minutes_again(
                connection, group.venue, group.symbol, np.concatenate((moved_us, group.time_us))
            )
    await cursor.execute(sql.INSERT_INCOMING)
    return removed


# Rows whose ids come again

_NEAR = dt.timedelta(hours=1)
"""A trade's time hardly differs when it comes again: the old row is looked for here first."""


async def _remove_old_rows(connection: Connection, trades: TradeColumns) -> Int64s:
    """Remove all rows that have the ids of these trades, at any time.

    Args:
        connection: inside a transaction.
        trades: of one symbol, their ids rising, none of them twice.

    Returns:
        The times (us) of those rows that had another time than the trade has now.

    """
    near = _near(trades)
    removed = await _remove_within(connection, trades, near)
    ids = IdRanges.from_ids(trades.trade_id)
    for low, high in await candle_rows.times_of(connection, trades.venue, trades.symbol, ids):
        for begin, end in ((low, min(high, near[0])), (max(low, near[1]), high)):
            if begin < end:
                removed += await _remove_within(connection, trades, (begin, end))
    if not removed:
        return np.empty(0, np.int64)
    ids, times = np.array(removed, np.int64).T
    moved: Int64s = times[trades.time_us[np.searchsorted(trades.trade_id, ids)] != times]
    return moved


def _near(trades: TradeColumns) -> TimeRange:
    low, high = time_of(int(trades.time_us.min())), time_of(int(trades.time_us.max()))
    return (low - _NEAR if low - FIRST > _NEAR else FIRST), (high + _NEAR if END - high > _NEAR else END)


async def _remove_within(connection: Connection, trades: TradeColumns, within: TimeRange) -> list[tuple[int, int]]:
    asked = (trades.venue, trades.symbol, *within, trades.trade_id.tolist())
    return await fetch_all(connection, sql.REMOVE_OLD_ROWS, asked)
