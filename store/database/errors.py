"""Errors of the database, and the reaction to each: one table. Pure, but for `write_or_reject`, which only calls.

An error that does not pass concerns its own rows only: new trades go on being stored. So nothing is tried for ever that
may never succeed: the attempts at what may pass are bounded, and then it counts as what does not.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import TypeVar

import psycopg

T = TypeVar("T")


class ErrorReaction(Enum):
    """How the store reacts to an error of the database."""

    WAIT = "wait"
    """The database is unavailable for everyone: try again until it answers, however long that takes."""
    TRY_AGAIN = "try again"
    """These rows may be the cause: try again a few times, then as REJECT."""
    REJECT = "reject"
    """These rows are the cause: store the others, and these with the limits lifted, or else as dead letters."""
    END = "end"
    """Only a person can mend it: end the service, and log why."""


REACTIONS: tuple[tuple[str, ErrorReaction, str], ...] = (
    ("08", ErrorReaction.WAIT, "the connection is broken"),
    ("09", ErrorReaction.REJECT, "a trigger failed"),
    ("0A", ErrorReaction.REJECT, "not supported: by TimescaleDB for rows of a compressed chunk, say"),
    ("22", ErrorReaction.REJECT, "data it cannot hold"),
    ("23", ErrorReaction.REJECT, "a constraint refuses them"),
    ("25006", ErrorReaction.WAIT, "read only: a standby, or somebody has set it so"),
    ("25P03", ErrorReaction.TRY_AGAIN, "ended for standing still within a transaction"),
    ("25P04", ErrorReaction.TRY_AGAIN, "ended for a transaction that took too long"),
    ("27", ErrorReaction.REJECT, "a trigger changed what was being written"),
    ("28", ErrorReaction.WAIT, "the password or `pg_hba.conf` refuses us"),
    ("38", ErrorReaction.REJECT, "a function of somebody's failed"),
    ("39", ErrorReaction.REJECT, "a function of somebody's broke its contract"),
    ("40", ErrorReaction.TRY_AGAIN, "rolled back: a deadlock, or transactions that cannot follow each other"),
    ("42", ErrorReaction.END, "a privilege, a table or a column is missing"),
    ("44", ErrorReaction.REJECT, "a view refuses them"),
    ("53", ErrorReaction.WAIT, "the disk is full, or memory or connections are used up"),
    ("53400", ErrorReaction.REJECT, "more than a configured limit: rows of a compressed chunk, say"),
    ("54", ErrorReaction.REJECT, "more than PostgreSQL can hold in one"),
    ("55000", ErrorReaction.REJECT, "an object is not in the state for this: a frozen chunk, say"),
    ("55006", ErrorReaction.TRY_AGAIN, "an object is in use"),
    ("55P03", ErrorReaction.WAIT, "somebody holds a lock"),
    ("57", ErrorReaction.WAIT, "the server stops or starts"),
    ("57014", ErrorReaction.TRY_AGAIN, "cancelled: it took too long, or a person has cancelled it"),
    ("57P02", ErrorReaction.TRY_AGAIN, "a server process crashed"),
    ("58", ErrorReaction.TRY_AGAIN, "the server cannot read or write a file"),
    ("P0", ErrorReaction.REJECT, "a trigger raised an error"),
    ("XX", ErrorReaction.REJECT, "an error within the server: damaged rows or indexes, say"),
)
"""By SQLSTATE, whole or its class; the longest that fits counts. `docs/operations.md` holds the same table."""

_REACTION_OF = {state: reaction for state, reaction, _ in REACTIONS}


def reaction(exc: BaseException) -> ErrorReaction:
    """Return the reaction to an error.

    One without an SQLSTATE is the client's own: a connection that is lost or refused is waited for, content that cannot
    be sent is rejected. What the table does not name goes by psycopg's class of it.
    """
    if not isinstance(exc, psycopg.Error):
        return ErrorReaction.WAIT if isinstance(exc, OSError) else ErrorReaction.END
    sqlstate = exc.sqlstate or ""
    for state in (sqlstate, sqlstate[:2]):
        if state in _REACTION_OF:
            return _REACTION_OF[state]
    if isinstance(exc, (psycopg.OperationalError, psycopg.InterfaceError)):
        return ErrorReaction.WAIT
    if isinstance(exc, (psycopg.DataError, psycopg.IntegrityError, psycopg.InternalError)):
        return ErrorReaction.REJECT
    return ErrorReaction.END


def is_transient(exc: BaseException) -> bool:
    """Return whether trying again may help."""
    return reaction(exc) in (ErrorReaction.WAIT, ErrorReaction.TRY_AGAIN)


def max_attempts(exc: BaseException) -> int | None:
    """Return how often in a row work may fail with an error before that counts as one that does not pass.

    A connection that is lost while the same work is under way, again and again, may be lost because of that work:
    something that makes the server process crash looks like that.

    Returns:
        The number of attempts; None for as many as it takes.

    """
    if reaction(exc) is ErrorReaction.TRY_AGAIN:
        return 4
    if isinstance(exc, psycopg.Error) and exc.sqlstate:
        return None
    return 20


async def write_or_reject(
    items: Sequence[T],
    write: Callable[[Sequence[T]], Awaitable[None]],
    reject: Callable[[T, psycopg.Error], Awaitable[None]],
) -> None:
    """Write items in order; where the database refuses some for good, write the others and hand those to `reject`.

    It looks for them by halves: few that are refused among many cost few attempts.

    Args:
        items: not empty.
        write: writes consecutive ones, all or none.
        reject: takes one that cannot be written.

    Raises:
        psycopg.Error: what only a person can mend.

    """
    try:
        await write(items)
    except psycopg.Error as exc:
        if reaction(exc) is ErrorReaction.END:
            raise
        if len(items) == 1:
            await reject(items[0], exc)
            return
        half = len(items) // 2
        await write_or_reject(items[:half], write, reject)
        await write_or_reject(items[half:], write, reject)


def first_line(exc: BaseException) -> str:
    """Return an error's message without the details that PostgreSQL adds on further lines.

    Where no host of several could be reached it says why, of each one.
    """
    text = str(exc).strip() or type(exc).__name__
    if attempts := _ATTEMPT.findall(text):
        return "; ".join(f"{host}:{port}: {why}" for host, port, why in attempts)
    return text.splitlines()[0]


# psycopg's: - host: 'a', port: '5432', hostaddr: '10.0.0.1': connection failed: connection to server at "10.0.0.1",
# port 5432 failed: session is read-only
_ATTEMPT = re.compile(
    r"^- host: '?([^',]*)'?, port: '?([^',]*)'?, hostaddr: [^:]+(?::[^' ]*')?: "
    r"(?:connection failed: )?(?:connection to server [^\n]* failed: )?([^\n]*)",
    re.MULTILINE,
)
