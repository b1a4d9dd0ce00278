"""The database: one connection that writes, pools for requests and for the store's own reads, one that checks it is up.

An error that passes (`errors.py`) is waited out as long as it takes, logged once every few seconds, and `database` of
the health follows. One that does not pass, a missing privilege or content the database refuses, goes to the caller at
once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from mesh.service.backoff import backoff
from mesh.service.errors import NotReady, TickmeshError
from mesh.service.health import Health, State
from mesh.service.logs import LogThrottle
from mesh.service.settings import WrongSettings
from store.database.errors import ErrorReaction, first_line, is_transient, max_attempts, reaction
from store.database.migrations import WrongSchemaError, migrate

log = logging.getLogger("store.database.connection")

T = TypeVar("T")
Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]
SyncConnection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]

READERS = 4
"""Connections for requests from outside; more of these wait a moment, at most _MAX_WAITING."""
_INTERNAL_READERS = 3
"""Connections for the store's own reads, which no request from outside ever takes: repair, audit, minutes."""
_MAX_WAITING = 64
_WAIT_S = 2.0
READ_LIMIT_S = 5.0
"""How long a statement may take. The server ends it, and one that stands still is left _MARGIN_S later."""
_MARGIN_S = 1.0
_SCHEMA_LIMIT_S = 2.0
_PING_EVERY_S = 1.0
_PING_LIMIT_S = 3.0
_SLOW_S = 10.0
"""A write that takes longer means that the database is unavailable: nothing can be stored meanwhile."""

_WRITE_LIMIT_S = 20
_LOCK_LIMIT_S = 15
"""Waiting for a lock ends before the statement does, so that the error says which of the two it was."""
_LIFTED_LIMIT_S = 600

# For one transaction: what fills an old hole may have to unpack a whole day of a compressed chunk.
_LIFT_LIMITS = f"""
SELECT set_config('statement_timeout', '{_LIFTED_LIMIT_S}s', true),
    CASE WHEN current_setting('timescaledb.max_tuples_decompressed_per_dml_transaction', true) IS NOT NULL
        THEN set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true) END
"""


class Database:
    """The store's database.

    >>> async with Database(url, health=health) as database:
    ...     watching = asyncio.create_task(database.watch())
    ...     await database.write(work)
    ...     async with database.reading() as connection: ...

    Args:
        url: what psql takes.
        read_url: where requests from outside are answered from, such as a standby; by default from there, too.
        health: its condition `database` is set here.
        give_up: asked by `write` after each failure; for stopping.
        partitions: how many the mesh has; a database of a mesh with another number is refused.
        becoming: another number that it may have already, where it is just being given that one.

    Attributes:
        partitions: how many the mesh has.
        shown: hosts, ports and name of the database, for people.
        holes_opened: set after each transaction of this process that may have opened holes in the ledger; whoever looks
            for them clears it.
        reached: how often the database was reached anew. Whoever keeps in memory what is stored compares it then: a
            standby that was promoted may lack the last commits.

    """

    def __init__(
        self,
        url: str,
        *,
        read_url: str = "",
        health: Health,
        give_up: Callable[[], bool] = lambda: False,
        partitions: int = 1,
        becoming: int | None = None,
    ) -> None:
        self._conninfo = make_conninfo(url, **_CONNINFO)
        self._read_conninfo = make_conninfo(read_url, **_CONNINFO) if read_url not in ("", url) else ""
        self.shown = shown(self._conninfo)
        self.reached = 0
        self.holes_opened = asyncio.Event()
        self._health = health
        self._give_up = give_up
        self.partitions = partitions
        self._becoming = becoming
        self._writer: Connection | None = None
        self._written_server: object = None  # as `_PING` tells it
        self._pinger: Connection | None = None
        self._write_lock = asyncio.Lock()
        self._schema_ready = asyncio.Event()
        self._write_began_s: float | None = None
        self._failing = False
        self._log_throttle = LogThrottle()
        self._pools = {
            False: _pool(lambda: self._read_conninfo or self._conninfo, "tickmesh-store-reads", READERS, _MAX_WAITING),
            True: _pool(lambda: self._conninfo, "tickmesh-store-own", _INTERNAL_READERS, 0),
        }
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # it would log every attempt; `watch` logs them

    async def __aenter__(self) -> Database:
        for pool in self._pools.values():
            await pool.open(wait=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close_writer()
        await self._close_pinger()
        for pool in self._pools.values():
            await pool.close(timeout=2.0)

    async def write(self, work: Callable[[Connection], Awaitable[T]], *, lift_limits: bool = False) -> T:
        """Do `work` in a transaction, again from its start whenever the database fails, until it is committed.

        One piece of work at a time; while one waits for its next attempt, others are done. After a lost connection it
        is not known whether the last commit arrived: `work` must find out for itself, or be harmless when done twice.

        Args:
            work: what to do; gets the connection.
            lift_limits: allow ten minutes, and unpacking any number of rows of compressed chunks.

        Returns:
            What `work` returned.

        Raises:
            NotReady: `give_up` said so.
            psycopg.Error: an error that does not pass, or has not passed in a few attempts: `errors.reaction` says what
                to do then.
            WrongSchemaError: the schema is not one this code may write into.
            SharedSessionsError: a pooler gives connections no sessions of their own.
            WrongSettings: it is the database of a mesh with another number of partitions.

        """
        failed = 0
        waited = False
        for delay_s in backoff(first_s=0.1, max_s=2.0):
            async with self._write_lock:
                self._write_began_s = asyncio.get_running_loop().time()
                at_work = False
                try:
                    connection = await self._writing()
                    at_work = True
                    async with connection.transaction():
                        if lift_limits:
                            await connection.execute(_LIFT_LIMITS)
                        done = await work(connection)
                        recovered = waited or not self._failing or await _has_written(connection)
                    if recovered:
                        self._note_recovered()
                    return done
                except (psycopg.Error, OSError) as exc:
                    most = max_attempts(exc) if at_work else None
                    failed += most is not None
                    if not is_transient(exc) or (
                        most is not None and failed >= most and isinstance(exc, psycopg.Error)
                    ):
                        self._note_recovered()
                        if not at_work and reaction(exc) is not ErrorReaction.END:
                            raise WrongSchemaError(f"the schema cannot be prepared: {first_line(exc)}") from exc
                        raise
                    await self._close_writer()
                    waited = self._failing = True
                    self._report_unavailable(first_line(exc))
                    if self._give_up():
                        raise NotReady(f"the database at {self.shown} is unavailable: {first_line(exc)}") from exc
                except Exception:  # of the work's own, such as that the last commit did arrive
                    self._note_recovered()
                    raise
                finally:
                    self._write_began_s = None
            await asyncio.sleep(delay_s)
        raise AssertionError("backoff never ends")

    @asynccontextmanager
    async def reading(self, *, limit_s: float = 0.0, internal: bool = False) -> AsyncIterator[Connection]:
        """Lend a connection that can only read, in autocommit mode, once the schema is prepared (`watch`, `write`).

        What is read in a transaction is all of one moment.

        Args:
            limit_s: how long a statement may take instead of READ_LIMIT_S, in seconds; then it lends a transaction.
            internal: for the store's own work, which does not queue behind requests from outside.

        Raises:
            NotReady: the database is unavailable, or took too long.

        """
        try:
            async with asyncio.timeout(_SCHEMA_LIMIT_S):
                await self._schema_ready.wait()
        except TimeoutError as exc:
            raise NotReady("the database is unavailable: its schema is not prepared yet") from exc
        began_s = asyncio.get_running_loop().time()
        try:
            async with self._pools[internal].connection() as connection:
                connection.limit_s = limit_s or READ_LIMIT_S
                if limit_s:
                    async with connection.transaction():
                        await connection.execute(f"SET LOCAL statement_timeout = {int(limit_s * 1000)}")
                        yield connection
                else:
                    yield connection
        except psycopg.errors.QueryCanceled as exc:
            most_s = limit_s or READ_LIMIT_S
            if asyncio.get_running_loop().time() - began_s < most_s:
                raise NotReady("the query of the database was cancelled: ask again") from exc
            raise NotReady(f"the database took longer than {most_s:g} s to answer") from exc
        except (PoolTimeout, TooManyRequests) as exc:
            if self._read_conninfo and not internal:
                at = shown(self._read_conninfo)
                raise NotReady(
                    f"the database for reads at {at} is unavailable, or busy: ask again in a moment"
                ) from exc
            if self._health_is_set():
                raise NotReady("the database is busy with other questions: ask again in a moment") from exc
            raise NotReady("the database is unavailable") from exc
        except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
            raise NotReady(f"the database is unavailable: {first_line(exc)}") from exc
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as exc:
            if not self._read_conninfo or internal:
                raise
            raise NotReady(f"the database for reads has not the newest schema yet: {first_line(exc)}") from exc

    async def watch(self) -> None:
        """Prepare the schema, and check again and again whether the database is available; for ever.

        Raises:
            psycopg.Error: an error that does not pass, such as a role that may not make the tables.
            WrongSchemaError: the schema is not one this code may write into.
            SharedSessionsError: a pooler gives connections no sessions of their own.
            WrongSettings: it is the database of a mesh with another number of partitions.

        """
        while True:
            try:
                if not self._health_is_set():
                    await self._prepare()
                if self._schema_ready.is_set():  # else `write` prepares it, and logs what is wrong
                    anew = self._pinger is None or self._pinger.closed
                    pinger = await self._pinging()
                    async with _broken_after(_PING_LIMIT_S, pinger):
                        [(server, is_standby, _)] = await fetch_all(pinger, _PING)
                    if not is_standby:
                        self._leave_old_server(server)
                    self.reached += anew
                    self._check_writes()
            except (psycopg.Error, OSError) as exc:  # TimeoutError is one of the latter
                await self._close_pinger()
                if not is_transient(exc):
                    raise
                self._report_unavailable(first_line(exc))
            await asyncio.sleep(_PING_EVERY_S if self._health_is_set() else 0.25)

    async def watch_reads(self, *, every_s: float = 5.0) -> None:
        """Say, as condition `reads`, when questions are answered from a standby that is behind or away; for ever.

        Args:
            every_s: how often to look, and how far the standby may be behind, in seconds.

        """
        at, stored = shown(self._read_conninfo), dict[str, int]()
        while True:
            try:
                async with self.reading() as connection:
                    readable = dict(await fetch_all(connection, _PROGRESS))
                behind = [stream for stream, sequence in stored.items() if readable.get(stream, 0) < sequence]
                if behind:
                    why = f"the database for reads at {at} is more than {every_s:g} s behind ({', '.join(behind)})"
                    self._health.condition("reads", State.DEGRADED, why)
                else:
                    self._health.clear("reads")
                async with self.reading(internal=True) as connection:
                    stored = dict(await fetch_all(connection, _PROGRESS))
            except (NotReady, psycopg.Error) as exc:
                self._health.condition("reads", State.DEGRADED, first_line(exc))
            await asyncio.sleep(every_s)

    def _health_is_set(self) -> bool:
        return "database" not in self._health.away

    async def _prepare(self) -> None:
        # Whoever holds the lock prepares it too: `write` waits in there while the database is unavailable.
        if not self._write_lock.locked():
            async with self._write_lock:
                await self._writing()

    async def _writing(self) -> Connection:
        if self._writer is None or self._writer.closed:
            connection = await AsyncConnection.connect(self._conninfo, autocommit=True)
            try:
                await _prepare_session(connection)
                await _require_own_session(connection, self._conninfo)
                await migrate(connection)
                await _require_partitions(connection, self.partitions, self._becoming)
                limits = {"statement_timeout": f"{_WRITE_LIMIT_S}s", "lock_timeout": f"{_LOCK_LIMIT_S}s"}
                await _prepare_session(connection, **limits)
                [(self._written_server, *_)] = await fetch_all(connection, _PING)
            except BaseException:
                await connection.close()
                raise
            self._writer = connection
            self._schema_ready.set()
            if not self._failing:
                log.info("connected to the database at %s", _place(connection))
        return self._writer

    async def _pinging(self) -> Connection:
        """Return the connection that is only used to check whether the database is available."""
        if self._pinger is None or self._pinger.closed:
            conninfo = make_conninfo(self._conninfo, application_name="tickmesh-store-health")
            self._pinger = await AsyncConnection.connect(conninfo, autocommit=True)
            async with _broken_after(_PING_LIMIT_S, self._pinger):
                await _prepare_session(self._pinger)
            self._conninfo = _begin_with(self._conninfo, self._pinger)
        return self._pinger

    def _leave_old_server(self, server: object) -> None:
        """End a write on a server that stands still while another one takes writes: it might wait for ever."""
        if self._writer is not None and not self._writer.closed and self._written_server != server:
            log.warning("the database at %s has been replaced by another server", _place(self._writer))
            self._written_server = server  # said once; what breaks here is closed when it is used
            _break(self._writer)

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

    def _note_recovered(self) -> None:
        if self._failing:
            at = self.shown if self._writer is None else _place(self._writer)
            log.info("the database at %s takes writes again", at)
            self._failing = False
            self._log_throttle = LogThrottle()

    def _check_writes(self) -> None:
        """Count the database as available unless writes fail or hang, whatever its answers to reads are."""
        for_s = 0.0 if self._write_began_s is None else asyncio.get_running_loop().time() - self._write_began_s
        if for_s > _SLOW_S:
            self._report_unavailable(f"a write has been under way for {for_s:.0f} s, does somebody hold a lock?")
        elif not self._failing:
            self._health.set("database", True)

    def _report_unavailable(self, why: str) -> None:
        self._health.set("database", False)
        if self._log_throttle.due(asyncio.get_running_loop().time()):
            log.warning("waiting for the database at %s: %s", self.shown, why)


# Sessions of the server: what is set in each of them, and whether each connection has one to itself

_CONNINFO: dict[str, str | int] = {
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
    "jit": "off",  # compiling a statement takes longer than any of these
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
# Which run of which server answers: whatever address led there.
_PING = "SELECT pg_postmaster_start_time(), pg_is_in_recovery(), (SELECT true FROM progress LIMIT 1)"
_READ_PARTITIONS = "SELECT count FROM partitions"
_PROGRESS = "SELECT stream, sequence FROM progress"
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


class _Reader(AsyncConnection[tuple[Any, ...]]):
    """A connection that breaks when its server stands still: such a server does not end a statement by itself."""

    limit_s = READ_LIMIT_S

    async def wait(self, *arguments: Any, **options: Any) -> Any:
        async with _broken_after(self.limit_s + _MARGIN_S, self):
            return await super().wait(*arguments, **options)


class _SyncReader(psycopg.Connection[tuple[Any, ...]]):
    """The same for a connection that blocks."""

    limit_s = READ_LIMIT_S

    def wait(self, *arguments: Any, **options: Any) -> Any:
        limit_s = self.limit_s + _MARGIN_S
        timer = threading.Timer(limit_s, _break, [self])
        timer.daemon = True
        timer.start()
        try:
            return super().wait(*arguments, **options)
        except psycopg.OperationalError as exc:
            if timer.finished.is_set():  # by the time that is over: nobody has cancelled it yet
                raise _no_answer(self, limit_s) from exc
            raise
        finally:
            timer.cancel()


def _pool(conninfo: Callable[[], str], name: str, size: int, max_waiting: int) -> AsyncConnectionPool[_Reader]:
    async def configure(connection: Connection) -> None:
        reads = {"default_transaction_read_only": "on", "default_transaction_isolation": "repeatable read"}
        await _prepare_session(connection, **reads, statement_timeout=f"{READ_LIMIT_S:g}s")

    return AsyncConnectionPool[_Reader](
        lambda: make_conninfo(conninfo(), application_name=name),
        min_size=1,
        max_size=size,
        max_waiting=max_waiting,
        timeout=_WAIT_S,
        reconnect_timeout=5.0,
        configure=configure,
        check=_check,
        connection_class=_Reader,
        kwargs={"autocommit": True},
        open=False,
    )


async def _has_written(connection: Connection) -> bool:
    """Return whether the transaction has written: work that only reads goes well on a database that takes no writes."""
    [(written,)] = await fetch_all(connection, "SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
    return bool(written)


async def _check(connection: Connection) -> None:
    """Make sure that a connection was not closed meanwhile, with a round trip only where the server has said something.

    Raises:
        psycopg.Error: it was closed.

    """
    if select.select([connection.fileno()], [], [], 0)[0]:
        await AsyncConnectionPool.check_connection(connection)


def shown(conninfo: str) -> str:
    """Return hosts, ports and name of a database, for people: `a:5432,b:5432/tickmesh`.

    Args:
        conninfo: what psql takes.

    """
    parts = conninfo_to_dict(conninfo)
    hosts = str(parts.get("host") or parts.get("hostaddr") or "localhost").split(",")
    ports = str(parts.get("port") or 5432).split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    places = ",".join(f"{host}:{port}" for host, port in zip(hosts, ports, strict=False))
    return f"{places}/{parts.get('dbname', '')}"


def _begin_with(conninfo: str, connection: Connection) -> str:
    """Put the host first that a connection has reached: one before it that is gone costs every connection seconds."""
    parts = conninfo_to_dict(conninfo)
    lists = {name: str(parts[name]).split(",") for name in ("host", "hostaddr", "port") if parts.get(name)}
    count = max(map(len, lists.values()), default=1)
    reached = {name: str(getattr(connection.info, name)) for name in lists if len(lists[name]) == count}
    for first in range(1, count):
        if all(lists[name][first] == value for name, value in reached.items()):
            turned = {name: ",".join(lists[name][first:] + lists[name][:first]) for name in reached}
            return make_conninfo(conninfo, **turned)
    return conninfo


def _place(connection: Connection | SyncConnection) -> str:
    info = connection.info
    return f"{info.host}:{info.port}/{info.dbname}"


@asynccontextmanager
async def _broken_after(limit_s: float, connection: Connection) -> AsyncIterator[None]:
    """Break a connection that is used for longer: cancelling a query takes another ten seconds of a server that hangs.

    Raises:
        psycopg.OperationalError: it was.

    """
    timer = asyncio.get_running_loop().call_later(limit_s, _break, connection)
    try:
        yield
    except psycopg.OperationalError as exc:
        if timer.when() <= asyncio.get_running_loop().time():
            raise _no_answer(connection, limit_s) from exc
        raise
    finally:
        timer.cancel()


def _no_answer(connection: Connection | SyncConnection, limit_s: float) -> psycopg.OperationalError:
    return psycopg.OperationalError(f"{_place(connection)} does not answer within {limit_s:g} s")


def _break(connection: Connection | SyncConnection) -> None:
    """End a connection under whoever waits for an answer on it: that raises an OperationalError there."""
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as shared:
        shared.shutdown(socket.SHUT_RDWR)


def connect_for_reads(url: str, *, name: str, statement_limit_s: float, idle_limit_s: float) -> SyncConnection:
    """Open a connection that blocks, for a thread or a command, and can only read, all as of one moment.

    Args:
        url: what psql takes.
        name: of the application, for `pg_stat_activity`.
        statement_limit_s: how long a statement may take; a server that stands still is left a second later.
        idle_limit_s: how long nothing may be asked before the server ends the connection.

    Raises:
        psycopg.Error: the database is unavailable.

    """
    connection = _SyncReader.connect(make_conninfo(url, **_CONNINFO | {"application_name": name}), autocommit=True)
    connection.execute("SET statement_timeout = 0")
    settings = _RELIED_ON | {
        "statement_timeout": f"{statement_limit_s:g}s",
        "idle_in_transaction_session_timeout": f"{idle_limit_s:g}s",
    }
    connection.execute(_SET, (list(settings), list(settings.values())))
    connection.execute(_MEND)
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    connection.limit_s = statement_limit_s
    return connection


def end_statement(connection: SyncConnection, *, limit_s: float) -> None:
    """Cancel the statement that is under way, from another thread; on a server that stands still break the connection.

    Args:
        connection: any.
        limit_s: how long the server may take to be told.

    """
    try:
        connection.cancel_safe(timeout=limit_s)
    except psycopg.Error:
        _break(connection)


async def _prepare_session(connection: Connection, **changes: str) -> None:
    """Set what this code relies on in a session that has just begun.

    Args:
        connection: in autocommit mode.
        changes: further settings, by name.

    """
    await connection.execute("SET statement_timeout = 0")  # before all else, which a role's own might end
    settings = _RELIED_ON | changes
    await connection.execute(_SET, (list(settings), list(settings.values())))
    await connection.execute(_MEND)


async def _require_own_session(connection: Connection, conninfo: str) -> None:
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


async def _require_partitions(connection: Connection, count: int, becoming: int | None) -> None:
    """Make sure that the trades are of a mesh with so many partitions; an empty database is from now on.

    Raises:
        WrongSettings: they are of one with another number.

    """
    if not (found := await fetch_all(connection, _READ_PARTITIONS)):
        await connection.execute("INSERT INTO partitions (count) VALUES (%s) ON CONFLICT DO NOTHING", (count,))
        found = await fetch_all(connection, _READ_PARTITIONS)
    [(begun_with,)] = found
    if begun_with not in (count, becoming):
        raise WrongSettings(
            f"PARTITIONS: found {count}, expected {begun_with} as the mesh was begun with whose trades are in the "
            f"database at {_place(connection)}"
        )


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
