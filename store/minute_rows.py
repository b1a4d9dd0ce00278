"""The table of minutes, what the venue counted and what the comparison said; written inside transactions."""

from __future__ import annotations

from collections.abc import Sequence

from store import statements
from store.db import Connection
from store.minutes import Minute


async def add(connection: Connection, minutes: Sequence[Minute]) -> None:
    """Keep minutes to be compared; those that are known stay as they are."""
    rows = [
        (each.venue, each.symbol, each.time, each.first_trade_id, each.last_trade_id, *each.sums) for each in minutes
    ]
    if rows:
        await connection.cursor().executemany(statements.ADD_MINUTE, rows)


async def settle(connection: Connection, minute: Minute, state: str, difference: str, *, repairs: int) -> None:
    """Keep what the comparison said."""
    name = minute.venue, minute.symbol, minute.time
    await connection.execute(statements.SETTLE_MINUTE, (state, difference, repairs, *name))


async def forget(connection: Connection, minute: Minute) -> None:
    """Drop a minute that cannot be compared."""
    await connection.execute(statements.FORGET_MINUTE, (minute.venue, minute.symbol, minute.time))
