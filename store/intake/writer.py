"""Trades and their ledger into the database: one transaction a batch, together with the position in the stream.

Ids the ledger has are repeats and left out before they reach the database, so that plain COPY, the fastest way, is the
rule. When the unique key objects all the same (rows somebody put there by hand), the same batch goes the way on which
rows with the same ids give way to those from the bus; its neighbours are never lost.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import psycopg

from mesh.bus.position import Position
from mesh.service.errors import TickmeshError
from mesh.values.trades import Int64s, TradeColumns
from store.candles import rows as candle_rows
from store.candles.indicators import Periods
from store.database.connection import Connection, Database, fetch_all
from store.database.copy_rows import COPY_HEADER, COPY_TRAILER, copy_rows
from store.intake import replaced
from store.ledger import minute_rows
from store.ledger import rows as ledger_rows
from store.ledger import sql as statements
from store.ledger.ranges import NOTHING, Ids, record
from store.queries import sql as queries
from store.queries.sql import time_of

T = TypeVar("T")


class PositionMovedError(TickmeshError):
    """Somebody else, or a commit whose answer was lost, has moved the position."""

    def __init__(self, found: Position | None) -> None:
        super().__init__(f"the database is at {found}")
        self.found = found


@dataclass(frozen=True, slots=True)
class Written:
    """What a transaction did: trades stored per (venue, symbol), and how many were there already."""

    stored: dict[tuple[str, str], int]
    repeated: int


class Writer:
    """Writes batches and corrects the ledger; keeps nothing in memory between them.

    Args:
        database: where to.
        periods: of the candles' indicators.
        give_up: see `Database.write`.

    """

    def __init__(self, database: Database, periods: Periods, *, give_up: Callable[[], bool]) -> None:
        self._database = database
        self.periods = periods
        self._give_up = give_up

    async def position(self, stream: str) -> Position | None:
        """Return how far a stream is taken in, None when nothing of it is."""
        return await self._database.write(lambda connection: _position(connection, stream), give_up=self._give_up)

    async def set_position(self, position: Position) -> None:
        """Make `position` the one to write after."""

        async def work(connection: Connection) -> None:
            await connection.execute(
                statements.SET_POSITION, (position.stream, position.created, position.sequence, _taken(position))
            )

        await self._database.write(work, give_up=self._give_up)

    async def epochs(self) -> dict[tuple[str, str], int]:
        """Return the newest epoch of each venue and symbol of which something is stored, where that is not 0."""

        async def work(connection: Connection) -> dict[tuple[str, str], int]:
            rows = await fetch_all(connection, queries.NEWEST_EPOCHS)
            return {(venue, symbol): epoch for venue, symbol, epoch in rows}

        return await self._database.write(work, give_up=self._give_up)

    async def holds(self, trades: TradeColumns) -> bool:
        """Return whether all ids of these trades are stored."""

        async def work(connection: Connection) -> bool:
            [(covered, _)] = await ledger_rows.around(connection, [_rising(trades)])
            return bool(covered.holds(trades.trade_id).all())

        return await self._database.write(work, give_up=self._give_up)

    async def advance(
        self,
        after: Position,
        to: Position,
        work: Callable[[Connection], Awaitable[T]],
        *,
        lift_limits: bool = False,
    ) -> T | None:
        """Do what the messages of a stream say and move the position behind them, both or neither, once.

        Args:
            after: where the position is.
            to: where it is then.
            work: see `Database.write`.
            lift_limits: see `Database.write`.

        Returns:
            What `work` did; None when an attempt whose answer was lost had done it.

        Raises:
            PositionMovedError: the position is not where it should be.
            psycopg.Error, NotReady: see `Database.write`.

        """

        async def whole(connection: Connection) -> T:
            await _move(connection, after, to)
            return await work(connection)

        try:
            return await self._database.write(whole, give_up=self._give_up, lift_limits=lift_limits)
        except PositionMovedError as exc:
            if exc.found == to:  # the answer to the commit was lost, the commit was not
                return None
            raise

    async def store(
        self, after: Position, to: Position, groups: Sequence[TradeColumns], *, lift_limits: bool = False
    ) -> Written:
        """Store the trades of consecutive messages and move the position behind them; waits for the database.

        Args:
            after: where the position is.
            to: where it is then.
            groups: the trades between, each symbol once.
            lift_limits: see `Database.write`.

        Raises:
            PositionMovedError: the position is not where it should be.
            psycopg.Error: see `Database.write`.
            NotReady: asked to stop while the database is away.

        """
        groups = list(map(_rising, groups))
        try:
            return await self._store(after, to, groups, sure=True, lift_limits=lift_limits)
        except psycopg.errors.UniqueViolation:
            return await self._store(after, to, groups, sure=False, lift_limits=lift_limits)

    async def _store(
        self, after: Position, to: Position, groups: Sequence[TradeColumns], *, sure: bool, lift_limits: bool
    ) -> Written:
        async def work(connection: Connection) -> Written:
            return await _store_groups(connection, groups, self.periods, sure=sure)

        there = Written({(group.venue, group.symbol): len(group) for group in groups}, 0)
        return await self.advance(after, to, work, lift_limits=lift_limits) or there

    async def add(self, trades: TradeColumns) -> Written:
        """Store trades that are no part of a stream being taken in; otherwise like `store`."""

        async def work(connection: Connection) -> Written:
            await ledger_rows.lock(connection)
            return await _store_groups(connection, [_rising(trades)], self.periods, sure=False)

        return await self._database.write(work, give_up=self._give_up, lift_limits=True)

    async def correct(
        self, venue: str, symbol: str, *, found: Ids = NOTHING, lost: Ids = NOTHING, unheard: Ids = NOTHING
    ) -> None:
        """Bring a symbol's ledger in line with what is really there.

        Args:
            venue: the venue.
            symbol: the symbol.
            found: ids that are stored.
            lost: ids that are not stored, or no more to be relied on.
            unheard: ids the venue has issued; a hole where they are not stored.

        """

        async def work(connection: Connection) -> None:
            await ledger_rows.lock(connection)
            stored, missing = await ledger_rows.whole(connection, venue, symbol)
            change = record(found, lost | (unheard - stored), stored=stored, missing=missing)
            await ledger_rows.write(connection, venue, symbol, change)

        await self._database.write(work, give_up=self._give_up, lift_limits=True)

    async def keep_one_row(self, venue: str, symbol: str, twice: Ids) -> int:
        """Leave one row of each of these ids and have them asked for again; return how many rows were removed.

        Which row is right the venue will say: what it tells takes the place of the one that stays.
        """

        async def work(connection: Connection) -> int:
            await ledger_rows.lock(connection)
            removed_us = await replaced.keep_one_row(connection, venue, symbol, twice)
            stored, missing = await ledger_rows.whole(connection, venue, symbol)
            change = record(NOTHING, twice & stored, stored=stored, missing=missing)
            await ledger_rows.write(connection, venue, symbol, change)
            await minute_rows.compare_again(connection, venue, symbol, removed_us)
            await candle_rows.renew(connection, [], self.periods, removed={(venue, symbol): removed_us})
            return len(removed_us)

        return await self._database.write(work, give_up=self._give_up, lift_limits=True)

    async def settle(self, venue: str, symbol: str, ids: Ids, state: str) -> int:
        """Take down that these ids are ABSENT or LOST, as far as they are OPEN; return how many were."""

        async def work(connection: Connection) -> int:
            await ledger_rows.lock(connection)
            settled = 0
            for hole in await ledger_rows.open_holes(connection, venue, symbol):
                gone = hole.ids & ids
                if gone:
                    settled += gone.count()
                    await ledger_rows.split(connection, hole, (state, gone), (None, hole.ids - ids))
            return settled

        return await self._database.write(work, give_up=self._give_up, lift_limits=True)


def _taken(position: Position) -> dt.datetime | None:
    return time_of(position.taken_us) if position.taken_us else None


async def _position(connection: Connection, stream: str) -> Position | None:
    row = await (await connection.execute(statements.READ_POSITION, (stream,))).fetchone()
    return None if row is None else Position(stream, row[0], row[1], row[2])


async def _move(connection: Connection, after: Position, to: Position) -> None:
    cursor = await connection.execute(
        statements.MOVE_POSITION, (to.sequence, _taken(to), after.stream, after.created, after.sequence)
    )
    if cursor.rowcount != 1:
        raise PositionMovedError(await _position(connection, after.stream))


def _rising(trades: TradeColumns) -> TradeColumns:
    """Sort by id; of trades with the same id the first one stays."""
    if (np.diff(trades.trade_id) > 0).all():
        return trades
    return trades.rows(np.unique(trades.trade_id, return_index=True)[1])


async def _store_groups(
    connection: Connection, groups: Sequence[TradeColumns], periods: Periods, *, sure: bool
) -> Written:
    stored: dict[tuple[str, str], int] = {}
    repeated = 0
    chunks = [COPY_HEADER]
    changes = []
    added = []
    for group, (covered, missing) in zip(groups, await ledger_rows.around(connection, groups), strict=True):
        known = covered.holds(group.trade_id)
        fresh = group.rows(~known) if known.any() else group
        repeated += len(group) - len(fresh)
        if len(fresh):
            change = record(Ids.of_ids(fresh.trade_id), stored=covered, missing=missing)
            chunks.append(copy_rows(fresh))
            stored[group.venue, group.symbol] = len(fresh)
            added.append(fresh)
            changes.append((group.venue, group.symbol, change))
            # What fills a hole may be there all the same: under suspicion after a minute that does not agree.
            sure = sure and not change.filled
    if changes:
        removed = await _copy(connection, b"".join([*chunks, COPY_TRAILER]), added, sure=sure)
        for venue, symbol, change in changes:
            await ledger_rows.write(connection, venue, symbol, change)
        await candle_rows.renew(connection, added, periods, removed=removed)
    return Written(stored, repeated)


async def _copy(
    connection: Connection, data: bytes, groups: list[TradeColumns], *, sure: bool
) -> dict[tuple[str, str], Int64s]:
    """Store rows; unless `sure`, what has their ids gives way, whenever it is said to have happened.

    Returns:
        the times of what gave way and is told with another time now, by venue and symbol.

    """
    cursor = connection.cursor()
    if not sure:
        await cursor.execute(statements.MAKE_INCOMING)
    async with cursor.copy(statements.COPY_TRADES if sure else statements.COPY_INCOMING) as copy:
        await copy.write(data)
    if sure:
        return {}
    removed = {}
    for group in groups:
        moved_us = await replaced.give_way(connection, group)
        if len(moved_us):
            removed[group.venue, group.symbol] = moved_us
            await minute_rows.compare_again(
                connection, group.venue, group.symbol, np.concatenate((moved_us, group.time_us))
            )
    await cursor.execute(statements.TAKE_INCOMING)
    return removed
