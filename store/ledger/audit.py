"""Is everything there that the ledger says, once? Compare it with the rows themselves, at every start.

Rows can vanish without the store: somebody deletes them, a backup is older than its ledger. The rows of a symbol are
walked once in the order of their index; that gives the ranges of ids that are really there. What the ledger has and the
table has not becomes a hole, and is repaired like any other. An id that several rows have, at different times, shows as
ranges that overlap: one of the rows stays, and the venue is asked again, whose answer takes its place.
"""

from __future__ import annotations

import logging

import psycopg

from store.database.connection import Database, fetch_all
from store.database.errors import Reaction, first_line, reaction
from store.intake.writer import Writer
from store.ledger.ranges import Ids
from store.queries import sql

log = logging.getLogger("store.check")

LIMIT_S = 1800.0
"""How long looking at one symbol may take; some seconds for ten million rows."""


async def check_all(database: Database, writer: Writer) -> None:
    """Compare ledger and rows of every symbol and correct the ledger, loudly.

    Raises:
        NotReady: the database went away meanwhile; what was corrected stays corrected.

    """
    async with database.reading(limit_s=LIMIT_S, own=True) as connection:
        names = await fetch_all(connection, sql.NAMES)
    for venue, symbol in names:
        try:
            await _check(database, writer, venue, symbol)
        except psycopg.Error as exc:  # the other symbols are checked all the same
            if reaction(exc) is Reaction.END:
                raise
            log.error("%s %s: its ledger cannot be put right: %s", venue, symbol, first_line(exc))
    log.info("the ledger agrees with the rows of %d symbols", len(names))


async def _check(database: Database, writer: Writer, venue: str, symbol: str) -> None:
    lost, found, twice = await compare(database, venue, symbol)
    if twice:
        removed = await writer.keep_one_row(venue, symbol, twice)
        log.error(
            "%s %s: %d ids were stored more than once: removed %d rows, asking for these ids again",
            *(venue, symbol, twice.count(), removed),
        )
    if lost or found:
        await writer.correct(venue, symbol, found=found, lost=lost)
        log.error(
            "%s %s: the ledger had %d ids that no row has, and %d rows it did not know: corrected",
            *(venue, symbol, lost.count(), found.count()),
        )


async def compare(database: Database, venue: str, symbol: str) -> tuple[Ids, Ids, Ids]:
    """Return the ids the ledger has and no row, those a row has and not the ledger, and those that several rows have.

    All as of one moment.

    Raises:
        NotReady: the database is away.

    """
    async with database.reading(limit_s=LIMIT_S, own=True) as connection:
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        stored = Ids.of_ranges(await fetch_all(connection, sql.COVERAGE, (venue, symbol)))
        edges = await fetch_all(connection, sql.RUNS, (venue, symbol))
    rows, twice = runs(edges)
    return stored - rows, rows - stored, twice


def runs(edges: list[tuple[int, bool, bool]]) -> tuple[Ids, Ids]:
    """Return the ids between the edges: (id, begins a run, ends a run), in the rows' order; and those there twice."""
    begins = [trade_id for trade_id, first, _ in edges if first]
    ends = [trade_id for trade_id, _, last in edges if last]
    ranges = sorted(zip(begins, ends, strict=True))
    reach = -1
    twice = []
    for first, last in ranges:
        if first <= reach:
            twice.append((first, min(last, reach)))
        reach = max(reach, last)
    return Ids.of_ranges(ranges), Ids.of_ranges(twice)
