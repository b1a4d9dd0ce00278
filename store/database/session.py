"""Sessions of the server: what is set in each of them, and whether each connection has one to itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from mesh.service.errors import TickmeshError

Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]
Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]

CONNINFO: dict[str, str | int] = {
    "application_name": "tickmesh-store",
    "client_encoding": "UTF8",
    "connect_timeout": 5,
    # A server that vanished without a word is noticed within some 15 s.
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""Parameters of every connection, beside those of the URL."""

# What this code relies on, whatever a role or a database is set to. By SET and not by `options=`, so that it works
# through PgBouncer, too. A limit of the role's own on time must not end a write in its midst again and again.
_RELIED_ON = {
    "DateStyle": "ISO, YMD",
    "TimeZone": "UTC",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "row_security": "off",  # rows that a policy hides would count as lost: better an error
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "60s",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
}
_SET = """
SELECT set_config(wanted.name, wanted.value, false)
FROM unnest(%s::text[], %s::text[]) AS wanted (name, value)
JOIN pg_settings ON lower(pg_settings.name) = lower(wanted.name)
"""
# Only where they cannot do: somebody may keep our tables in a schema of their own, or wait for a standby at commits.
_MEND = """
SELECT CASE WHEN current_schema() IS NULL THEN set_config('search_path', '"$user", public', false) END,
    CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END
"""
# A server process, whichever server of several it belongs to. The time as a number: the DateStyle may be any.
_PROCESS = """
SELECT pg_backend_pid(),
    (SELECT (extract(epoch FROM backend_start) * 1000000)::bigint FROM pg_stat_activity WHERE pid = pg_backend_pid())
"""
_LOOK_TIMES = 3
_LOOK_LIMIT_S = 10.0


class SharedSessionsError(TickmeshError):
    """A pooler hands the same session of the server to several connections in turn."""


async def fetch_all(
    connection: Connection, statement: str, parameters: Parameters | None = None
) -> list[tuple[Any, ...]]:
    """Return all rows that a statement gives.

    Args:
        connection: any.
        statement: the SQL.
        parameters: in its placeholders' order, or by their names.

    """
    return await (await connection.execute(statement, parameters)).fetchall()


async def fetch_dicts(connection: Connection, statement: str, parameters: Parameters) -> list[dict[str, Any]]:
    """Return all rows that a statement gives, by the names of its columns.

    Args:
        connection: any.
        statement: the SQL.
        parameters: in its placeholders' order, or by their names.

    """
    async with connection.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(statement, parameters)).fetchall()


async def prepare_session(connection: Connection, **changes: str) -> None:
    """Set what this code relies on in a session that has just begun.

    Args:
        connection: in autocommit mode.
        changes: further settings, by name.

    """
    await connection.execute("SET statement_timeout = 0")  # before all else, which a role's own might end
    settings = _RELIED_ON | changes
    await connection.execute(_SET, (list(settings), list(settings.values())))
    await connection.execute(_MEND)


async def require_own_session(connection: Connection, conninfo: str) -> None:
    """Make sure that a connection has a session of the server to itself, by opening another one for a moment.

    Args:
        connection: open and in autocommit mode.
        conninfo: how to open the other one.

    Raises:
        SharedSessionsError: the sessions are shared.
        psycopg.Error, TimeoutError: the database is unavailable.

    """
    async with asyncio.timeout(_LOOK_LIMIT_S):
        other = await AsyncConnection.connect(conninfo, autocommit=True)
        try:
            await other.execute("SET statement_timeout = 0")
            await require_own_sessions(connection, other)
        finally:
            await other.close()


async def require_own_sessions(*connections: Connection) -> None:
    """Make sure that each connection has a session of the server to itself.

    Behind a pooler in transaction mode what one connection sets counts for the others: reads would have no limits, and
    writes would be refused as if the connection could only read.

    Args:
        connections: at least two, open and in autocommit mode.

    Raises:
        SharedSessionsError: two of them were in the same session, or one was in two.

    """
    seen: list[set[object]] = [set() for _ in connections]
    for _ in range(_LOOK_TIMES):
        for connection, processes in zip(connections, seen, strict=True):
            processes.update(await fetch_all(connection, _PROCESS))
    if len(set().union(*seen)) != len(connections) or any(len(processes) != 1 for processes in seen):
        raise SharedSessionsError(
            "the database is behind a pooler that gives connections no sessions of their own (PgBouncer in transaction "
            "mode?), expected pool_mode = session or the server itself: correct DATABASE_URL or the pooler"
        )
