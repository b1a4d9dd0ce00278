"""DATABASE_URL in the forms that libpq takes, against a real PostgreSQL."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest

from mesh.service.health import Health
from store.database import Database, fetch_all


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

        async def nothing(_: object) -> None:
            return None

        await database.write(nothing)
        async with database.reading() as connection:
            settings = {}
            for name in ("work_mem", "default_transaction_read_only", "statement_timeout"):
                [(settings[name],)] = await fetch_all(connection, f"SHOW {name}")
    assert settings["default_transaction_read_only"] == "on"
    assert settings["statement_timeout"] == "5s"
    assert (settings["work_mem"] == "7MB") == (form != "several hosts")
    assert password_of(database_url) not in caplog.text
