"""The table of minutes, what the venue counted and what the comparison said; written inside transactions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mesh.values.trades import Int64s
from store.database.connection import Connection
from store.ledger import sql
from store.ledger.minutes import MINUTE_US, Minute
from store.queries.sql import time_of


async def add(connection: Connection, minutes: Sequence[Minute]) -> None:
    """Keep minutes to be compared; those that are known stay as they are."""
    rows = [
        (each.venue, each.symbol, each.time, each.first_trade_id, each.last_trade_id, *each.sums) for each in minutes
    ]
    if rows:
        await connection.cursor().executemany(sql.ADD_MINUTE, rows)


async def settle(connection: Connection, minute: Minute, state: str, difference: str, *, repairs: int) -> None:
    """Keep what the comparison said."""
    name = minute.venue, minute.symbol, minute.time
    await connection.execute(sql.SETTLE_MINUTE, (state, difference, repairs, *name))


async def compare_again(connection: Connection, venue: str, symbol: str, time_us: Int64s) -> None:
    """Have the minutes that these times lie in compared again, as their trades are others now."""
    begins = [time_of(minute * MINUTE_US) for minute in np.unique(time_us // MINUTE_US).tolist()]
    if begins:
        await connection.execute(sql.COMPARE_AGAIN, (venue, symbol, begins))


async def forget(connection: Connection, minute: Minute) -> None:
    """Drop a minute that cannot be compared."""
    await connection.execute(sql.FORGET_MINUTE, (minute.venue, minute.symbol, minute.time))
