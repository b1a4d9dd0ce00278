"""Errors of the database: those that pass are waited for, all others come back however often one tries."""

from __future__ import annotations

import psycopg

# psycopg takes these for errors of the server itself (InternalError), of which the others do not pass.
_NOT_NOW = {
    "25006": "read only: a standby, or somebody has set it so",
    "25P03": "ended for standing still within a transaction",
    "25P04": "ended for a transaction that took too long",
}
_LIMITS = "54"
"""More columns, arguments or depth than PostgreSQL has: an OperationalError, but the next attempt has as many."""


def passes(exc: BaseException) -> bool:
    """Return whether trying again may help: the database is away, full, locked, or takes no writes now.

    A missing privilege, a table that is not there or not ours, wrong SQL (ProgrammingError, NotSupportedError) or
    content it refuses (DataError, IntegrityError) stay what they are until a person does something.
    """
    sqlstate = (exc.sqlstate or "") if isinstance(exc, psycopg.Error) else ""
    if sqlstate in _NOT_NOW:
        return True
    away = isinstance(exc, (psycopg.OperationalError, psycopg.InterfaceError, OSError))
    return away and not sqlstate.startswith(_LIMITS)


def first_line(exc: BaseException) -> str:
    """Return an error's message without the details that PostgreSQL adds on further lines."""
    text = str(exc).strip() or type(exc).__name__
    return text.splitlines()[0]
