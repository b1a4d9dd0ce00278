"""How far each stream is stored: positions in the database, moved with the rows, and reading on from them.

`StreamIntake` is what the intakes beside that of the trades have in common.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import ClassVar, TypeVar

from mesh.bus.connection import Bus
from mesh.bus.dead_letters import DeadLetterQueue
from mesh.bus.position import Position
from mesh.bus.reader import HEARTBEAT_S, Message, Reader, StreamReplacedError, find_start
from mesh.service.errors import TickmeshError
from store.database import Connection, Database
from store.database.times import time_of
from store.intake import sql

log = logging.getLogger("store.intake.position")

T = TypeVar("T")


class PositionMovedError(TickmeshError):
    """The position is not where it should be.

    Somebody else moved it, a commit was done whose answer was lost, or a standby has taken over that had not got all
    commits yet.

    Attributes:
        found: where it is.

    """

    def __init__(self, expected: Position, found: Position | None) -> None:
        at = 0 if found is None or found.created != expected.created else found.sequence
        lost = (
            f": it has lost what was committed since, {expected.sequence - at} messages"
            if at < expected.sequence
            else ""
        )
        super().__init__(f"the database has {expected.stream} up to message {at}, expected {expected.sequence}{lost}")
        self.found = found


class Positions:
    """The positions of the streams in the database.

    Every method waits for the database as long as that is unavailable, and raises what `Database.write` raises.

    Args:
        database: the store's.

    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._compared: dict[str, int] = {}  # by stream: how often the database had been reached

    async def compare(self, position: Position) -> None:
        """Make sure that a database which was reached anew has this position still; else returns at once.

        A standby that was promoted may lack the last commits. A stream that goes on says so by itself, in `advance`.

        Args:
            position: up to where the stream is stored, as far as the caller knows.

        Raises:
            PositionMovedError: it is elsewhere.

        """
        reached = self._database.reached
        if self._compared.get(position.stream) != reached:
            if (found := await self.read(position.stream)) != position:
                raise PositionMovedError(position, found)
            self._compared[position.stream] = reached

    async def read(self, stream: str) -> Position | None:
        """Return how far a stream is stored; None when nothing of it is."""
        return await self._database.write(partial(_read, stream=stream))

    async def set(self, position: Position) -> None:
        """Make `position` the one to go on after, whatever it was."""

        async def work(connection: Connection) -> None:
            row = (position.stream, position.created, position.sequence, _taken_time(position))
            await connection.execute(sql.SET_POSITION, row)

        await self._database.write(work)

    async def advance(
        self, after: Position, to: Position, work: Callable[[Connection], Awaitable[T]], *, lift_limits: bool = False
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


class StreamIntake:
    """Takes in a stream beside that of the trades; a subclass says which one, and what is done with its messages.

    Args:
        bus: where the stream is.
        positions: those in the database.
        dead: where messages go that cannot be read or stored.

    """

    stream: str
    durable: ClassVar[str]
    gather_s: float = 0.0
    heartbeat_s: ClassVar[float] = HEARTBEAT_S

    def __init__(self, bus: Bus, positions: Positions, dead: DeadLetterQueue) -> None:
        self._bus = bus
        self._positions = positions
        self._dead = dead

    async def run(self) -> None:
        """Take in the stream, for ever; begin again when it was made anew or others have moved its position.

        Raises:
            psycopg.Error: what only a person can mend.
            NotReady: asked to stop while the database or the bus is unavailable.

        """
        while True:
            self._position = at = await resume(self._bus, self._positions, self.stream)
            reader = Reader(
                *(self._bus, self.stream, self.durable),
                after=at.sequence,
                after_us=at.taken_us,
                gather_s=self.gather_s,
                heartbeat_s=self.heartbeat_s,
            )
            try:
                async with reader:
                    await self._take_in(reader)
            except (StreamReplacedError, PositionMovedError) as exc:
                log.error("reading %s anew: %s", self.stream, exc)

    async def _take_in(self, reader: Reader) -> None:
        """Take in what the reader gives, for ever."""
        raise NotImplementedError

    async def _advance(self, last: Message, work: Callable[[Connection], Awaitable[None]]) -> None:
        """Do what the messages up to this one say, and move the position behind it."""
        to = self._position.moved(last.sequence, last.taken_us)
        await self._positions.advance(self._position, to, work)
        self._position = to


def _taken_time(position: Position) -> dt.datetime | None:
    return time_of(position.taken_us) if position.taken_us else None


async def _read(connection: Connection, stream: str) -> Position | None:
    row = await (await connection.execute(sql.READ_POSITION, (stream,))).fetchone()
    return None if row is None else Position(stream, row[0], row[1], row[2])


async def _move(connection: Connection, after: Position, to: Position) -> None:
    moved = (to.sequence, _taken_time(to), after.stream, after.created, after.sequence)
    cursor = await connection.execute(sql.MOVE_POSITION, moved)
    if cursor.rowcount != 1:
        raise PositionMovedError(after, await _read(connection, after.stream))
