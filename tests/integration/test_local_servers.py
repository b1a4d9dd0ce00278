"""The real servers of the local runner and the tests come up, keep what they were given over a crash, and guard it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import nats
import psycopg
import pytest
from nats.js.api import StreamConfig

from mesh.local import postgres
from tests.fixtures.nats import NatsServer
from tests.fixtures.postgres import PostgresServer


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


def test_a_data_directory_is_made_by_binaries_whose_path_means_something_to_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = postgres.bin_directory().parents[1]
    odd = tmp_path / 'o\'neil #1 "q" $HOME `x`'
    for part in (postgres.bin_directory().parent, package.with_name(f"{package.name}.libs")):
        if part.is_dir():
            shutil.copytree(part, odd / part.relative_to(package.parent), symlinks=True)
    binaries = odd / postgres.bin_directory().relative_to(package.parent)
    monkeypatch.setattr(postgres, "bin_directory", lambda: binaries)

    postgres.initialise(odd / "data", superuser_password="one", role_password="two")

    assert (odd / "data" / "PG_VERSION").read_text() == "18\n"
