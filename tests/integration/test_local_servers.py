"""The real servers of the local runner and the tests come up, keep what they were given over a crash, and guard it."""

from __future__ import annotations

import asyncio

import nats
import psycopg
import pytest
from nats.js.api import StreamConfig

from tests.fixtures.nats import NatsServer
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.waiting import eventually


async def test_a_stream_survives_the_crash_of_nats(nats_server: NatsServer) -> None:
    connection = await nats.connect(nats_server.url)
    await connection.jetstream().add_stream(StreamConfig(name="KEPT", subjects=["trades.raw.>"]))
    await connection.jetstream().publish("trades.raw.sim.btcusdt", b"one")
    await connection.close()

    nats_server.restart()

    connection = await nats.connect(nats_server.url)
    message = await connection.jetstream().get_msg("KEPT", 1)
    await connection.close()
    assert message.data == b"one"


async def test_a_service_may_publish_what_it_makes_and_nothing_else(nats_server: NatsServer) -> None:
    refused: list[str] = []

    async def remember(error: Exception) -> None:
        refused.append(str(error))

    connection = await nats.connect(nats_server.url_of("ingest"), error_cb=remember)
    await connection.publish("trades.raw.sim.btcusdt", b"")
    await connection.publish("trades.processed.sim.btcusdt", b"")
    await eventually(lambda: refused, what="the server's refusal")
    await connection.close()

    assert len(refused) == 1
    assert "trades.processed.sim.btcusdt" in refused[0]


@pytest.mark.parametrize("user", ["ingest", "signal", "store"])
async def test_every_service_may_declare_streams_and_read_them(nats_server: NatsServer, user: str) -> None:
    connection = await nats.connect(nats_server.url_of(user), inbox_prefix=f"_INBOX_{user}".encode())
    jetstream = connection.jetstream()
    await jetstream.add_stream(StreamConfig(name="RAW", subjects=["trades.raw.>"]))
    admin = await nats.connect(nats_server.url)
    await admin.jetstream().publish("trades.raw.sim.btcusdt", b"one")

    subscription = await jetstream.pull_subscribe("trades.raw.>", durable=user, stream="RAW")
    [message] = await subscription.fetch(1, timeout=5)
    await message.ack_sync()

    assert message.data == b"one"
    await admin.close()
    await connection.close()


async def test_a_stranger_is_not_let_in(nats_server: NatsServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", nats_server.port)
    writer.write(b"CONNECT {}\r\nPING\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()

    assert b"-ERR 'Authorization Violation'" in answer


def test_committed_rows_survive_the_crash_of_postgres(own_postgres: PostgresServer) -> None:
    with psycopg.connect(own_postgres.url) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")

    own_postgres.kill()
    own_postgres.start()

    with psycopg.connect(own_postgres.url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(1,)]


def test_each_test_has_a_database_of_its_own_that_its_role_owns(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        owner = connection.execute(
            "SELECT pg_get_userbyid(datdba) = current_user FROM pg_database WHERE datname = current_database()"
        ).fetchone()

    assert (tables, owner) == ((0,), (True,))


def test_the_services_role_is_no_superuser(own_postgres: PostgresServer) -> None:
    with psycopg.connect(own_postgres.url) as connection:
        assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)


def test_postgres_wants_the_password(own_postgres: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(own_postgres.url.replace("test-password", "wrong"))
