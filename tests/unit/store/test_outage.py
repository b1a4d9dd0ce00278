"""What the database says against us: waited for, or handed to the caller at once."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from store.outage import first_line, passes


@pytest.mark.parametrize(
    "exc",
    [
        psycopg.OperationalError("connection refused"),
        psycopg.InterfaceError("the connection is closed"),
        ConnectionResetError(),
        TimeoutError(),
        errors.AdminShutdown(),
        errors.CannotConnectNow(),
        errors.TooManyConnections(),
        errors.DiskFull(),
        errors.DeadlockDetected(),
        errors.SerializationFailure(),
        errors.LockNotAvailable(),
        errors.QueryCanceled(),
        errors.ReadOnlySqlTransaction(),
        errors.IdleInTransactionSessionTimeout(),
        errors.TransactionTimeout(),
    ],
    ids=repr,
)
def test_what_passes_is_waited_for(exc: Exception) -> None:
    assert passes(exc)


@pytest.mark.parametrize(
    "exc",
    [
        errors.InsufficientPrivilege(),
        errors.UndefinedTable(),
        errors.SyntaxError(),
        errors.InvalidSchemaName(),
        errors.FeatureNotSupported(),
        errors.TooManyArguments(),
        errors.RaiseException(),
        errors.CheckViolation(),
        errors.NumericValueOutOfRange(),
        errors.DataCorrupted(),
        psycopg.ProgrammingError("the query has 3 placeholders but 2 parameters were passed"),
        ValueError(),
    ],
    ids=repr,
)
def test_what_stays_goes_to_the_caller(exc: Exception) -> None:
    assert not passes(exc)


def test_an_error_is_told_in_its_first_line_or_by_its_name() -> None:
    assert first_line(errors.UndefinedTable('relation "trades" does not exist\nLINE 1: SELECT')) == (
        'relation "trades" does not exist'
    )
    assert first_line(TimeoutError()) == "TimeoutError"
