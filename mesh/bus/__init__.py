"""The bus: a NATS connection that waits, streams written and read in order, the messages' form, and who may write."""

from __future__ import annotations

__all__ = [
    "connection",
    "control",
    "dead_letters",
    "leases",
    "membership",
    "outgoing_queue",
    "partitions",
    "position",
    "publisher",
    "reader",
    "shares",
    "status_reports",
    "subjects",
    "wire",
]
