"""The ledger's tables, read and written inside the transactions that change what is stored.

Every function takes a connection inside a transaction, unless it says otherwise.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mesh.bus import subjects
from mesh.bus.partitions import Partition
from mesh.values.id_ranges import IdRange, IdRanges
from mesh.values.trades import Bools, Int64s, TradeColumns, TradeGroups
from store.database import Connection, fetch_all
from store.database.arrays import bigint_array, text_array, time_array
from store.database.times import time_of, us_of
from store.ledger import sql
from store.ledger.minutes import MINUTE_US, VenueMinute
from store.ledger.ranges import Hole, LedgerChange


async def lock(connection: Connection, partitions: Iterable[Partition]) -> None:
    """Keep every other writer of the ledger of some partitions out until the transaction ends.

    Moving the position of a partition's RAW takes the same lock.

    Args:
        connection: inside a transaction.
        partitions: all that the transaction changes; ask only once.

    """
    await connection.execute(sql.LOCK_LEDGER, ([each.name(subjects.RAW) for each in partitions],))


async def names(connection: Connection) -> list[tuple[str, str]]:
    """Return every (venue, symbol) of which a trade or a range is stored; no transaction is needed."""
    return [(venue, symbol) for venue, symbol in await fetch_all(connection, sql.NAMES)]


async def newest_epochs(connection: Connection) -> dict[tuple[str, str], int]:
    """Return the epoch of the newest stored trade by (venue, symbol), where it is not 0; no transaction is needed."""
    return {(venue, symbol): epoch for venue, symbol, epoch in await fetch_all(connection, sql.NEWEST_EPOCHS)}


# Stored ranges and holes


async def coverage(connection: Connection, venue: str, symbol: str) -> IdRanges:
    """Return all ids of a symbol that are stored, as the ledger has them.

    Args:
        connection: any.
        venue: whose symbol it is: `binance`.
        symbol: in lower case: `btcusdt`.

    """
    return IdRanges.from_pairs(await fetch_all(connection, sql.COVERAGE, (venue, symbol)))


async def stored_ends(connection: Connection, venue: str, symbol: str) -> IdRange | None:
    """Return a symbol's lowest and highest stored id, as keys (`mesh/values/epochs.py`); None when none is stored.

    Args:
        connection: any.
        venue: whose symbol it is: `binance`.
        symbol: in lower case: `btcusdt`.

    """
    [(first_id, last_id)] = await fetch_all(connection, sql.STORED_ENDS, {"venue": venue, "symbol": symbol})
    return None if first_id is None else IdRange(first_id, last_id)


async def holes(connection: Connection, venue: str, symbol: str) -> list[Hole]:
    """Return all holes of a symbol that are not FILLED.

    Args:
        connection: any.
        venue: whose symbol it is: `binance`.
        symbol: in lower case: `btcusdt`.

    """
    return _holes(await fetch_all(connection, sql.HOLES, (venue, symbol)))


async def open_holes(connection: Connection, venue: str, symbol: str) -> list[Hole]:
    """Return a symbol's holes that are OPEN.

    Args:
        connection: any.
        venue: whose symbol it is: `binance`.
        symbol: in lower case: `btcusdt`.

    """
    return _holes(await fetch_all(connection, sql.OPEN_HOLES_OF, (venue, symbol)))


async def extend(connection: Connection, groups: TradeGroups) -> Bools:
    """Count trades as stored that follow all of their symbol without a gap, as nearly all do, in one statement.

    Args:
        connection: inside a transaction that holds the ledger's lock.
        groups: each symbol once; the ids of each rise.

    Returns:
        For each group whether that was done, shape (groups,); for the others ask `around`.

    """
    done = np.zeros(len(groups), np.bool_)
    ids, lengths = groups.trades.trade_id, groups.lengths
    low, high = ids[groups.ends - lengths], ids[groups.ends - 1]
    whole = np.flatnonzero(high - low == lengths - 1)
    if not len(whole):
        return done
    venues, symbols = zip(*[groups.names[n] for n in whole.tolist()], strict=True)
    ranges = bigint_array(low[whole].tolist()), bigint_array(high[whole].tolist())
    extended = await fetch_all(connection, sql.EXTEND_COVERAGE, (text_array(venues), text_array(symbols), *ranges))
    done[whole[[n - 1 for (n,) in extended]]] = True
    return done


async def around(connection: Connection, groups: Sequence[TradeColumns]) -> list[tuple[IdRanges, list[Hole]]]:
    """Return for each group of trades the stored ranges around and next to its ids, and the holes among those.

    Args:
        connection: inside a transaction.
        groups: not empty ones; the ids of each rise.

    """
    if not groups:
        return []
    venues, symbols = [group.venue for group in groups], [group.symbol for group in groups]
    low = [int(group.trade_id[0]) for group in groups]
    high = [int(group.trade_id[-1]) for group in groups]
    ranges: list[list[tuple[int, int]]] = [[] for _ in groups]
    for n, first_id, last_id in await fetch_all(connection, sql.COVERAGE_AROUND, (venues, symbols, low, high)):
        ranges[n - 1].append((first_id, last_id))
        low[n - 1], high[n - 1] = min(low[n - 1], last_id), max(high[n - 1], first_id)
    among: list[list[Hole]] = [[] for _ in groups]
    for n, hole_id, first_id, last_id in await fetch_all(connection, sql.HOLES_WITHIN, (venues, symbols, low, high)):
        among[n - 1].append(Hole(hole_id, IdRange(first_id, last_id)))
    return [(IdRanges.from_pairs(pairs), each) for pairs, each in zip(ranges, among, strict=True)]


async def write(connection: Connection, changes: Sequence[tuple[str, str, LedgerChange]]) -> None:
    """Write what `record` says of the ledger of some symbols, with as many statements as for one.

    Args:
        connection: inside a transaction that holds the ledger's lock.
        changes: venue, symbol and what `record` returned, each symbol once.

    """
    removed = [
        (venue, symbol, first_id)
        for venue, symbol, change in changes
        for first_id in sorted(set(change.removed.first.tolist()) - set(change.written.first.tolist()))
    ]
    if removed:
        await connection.execute(sql.REMOVE_COVERAGE, _columns(removed))
    if written := [(venue, symbol, *ids) for venue, symbol, change in changes for ids in change.written]:
        await connection.execute(sql.WRITE_COVERAGE, _columns(written))
    for _, _, change in changes:
        for hole, found, missing in change.filled:
            await split(connection, hole, ("FILLED", found), (None, missing))
    if opened := [(venue, symbol, *ids) for venue, symbol, change in changes for ids in change.opened]:
        await connection.execute(sql.ADD_HOLES, _columns(opened))


async def split(connection: Connection, hole: Hole, *pieces: tuple[str | None, IdRanges]) -> None:
    """Put pieces in a hole's place.

    Args:
        connection: inside a transaction.
        hole: what is replaced.
        pieces: the new state of some ids (None: as it was), and these ids.

    """
    rows = [(first_id, last_id, state) for state, ids in pieces for first_id, last_id in ids]
    await connection.execute(sql.SPLIT_HOLE, (hole.hole_id, *(_columns(rows) or [[], [], []])))


def _holes(rows: Sequence[tuple[int, int, int]]) -> list[Hole]:
    return [Hole(hole_id, IdRange(first_id, last_id)) for hole_id, first_id, last_id in rows]


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


# The venue's minutes


async def add_minutes(connection: Connection, minutes: Sequence[VenueMinute]) -> None:
    """Keep minutes to be compared; those that are known stay as they are.

    Args:
        connection: inside a transaction.
        minutes: as the venue has told them, any number.

    """
    if not minutes:
        return
    columns = [
        *(text_array(each.venue for each in minutes), text_array(each.symbol for each in minutes)),
        time_array([us_of(each.time) for each in minutes]),
        *(bigint_array(each.first_trade_id for each in minutes), bigint_array(each.last_trade_id for each in minutes)),
        *map(bigint_array, zip(*(each.totals for each in minutes), strict=True)),
    ]
    await connection.execute(sql.ADD_MINUTES, columns)


async def settle_agreeing(connection: Connection, minutes: Sequence[VenueMinute]) -> set[tuple[str, str, dt.datetime]]:
    """Keep of minutes that they agree with the stored trades, where all of these are there, in one statement.

    Args:
        connection: inside a transaction.
        minutes: any number with trades, none of them twice.

    Returns:
        venue, symbol and time of each that agrees.

    """
    times = [each.time for each in minutes]
    asked: dict[str, Any] = {
        "venues": text_array(each.venue for each in minutes),
        "symbols": text_array(each.symbol for each in minutes),
    }
    asked |= {"times": time_array(list(map(us_of, times))), "low": min(times), "high": max(times)}
    return set(await fetch_all(connection, sql.SETTLE_AGREEING, asked))


async def settle_minute(
    connection: Connection, minute: VenueMinute, state: str, difference: str, *, repairs: int
) -> None:
    """Keep what the comparison of a minute found.

    Args:
        connection: inside a transaction.
        minute: the minute.
        state: `VERIFIED` or `MISMATCH`.
        difference: in words, empty when there is none.
        repairs: 1 when its trades are requested again now, 2 when they will not be any more.

    """
    name = minute.venue, minute.symbol, minute.time
    await connection.execute(sql.SETTLE_MINUTE, (state, difference, repairs, *name))


async def compare_minutes_again(connection: Connection, venue: str, symbol: str, time_us: Int64s) -> None:
    """Have the minutes that some times lie in compared again, because their trades have changed.

    Args:
        connection: inside a transaction.
        venue: the venue.
        symbol: the symbol.
        time_us: microseconds since 1970 UTC, shape (n,), in any order.

    """
    begins = [time_of(minute * MINUTE_US) for minute in np.unique(time_us // MINUTE_US).tolist()]
    if begins:
        await connection.execute(sql.COMPARE_AGAIN, (venue, symbol, begins))


async def remove_minute(connection: Connection, minute: VenueMinute) -> None:
    """Drop a minute that cannot be compared.

    Args:
        connection: inside a transaction.
        minute: of its venue and symbol the one that begins at its time.

    """
    await connection.execute(sql.REMOVE_MINUTE, (minute.venue, minute.symbol, minute.time))
