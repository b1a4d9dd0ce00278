"""The table of minutes: what the venue counted, and what the comparison said."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from store import statements
from store.db import Connection, Database
from store.minutes import Minute
from store.position import Position
from store.writer import PositionMovedError, move


class MinuteRows:
    """Writes minutes; waits for the database like `Writer`."""

    def __init__(self, database: Database, *, give_up: Callable[[], bool]) -> None:
        self._database = database
        self._give_up = give_up

    async def add(self, after: Position, to: Position, minutes: Sequence[Minute]) -> None:
        """Keep minutes of the stream CANDLES and move its position; those that are known stay as they are.

        Raises:
            PositionMovedError: the position is not at `after`.

        """
        rows = [
            (each.venue, each.symbol, each.time, each.first_trade_id, each.last_trade_id, *each.sums)
            for each in minutes
        ]

        async def work(connection: Connection) -> None:
            await move(connection, after, to)
            if rows:
                await connection.cursor().executemany(statements.ADD_MINUTE, rows)

        try:
            await self._database.write(work, give_up=self._give_up)
        except PositionMovedError as exc:
            if exc.found != to:  # else the answer to the commit was lost, the commit was not
                raise

    async def settle(self, minute: Minute, state: str, difference: str, *, repairs: int) -> None:
        """Keep what the comparison said."""
        await self._execute(
            statements.SETTLE_MINUTE, (state, difference, repairs, minute.venue, minute.symbol, minute.time)
        )

    async def forget(self, minute: Minute) -> None:
        """Drop a minute that cannot be compared."""
        await self._execute(statements.FORGET_MINUTE, (minute.venue, minute.symbol, minute.time))

    async def _execute(self, statement: str, parameters: Sequence[object]) -> None:
        async def work(connection: Connection) -> None:
            await connection.execute(statement, parameters)

        await self._database.write(work, give_up=self._give_up)
