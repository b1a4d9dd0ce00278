"""A message of a stream, as its reader gets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MESSAGE_ID: Final = "Nats-Msg-Id"
"""The header in which a message carries its id."""


REASON: Final = "Tickmesh-Reason"
"""The header in which a dead letter says why it is one."""

REPAIR: Final = ".repair."
"""In the name of a message of RAW: it holds trades of the past as REST tells them, which replace what has their ids.

store has asked for them, or ingest has found out that it published another trade with their id.
"""

_MAX_REASON = 500


def header_text(reason: str) -> str:
    """Return a reason as a header may hold it: one short line of ASCII."""
    return " ".join(reason[:_MAX_REASON].split()).encode("ascii", "replace").decode()


@dataclass(frozen=True, slots=True)
class Message:
    """What a reader of a stream gets."""

    sequence: int
    subject: str
    payload: bytes
    reply: str
    """Where to acknowledge it."""
    taken_us: int
    """When the stream took it, in microseconds since 1970; beside its sequence this tells it from any other."""
    pending: int
    """How many messages the stream held behind this one when it was delivered."""
    message_id: str = ""
    """The name its publisher gave it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the ack subject of a message tells."""

    sequence: int
    """In the stream."""
    count: int
    """How many messages the consumer has delivered with this one."""
    taken_us: int
    pending: int


def delivery(reply: str) -> Delivery:
    """Read the ack subject of a message.

    Five numbers follow the names in `$JS.ACK.<stream>.<consumer>.`: times delivered, stream sequence, consumer
    sequence, time in nanoseconds, pending. Another form has the account's domain and hash before the stream, and
    perhaps one more token at the end.
    """
    tokens = reply.split(".")
    base = 5 if len(tokens) < 11 else 7
    sequence, count, taken_ns, pending = tokens[base : base + 4]
    return Delivery(int(sequence), int(count), int(taken_ns) // 1000, int(pending))
