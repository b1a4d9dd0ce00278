"""How far each stream is stored: positions in the database, moved with the rows, and reading on from them."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mesh.bus.connection import Bus
from mesh.bus.position import Position
from mesh.bus.reader import StreamReplacedError, find_start
from mesh.service.errors import TickmeshError
from store.database import Connection, Database
from store.database.times import time_of
from store.intake import sql

log = logging.getLogger("store.position")

T = TypeVar("T")


class PositionMovedError(TickmeshError):
    """The position is not where it should be: somebody else moved it, or a commit whose answer was lost.

    Attributes:
        found: where it is.

    """

    def __init__(self, found: Position | None) -> None:
        super().__init__(f"the database is at {found}")
        self.found = found


class Positions:
    """The positions of the streams in the database.

    Every method waits for the database as long as that is unavailable, and raises what `Database.write` raises.

    Args:
        database: the store's.

    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, stream: str) -> Position | None:
        """Return how far a stream is stored; None when nothing of it is."""

        async def work(connection: Connection) -> Position | None:
            return await _read(connection, stream)

        return await self._database.write(work)

    async def set(self, position: Position) -> None:
        """Make `position` the one to go on after, whatever it was."""

        async def work(connection: Connection) -> None:
            row = (position.stream, position.created, position.sequence, _taken_time(position))
            await connection.execute(sql.SET_POSITION, row)

        await self._database.write(work)

    async def advance(
        self,
        after: Position,
        to: Position,
        work: Callable[[Connection], Awaitable[T]],
        *,
        lift_limits: bool = False,
    ) -> T | None:
        """Do what the messages of a stream say and move the position behind them: both or neither, and once.

        Args:
            after: where the position is.
            to: where it is then.
            work: see `Database.write`.
            lift_limits: see `Database.write`.

        Returns:
            What `work` returned; None when an attempt whose answer was lost had done it.

        Raises:
            PositionMovedError: the position is not where it should be.

        """

        async def whole(connection: Connection) -> T:
            await _move(connection, after, to)
            return await work(connection)

        try:
            return await self._database.write(whole, lift_limits=lift_limits)
        except PositionMovedError as exc:
            if exc.found == to:  # the answer to the commit was lost, the commit was not
                return None
            raise


async def resume(bus: Bus, positions: Positions, stream: str) -> Position:
    """Return after which message to read a stream on, and set the database's position there; waits for the stream.

    Args:
        bus: where the stream is.
        positions: those in the database.
        stream: its name.

    """
    position = await find_start(bus, stream, await positions.read(stream))
    await positions.set(position)
    log.info("taking in %s after message %d", stream, position.sequence)
    return position


async def keep_reading(
    bus: Bus, positions: Positions, stream: str, read: Callable[[Position], Awaitable[None]]
) -> None:
    """Read a stream for ever; begin again whenever the stream is made anew or the position is moved by others.

    Args:
        bus: where the stream is.
        positions: those in the database.
        stream: its name.
        read: reads on after a position, for ever.

    """
    while True:
        position = await resume(bus, positions, stream)
        try:
            await read(position)
        except (StreamReplacedError, PositionMovedError) as exc:
            log.error("reading %s anew: %s", stream, exc)


def _taken_time(position: Position) -> dt.datetime | None:
    return time_of(position.taken_us) if position.taken_us else None


async def _read(connection: Connection, stream: str) -> Position | None:
    row = await (await connection.execute(sql.READ_POSITION, (stream,))).fetchone()
    return None if row is None else Position(stream, row[0], row[1], row[2])


async def _move(connection: Connection, after: Position, to: Position) -> None:
    cursor = await connection.execute(
        sql.MOVE_POSITION, (to.sequence, _taken_time(to), after.stream, after.created, after.sequence)
    )
    if cursor.rowcount != 1:
        raise PositionMovedError(await _read(connection, after.stream))
