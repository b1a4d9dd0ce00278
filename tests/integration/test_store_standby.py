"""A primary of the database and a standby that follows it: the store after a failover, and reads from the standby."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest
from grpc_health.v1 import health_pb2

from mesh.service import rpc
from mesh.service.health import Health
from store.database import Connection, Database
from tests.fixtures.nats import NatsServer
from tests.fixtures.postgres import PASSWORD, PostgresServer
from tests.fixtures.services import Service
from tests.fixtures.store import Feeder, ask, feeding, start_store, until_health, until_stored
from tests.fixtures.trades import columns
from tests.fixtures.waiting import eventually
from tickmesh.v1 import store_pb2, store_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
Pair = tuple[PostgresServer, PostgresServer]


@pytest.fixture
async def feeder(nats_server: NatsServer) -> AsyncIterator[Feeder]:
    async with feeding(nats_server) as feeder:
        yield feeder


def url_of(*servers: PostgresServer) -> str:
    places = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"postgresql://store:{PASSWORD}@{places}/tickmesh"


async def until_behind_nothing(primary: PostgresServer) -> None:
    """Wait until the standby has replayed all that the primary has committed."""

    async def look() -> bool:
        behind = "SELECT pg_current_wal_lsn() = replay_lsn FROM pg_stat_replication"
        return await ask(primary.superuser_url, behind) == [(True,)]

    await eventually(look)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.slow
async def test_after_a_failover_the_store_goes_on_with_the_standby_and_has_everything(
    feeder: Feeder,
    nats_server: NatsServer,
    replicated_postgres: Pair,
    make_service: Callable[..., Service],
    ending: signal.Signals,
) -> None:
    primary, standby = replicated_postgres
    store = start_store(make_service, nats_server, url_of(primary, standby))
    await feeder.publish(columns(1, 100))
    await until_stored(primary.url, range(1, 101))
    await until_behind_nothing(primary)

    primary.send_to_all(ending)
    try:
        await feeder.publish(columns(101, 100))
        standby.promote()

        await until_stored(standby.url, range(1, 201), timeout_s=60)
        await until_health(store, SERVING)
    finally:
        if ending == signal.SIGSTOP:
            primary.send_to_all(signal.SIGCONT)
    assert await ask(standby.url, "SELECT first_trade_id, last_trade_id FROM coverage") == [(1, 200)]
    assert f"127.0.0.1:{standby.port}/tickmesh takes writes again" in store.output()
    assert PASSWORD not in store.output()


@pytest.mark.slow
@pytest.mark.parametrize("then", [0, 50])
async def test_what_a_standby_had_not_got_yet_is_told_and_stored_again(
    feeder: Feeder,
    nats_server: NatsServer,
    replicated_postgres: Pair,
    make_service: Callable[..., Service],
    then: int,
) -> None:
    primary, standby = replicated_postgres
    store = start_store(make_service, nats_server, url_of(primary, standby))
    await feeder.publish(columns(1, 100))
    await until_stored(primary.url, range(1, 101))
    await until_behind_nothing(primary)
    await ask(standby.superuser_url, "ALTER SYSTEM SET primary_conninfo = ''")
    await ask(standby.superuser_url, "SELECT pg_reload_conf()")

    async def cut_off() -> bool:
        return await ask(standby.superuser_url, "SELECT FROM pg_stat_wal_receiver") == []

    await eventually(cut_off)
    for first in range(101, 201, 10):
        await feeder.publish(columns(first, 10))
    await until_stored(primary.url, range(1, 201))

    primary.kill()
    standby.promote()
    if then:  # else it is noticed although nothing more comes
        await feeder.publish(columns(201, then))

    await until_stored(standby.url, range(1, 201 + then), timeout_s=60)
    await until_health(store, SERVING)
    assert await ask(standby.url, "SELECT first_trade_id, last_trade_id FROM coverage") == [(1, 200 + then)]
    assert "it has lost what was committed since, 10 messages" in store.output()


async def test_without_any_host_the_log_names_each_and_why(
    feeder: Feeder, nats_server: NatsServer, replicated_postgres: Pair, make_service: Callable[..., Service]
) -> None:
    primary, standby = replicated_postgres
    primary.kill()

    store = start_store(make_service, nats_server, url_of(primary, standby))

    await eventually(lambda: "waiting for the database at" in store.output())
    said = store.output()
    assert f"at 127.0.0.1:{primary.port},127.0.0.1:{standby.port}/tickmesh: 127.0.0.1:{primary.port}: Conn" in said
    assert f"; 127.0.0.1:{standby.port}: session is read-only" in said
    assert PASSWORD not in said
    standby.promote()
    await until_health(store, SERVING)


async def test_questions_are_answered_from_the_standby_and_from_the_primary_when_it_is_gone(
    feeder: Feeder, nats_server: NatsServer, replicated_postgres: Pair, make_service: Callable[..., Service]
) -> None:
    primary, standby = replicated_postgres
    store = start_store(
        make_service,
        nats_server,
        primary.url,
        DATABASE_READ_URL=url_of(primary, standby) + "?target_session_attrs=prefer-standby",
    )
    await feeder.publish(columns(1, 100))
    await until_stored(standby.url, range(1, 101))

    async with rpc.channel(store.address) as channel:
        stub = store_pb2_grpc.StoreServiceStub(channel)
        request = store_pb2.ListTradesRequest(venue="binance", symbol="btcusdt", page_size=10)

        async def look() -> bool:
            return [trade.trade_id for trade in (await stub.ListTrades(request)).trades][:1] == [100]

        await eventually(look, not_yet=(Exception,))
        readers = "SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name = 'tickmesh-store-reads'"
        assert await ask(standby.superuser_url, readers) == [("store",)]
        assert await ask(primary.superuser_url, readers) == []
        standby.kill()
        await eventually(look, not_yet=(Exception,))
        assert await ask(primary.superuser_url, readers) == [("store",)]


async def test_a_standby_that_is_behind_or_away_is_said(replicated_postgres: Pair) -> None:
    primary, standby = replicated_postgres
    health = Health("database")

    def said() -> str:
        return "".join(one.message for one in health.conditions if one.name == "reads")

    async def move(connection: Connection) -> None:
        await connection.execute(
            "INSERT INTO progress (stream, created, sequence) VALUES ('RAW', now(), 1) "
            "ON CONFLICT (stream) DO UPDATE SET sequence = progress.sequence + 1"
        )

    async with Database(primary.url, read_url=standby.url, health=health) as database:
        await database.write(move)
        # A standby that stands still before it has the tables is behind in another way.
        await eventually(lambda: ask(standby.url, "SELECT 1 FROM progress"), not_yet=(psycopg.Error,))
        watching = asyncio.create_task(database.watch_reads(every_s=0.1))
        await ask(standby.superuser_url, "SELECT pg_wal_replay_pause()")
        await database.write(move)
        await eventually(lambda: f"at 127.0.0.1:{standby.port}/tickmesh is more than 0.1 s behind (RAW)" in said())
        await ask(standby.superuser_url, "SELECT pg_wal_replay_resume()")
        await eventually(lambda: not said())
        standby.kill()
        await eventually(lambda: "unavailable" in said())
        watching.cancel()
