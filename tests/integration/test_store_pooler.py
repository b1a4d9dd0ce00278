"""Store through a pooler: with sessions of its own it works; where they are shared it ends and says why.

PgBouncer is no part of what `make` installs: the tests with a real one are left out where there is none in PATH.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from psycopg import AsyncConnection

from store.database.connection import SharedSessionsError, require_own_sessions
from tests.fixtures.nats import NatsServer
from tests.fixtures.ports import free_ports
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.process import Process
from tests.fixtures.services import Service
from tests.fixtures.store import exit_code, feeding, start_store, until_stored
from tests.fixtures.trades import columns

PGBOUNCER = shutil.which("pgbouncer")
needs_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="no pgbouncer in PATH")


@contextmanager
def pooled(server: PostgresServer, directory: Path, *, mode: str) -> Iterator[str]:
    """Run PgBouncer before a server; gives the URL through it."""
    to = urlsplit(server.url)
    [port] = free_ports(1)
    name = to.path.removeprefix("/")
    configuration = directory / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n{name} = host={to.hostname} port={to.port} user={to.username} password={to.password}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = {mode}\n"
    )
    assert PGBOUNCER is not None
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = Process([PGBOUNCER, *user, str(configuration)], environment=os.environ, log=directory / "pgbouncer.log")
    process.start()
    try:
        process.wait_for_line("process up", timeout_s=20)
        yield f"postgresql://{to.username}:{to.password}@127.0.0.1:{port}/{name}"
    finally:
        process.kill()


async def test_connections_of_the_server_itself_have_sessions_of_their_own(database_url: str) -> None:
    async with (
        await AsyncConnection.connect(database_url, autocommit=True) as one,
        await AsyncConnection.connect(database_url, autocommit=True) as other,
    ):
        await require_own_sessions(one, other)


async def test_two_that_are_in_the_same_session_are_refused(database_url: str) -> None:
    async with await AsyncConnection.connect(database_url, autocommit=True) as one:
        with pytest.raises(SharedSessionsError, match="PgBouncer in transaction mode"):
            await require_own_sessions(one, one)


@needs_pgbouncer
async def test_store_works_through_pgbouncer_in_session_mode(
    make_service: Callable[..., Service], nats_server: NatsServer, own_postgres: PostgresServer, tmp_path: Path
) -> None:
    async with feeding(nats_server) as feeder:
        with pooled(own_postgres, tmp_path, mode="session") as url:
            start_store(make_service, nats_server, url)
            await feeder.publish(columns(1, 10))

            await until_stored(own_postgres.url, range(1, 11))


@needs_pgbouncer
@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_store_ends_behind_pgbouncer_in_another_mode_and_says_why(
    make_service: Callable[..., Service],
    nats_server: NatsServer,
    own_postgres: PostgresServer,
    tmp_path: Path,
    mode: str,
) -> None:
    async with feeding(nats_server):
        with pooled(own_postgres, tmp_path, mode=mode) as url:
            store = start_store(make_service, nats_server, url)

            assert await exit_code(store) == 1
    assert "store ends: SharedSessionsError: the database is behind a pooler" in store.output()
    assert "applied migration" not in store.output()
