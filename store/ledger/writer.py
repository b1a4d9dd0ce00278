"""Corrections of the ledger, each in a transaction of its own: what an audit, a minute or a repair has found."""

from __future__ import annotations

import numpy as np

from libsignal import Periods
from mesh.bus.partitions import partition_of
from mesh.values.id_ranges import NO_IDS, IdRanges
from mesh.values.trades import Int64s
from store.candles import rows as candle_rows
from store.database import Connection, Database, fetch_all
from store.database.times import time_of
from store.ledger import rows, sql
from store.ledger.ranges import record

_NEIGHBOURS = 1000
"""Ids at most this far away tell when a trade should have happened."""


class LedgerWriter:
    """Corrects the ledger; waits for the database as long as that is unavailable.

    Every method raises what `Database.write` raises.

    Args:
        database: the store's.
        periods: of the candles' indicators.

    """

    def __init__(self, database: Database, periods: Periods) -> None:
        self._database = database
        self._periods = periods

    async def correct(
        self, venue: str, symbol: str, *, found: IdRanges = NO_IDS, lost: IdRanges = NO_IDS, issued: IdRanges = NO_IDS
    ) -> None:
        """Bring a symbol's ledger in line with what is really there.

        Args:
            venue: the venue.
            symbol: the symbol.
            found: ids that are stored.
            lost: ids that are not stored, or can no longer be relied on.
            issued: ids the venue has issued; they are a hole where they are not stored.

        """

        async def work(connection: Connection) -> None:
            await rows.lock(connection, [partition_of(venue, symbol, self._database.partitions)])
            stored = await rows.coverage(connection, venue, symbol)
            holes = await rows.holes(connection, venue, symbol)
            change = record(found, lost | (issued - stored), stored=stored, holes=holes)
            await rows.write(connection, [(venue, symbol, change)])

        await self._database.write(work, lift_limits=True)
        self._database.holes_opened.set()

    async def settle(self, venue: str, symbol: str, ids: IdRanges, state: str) -> int:
        """Mark ids as `ABSENT` or `LOST`, as far as they are OPEN; return how many were.

        Args:
            venue: whose symbol it is: `binance`.
            symbol: in lower case: `btcusdt`.
            ids: as keys (`mesh/values/epochs.py`).
            state: `ABSENT` or `LOST`.

        """

        async def work(connection: Connection) -> int:
            await rows.lock(connection, [partition_of(venue, symbol, self._database.partitions)])
            settled = 0
            for hole in await rows.open_holes(connection, venue, symbol):
                whole = IdRanges.of(*hole.ids)
                if gone := whole & ids:
                    settled += gone.size
                    await rows.split(connection, hole, (state, gone), (None, whole - ids))
            return settled

        return await self._database.write(work, lift_limits=True)

    async def lose(self, venue: str, symbol: str, last_id: int) -> int:
        """Mark all ids up to one as `LOST`, as far as they are OPEN; return how many were.

        Trades that were asked for again because a minute did not agree still have their rows: those count as stored.

        Args:
            venue: whose symbol it is: `binance`.
            symbol: in lower case: `btcusdt`.
            last_id: as a key (`mesh/values/epochs.py`).

        """

        async def rows_in_holes(connection: Connection) -> IdRanges:
            # Without the ledger's lock: a whole index may be read, and trades would have to wait for that.
            if not await rows.open_holes(connection, venue, symbol):
                return NO_IDS
            asked = {"venue": venue, "symbol": symbol, "last": last_id}
            found = await fetch_all(connection, sql.ROWS_IN_HOLES, asked)
            return IdRanges.from_ids(np.array([id_ for (id_,) in found], np.int64))

        if found := await self._database.write(rows_in_holes, lift_limits=True):
            await self.correct(venue, symbol, found=found)
        return await self.settle(venue, symbol, IdRanges.of(0, last_id), "LOST")

    async def keep_one_row(self, venue: str, symbol: str, duplicates: IdRanges) -> int:
        """Leave one row of each id that several rows have, and count these ids as missing, so that they are requested.

        The venue knows which row is right: its answer takes the place of the one that stays.

        Args:
            venue: whose symbol it is: `binance`.
            symbol: in lower case: `btcusdt`.
            duplicates: the ids that several rows have.

        Returns:
            How many rows were removed.

        """

        async def work(connection: Connection) -> int:
            await rows.lock(connection, [partition_of(venue, symbol, self._database.partitions)])
            removed_us = await _keep_one_row(connection, venue, symbol, duplicates)
            stored = await rows.coverage(connection, venue, symbol)
            holes = await rows.holes(connection, venue, symbol)
            change = record(NO_IDS, duplicates & stored, stored=stored, holes=holes)
            await rows.write(connection, [(venue, symbol, change)])
            await rows.compare_minutes_again(connection, venue, symbol, removed_us)
            await candle_rows.renew(connection, [], self._periods, removed={(venue, symbol): removed_us})
            return len(removed_us)

        removed = await self._database.write(work, lift_limits=True)
        self._database.holes_opened.set()
        return removed


async def _keep_one_row(connection: Connection, venue: str, symbol: str, duplicates: IdRanges) -> Int64s:
    """Of rows with the same id leave the one whose time is nearest to those of the ids around it.

    Returns:
        The times (us) of the rows removed.

    """
    candidates: dict[int, list[int]] = {}
    around: list[tuple[int, int]] = []
    for first_id, last_id in duplicates:
        asked = {"venue": venue, "symbol": symbol, "first": first_id - 1, "last": last_id + 1}
        for trade_id, time_us in await fetch_all(connection, sql.ROWS_BY_ID, asked):
            if first_id <= trade_id <= last_id:
                candidates.setdefault(trade_id, []).append(time_us)
            around.append((trade_id, time_us))
    if not around:
        return np.empty(0, np.int64)
    ids, times = np.array(around, np.int64).T
    removed: list[int] = []
    for trade_id, times_us in candidates.items():
        if len(times_us) < 2:
            continue
        others = times[(ids != trade_id) & (np.abs(ids - trade_id) <= _NEIGHBOURS)]
        middle_us = float(np.median(others)) if len(others) else min(times_us)
        kept_us = min(times_us, key=lambda time_us: abs(time_us - middle_us))
        for time_us in times_us:
            if time_us != kept_us:
                name = (venue, symbol, trade_id, time_of(time_us))
                removed += [us for (us,) in await fetch_all(connection, sql.REMOVE_ROW, name)]
    return np.array(removed, np.int64)
