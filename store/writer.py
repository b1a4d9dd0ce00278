"""Trades and their ledger into the database: one transaction a batch, together with the position in the stream.

Ids the ledger has are repeats and left out before they reach the database, so that plain COPY, the fastest way, is the
rule. When the unique key objects all the same (rows somebody put there by hand), the same batch goes the way that
leaves out what is there; its neighbours are never lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import psycopg

from mesh.trades import TradeColumns, concatenate
from store import statements
from store.batch import Taken
from store.db import Connection, Database
from store.ledger import Change, Ids, Missing, record
from store.position import Position
from store.rows import COPY_HEADER, COPY_TRAILER, copy_rows


class PositionMovedError(Exception):
    """Somebody else, or a commit whose answer was lost, has moved the position."""

    def __init__(self, found: Position | None) -> None:
        super().__init__(f"the database is at {found}")
        self.found = found


@dataclass(frozen=True, slots=True)
class Written:
    """What a transaction did: trades stored, trades that were there already, per (venue, symbol)."""

    position: Position
    stored: dict[tuple[str, str], int]
    repeated: int


class Writer:
    """Writes batches; keeps nothing in memory between them.

    Args:
        database: where to.
        give_up: see `Database.write`.

    """

    def __init__(self, database: Database, *, give_up: Callable[[], bool]) -> None:
        self._database = database
        self._give_up = give_up

    async def position(self, stream: str) -> Position | None:
        """Return how far a stream is taken in, None when nothing of it is."""
        return await self._database.write(lambda connection: _position(connection, stream), give_up=self._give_up)

    async def set_position(self, position: Position) -> None:
        """Make `position` the one to write after."""

        async def work(connection: Connection) -> None:
            await connection.execute(statements.SET_POSITION, (position.stream, position.created, position.sequence))

        await self._database.write(work, give_up=self._give_up)

    async def store(self, after: Position, messages: Sequence[Taken]) -> Written:
        """Store the trades of consecutive messages and move the position behind them; waits for the database.

        Args:
            after: where the position is.
            messages: what follows it; those without trades only move the position.

        Raises:
            PositionMovedError: the position is not where it should be.
            psycopg.DataError, psycopg.IntegrityError: the database refuses the content of some message.
            NotReady: asked to stop while the database is away.

        """
        to = after.moved(messages[-1].sequence)
        groups = _by_symbol(messages)
        try:
            return await self._store(after, to, groups, sure=True)
        except psycopg.errors.UniqueViolation:
            return await self._store(after, to, groups, sure=False)

    async def _store(self, after: Position, to: Position, groups: list[TradeColumns], *, sure: bool) -> Written:
        async def work(connection: Connection) -> Written:
            await _move(connection, after, to)
            return await _store_groups(connection, to, groups, sure=sure)

        try:
            return await self._database.write(work, give_up=self._give_up)
        except PositionMovedError as exc:
            if exc.found == to:  # the answer to the commit was lost, the commit was not
                return Written(to, {(group.venue, group.symbol): len(group) for group in groups}, 0)
            raise


async def _position(connection: Connection, stream: str) -> Position | None:
    row = await (await connection.execute(statements.READ_POSITION, (stream,))).fetchone()
    return None if row is None else Position(stream, row[0], row[1])


async def _move(connection: Connection, after: Position, to: Position) -> None:
    cursor = await connection.execute(
        statements.MOVE_POSITION, (to.sequence, after.stream, after.created, after.sequence)
    )
    if cursor.rowcount != 1:
        raise PositionMovedError(await _position(connection, after.stream))


def _by_symbol(messages: Sequence[Taken]) -> list[TradeColumns]:
    parts = defaultdict(list)
    for message in messages:
        if message.trades is not None:
            parts[message.trades.venue, message.trades.symbol].append(message.trades)
    return [_rising(concatenate(group)) for group in parts.values()]


def _rising(trades: TradeColumns) -> TradeColumns:
    """Sort by id; of trades with the same id the first one stays."""
    if (np.diff(trades.trade_id) > 0).all():
        return trades
    return trades.rows(np.unique(trades.trade_id, return_index=True)[1])


async def _store_groups(
    connection: Connection, position: Position, groups: list[TradeColumns], *, sure: bool
) -> Written:
    stored: dict[tuple[str, str], int] = {}
    repeated = 0
    chunks = [COPY_HEADER]
    changes = []
    for group, (covered, missing) in zip(groups, await ledger_around(connection, groups), strict=True):
        known = covered.holds(group.trade_id)
        fresh = group.rows(~known) if known.any() else group
        repeated += len(group) - len(fresh)
        if len(fresh):
            chunks.append(copy_rows(fresh))
            stored[group.venue, group.symbol] = len(fresh)
            changes.append((fresh, record(Ids.of_ids(fresh.trade_id), stored=covered, missing=missing)))
    if changes:
        chunks.append(COPY_TRAILER)
        repeated += sum(stored.values()) - await _copy(connection, b"".join(chunks), sure=sure)
        for trades, change in changes:
            await write_change(connection, trades.venue, trades.symbol, change)
    return Written(position, stored, repeated)


async def _copy(connection: Connection, data: bytes, *, sure: bool) -> int:
    cursor = connection.cursor()
    if not sure:
        await cursor.execute(statements.MAKE_INCOMING)
    async with cursor.copy(statements.COPY_TRADES if sure else statements.COPY_INCOMING) as copy:
        await copy.write(data)
    if not sure:
        await cursor.execute(statements.TAKE_INCOMING)
    return cursor.rowcount


async def ledger_around(connection: Connection, groups: list[TradeColumns]) -> list[tuple[Ids, list[Missing]]]:
    """Return for each group of trades the stored ranges around and next to its ids, and the holes among those."""
    if not groups:
        return []
    venues, symbols = [group.venue for group in groups], [group.symbol for group in groups]
    low = [int(group.trade_id[0]) for group in groups]
    high = [int(group.trade_id[-1]) for group in groups]
    ranges: list[list[tuple[int, int]]] = [[] for _ in groups]
    cursor = await connection.execute(statements.COVERAGE_AROUND, (venues, symbols, low, high))
    for n, first, last in await cursor.fetchall():
        ranges[n - 1].append((first, last))
        low[n - 1], high[n - 1] = min(low[n - 1], last), max(high[n - 1], first)
    missing: list[list[Missing]] = [[] for _ in groups]
    cursor = await connection.execute(statements.MISSING_WITHIN, (venues, symbols, low, high))
    for n, hole_id, first, last in await cursor.fetchall():
        missing[n - 1].append(Missing(hole_id, Ids.of_ranges([(first, last)])))
    return [(Ids.of_ranges(pairs), holes) for pairs, holes in zip(ranges, missing, strict=True)]


async def write_change(connection: Connection, venue: str, symbol: str, change: Change) -> None:
    """Write what `record` says of a symbol's ledger."""
    forget = sorted(set(change.forget.first.tolist()) - set(change.keep.first.tolist()))
    if forget:
        await connection.execute(statements.FORGET_COVERAGE, (venue, symbol, forget))
    await connection.execute(
        statements.KEEP_COVERAGE, (venue, symbol, change.keep.first.tolist(), change.keep.last.tolist())
    )
    for hole, found, rest in change.filled:
        await split_hole(connection, hole, ("FILLED", found), (None, rest))
    if change.opened:
        await connection.execute(
            statements.OPEN_HOLES, (venue, symbol, change.opened.first.tolist(), change.opened.last.tolist())
        )


async def split_hole(connection: Connection, hole: Missing, *pieces: tuple[str | None, Ids]) -> None:
    """Put pieces in a hole's place, each with its new state (None: as it was)."""
    rows = [(first, last, state) for state, ids in pieces for first, last in ids]
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
    await connection.execute(statements.SPLIT_HOLE, (hole.hole_id, *columns))
