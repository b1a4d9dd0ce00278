"""The ledger's rows: read and written inside the transactions that change what is stored."""

from __future__ import annotations

from collections.abc import Sequence

from mesh.bus import subjects
from mesh.values.trades import TradeColumns
from store.database.connection import Connection
from store.ledger import sql as statements
from store.ledger.ranges import Change, Ids, Missing
from store.queries import sql as queries


async def lock(connection: Connection) -> None:
    """Keep every other writer of the ledger out until the transaction ends; who moves the position of RAW does too."""
    await connection.execute(statements.LOCK_LEDGER, (subjects.RAW,))


async def whole(connection: Connection, venue: str, symbol: str) -> tuple[Ids, list[Missing]]:
    """Return all stored ranges of a symbol and all its holes that are not FILLED."""
    cursor = await connection.execute(queries.COVERAGE, (venue, symbol))
    stored = Ids.of_ranges(await cursor.fetchall())
    cursor = await connection.execute(statements.MISSING, (venue, symbol))
    return stored, [
        Missing(hole_id, Ids.of_ranges([(first, last)])) for hole_id, first, last in await cursor.fetchall()
    ]


async def open_holes(connection: Connection, venue: str, symbol: str) -> list[Missing]:
    """Return a symbol's holes that are OPEN."""
    cursor = await connection.execute(statements.OPEN, (venue, symbol))
    return [Missing(hole_id, Ids.of_ranges([(first, last)])) for hole_id, first, last in await cursor.fetchall()]


async def around(connection: Connection, groups: Sequence[TradeColumns]) -> list[tuple[Ids, list[Missing]]]:
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


async def write(connection: Connection, venue: str, symbol: str, change: Change) -> None:
    """Write what `record` says of a symbol's ledger."""
    forget = sorted(set(change.forget.first.tolist()) - set(change.keep.first.tolist()))
    if forget:
        await connection.execute(statements.FORGET_COVERAGE, (venue, symbol, forget))
    if change.keep:
        await connection.execute(
            statements.KEEP_COVERAGE, (venue, symbol, change.keep.first.tolist(), change.keep.last.tolist())
        )
    for hole, found, rest in change.filled:
        await split(connection, hole, ("FILLED", found), (None, rest))
    if change.opened:
        await connection.execute(
            statements.OPEN_HOLES, (venue, symbol, change.opened.first.tolist(), change.opened.last.tolist())
        )


async def split(connection: Connection, hole: Missing, *pieces: tuple[str | None, Ids]) -> None:
    """Put pieces in a hole's place, each with its new state (None: as it was)."""
    rows = [(first, last, state) for state, ids in pieces for first, last in ids]
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
    await connection.execute(statements.SPLIT_HOLE, (hole.hole_id, *columns))
