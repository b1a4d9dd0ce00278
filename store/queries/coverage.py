"""Coverage: which ids of a symbol are stored, which are missing, and whether its minutes agree with the venue's."""

from __future__ import annotations

from typing import Any

from mesh.values import epochs
from store.database import Database, fetch_all, fetch_dicts
from store.database.times import FIRST_US, LAST_US, time_of
from store.ledger import rows
from store.queries import sql
from store.queries.fields import venue_ids
from tickmesh.v1 import store_pb2

MAX_RANGES = 1000
MAX_HOLES = 1000
MAX_MINUTES = 100
MAX_MINUTES_WITHIN = 1440
"""Of a time that a request names: a day."""


async def read_coverage(
    database: Database, venue: str, symbol: str, *, start_us: int | None = None, end_us: int | None = None
) -> store_pb2.GetCoverageResponse:
    """Return what is stored of a symbol and what is missing, all as of one moment.

    Args:
        database: the store's.
        venue: the venue.
        symbol: the symbol.
        start_us: the minutes begin at this time or later, in microseconds since 1970 UTC.
        end_us: and before this time; with neither of them the last ones are listed.

    Raises:
        NotReady: the database is unavailable.

    """
    response = store_pb2.GetCoverageResponse(venue=venue, symbol=symbol)
    name = (venue, symbol)
    async with database.reading() as connection, connection.transaction():
        totals = await fetch_all(connection, sql.LEDGER_TOTALS, name)
        [(stored, response.open, response.absent)] = totals or [(0, 0, 0)]
        [(response.lost,)] = await fetch_all(connection, sql.LOST, name)
        ends = await rows.stored_ends(connection, venue, symbol)
        if ends is None:
            counts, missing = [], []
        elif epochs.epoch_of(ends.first_id) == epochs.epoch_of(ends.last_id):
            epoch = epochs.epoch_of(ends.first_id)
            counts = [(epoch, *ends, stored)]
            states = zip(("OPEN", "ABSENT", "LOST"), (response.open, response.absent, response.lost), strict=True)
            missing = [(epoch, state, ids) for state, ids in states]
        else:
            counts = await fetch_all(connection, sql.EPOCHS, name)
            missing = await fetch_all(connection, sql.HOLES_BY_EPOCH, name)
        newest = await fetch_all(connection, sql.NEWEST_TRADE_TIME, name)
        [(verified, mismatched)] = await fetch_all(connection, sql.MINUTES_TOTAL, name) or [(0, 0)]
        ranges = await fetch_all(connection, sql.COVERAGE_RANGES, (*name, MAX_RANGES))
        holes = await fetch_dicts(connection, sql.HOLES, {"venue": venue, "symbol": symbol, "limit": MAX_HOLES})
        of_minutes: dict[str, Any] = {"venue": venue, "symbol": symbol, "limit": MAX_MINUTES}
        statement = sql.MINUTES
        if start_us is not None or end_us is not None:
            statement = sql.LAST_MINUTES if start_us is None else sql.FIRST_MINUTES
            of_minutes["limit"] = MAX_MINUTES_WITHIN
            of_minutes["from_time"] = time_of(FIRST_US if start_us is None else start_us)
            of_minutes["before_time"] = time_of(LAST_US if end_us is None else end_us)
        minutes = await fetch_dicts(connection, statement, of_minutes)
    response.stored = stored
    # Of all epochs but the last the end is unknown: the venue may have issued trades that nobody received.
    response.complete = not response.open and len(counts) <= 1
    if newest:
        response.last_trade_time.FromDatetime(newest[0][0])
    response.minutes_verified, response.minutes_mismatched = verified, mismatched
    for first, last in reversed(ranges):
        response.ranges.add(**venue_ids(first, last))
    missing_ids = {(epoch, state): ids for epoch, state, ids in missing}
    for epoch, first, last, count in counts:
        response.epochs.add(
            **venue_ids(first, last),
            stored=count,
            open=missing_ids.get((epoch, "OPEN"), 0),
            absent=missing_ids.get((epoch, "ABSENT"), 0),
            lost=missing_ids.get((epoch, "LOST"), 0),
            end_unknown=epoch != counts[-1][0],
        )
    for listed, found in ((response.holes, holes), (response.minutes, minutes)):
        for row in found:
            ids = venue_ids(row["first_trade_id"], row["last_trade_id"])
            listed.add(**row | ids | {"state": f"STATE_{row['state']}"})
    return response
