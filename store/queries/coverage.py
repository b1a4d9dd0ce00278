"""Coverage: which ids of a symbol are stored, which are missing, and whether its minutes agree with the venue's."""

from __future__ import annotations

from mesh.values import epochs
from store.database import Database, fetch_all
from store.ledger import rows
from store.queries import sql
from store.queries.sql import HoleRow, MinuteRow
from tickmesh.v1 import store_pb2

MAX_RANGES = 1000
MAX_HOLES = 1000
MAX_MINUTES = 100


async def read_coverage(database: Database, venue: str, symbol: str) -> store_pb2.GetCoverageResponse:
    """Return what is stored of a symbol and what is missing, all as of one moment.

    Args:
        database: the store's.
        venue: the venue.
        symbol: the symbol.

    Raises:
        NotReady: the database is unavailable.

    """
    response = store_pb2.GetCoverageResponse(venue=venue, symbol=symbol)
    name = (venue, symbol)
    async with database.reading() as connection, connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
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
        [(verified, mismatched)] = await fetch_all(connection, sql.MINUTES_TOTAL, name) or [(0, 0)]
        ranges = await fetch_all(connection, sql.COVERAGE_RANGES, (*name, MAX_RANGES))
        holes = await fetch_all(connection, sql.HOLES, {"venue": venue, "symbol": symbol, "limit": MAX_HOLES})
        minutes = await fetch_all(connection, sql.MINUTES, {"venue": venue, "symbol": symbol, "limit": MAX_MINUTES})
    response.stored = stored
    response.complete = not response.open
    response.minutes_verified, response.minutes_mismatched = verified, mismatched
    for first, last in reversed(ranges):
        response.ranges.add(**_ids(first, last))
    missing_ids = {(epoch, state): ids for epoch, state, ids in missing}
    for epoch, first, last, count in counts:
        response.epochs.add(
            epoch=epoch,
            first_trade_id=epochs.venue_id(first),
            last_trade_id=epochs.venue_id(last),
            stored=count,
            open=missing_ids.get((epoch, "OPEN"), 0),
            absent=missing_ids.get((epoch, "ABSENT"), 0),
            lost=missing_ids.get((epoch, "LOST"), 0),
            end_unknown=epoch != counts[-1][0],
        )
    for row in holes:
        _add_hole(response, HoleRow._make(row))
    for row in minutes:
        _add_minute(response, MinuteRow._make(row))
    return response


def _ids(first: int, last: int) -> dict[str, int]:
    """Return the venue's ids of a range of keys, and their epoch."""
    return {
        "first_trade_id": epochs.venue_id(first),
        "last_trade_id": epochs.venue_id(last),
        "epoch": epochs.epoch_of(last),
    }


def _add_hole(response: store_pb2.GetCoverageResponse, row: HoleRow) -> None:
    hole = response.holes.add(
        **_ids(row.first_trade_id, row.last_trade_id),
        state=store_pb2.Hole.State.Value(f"STATE_{row.state}"),
    )
    hole.seen_time.FromDatetime(row.seen_time)
    if row.closed_time is not None:
        hole.closed_time.FromDatetime(row.closed_time)


def _add_minute(response: store_pb2.GetCoverageResponse, row: MinuteRow) -> None:
    minute = response.minutes.add(
        state=store_pb2.Minute.State.Value(f"STATE_{row.state}"),
        **_ids(row.first_trade_id, row.last_trade_id),
        trade_count=row.trade_count,
        difference=row.difference,
    )
    minute.start_time.FromDatetime(row.time)
