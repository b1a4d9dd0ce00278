"""What keeps the store from storing: it waits for what passes; what stays it says, and stops no more than it must."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest
from grpc_health.v1 import health_pb2

from mesh.bus import control, subjects
from mesh.bus.connection import CANDLE_STREAM
from mesh.service.health import Health
from store.database.connection import Connection, Database
from tests.fixtures.nats import NatsServer
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.services import Service
from tests.fixtures.store import Feeder, ask, exit_code, feeding, start_store, until_health, until_stored
from tests.fixtures.trades import START_US, columns
from tests.fixtures.waiting import eventually
from tickmesh.v1 import control_pb2

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
MINUTE_US = 60_000_000


@pytest.fixture
async def feeder(nats_server: NatsServer) -> AsyncIterator[Feeder]:
    async with feeding(nats_server) as feeder:
        yield feeder


@pytest.fixture
def start(
    make_service: Callable[..., Service], nats_server: NatsServer, own_postgres: PostgresServer, feeder: Feeder
) -> Callable[..., Service]:
    """Give what starts a store on a database of the test's own, whose owner's rights it may take away."""

    def start(**settings: str) -> Service:
        return start_store(make_service, nats_server, own_postgres.url, **settings)

    return start


async def test_a_store_that_may_not_write_trades_ends_and_names_why(
    feeder: Feeder, start: Callable[..., Service], own_postgres: PostgresServer
) -> None:
    store = start()
    await until_health(store, SERVING)
    await ask(own_postgres.url, "REVOKE INSERT ON trades FROM store")

    await feeder.publish(columns(1, 10))

    assert await exit_code(store) == 1
    assert "permission denied for table trades" in store.output()


async def test_a_store_that_may_not_make_its_tables_ends_and_names_why(
    feeder: Feeder, start: Callable[..., Service], own_postgres: PostgresServer
) -> None:
    database = own_postgres.superuser_url.removesuffix("/postgres") + "/tickmesh"
    await ask(database, "ALTER DATABASE tickmesh OWNER TO postgres")

    store = start()

    assert await exit_code(store) == 1
    assert "permission denied for schema public" in store.output()


async def test_nobody_asks_for_tables_before_they_are_made(
    feeder: Feeder, start: Callable[..., Service], own_postgres: PostgresServer
) -> None:
    await feeder.publish(columns(1, 10))

    store = start(RETENTION_DAYS="10000")

    await until_health(store, SERVING)
    await until_stored(own_postgres.url, range(1, 11))
    await eventually(lambda: "the ledger agrees with the rows" in store.output())
    assert "does not exist" not in own_postgres.process.output()


@pytest.mark.slow
async def test_a_database_that_takes_no_writes_is_away_until_one_is_committed(
    feeder: Feeder, start: Callable[..., Service], own_postgres: PostgresServer
) -> None:
    store = start()
    await until_health(store, SERVING)
    begun = len(store.output())  # while it starts it may say that there is no database yet
    await ask(own_postgres.superuser_url, "ALTER SYSTEM SET default_transaction_read_only = on")
    await ask(own_postgres.superuser_url, "SELECT pg_reload_conf()")

    await feeder.publish(columns(1, 10))
    await eventually(lambda: store.output()[begun:].count("waiting for the database") == 2)
    said = store.output()[begun:]
    await ask(own_postgres.superuser_url, "ALTER SYSTEM RESET default_transaction_read_only")
    await ask(own_postgres.superuser_url, "SELECT pg_reload_conf()")

    await until_health(store, SERVING)
    await until_stored(own_postgres.url, range(1, 11))
    assert (said.count("not serving: no database"), said.count("connected to the database")) == (1, 0)
    assert "read-only transaction" in said
    assert store.output()[begun:].count("not serving: no database") == 1


async def test_work_that_only_reads_does_not_tell_that_a_database_takes_writes(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    health, takes_writes = Health("database"), asyncio.Event()

    async def write(connection: Connection) -> None:
        if not takes_writes.is_set():
            await connection.execute("SET TRANSACTION READ ONLY")
        await connection.execute("CREATE TABLE written (n int)")

    async def read(connection: Connection) -> None:
        await connection.execute("SELECT 1")

    async with Database(database_url, health=health) as database:
        watching = asyncio.create_task(database.watch())
        await eventually(lambda: "database" not in health.away)
        writing = asyncio.create_task(database.write(write))
        await eventually(lambda: "database" in health.away)

        await database.write(read)
        assert "takes writes again" not in caplog.text

        takes_writes.set()
        await writing
        assert "takes writes again" in caplog.text
        await eventually(lambda: "database" not in health.away)
        watching.cancel()


@pytest.mark.slow
async def test_a_write_that_waits_for_somebodys_lock_is_said_and_counts_as_away(
    feeder: Feeder, start: Callable[..., Service], own_postgres: PostgresServer
) -> None:
    store = start()
    await until_health(store, SERVING)
    async with await psycopg.AsyncConnection.connect(own_postgres.url) as person:
        await person.execute("LOCK TABLE trades IN SHARE MODE")

        await feeder.publish(columns(1, 10))

        await until_health(store, NOT_SERVING)
        assert "a write has been under way for" in store.output()
    await until_health(store, SERVING)
    await until_stored(own_postgres.url, range(1, 11))


async def test_retention_that_may_not_remove_says_so_and_trades_are_stored(
    feeder: Feeder, start: Callable[..., Service], own_postgres: PostgresServer
) -> None:
    store = start()
    await feeder.publish(columns(1, 10))  # of 2024
    now = columns(11, 10)
    now.time_us[:] += time.time_ns() // 1000 - START_US
    await feeder.publish(now)
    await until_stored(own_postgres.url, range(1, 21))
    await ask(own_postgres.url, "REVOKE DELETE ON minutes FROM store")
    store.process.stop()

    store = start(RETENTION_DAYS="1")

    await eventually(lambda: "permission denied for table minutes" in store.output())
    await feeder.publish(columns(21, 10))
    await until_stored(own_postgres.url, range(1, 31))
    await until_health(store, SERVING)


async def test_minutes_that_may_not_be_settled_are_said_and_trades_are_stored(
    feeder: Feeder, start: Callable[..., Service], own_postgres: PostgresServer
) -> None:
    store = start()
    await feeder.publish(columns(1, 10))
    await until_stored(own_postgres.url, range(1, 11))
    await ask(own_postgres.url, "REVOKE UPDATE ON minutes FROM store")

    await feeder.bus.declare(CANDLE_STREAM)
    empty = control_pb2.VenueCandle(
        venue="binance",
        symbol="btcusdt",
        open_time_us=START_US // MINUTE_US * MINUTE_US - MINUTE_US,
        first_trade_id=-1,
        last_trade_id=-1,
    )
    await feeder.bus.js.publish(subjects.candle("binance", "btcusdt"), control.encode(empty))

    await eventually(lambda: "permission denied for table minutes" in store.output())
    await feeder.publish(columns(11, 10))
    await until_stored(own_postgres.url, range(1, 21))
    await until_health(store, SERVING)
