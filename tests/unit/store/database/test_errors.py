"""What the database says against us: waited for, or handed to the caller at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from store.database.errors import (
    REACTIONS,
    ErrorReaction,
    first_line,
    is_transient,
    max_attempts,
    reaction,
    write_or_reject,
)


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
    assert is_transient(exc)


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
    assert not is_transient(exc)


def test_an_error_is_told_in_its_first_line_or_by_its_name() -> None:
    assert first_line(errors.UndefinedTable('relation "trades" does not exist\nLINE 1: SELECT')) == (
        'relation "trades" does not exist'
    )
    assert first_line(TimeoutError()) == "TimeoutError"


def test_of_several_hosts_each_is_told_with_its_reason() -> None:
    said = (
        'connection failed: connection to server at "10.0.0.2", port 5433 failed: session is read-only\n'
        "Multiple connection attempts failed. All failures were:\n"
        "- host: 'a', port: '5432', hostaddr: '10.0.0.1': connection timeout expired\n"
        "- host: '::1', port: None, hostaddr: '::1': connection failed: connection to server at \"::1\", port 5432 "
        "failed: Connection refused\n\tIs the server running on that host?\n"
        "- host: 'b', port: '5433', hostaddr: '10.0.0.2': connection failed: connection to server at \"10.0.0.2\", "
        "port 5433 failed: session is read-only"
    )
    assert first_line(psycopg.OperationalError(said)) == (
        "a:5432: connection timeout expired; ::1:None: Connection refused; b:5433: session is read-only"
    )


@pytest.mark.parametrize(
    ("exc", "wanted"),
    [
        (errors.ConfigurationLimitExceeded(), ErrorReaction.REJECT),
        (errors.DiskFull(), ErrorReaction.WAIT),
        (errors.QueryCanceled(), ErrorReaction.TRY_AGAIN),
        (errors.CrashShutdown(), ErrorReaction.TRY_AGAIN),
        (errors.AdminShutdown(), ErrorReaction.WAIT),
        (errors.UndefinedTable(), ErrorReaction.END),
        (errors.IndexCorrupted(), ErrorReaction.REJECT),
        (psycopg.DataError("timestamp too large"), ErrorReaction.REJECT),
        (psycopg.OperationalError("server closed the connection"), ErrorReaction.WAIT),
        (psycopg.NotSupportedError("can't parse"), ErrorReaction.END),
        (ValueError(), ErrorReaction.END),
    ],
    ids=repr,
)
def test_the_longest_sqlstate_of_the_table_says_what_an_error_asks_for(exc: Exception, wanted: ErrorReaction) -> None:
    assert reaction(exc) is wanted


def test_only_what_the_database_cannot_do_for_anybody_is_waited_for_without_end() -> None:
    assert max_attempts(errors.DiskFull()) is None
    assert max_attempts(errors.SerializationFailure()) is not None
    assert max_attempts(psycopg.OperationalError("server closed the connection")) is not None


def test_the_table_stands_in_the_operations_manual() -> None:
    manual = (Path(__file__).parents[4] / "docs" / "operations.md").read_text()

    for state, what, why in REACTIONS:
        assert f"| `{state}` | {why} | {what.value} |" in manual


async def test_of_what_is_refused_for_good_the_others_are_written_in_order() -> None:
    written: list[int] = []
    refused: list[int] = []

    async def write(items: Sequence[int]) -> None:
        if any(item % 5 == 3 for item in items):
            raise errors.CheckViolation
        written.extend(items)

    async def refuse(item: int, _: psycopg.Error) -> None:
        refused.append(item)

    await write_or_reject(range(20), write, refuse)

    assert (refused, written) == ([3, 8, 13, 18], [n for n in range(20) if n % 5 != 3])


async def test_what_only_a_person_can_mend_is_not_halved() -> None:
    async def write(items: Sequence[int]) -> None:
        raise errors.InsufficientPrivilege

    async def refuse(item: int, _: psycopg.Error) -> None:
        raise AssertionError("nothing is refused")

    with pytest.raises(errors.InsufficientPrivilege):
        await write_or_reject(range(20), write, refuse)
