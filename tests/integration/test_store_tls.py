"""The database with TLS: DATABASE_URL with sslmode=verify-full against a real PostgreSQL with ssl=on.

The PostgreSQL of the wheel is built without OpenSSL, so these need one of the system, as Debian's package has it.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from mesh.local import postgres
from mesh.service.health import Health
from store.database import Database, fetch_all
from tests.fixtures.ports import free_ports
from tests.fixtures.postgres import READY
from tests.fixtures.process import Process
from tests.fixtures.tls import Authority
from tests.fixtures.waiting import eventually

SYSTEM = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
pytestmark = pytest.mark.skipif(not SYSTEM, reason="no PostgreSQL with OpenSSL in /usr/lib/postgresql")
RULES = "host all postgres 127.0.0.1/32 trust\nhostssl all store 127.0.0.1/32 scram-sha-256\n"


class TlsPostgres:
    """A PostgreSQL with ssl=on, that takes the role `store` by TLS alone."""

    def __init__(self, data: Path, authority: Authority) -> None:
        self.data, self.authority = data, authority
        [self.port] = free_ports(1)
        user = postgres._as_system_user(data.parent)
        data.parent.chmod(0o777)
        initdb = [
            *user,
            str(SYSTEM[-1]),
            "-D",
            str(data),
            "-U",
            "postgres",
            "--auth=trust",
            "--no-locale",
            "-E",
            "UTF8",
        ]
        subprocess.run(initdb, check=True, capture_output=True, cwd="/", timeout=60)
        (data / "pg_hba.conf").write_text(RULES)
        self.certify()
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "ssl": "on",
            "fsync": "off",
        }
        self.process = Process(
            [*user, str(SYSTEM[-1].with_name("postgres")), "-D", str(data)]
            + [part for name, value in options.items() for part in ("-c", f"{name}={value}")],
            environment=postgres.environment(),
            log=data.parent / "postgres.log",
        )

    def certify(self, *names: str, days: int = 30) -> None:
        """Put a certificate where the server reads it, with the owner and the mode that it asks for."""
        owner = self.data.stat()
        files = self.authority.issue("database", *names, days=days)
        for source, name in zip(files, ("server.crt", "server.key"), strict=True):
            shutil.copy(source, self.data / name)
            shutil.chown(self.data / name, owner.st_uid, owner.st_gid)
            (self.data / name).chmod(0o600)

    def execute(self, *statements: str) -> None:
        url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres?sslmode=disable"
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def url(self, options: str) -> str:
        return f"postgresql://store:test-password@127.0.0.1:{self.port}/tickmesh?{options}"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "our own #1")


@pytest.fixture
def server(tmp_path: Path, authority: Authority) -> Iterator[TlsPostgres]:
    (tmp_path / "postgres").mkdir()
    server = TlsPostgres(tmp_path / "postgres" / "data", authority)
    server.process.start()
    try:
        server.process.wait_for_line(READY, timeout_s=30)
        server.execute("CREATE ROLE store LOGIN PASSWORD 'test-password'", "CREATE DATABASE tickmesh OWNER store")
        yield server
    finally:
        server.process.stop()


def verified(authority: Authority) -> str:
    return f"sslmode=verify-full&sslrootcert={quote(str(authority.ca))}"


async def test_the_database_is_reached_with_tls_and_its_renewed_certificate_too(
    server: TlsPostgres, authority: Authority
) -> None:
    encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    for _ in range(2):
        async with (
            asyncio.timeout(30),
            Database(server.url(verified(authority)), health=Health("database")) as database,
        ):
            assert await database.write(lambda connection: fetch_all(connection, encrypted)) == [(True,)]
            async with database.reading() as connection:
                assert await fetch_all(connection, encrypted) == [(True,)]
        server.certify()
        server.execute("SELECT pg_reload_conf()")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("authority", "certificate verify failed"),
        ("name", 'does not match host name "127.0.0.1"'),
        ("expired", "certificate verify failed"),
        ("plain", "no encryption"),
    ],
)
async def test_what_is_not_good_is_refused_in_words_without_the_password(
    server: TlsPostgres, authority: Authority, tmp_path: Path, wrong: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    if wrong == "name":
        server.certify("database")
    elif wrong == "expired":
        server.certify(days=-1)
    if wrong in ("name", "expired"):  # after a reload it would show the old one for a moment more
        server.process.stop(signal.SIGINT)
        server.process.start()
        server.process.wait_for_line(READY, timeout_s=30)
    trusted = Authority(tmp_path / "stranger") if wrong == "authority" else authority
    options = "sslmode=disable" if wrong == "plain" else verified(trusted)
    health = Health("database")
    async with asyncio.timeout(30), Database(server.url(options), health=health) as database:
        waiting = asyncio.create_task(database.write(lambda _: asyncio.sleep(0)))
        await eventually(lambda: words in caplog.text)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
    assert not health.serving
    assert "test-password" not in caplog.text
