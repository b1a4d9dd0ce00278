"""How far a stream is taken in, and where to begin reading it: one proof for every reader that keeps its position.

A sequence means something in one stream only. The stream may have been made anew since; or it lost its end in a power
cut, and has grown again past the position with other messages. So a position carries when the stream was made, and
when it took the message: where another one stands there now, it is read from its start. Pure; `reader.py` looks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Position:
    """The last message of a stream whose contents are taken in.

    Attributes:
        stream: its name.
        created: when it was made: tells it from another of its name.
        sequence: of the message; 0 for none.
        taken_us: when the stream took that message, in microseconds since 1970; 0 where that is not known.

    """

    stream: str
    created: datetime
    sequence: int
    taken_us: int = field(default=0, compare=False)

    def moved(self, sequence: int, taken_us: int = 0) -> Position:
        """Return the position at a later message.

        Args:
            sequence: of that message.
            taken_us: when the stream took it, in microseconds since 1970; 0 where that is not known.

        """
        return replace(self, sequence=sequence, taken_us=taken_us)


@dataclass(frozen=True, slots=True)
class StreamExtent:
    """A stream as it is now; an empty one that begins at 1 has `last` 0."""

    stream: str
    created: datetime
    first: int
    last: int


def resume_position(known: Position | None, extent: StreamExtent, *, as_read: bool = True) -> tuple[Position, str]:
    """Return after which message to begin, and what a person should know about it (empty when all is well).

    Args:
        known: up to where the stream was taken in; None when it never was.
        extent: the stream as it is now.
        as_read: whether the message at the position is still the one that was read, as far as one can tell.

    """
    name = extent.stream
    start = Position(name, extent.created, 0)
    if known is None:
        return start, ""
    if known.created != extent.created:
        return start, (
            f"stream {name} was made anew at {extent.created:%Y-%m-%d %H:%M:%S}, known is the one of "
            f"{known.created:%Y-%m-%d %H:%M:%S}: taking it in from its start"
        )
    if extent.last < known.sequence:
        return start, (
            f"stream {name} ends with message {extent.last}, {known.sequence} were taken in: the bus has "
            "lost messages; taking it in from its start"
        )
    if not as_read:
        return start, (
            f"message {known.sequence} of stream {name} is another one than was taken in: the bus has lost its end and "
            "has grown again since; taking it in from its start"
        )
    if extent.first > known.sequence + 1:
        return known, (
            f"messages {known.sequence + 1} to {extent.first - 1} of stream {name} were removed before they were taken "
            "in: the ledger shows what is missing"
        )
    return known, ""
