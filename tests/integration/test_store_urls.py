"""DATABASE_URL in the forms that libpq takes, and what is read there, against a real PostgreSQL."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest

from mesh.service.health import Health
from store.database import Connection, Database, fetch_all


async def nothing(_: object) -> None:
    """Prepare the schema, as every write does."""


def password_of(url: str) -> str:
    """Return the URL's password; a server that asks for none may be shown any."""
    return urlsplit(url).password or "asked-for-by-nobody"


def forms(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    place, name = f"{parts.hostname}:{parts.port}", parts.path.removeprefix("/")
    login = f"{parts.username}:{password_of(url)}"
    return {
        "several hosts": f"postgresql://{login}@127.0.0.1:9,{place}/{name}",
        "options": f"postgresql://{login}@{place}/{name}?options=-c%20work_mem%3D7MB",
        "keywords": f"host={parts.hostname} port={parts.port} dbname={name} user={parts.username} "
        f"password='{password_of(url)}' options='-c work_mem=7MB'",
    }


@pytest.mark.parametrize("form", ["several hosts", "options", "keywords"])
async def test_the_database_is_reached_and_options_count_for_what_reads_too(
    database_url: str, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = forms(database_url)[form]
    health = Health("database")
    async with asyncio.timeout(30), Database(url, health=health) as database:
        await database.write(nothing)
        async with database.reading() as connection:
            settings = {}
            for name in ("work_mem", "default_transaction_read_only", "statement_timeout"):
                [(settings[name],)] = await fetch_all(connection, f"SHOW {name}")
    assert settings["default_transaction_read_only"] == "on"
    assert settings["statement_timeout"] == "5s"
    assert (settings["work_mem"] == "7MB") == (form != "several hosts")
    assert password_of(database_url) not in caplog.text


async def test_what_is_read_in_a_transaction_is_of_one_moment_without_a_statement_for_that(database_url: str) -> None:
    count = "SELECT count(*) FROM coverage"
    async with asyncio.timeout(30), Database(database_url, health=Health("database")) as database:

        async def add(connection: Connection) -> None:
            await connection.execute("INSERT INTO coverage VALUES ('binance', 'btcusdt', 1, 1)")

        await database.write(nothing)
        async with database.reading() as connection:
            async with connection.transaction():
                assert await fetch_all(connection, count) == [(0,)]
                await database.write(add)
                assert await fetch_all(connection, count) == [(0,)]
            assert await fetch_all(connection, count) == [(1,)]
