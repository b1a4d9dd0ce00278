"""The database: connections that wait for it, what its errors ask for, migrations, rows for COPY, arrays, times."""

from __future__ import annotations

from store.database.connection import (
    Connection,
    Database,
    SyncConnection,
    connect_for_reads,
    end_statement,
    fetch_all,
    fetch_dicts,
)

__all__ = [
    "Connection",
    "Database",
    "SyncConnection",
    "arrays",
    "connect_for_reads",
    "copy_rows",
    "end_statement",
    "errors",
    "fetch_all",
    "fetch_dicts",
    "times",
]
