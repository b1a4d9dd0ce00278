"""How far a stream is taken in, and where to begin reading it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Position:
    """The last message of a stream whose contents are stored; `created` tells a stream from another of its name."""

    stream: str
    created: datetime
    sequence: int

    def moved(self, sequence: int) -> Position:
        """Return the position at a later message."""
        return replace(self, sequence=sequence)


@dataclass(frozen=True, slots=True)
class Extent:
    """A stream as it is now; an empty one that begins at 1 has `last` 0."""

    stream: str
    created: datetime
    first: int
    last: int


def begin(known: Position | None, extent: Extent) -> tuple[Position, str]:
    """Return after which message to begin, and what a person should know about it (empty when all is well).

    Args:
        known: what the database has; None when it has nothing of this stream.
        extent: the stream as it is now.

    """
    name = extent.stream
    start = Position(name, extent.created, 0)
    if known is None:
        return start, ""
    if known.created != extent.created:
        return start, (
            f"stream {name} was made anew at {extent.created:%Y-%m-%d %H:%M:%S}, the database knows the one of "
            f"{known.created:%Y-%m-%d %H:%M:%S}: taking it in from its start"
        )
    if extent.last < known.sequence:
        return start, (
            f"stream {name} ends with message {extent.last}, the database has taken in {known.sequence}: the bus has "
            "lost messages; taking it in from its start"
        )
    if extent.first > known.sequence + 1:
        return known, (
            f"messages {known.sequence + 1} to {extent.first - 1} of stream {name} were removed before they were taken "
            "in: the ledger shows what is missing"
        )
    return known, ""
