"""The schema on a real database: migrations once and in turn, refusals, TimescaleDB where it is, plans that use it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import psycopg
import pytest

from store.database.migrations import Migration, WrongSchemaError, migrate, migrations
from store.queries.sql import LIST_TRADES
from store.queries.trades import LAST_ID, TradeRange
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.store import ask


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(
        database_url, autocommit=True, client_encoding="UTF8"
    ) as connection:
        yield connection


async def test_each_migration_is_applied_once(connection: psycopg.AsyncConnection, database_url: str) -> None:
    await migrate(connection)
    await migrate(connection)

    applied = await ask(database_url, "SELECT name, checksum FROM schema_migrations ORDER BY name")
    assert applied == [(migration.name, migration.checksum) for migration in migrations()]


async def test_stores_that_start_together_migrate_in_turn(database_url: str) -> None:
    async def start() -> None:
        async with await psycopg.AsyncConnection.connect(
            database_url, autocommit=True, client_encoding="UTF8"
        ) as connection:
            await migrate(connection)

    await asyncio.gather(*(start() for _ in range(4)))

    assert await ask(database_url, "SELECT count(*) FROM schema_migrations") == [(len(migrations()),)]


async def test_a_migration_that_fails_leaves_nothing_behind(
    connection: psycopg.AsyncConnection, database_url: str
) -> None:
    broken = Migration("0001_broken", "CREATE TABLE half (n int); SELECT 1 / 0;")

    with pytest.raises(psycopg.errors.DivisionByZero):
        await migrate(connection, [broken])

    assert await ask(database_url, "SELECT to_regclass('half')") == [(None,)]


async def test_a_migration_changed_after_it_was_applied_is_refused(connection: psycopg.AsyncConnection) -> None:
    await migrate(connection)
    changed = [Migration(migrations()[0].name, "SELECT 1;"), *migrations()[1:]]

    with pytest.raises(WrongSchemaError, match="an applied migration never changes"):
        await migrate(connection, changed)


async def test_a_database_newer_than_the_code_is_refused(connection: psycopg.AsyncConnection) -> None:
    await migrate(connection)

    with pytest.raises(WrongSchemaError, match="too old"):
        await migrate(connection, migrations()[:-1])


async def test_the_newest_trades_of_a_symbol_come_from_the_index(
    connection: psycopg.AsyncConnection, database_url: str
) -> None:
    await migrate(connection)
    await ask(
        database_url,
        "INSERT INTO trades SELECT timestamptz '2026-01-01' + n * interval '1 minute', 'sim', 'btcusdt', n, 1, 1, true"
        " FROM generate_series(1, 10000) AS n",
    )
    await connection.execute("ANALYZE trades")

    parameters = TradeRange(0, 1_800_000_000_000_000, LAST_ID).parameters("sim", "btcusdt", 100)
    cursor = await connection.execute(f"EXPLAIN {LIST_TRADES}", parameters)
    plan = "\n".join(row[0] for row in await cursor.fetchall())

    assert "trades_key" in plan
    assert "Seq Scan" not in plan


@pytest.fixture
async def looks_like_timescale(own_postgres: PostgresServer) -> AsyncIterator[psycopg.AsyncConnection]:
    """Give a connection to which plain PostgreSQL looks like TimescaleDB's community edition with both hypertables."""
    async with await psycopg.AsyncConnection.connect(
        own_postgres.url, autocommit=True, client_encoding="UTF8"
    ) as connection:
        await connection.execute("SET timescaledb.disable_load = 'off'; SET timescaledb.license = 'timescale'")
        await connection.execute("CREATE SCHEMA timescaledb_information")
        await connection.execute(
            "CREATE VIEW timescaledb_information.hypertables AS"
            " SELECT unnest(ARRAY['trades', 'candles']) AS hypertable_name, false AS compression_enabled"
        )
        yield connection


async def test_an_edition_that_cannot_compress_is_said_and_asked_again_at_the_next_start(
    looks_like_timescale: psycopg.AsyncConnection, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        await migrate(looks_like_timescale)

    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == ["the database says: trades are not compressed: this TimescaleDB has no columnstore"] * 2


async def test_a_mistake_in_compressing_does_not_look_like_an_edition_that_cannot(
    looks_like_timescale: psycopg.AsyncConnection, caplog: pytest.LogCaptureFixture
) -> None:
    await looks_like_timescale.execute("CREATE PROCEDURE add_columnstore_policy() LANGUAGE sql AS ''")

    await migrate(looks_like_timescale)

    [said] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert 'unrecognized parameter namespace "timescaledb"' in said


@pytest.mark.timescale
@pytest.mark.skipif(not os.environ.get("TIMESCALE_URL"), reason="no TIMESCALE_URL")
async def test_with_timescaledb_trades_are_a_hypertable_by_day_and_candles_by_week(
    connection: psycopg.AsyncConnection, database_url: str
) -> None:
    await migrate(connection)
    await migrate(connection)

    found = await ask(
        database_url,
        "SELECT hypertable_name::text, extract(day FROM time_interval)::int FROM timescaledb_information.dimensions"
        " ORDER BY 1",
    )
    assert found == [("candles", 7), ("trades", 1)]


@pytest.mark.timescale
@pytest.mark.skipif(not os.environ.get("TIMESCALE_URL"), reason="no TIMESCALE_URL")
async def test_making_hypertables_warns_of_nothing(
    connection: psycopg.AsyncConnection, caplog: pytest.LogCaptureFixture
) -> None:
    await migrate(connection)

    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == []


@pytest.mark.timescale
@pytest.mark.skipif(not os.environ.get("TIMESCALE_URL"), reason="no TIMESCALE_URL")
async def test_trades_stored_before_timescaledb_came_stay(
    connection: psycopg.AsyncConnection, database_url: str
) -> None:
    for migration in migrations():
        await connection.execute(migration.sql)
    await connection.execute(
        "CREATE TABLE schema_migrations (name text PRIMARY KEY, checksum text NOT NULL,"
        " applied_time timestamptz NOT NULL DEFAULT now())"
    )
    for migration in migrations():
        await connection.execute("INSERT INTO schema_migrations VALUES (%s, %s)", (migration.name, migration.checksum))
    await connection.execute("INSERT INTO trades VALUES (now(), 'sim', 'btcusdt', 1, 1, 1, true)")

    await migrate(connection)

    assert await ask(database_url, "SELECT trade_id FROM trades") == [(1,)]
    assert await ask(database_url, "SELECT count(*) FROM timescaledb_information.chunks") == [(1,)]
