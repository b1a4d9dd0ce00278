"""The position on a real database: what a stream's messages say is done once, also where an answer was lost."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator

import psycopg
import pytest

from mesh.bus.position import Position
from mesh.service.health import Health
from store.database import Connection, Database
from store.intake.position import PositionMovedError, Positions
from tests.fixtures.store import ask
from tests.fixtures.waiting import eventually

START = Position("CANDLES", dt.datetime(2026, 1, 1, tzinfo=dt.UTC), 0)


@pytest.fixture
async def positions(database_url: str) -> AsyncIterator[Positions]:
    async with Database(database_url, health=Health("database")) as database:
        positions = Positions(database)
        await positions.set(START)
        await ask(database_url, "CREATE TABLE done (n int)")
        yield positions


async def do(connection: Connection) -> str:
    await connection.execute("INSERT INTO done VALUES (1)")
    return "done"


async def test_work_and_position_move_together(positions: Positions, database_url: str) -> None:
    assert await positions.advance(START, START.moved(5), do) == "done"

    assert await positions.read("CANDLES") == START.moved(5)
    assert await ask(database_url, "SELECT count(*) FROM done") == [(1,)]


async def test_what_was_committed_without_an_answer_is_not_done_again(positions: Positions, database_url: str) -> None:
    await positions.advance(START, START.moved(5), do)

    assert await positions.advance(START, START.moved(5), do) is None

    assert await ask(database_url, "SELECT count(*) FROM done") == [(1,)]


async def test_at_another_position_nothing_is_done(positions: Positions, database_url: str) -> None:
    await positions.advance(START, START.moved(5), do)

    with pytest.raises(PositionMovedError) as raised:
        await positions.advance(START.moved(4), START.moved(6), do)

    assert raised.value.found == START.moved(5)
    assert await ask(database_url, "SELECT count(*) FROM done") == [(1,)]


async def test_after_a_commit_whose_answer_was_lost_the_database_is_there_again(database_url: str) -> None:
    health, broken = Health("database"), False

    async def lose_the_answer(connection: Connection) -> None:
        nonlocal broken
        broken = True
        try:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        except psycopg.Error:
            await ask(database_url, "UPDATE progress SET sequence = 5 WHERE stream = 'CANDLES'")  # as if committed
            raise

    async with Database(database_url, health=health) as database:
        watching = asyncio.create_task(database.watch())
        positions = Positions(database)
        await positions.set(START)

        await positions.advance(START, START.moved(5), lose_the_answer)
        assert broken
        await eventually(lambda: "database" not in health.away)
        watching.cancel()
