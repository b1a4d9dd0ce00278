"""Errors of the database, and what each asks of whoever writes: one table. Pure, but for `in_halves`, which only calls.

An error that will not pass concerns its own rows only: new trades go on. So nothing is tried again for ever that may
never do: what may pass is bounded, and then counts as what does not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import TypeVar

import psycopg

T = TypeVar("T")


class Reaction(Enum):
    """What to do about an error of the database."""

    WAIT = "wait"
    """The database cannot now, whoever asks: try again until it can, however long that takes."""
    TRY_AGAIN = "try again"
    """It may be these rows: try again a few times, then as SET_ASIDE."""
    SET_ASIDE = "set aside"
    """It is these rows: store the others, these with the limits lifted, or else put them aside in DEAD."""
    END = "end"
    """Only a person can mend it: end the service, and say it."""


REACTIONS: tuple[tuple[str, Reaction, str], ...] = (
    ("08", Reaction.WAIT, "the connection is broken"),
    ("09", Reaction.SET_ASIDE, "a trigger failed"),
    ("0A", Reaction.SET_ASIDE, "not supported: by TimescaleDB for rows of a compressed chunk, say"),
    ("22", Reaction.SET_ASIDE, "data it cannot hold"),
    ("23", Reaction.SET_ASIDE, "a constraint refuses them"),
    ("25006", Reaction.WAIT, "read only: a standby, or somebody has set it so"),
    ("25P03", Reaction.TRY_AGAIN, "ended for standing still within a transaction"),
    ("25P04", Reaction.TRY_AGAIN, "ended for a transaction that took too long"),
    ("27", Reaction.SET_ASIDE, "a trigger changed what was being written"),
    ("28", Reaction.WAIT, "the password or `pg_hba.conf` refuses us"),
    ("38", Reaction.SET_ASIDE, "a function of somebody's failed"),
    ("39", Reaction.SET_ASIDE, "a function of somebody's broke its contract"),
    ("40", Reaction.TRY_AGAIN, "rolled back: a deadlock, or transactions that cannot follow each other"),
    ("42", Reaction.END, "a privilege, a table or a column is missing"),
    ("44", Reaction.SET_ASIDE, "a view refuses them"),
    ("53", Reaction.WAIT, "the disk is full, or memory or connections are used up"),
    ("53400", Reaction.SET_ASIDE, "more than a configured limit: rows of a compressed chunk, say"),
    ("54", Reaction.SET_ASIDE, "more than PostgreSQL can hold in one"),
    ("55000", Reaction.SET_ASIDE, "an object is not in the state for this: a frozen chunk, say"),
    ("55006", Reaction.TRY_AGAIN, "an object is in use"),
    ("55P03", Reaction.WAIT, "somebody holds a lock"),
    ("57", Reaction.WAIT, "the server stops or starts"),
    ("57014", Reaction.TRY_AGAIN, "cancelled: it took too long, or a person has cancelled it"),
    ("57P02", Reaction.TRY_AGAIN, "a server process crashed"),
    ("58", Reaction.TRY_AGAIN, "the server cannot read or write a file"),
    ("P0", Reaction.SET_ASIDE, "a trigger raised an error"),
    ("XX", Reaction.SET_ASIDE, "an error within the server: damaged rows or indexes, say"),
)
"""By SQLSTATE, whole or its class; the longest that fits counts. `docs/operations.md` holds the same table."""

_REACTION_OF = {state: reaction for state, reaction, _ in REACTIONS}


def reaction(exc: BaseException) -> Reaction:
    """Return what an error asks for.

    One without an SQLSTATE is the client's own: a connection that is lost or refused is waited for, content that cannot
    be sent is set aside. What the table does not name goes by the kind psycopg takes it for.
    """
    if not isinstance(exc, psycopg.Error):
        return Reaction.WAIT if isinstance(exc, OSError) else Reaction.END
    sqlstate = exc.sqlstate or ""
    for state in (sqlstate, sqlstate[:2]):
        if state in _REACTION_OF:
            return _REACTION_OF[state]
    if isinstance(exc, (psycopg.OperationalError, psycopg.InterfaceError)):
        return Reaction.WAIT
    if isinstance(exc, (psycopg.DataError, psycopg.IntegrityError, psycopg.InternalError)):
        return Reaction.SET_ASIDE
    return Reaction.END


def passes(exc: BaseException) -> bool:
    """Return whether trying again may help."""
    return reaction(exc) in (Reaction.WAIT, Reaction.TRY_AGAIN)


def tries(exc: BaseException) -> int | None:
    """Return how often in a row work may fail so before it counts as what does not pass; None for ever.

    A connection that is lost while the same work is under way, again and again, may be that work's doing: something
    that makes the server process crash looks like that.
    """
    if reaction(exc) is Reaction.TRY_AGAIN:
        return 4
    if isinstance(exc, psycopg.Error) and exc.sqlstate:
        return None
    return 20


async def in_halves(
    items: Sequence[T],
    write: Callable[[Sequence[T]], Awaitable[None]],
    refuse: Callable[[T, psycopg.Error], Awaitable[None]],
) -> None:
    """Write items in order; where the database refuses some for good, write the others and hand those to `refuse`.

    Args:
        items: not empty.
        write: writes consecutive ones, all or none.
        refuse: takes one that cannot be written.

    Raises:
        psycopg.Error: what only a person can mend.

    """
    try:
        await write(items)
    except psycopg.Error as exc:
        if reaction(exc) is Reaction.END:
            raise
        if len(items) == 1:
            await refuse(items[0], exc)
            return
        half = len(items) // 2
        await in_halves(items[:half], write, refuse)
        await in_halves(items[half:], write, refuse)


def first_line(exc: BaseException) -> str:
    """Return an error's message without the details that PostgreSQL adds on further lines."""
    text = str(exc).strip() or type(exc).__name__
    return text.splitlines()[0]
