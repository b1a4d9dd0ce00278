"""What the database refuses for good costs its own rows only: new trades go on, whatever the error is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import psycopg
import pytest
from grpc_health.v1 import health_pb2
from nats.errors import Error as NatsError

from mesh.service import rpc
from tests.fixtures.nats import NatsServer
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.services import Service
from tests.fixtures.store import Feeder, ask, feeding, start_store, until_health, until_stored
from tests.fixtures.trades import columns
from tests.fixtures.waiting import eventually
from tickmesh.v1 import store_pb2, store_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
LIMIT = "timescaledb.max_tuples_decompressed_per_dml_transaction"

REFUSE_OLD = """
CREATE FUNCTION refuse_old() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.trade_id BETWEEN 11 AND 20 AND {unless} THEN
        RAISE EXCEPTION USING ERRCODE = '{sqlstate}', MESSAGE = 'tuple decompression limit exceeded by operation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse_old BEFORE INSERT ON trades FOR EACH ROW EXECUTE FUNCTION refuse_old();
"""


@pytest.fixture
async def feeder(nats_server: NatsServer) -> AsyncIterator[Feeder]:
    async with feeding(nats_server) as feeder:
        yield feeder


@pytest.fixture
def store(
    make_service: Callable[..., Service], nats_server: NatsServer, own_postgres: PostgresServer, feeder: Feeder
) -> Service:
    return start_store(make_service, nats_server, own_postgres.url)


async def test_what_fills_a_compressed_chunk_is_stored_with_its_limit_lifted(
    feeder: Feeder,
    make_service: Callable[..., Service],
    nats_server: NatsServer,
    own_postgres: PostgresServer,
) -> None:
    # As TimescaleDB's community edition does it: the limit is a setting, and what would pass it is refused.
    database = own_postgres.superuser_url.removesuffix("/postgres") + "/tickmesh"
    await ask(database, f"ALTER DATABASE tickmesh SET {LIMIT} = '100000'")
    store = start_store(make_service, nats_server, own_postgres.url)
    await feeder.publish(columns(1, 10))
    await feeder.publish(columns(21, 10))
    await until_stored(own_postgres.url, [*range(1, 11), *range(21, 31)])
    await ask(own_postgres.url, REFUSE_OLD.format(sqlstate="53400", unless=f"current_setting('{LIMIT}') <> '0'"))

    await feeder.publish(columns(31, 5))
    await feeder.publish(columns(11, 10))
    await feeder.publish(columns(36, 5))

    await until_stored(own_postgres.url, range(1, 41))
    assert "is a dead letter" not in store.output()


@pytest.mark.parametrize("sqlstate", ["53400", "57014", "0A000", "XX001", "40001", "P0001"])
async def test_what_no_way_stores_is_put_aside_and_new_trades_go_on(
    feeder: Feeder, store: Service, own_postgres: PostgresServer, sqlstate: str
) -> None:
    await feeder.publish(columns(1, 10))
    await feeder.publish(columns(21, 10))
    await until_stored(own_postgres.url, [*range(1, 11), *range(21, 31)])
    await ask(own_postgres.url, REFUSE_OLD.format(sqlstate=sqlstate, unless="true"))

    await feeder.publish(columns(31, 5))
    await feeder.publish(columns(11, 10))
    await feeder.publish(columns(36, 5))

    await until_stored(own_postgres.url, [*range(1, 11), *range(21, 41)])
    dead = await eventually(lambda: feeder.bus.js.get_msg("DEAD", 1), not_yet=(NatsError,))
    assert "tuple decompression limit" in (dead.headers or {})["Tickmesh-Reason"]
    await until_health(store, SERVING)


async def test_a_role_may_be_set_to_anything(
    feeder: Feeder,
    make_service: Callable[..., Service],
    nats_server: NatsServer,
    own_postgres: PostgresServer,
) -> None:
    for setting in (
        "statement_timeout = '15ms'",
        "lock_timeout = '1ms'",
        "idle_in_transaction_session_timeout = '1ms'",
        "DateStyle = 'SQL, DMY'",
        "TimeZone = 'Asia/Kathmandu'",
        "IntervalStyle = 'sql_standard'",
        "bytea_output = 'escape'",
        "extra_float_digits = -10",
        "array_nulls = off",
        "client_encoding = 'LATIN1'",
        "standard_conforming_strings = off",
        "default_transaction_isolation = 'serializable'",
        "search_path = 'nowhere'",
        "synchronous_commit = off",
    ):
        await ask(own_postgres.superuser_url, f"ALTER ROLE store SET {setting}")
    store = start_store(make_service, nats_server, own_postgres.url)

    await feeder.publish(columns(1, 10))
    await feeder.publish(columns(21, 10))
    await feeder.publish(columns(11, 10))

    await until_stored(own_postgres.superuser_url.removesuffix("/postgres") + "/tickmesh", range(1, 31))
    await eventually(lambda: "the ledger agrees with the rows" in store.output())
    async with rpc.channel(store.address) as channel:
        stub = store_pb2_grpc.StoreServiceStub(channel)
        page = await stub.ListTrades(store_pb2.ListTradesRequest(venue="binance", symbol="btcusdt"))
        coverage = await stub.GetCoverage(store_pb2.GetCoverageRequest(venue="binance", symbol="btcusdt"))
    newest = columns(30, 1)
    assert page.trades[0].timestamp.ToMicroseconds() == newest.time_us[0]
    assert (coverage.stored, coverage.complete) == (30, True)
    assert "waiting for the database" not in store.output()


async def test_two_hundred_questions_that_hang_leave_health_and_new_trades_alone(
    feeder: Feeder, store: Service, own_postgres: PostgresServer
) -> None:
    await feeder.publish(columns(1, 10))
    await until_stored(own_postgres.url, range(1, 11))
    await until_health(store, SERVING)

    async with (
        await psycopg.AsyncConnection.connect(own_postgres.url) as person,
        rpc.channel(store.address) as channel,
    ):
        stub: Any = store_pb2_grpc.StoreServiceStub(channel)
        await person.execute("LOCK TABLE minutes IN ACCESS EXCLUSIVE MODE")
        question = store_pb2.GetCoverageRequest(venue="binance", symbol="btcusdt")
        asked = [asyncio.ensure_future(stub.GetCoverage(question)) for _ in range(200)]
        answers: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
        for first_id in range(11, 111, 10):
            await feeder.publish(columns(first_id, 10))
        await until_stored(own_postgres.url, range(1, 111))

    codes = {answer.code() for answer in answers if isinstance(answer, grpc.aio.AioRpcError)}
    assert codes == {grpc.StatusCode.UNAVAILABLE}
    assert any("busy with other questions" in answer.details() for answer in answers)
    assert "not serving: no database" not in store.output()
