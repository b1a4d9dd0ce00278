"""Exports under way: reading a table part by part, and the thread in which that is done for StoreService.

An export needs CPU for as long as it lasts. A thread does, and costs no start of a process: nearly all of the work is
PostgreSQL's, numpy's and pyarrow's, without the GIL. The thread is niced, so that what stores trades comes first.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from prometheus_client import Counter

from mesh.service.errors import NotReady, TooMany
from store.database import SyncConnection, connect_for_reads, end_statement
from store.database.errors import first_line
from store.export.query import ExportQuery

MAX_EXPORTS = 2
"""At once: each has a thread and a connection, and a core is busy with it and its server process."""
LIMIT_S = 3600.0
_STATEMENT_LIMIT_S = 30.0
"""A part takes 10 ms. Clients wait at least a minute for the next one."""
_CANCEL_LIMIT_S = 1.0
_NICENESS = 10

ROWS = Counter("tickmesh_store_exported_rows_total", "Rows exported over StoreService", ["table"])

Progress = Callable[[int], None]


def open_connection(url: str) -> SyncConnection:
    """Open a connection for one export, with all reads as of one moment.

    Args:
        url: of the database, what psql takes.

    Raises:
        psycopg.Error: the database is unavailable.

    """
    return connect_for_reads(
        url, name="tickmesh-store-export", statement_limit_s=_STATEMENT_LIMIT_S, idle_limit_s=LIMIT_S
    )


def read_pieces(connection: SyncConnection, query: ExportQuery, progress: Progress) -> Iterator[bytes]:
    """Give the bytes of an export, as they are read; blocks.

    Args:
        connection: as `open_connection` returns it.
        query: with venue and symbol.
        progress: is told of every part: how many rows it has.

    Raises:
        psycopg.Error: the database is unavailable, or the query was cancelled.

    """
    # From malloc a long export to Parquet takes 9 MiB more: what it notes of each row group lies between what it
    # frees. mimalloc, the default, keeps 7 to 13 more. pyarrow looks for this when it is imported; Linux has jemalloc.
    pool = "jemalloc" if sys.platform == "linux" else "system"
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", pool)
    from store.export import formats  # noqa: PLC0415 - 45 MB, for those who export

    return formats.write(query.table.columns, _parts(connection, query, progress), query.form)


def _parts(connection: SyncConnection, query: ExportQuery, progress: Progress) -> Iterator[list[Any]]:
    statement, parameters = query.table.statement, query.parameters()
    with connection.cursor(binary=True) as cursor:
        while True:
            row = cursor.execute(statement, parameters, prepare=True).fetchone()
            assert row is not None, "an aggregate always gives a row"
            *values, rows, last_time, last_key = row
            if not rows:
                return
            progress(rows)
            parameters |= {"from_time": last_time, "after": last_key}
            yield values
            del row, values  # or they would wait beside the next ones


class ExportJobs:
    """The exports under way for StoreService.

    Args:
        url: of the database, what psql takes.

    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._running = 0

    async def stream(self, query: ExportQuery, ended: Callable[[Callable[[], None]], None]) -> AsyncIterator[bytes]:
        """Give the bytes of an export, a piece as soon as the one before is taken.

        Args:
            query: with venue and symbol.
            ended: takes what is to be called when nobody takes further pieces, however that comes.

        Raises:
            TooMany: as many exports as may be are under way.
            NotReady: the database is unavailable, or the export took too long.

        """
        if self._running >= MAX_EXPORTS:
            raise TooMany(f"{self._running} exports are under way, and no more are taken at once", retry_after_s=10)
        self._running += 1
        job = _Job(self._url, query, self._count_out)
        ended(job.end)
        while (piece := await job.next_piece()) is not None:
            yield piece

    def _count_out(self) -> None:
        self._running -= 1


class _Job:
    """One export, in a thread of its own."""

    def __init__(self, url: str, query: ExportQuery, on_closed: Callable[[], None]) -> None:
        self._url = url
        self._query = query
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._limit = self._loop.call_later(LIMIT_S, self.end)  # for one, too, whose caller takes nothing any more
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="export", initializer=_give_way)
        self._connection: SyncConnection | None = None
        self._pieces: Iterator[bytes] | None = None
        self._ended = False

    async def next_piece(self) -> bytes | None:
        """Return the next piece, None at the end."""
        if self._ended:
            raise NotReady(f"the export took longer than {LIMIT_S / 60:g} minutes: ask for shorter ranges")
        return await self._loop.run_in_executor(self._thread, self._next_piece)

    def end(self) -> None:
        """Cancel the statement that is under way, and close the connection."""
        if self._ended:
            return
        self._ended = True
        self._limit.cancel()
        threading.Thread(target=self._cancel, name="export-cancel", daemon=True).start()
        closing = self._loop.run_in_executor(self._thread, self._close)
        closing.add_done_callback(lambda _: self._on_closed())
        self._thread.shutdown(wait=False)

    def _next_piece(self) -> bytes | None:
        try:
            if self._pieces is None:
                self._connection = open_connection(self._url)
                count = ROWS.labels(self._query.table.name)
                self._pieces = read_pieces(self._connection, self._query, count.inc)
            return next(self._pieces, None)
        except psycopg.errors.QueryCanceled as exc:
            raise NotReady("the query of the database was cancelled: ask again") from exc
        except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
            raise NotReady(f"the database is unavailable: {first_line(exc)}") from exc

    def _cancel(self) -> None:
        if self._connection is not None:
            end_statement(self._connection, limit_s=_CANCEL_LIMIT_S)

    def _close(self) -> None:
        self._pieces = None
        if self._connection is not None:
            self._connection.close()


def _give_way() -> None:
    if sys.platform == "linux":  # where a thread has a niceness of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
