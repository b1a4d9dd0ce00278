"""Migrations: the steps `schema/NNNN_*.sql`, each applied once, in order, in a transaction of its own.

What was applied is kept with its checksum. A database that has more than this code knows, or something else under the
same name, is refused: writing into an unknown schema loses data.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection

from mesh.service.errors import TickmeshError
from store.database.errors import first_line, is_transient

log = logging.getLogger("store.database.migrations")

SCHEMA = Path(__file__).parent / "schema"
_LOCK = 0x7469636B  # "tick": whoever migrates holds this advisory lock, so that two starting stores take turns


class WrongSchemaError(TickmeshError):
    """The database's schema is not one this code may write into."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, line ends aside."""
        return hashlib.sha256("\n".join(self.sql.splitlines()).encode()).hexdigest()


def migrations(directory: Path = SCHEMA) -> list[Migration]:
    """Return the numbered steps of a folder, in order."""
    return [Migration(path.stem, path.read_text("utf-8")) for path in sorted(directory.glob("[0-9]*.sql"))]


def pending(applied: list[tuple[str, str]], known: list[Migration]) -> list[Migration]:
    """Return the steps that are still to be applied.

    Args:
        applied: (name, checksum) of the database's steps, in order.
        known: the steps of this code, in order.

    Raises:
        WrongSchemaError: an applied step was changed since, or the database is newer than the code.

    """
    for n, (name, checksum) in enumerate(applied):
        if n >= len(known):
            raise WrongSchemaError(
                f"the database has migration {name!r}, this code ends with {known[-1].name!r}: it is too old"
            )
        if name != known[n].name:
            raise WrongSchemaError(f"migration {n + 1} of the database is {name!r}, expected {known[n].name!r}")
        if checksum != known[n].checksum:
            raise WrongSchemaError(
                f"migration {name!r} was applied as {checksum[:12]}, this code has {known[n].checksum[:12]}: "
                "an applied migration never changes, add another one"
            )
    return known[len(applied) :]


async def migrate(connection: AsyncConnection[Any], known: list[Migration] | None = None) -> None:
    """Apply what is missing to the schema; return at once when nothing is.

    Args:
        connection: in autocommit mode.
        known: the steps; those of `schema/` by default.

    Raises:
        WrongSchemaError: an applied step was changed since, or the database is newer than the code.
        psycopg.Error: the database is unavailable, or refuses a step.

    """
    known = migrations() if known is None else known
    connection.add_notice_handler(_log_warning)
    await connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    try:
        await _migrate(connection, known)
        await _use_timescale(connection)
    finally:
        connection.remove_notice_handler(_log_warning)
        if not connection.broken:
            await connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


async def _migrate(connection: AsyncConnection[Any], known: list[Migration]) -> None:
    # Asked first: a role that may only use the schema, not change it, can still start.
    exists = await _one(connection, "SELECT to_regclass('schema_migrations') IS NOT NULL")
    if not exists:
        await connection.execute(
            "CREATE TABLE schema_migrations (name text PRIMARY KEY, checksum text NOT NULL,"
            " applied_time timestamptz NOT NULL DEFAULT now())"
        )
    cursor = await connection.execute("SELECT name, checksum FROM schema_migrations ORDER BY name")
    for migration in pending(await cursor.fetchall(), known):
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)", (migration.name, migration.checksum)
            )
        log.info("applied migration %s", migration.name)


async def _use_timescale(connection: AsyncConnection[Any]) -> None:
    # The setting exists where the server has loaded the library: without that CREATE EXTENSION would end the session.
    if await _one(connection, "SELECT current_setting('timescaledb.disable_load', true)") != "off":
        return
    if not await _has_hypertables(connection):
        try:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        except psycopg.errors.InsufficientPrivilege as exc:
            log.warning("TimescaleDB is there but not in this database, and this role may not add it: %s", exc)
            return
        await _run(connection, "timescale.sql")
        log.info("trades and candles are hypertables of TimescaleDB")
    try:
        await _run(connection, "columnstore.sql")
    except psycopg.Error as exc:
        if is_transient(exc):
            raise
        log.error("trades are not compressed, which is no reason to store none: %s", first_line(exc))


async def _has_hypertables(connection: AsyncConnection[Any]) -> bool:
    # Asked first: a hypertable stays as it is, and making it again would only take locks.
    return bool(
        await _one(connection, "SELECT to_regclass('timescaledb_information.hypertables') IS NOT NULL")
        and await _one(
            connection,
            "SELECT count(*) = 2 FROM timescaledb_information.hypertables"
            " WHERE hypertable_name IN ('trades', 'candles')",
        )
    )


async def _run(connection: AsyncConnection[Any], name: str) -> None:
    async with connection.transaction():
        await connection.execute((SCHEMA / name).read_text("utf-8"))


def _log_warning(notice: psycopg.errors.Diagnostic) -> None:
    if notice.severity_nonlocalized == "WARNING":
        log.warning("the database says: %s", notice.message_primary)


async def _one(connection: AsyncConnection[Any], statement: str) -> Any:
    row = await (await connection.execute(statement)).fetchone()
    return None if row is None else row[0]
