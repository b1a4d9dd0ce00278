"""The database: one connection that writes, some that answer questions, some for the store itself, one that looks
whether it is there.

What passes (`store.outage`) is waited for as long as it takes, said once every few seconds, and `database` of the
health follows. What does not pass, a missing privilege or content the database refuses, goes to the caller at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from mesh.service.backoff import backoff
from mesh.service.errors import NotReady, TickmeshError
from mesh.service.health import Health
from mesh.service.logs import LogThrottle
from store.database.errors import Reaction, first_line, passes, reaction, tries
from store.database.migrations import WrongSchemaError, migrate

log = logging.getLogger("store.db")

T = TypeVar("T")
Connection = AsyncConnection[tuple[Any, ...]]

READERS = 4
"""Connections for questions from outside; more of them wait a moment, at most _MAX_WAITING."""
_OWN_READERS = 3
"""Connections for the store's own reading, which no question from outside ever takes: repair, checks, minutes."""
_MAX_WAITING = 64
_WAIT_S = 2.0
READ_LIMIT_S = 5.0
_SCHEMA_LIMIT_S = 2.0
_PING_EVERY_S = 1.0
_PING_LIMIT_S = 3.0
_SLOW_S = 10.0
"""A write that takes longer is as good as a database that is away: nothing can be stored meanwhile."""

_WRITE_LIMIT_S = 20
_LOCK_LIMIT_S = 15
"""Waiting for somebody's lock ends earlier than a statement that takes long, so that each is what it is called."""
_LIFTED_LIMIT_S = 600

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
# For one transaction: what fills an old hole may have to unpack a whole day of a compressed chunk.
_LIFT_LIMITS = f"""
SELECT set_config('statement_timeout', '{_LIFTED_LIMIT_S}s', true),
    CASE WHEN current_setting('timescaledb.max_tuples_decompressed_per_dml_transaction', true) IS NOT NULL
        THEN set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true) END
"""

# A server process, whichever server of several it belongs to. The time as a number: the DateStyle may be any.
_PROCESS = """
SELECT pg_backend_pid(),
    (SELECT (extract(epoch FROM backend_start) * 1000000)::bigint FROM pg_stat_activity WHERE pid = pg_backend_pid())
"""
_LOOK_TIMES = 3
_LOOK_LIMIT_S = 10.0

Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]

_SESSION: dict[str, str | int] = {
    "application_name": "tickmesh-store",
    "client_encoding": "UTF8",
    "connect_timeout": 5,
    # A server that vanished without a word is noticed within some 15 s.
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


async def fetch_all(
    connection: Connection, statement: str, parameters: Parameters | None = None
) -> list[tuple[Any, ...]]:
    """Return all rows that a statement gives."""
    return await (await connection.execute(statement, parameters)).fetchall()


async def prepare_session(connection: Connection, **changes: str) -> None:
    """Set what this code relies on in a session that has just begun; `changes` are further settings, by name."""
    await connection.execute("SET statement_timeout = 0")  # before all else, which a role's own might end
    settings = _RELIED_ON | changes
    await connection.execute(_SET, (list(settings), list(settings.values())))
    await connection.execute(_MEND)


class SharedSessionsError(TickmeshError):
    """A pooler hands the same session of the server to several connections in turn."""


async def require_own_sessions(*connections: Connection) -> None:
    """Make sure that each connection has a session of the server to itself.

    Behind a pooler in transaction mode what one connection sets counts for the others: reads would be without limits,
    writes refused as of a connection that may only read.

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


class Database:
    """The store's database; `async with Database(url, health=health) as database:`.

    Args:
        url: what psql takes.
        health: its condition `database` is set here.

    """

    def __init__(self, url: str, *, health: Health) -> None:
        self._conninfo = make_conninfo(url, **_SESSION)
        parts = conninfo_to_dict(self._conninfo)
        self.shown = f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
        self._health = health
        self._writer: Connection | None = None
        self._pinger: Connection | None = None
        self._turn = asyncio.Lock()
        self._schema_there = asyncio.Event()
        self._began_s: float | None = None
        self._failing = False
        self._log_throttle = LogThrottle()
        self._pools = {
            False: self._pool("tickmesh-store-reads", READERS, _MAX_WAITING),
            True: self._pool("tickmesh-store-own", _OWN_READERS, 0),
        }
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # it would say every attempt; `watch` says it

    async def __aenter__(self) -> Database:
        for pool in self._pools.values():
            await pool.open(wait=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close_writer()
        await self._close_pinger()
        for pool in self._pools.values():
            await pool.close(timeout=2.0)

    def _pool(self, name: str, size: int, max_waiting: int) -> AsyncConnectionPool[Connection]:
        async def configure(connection: Connection) -> None:
            limit = f"{READ_LIMIT_S:g}s"
            await prepare_session(connection, default_transaction_read_only="on", statement_timeout=limit)

        return AsyncConnectionPool[Connection](
            make_conninfo(self._conninfo, application_name=name),
            min_size=1,
            max_size=size,
            max_waiting=max_waiting,
            timeout=_WAIT_S,
            reconnect_timeout=5.0,
            configure=configure,
            check=AsyncConnectionPool.check_connection,
            kwargs={"autocommit": True},
            open=False,
        )

    async def write(
        self, work: Callable[[Connection], Awaitable[T]], *, give_up: Callable[[], bool], lift_limits: bool = False
    ) -> T:
        """Do `work` in a transaction, again from its start whenever the database fails, until it is committed.

        One piece of work at a time; while one waits for its next attempt, others have their turn. After a lost
        connection it is not known whether the last commit arrived: `work` must find out for itself, or be harmless when
        done twice.

        Args:
            work: what to do; gets the connection.
            give_up: asked after each failure; for stopping.
            lift_limits: take ten minutes if need be, and unpack as many rows of compressed chunks.

        Raises:
            NotReady: `give_up` said so.
            psycopg.Error: what does not pass, or has not passed in a few tries: `store.outage.reaction` says what then.
            WrongSchemaError, SharedSessionsError: the database is not ours to write, or cannot be through this pooler.

        """
        failed = 0
        for delay_s in backoff(first_s=0.1, max_s=2.0):
            async with self._turn:
                self._began_s = asyncio.get_running_loop().time()
                at_work = False
                try:
                    connection = await self._writing()
                    at_work = True
                    async with connection.transaction():
                        if lift_limits:
                            await connection.execute(_LIFT_LIMITS)
                        done = await work(connection)
                    self._answered()
                    return done
                except (psycopg.Error, OSError) as exc:
                    most = tries(exc) if at_work else None
                    failed += most is not None
                    if not passes(exc) or (most is not None and failed >= most and isinstance(exc, psycopg.Error)):
                        self._answered()
                        if not at_work and reaction(exc) is not Reaction.END:
                            raise WrongSchemaError(f"the schema cannot be prepared: {first_line(exc)}") from exc
                        raise
                    await self._close_writer()
                    self._failing = True
                    self._tell_away(first_line(exc))
                    if give_up():
                        raise NotReady(f"the database at {self.shown} is away: {first_line(exc)}") from exc
                except Exception:  # of the work's own, such as that the last commit did arrive
                    self._answered()
                    raise
                finally:
                    self._began_s = None
            await asyncio.sleep(delay_s)
        raise AssertionError("backoff ends never")

    @asynccontextmanager
    async def reading(self, *, limit_s: float = 0.0, own: bool = False) -> AsyncIterator[Connection]:
        """Lend a connection that can only read, in autocommit mode, once the schema is prepared (`watch`, `write`).

        Args:
            limit_s: how long a statement may take instead of READ_LIMIT_S.
            own: for the store's own work, which does not stand in line with questions from outside.

        Raises:
            NotReady: the database is away, or took too long.

        """
        try:
            async with asyncio.timeout(_SCHEMA_LIMIT_S):
                await self._schema_there.wait()
        except TimeoutError as exc:
            raise NotReady("the database is away: its schema is not prepared yet") from exc
        began_s = asyncio.get_running_loop().time()
        try:
            async with self._pools[own].connection() as connection:
                if limit_s:
                    async with connection.transaction():
                        await connection.execute(f"SET LOCAL statement_timeout = {int(limit_s * 1000)}")
                        yield connection
                else:
                    yield connection
        except psycopg.errors.QueryCanceled as exc:
            most_s = limit_s or READ_LIMIT_S
            if asyncio.get_running_loop().time() - began_s < most_s:
                raise NotReady("somebody has cancelled the question to the database: ask again") from exc
            raise NotReady(f"the database took longer than {most_s:g} s to answer") from exc
        except (PoolTimeout, TooManyRequests) as exc:
            if self._health_is_set():
                raise NotReady("the database is busy with other questions: ask again in a moment") from exc
            raise NotReady("the database is away") from exc
        except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
            raise NotReady(f"the database is away: {first_line(exc)}") from exc

    async def watch(self) -> None:
        """Prepare the schema and see again and again whether the database is there; for ever.

        Raises:
            psycopg.Error: what does not pass, such as a role that may not make the tables.
            WrongSchemaError, SharedSessionsError: the database is not ours to write, or cannot be through this pooler.

        """
        while True:
            try:
                if not self._health_is_set():
                    await self._prepare()
                if self._schema_there.is_set():  # else `write` is at it, and tells what is wrong
                    async with asyncio.timeout(_PING_LIMIT_S):
                        await (await self._pinging()).execute("SELECT FROM progress LIMIT 1")
                    self._look_at_writes()
            except (psycopg.Error, OSError) as exc:  # TimeoutError is one of the latter
                await self._close_pinger()
                if not passes(exc):
                    raise
                self._tell_away(first_line(exc))
            await asyncio.sleep(_PING_EVERY_S if self._health_is_set() else 0.25)

    def _health_is_set(self) -> bool:
        return "database" not in self._health.away

    async def _prepare(self) -> None:
        # Whoever has the turn prepares it too: `write` waits in there while the database is away.
        if not self._turn.locked():
            async with self._turn:
                await self._writing()

    async def _writing(self) -> Connection:
        if self._writer is None or self._writer.closed:
            connection = await AsyncConnection.connect(self._conninfo, autocommit=True)
            try:
                await prepare_session(connection)
                await self._require_own_session(connection)
                await migrate(connection)
                limits = {"statement_timeout": f"{_WRITE_LIMIT_S}s", "lock_timeout": f"{_LOCK_LIMIT_S}s"}
                await prepare_session(connection, **limits)
            except BaseException:
                await connection.close()
                raise
            self._writer = connection
            self._schema_there.set()
            if not self._failing:
                log.info("connected to the database at %s", self.shown)
        return self._writer

    async def _require_own_session(self, connection: Connection) -> None:
        async with asyncio.timeout(_LOOK_LIMIT_S):
            other = await AsyncConnection.connect(self._conninfo, autocommit=True)
            try:
                await other.execute("SET statement_timeout = 0")
                await require_own_sessions(connection, other)
            finally:
                await other.close()

    async def _pinging(self) -> Connection:
        """Return the connection that only looks whether the database is there, which nobody else ever uses."""
        if self._pinger is None or self._pinger.closed:
            conninfo = make_conninfo(self._conninfo, application_name="tickmesh-store-health")
            self._pinger = await AsyncConnection.connect(conninfo, autocommit=True)
            await prepare_session(self._pinger)
        return self._pinger

    async def _close_pinger(self) -> None:
        if self._pinger is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await self._pinger.close()
            self._pinger = None

    async def _close_writer(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await self._writer.close()
            self._writer = None

    def _answered(self) -> None:
        if self._failing:
            log.info("the database at %s answers who writes again", self.shown)
            self._failing = False
            self._log_throttle = LogThrottle()

    def _look_at_writes(self) -> None:
        """Take the database for there unless it does not let us write, whatever it says to those who read."""
        for_s = 0.0 if self._began_s is None else asyncio.get_running_loop().time() - self._began_s
        if for_s > _SLOW_S:
            self._tell_away(f"a write has been under way for {for_s:.0f} s, does somebody hold a lock?")
        elif not self._failing:
            self._health.set("database", True)

    def _tell_away(self, why: str) -> None:
        self._health.set("database", False)
        if self._log_throttle.due(asyncio.get_running_loop().time()):
            log.warning("waiting for the database at %s: %s", self.shown, why)
