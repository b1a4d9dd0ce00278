"""The audit: is everything there that the ledger says, once? At every start ledger and rows are compared.

Rows can vanish without the store: somebody deletes them, a backup is older than its ledger. The rows of a symbol are
walked once in the order of their index; that gives the ranges of ids that are really there. What the ledger has and the
table has not becomes a hole, and is repaired like any other. An id that several rows have, at different times, shows as
ranges that overlap: one of the rows stays, and the venue is asked again, whose answer takes its place.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

import psycopg

from mesh.values.id_ranges import IdRanges
from store.database import Database, fetch_all
from store.database.errors import ErrorReaction, first_line, reaction
from store.ledger import rows, sql
from store.ledger.writer import LedgerWriter

log = logging.getLogger("store.ledger.audit")

LIMIT_S = 1800.0
"""How long reading one symbol may take; it takes some seconds for ten million rows."""


class Discrepancy(NamedTuple):
    """Where ledger and rows of a symbol differ, as of one moment.

    Attributes:
        lost: ids that the ledger has and no row.
        found: ids that a row has and not the ledger.
        duplicates: ids that several rows have.

    """

    lost: IdRanges
    found: IdRanges
    duplicates: IdRanges


async def audit_ledger(database: Database, ledger: LedgerWriter) -> None:
    """Compare ledger and rows of every symbol, and correct the ledger; what is corrected is logged as an error.

    Args:
        database: the store's.
        ledger: corrects it.

    Raises:
        NotReady: the database became unavailable; what was corrected until then stays corrected.
        psycopg.Error: what only a person can mend.

    """
    async with database.reading(limit_s=LIMIT_S, internal=True) as connection:
        names = await rows.names(connection)
    for venue, symbol in names:
        try:
            await _audit(database, ledger, venue, symbol)
        except psycopg.Error as exc:  # the other symbols are compared all the same
            if reaction(exc) is ErrorReaction.END:
                raise
            log.error("%s %s: its ledger cannot be corrected: %s", venue, symbol, first_line(exc))
    log.info("the ledger agrees with the rows of %d symbols", len(names))


async def _audit(database: Database, ledger: LedgerWriter, venue: str, symbol: str) -> None:
    lost, found, duplicates = await compare(database, venue, symbol)
    if duplicates:
        removed = await ledger.keep_one_row(venue, symbol, duplicates)
        log.error(
            "%s %s: %d ids were stored more than once: removed %d rows, requesting these ids again",
            *(venue, symbol, duplicates.size, removed),
        )
    if lost or found:
        await ledger.correct(venue, symbol, found=found, lost=lost)
        log.error(
            "%s %s: the ledger had %d ids that no row has, and %d rows it did not know: corrected",
            *(venue, symbol, lost.size, found.size),
        )


async def compare(database: Database, venue: str, symbol: str) -> Discrepancy:
    """Return where ledger and rows of a symbol differ.

    Args:
        database: the store's.
        venue: whose symbol it is: `binance`.
        symbol: in lower case: `btcusdt`.

    Raises:
        NotReady: the database is unavailable.

    """
    async with database.reading(limit_s=LIMIT_S, internal=True) as connection:
        stored = await rows.coverage(connection, venue, symbol)
        edges = await fetch_all(connection, sql.RUNS, (venue, symbol))
    there, duplicates = ids_of_runs(edges)
    return Discrepancy(stored - there, there - stored, duplicates)


def ids_of_runs(edges: Iterable[tuple[int, bool, bool]]) -> tuple[IdRanges, IdRanges]:
    """Return the ids that rows have, and those of them that several rows have.

    Args:
        edges: (id, whether a run of consecutive ids begins with it, whether one ends), in the order of the rows' times.

    """
    edges = list(edges)
    begins = [trade_id for trade_id, is_first, _ in edges if is_first]
    ends = [trade_id for trade_id, _, is_last in edges if is_last]
    runs = sorted(zip(begins, ends, strict=True))
    reached_id = -1
    duplicates = []
    for first_id, last_id in runs:
        duplicates.append((first_id, min(last_id, reached_id)))  # no ids at all, unless the runs overlap
        reached_id = max(reached_id, last_id)
    return IdRanges.from_pairs(runs), IdRanges.from_pairs(duplicates)
