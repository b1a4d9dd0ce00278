"""The database: one connection that writes, a few that read, and whether it is there.

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
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from mesh.backoff import backoff
from mesh.errors import NotReady
from mesh.health import Health
from mesh.logs import Seldom
from store.migrations import migrate
from store.outage import first_line, passes

log = logging.getLogger("store.db")

T = TypeVar("T")
Connection = AsyncConnection[tuple[Any, ...]]

READERS = 4
READ_LIMIT_S = 5.0
_SCHEMA_LIMIT_S = 2.0
_PING_EVERY_S = 1.0
_PING_LIMIT_S = 3.0
_SLOW_S = 10.0
"""A write that takes longer is as good as a database that is away: nothing can be stored meanwhile."""

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
        self._turn = asyncio.Lock()
        self._schema_there = asyncio.Event()
        self._began_s: float | None = None
        self._failing = False
        self._seldom = Seldom()
        self._pool = AsyncConnectionPool[Connection](
            make_conninfo(
                self._conninfo,
                application_name="tickmesh-store-reads",
                options=f"{parts.get('options', '')} -c default_transaction_read_only=on "
                f"-c statement_timeout={int(READ_LIMIT_S * 1000)}",
            ),
            min_size=1,
            max_size=READERS,
            max_waiting=64,
            timeout=2.0,
            reconnect_timeout=5.0,
            check=AsyncConnectionPool.check_connection,
            kwargs={"autocommit": True},
            open=False,
        )
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # it would say every attempt; `watch` says it

    async def __aenter__(self) -> Database:
        await self._pool.open(wait=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close_writer()
        await self._pool.close(timeout=2.0)

    async def write(self, work: Callable[[Connection], Awaitable[T]], *, give_up: Callable[[], bool]) -> T:
        """Do `work` in a transaction, again from its start whenever the database fails, until it is committed.

        One piece of work at a time; while one waits for its next attempt, others have their turn. After a lost
        connection it is not known whether the last commit arrived: `work` must find out for itself, or be harmless when
        done twice.

        Args:
            work: what to do; gets the connection.
            give_up: asked after each failure; for stopping.

        Raises:
            NotReady: `give_up` said so.
            psycopg.DataError, psycopg.IntegrityError: the database refuses the content.
            psycopg.Error: whatever else does not pass.
            WrongSchemaError: the database is not ours to write.

        """
        for delay_s in backoff(first_s=0.1, max_s=2.0):
            async with self._turn:
                self._began_s = asyncio.get_running_loop().time()
                try:
                    connection = await self._writing()
                    async with connection.transaction():
                        done = await work(connection)
                    self._answered()
                    return done
                except (psycopg.Error, OSError) as exc:
                    if not passes(exc):
                        self._answered()
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
    async def reading(self, *, limit_s: float = 0.0) -> AsyncIterator[Connection]:
        """Lend a connection that can only read, in autocommit mode, once the schema is prepared (`watch`, `write`).

        Args:
            limit_s: how long a statement may take instead of READ_LIMIT_S.

        Raises:
            NotReady: the database is away, or took too long.

        """
        try:
            async with asyncio.timeout(_SCHEMA_LIMIT_S):
                await self._schema_there.wait()
        except TimeoutError as exc:
            raise NotReady("the database is away: its schema is not prepared yet") from exc
        try:
            async with self._pool.connection() as connection:
                if limit_s:
                    async with connection.transaction():
                        await connection.execute(f"SET LOCAL statement_timeout = {int(limit_s * 1000)}")
                        yield connection
                else:
                    yield connection
        except psycopg.errors.QueryCanceled as exc:
            raise NotReady(f"the database took longer than {limit_s or READ_LIMIT_S:g} s to answer") from exc
        except PoolTimeout as exc:
            raise NotReady("the database is away, or busy with other questions") from exc
        except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
            raise NotReady(f"the database is away: {first_line(exc)}") from exc

    async def watch(self) -> None:
        """Prepare the schema and see again and again whether the database is there; for ever.

        Raises:
            psycopg.Error: what does not pass, such as a role that may not make the tables.
            WrongSchemaError: the database is not ours to write.

        """
        while True:
            try:
                if not self._health_is_set():
                    await self._prepare()
                if self._schema_there.is_set():  # else `write` is at it, and tells what is wrong
                    async with asyncio.timeout(_PING_LIMIT_S), self._pool.connection() as connection:
                        await connection.execute("SELECT FROM progress LIMIT 1")
                    self._look_at_writes()
            except (psycopg.Error, OSError) as exc:  # PoolTimeout is one, TimeoutError the other
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
                await migrate(connection)
            except BaseException:
                await connection.close()
                raise
            self._writer = connection
            self._schema_there.set()
            if not self._failing:
                log.info("connected to the database at %s", self.shown)
        return self._writer

    async def _close_writer(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await self._writer.close()
            self._writer = None

    def _answered(self) -> None:
        if self._failing:
            log.info("the database at %s answers who writes again", self.shown)
            self._failing = False
            self._seldom = Seldom()

    def _look_at_writes(self) -> None:
        """Take the database for there unless it does not let us write, whatever it says to those who read."""
        for_s = 0.0 if self._began_s is None else asyncio.get_running_loop().time() - self._began_s
        if for_s > _SLOW_S:
            self._tell_away(f"a write has been under way for {for_s:.0f} s, does somebody hold a lock?")
        elif not self._failing:
            self._health.set("database", True)

    def _tell_away(self, why: str) -> None:
        self._health.set("database", False)
        if self._seldom.due(asyncio.get_running_loop().time()):
            log.warning("waiting for the database at %s: %s", self.shown, why)
