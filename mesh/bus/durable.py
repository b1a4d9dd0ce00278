"""A durable consumer made anew at a position, whether the stream still has there what was read, and where to begin."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from mesh.bus.connection import Bus
from mesh.bus.position import Extent, Position, begin
from mesh.service.logs import Seldom

log = logging.getLogger("mesh.durable")

_ACK_WAIT_S = 3600
MAX_ACK_PENDING = 100_000
"""Messages that may be read and not acknowledged; then the server delivers no more."""
_FORGOTTEN_AFTER_S = 60.0
_CLOCK_US = 10  # what a time loses on its way through a float


async def make_durable(
    bus: Bus, stream: str, durable: str, *, after: int | None, subject: str, acks: bool = True
) -> None:
    """Make the durable, in place of one of that name.

    Args:
        bus: the connection.
        stream: the stream's name.
        durable: the durable's name.
        after: the sequence after which it begins; None begins with the last message of each subject.
        subject: only messages of this subject; all when empty.
        acks: whether messages are acknowledged. Without, any number may be read, and the server forgets the durable a
            minute after nobody reads it any more.

    """
    with contextlib.suppress(NotFoundError):
        await bus.js.delete_consumer(stream, durable)
    await bus.js.add_consumer(
        stream,
        ConsumerConfig(
            durable_name=durable,
            deliver_policy=DeliverPolicy.LAST_PER_SUBJECT if after is None else DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=None if after is None else after + 1,
            ack_policy=AckPolicy.ALL if acks else AckPolicy.NONE,
            ack_wait=_ACK_WAIT_S if acks else None,
            max_ack_pending=MAX_ACK_PENDING if acks else None,
            inactive_threshold=None if acks else _FORGOTTEN_AFTER_S,
            filter_subject=subject or (">" if after is None else None),
        ),
    )


async def is_as_read(bus: Bus, stream: str, sequence: int, *, taken_us: int) -> bool:
    """Return whether the message of that sequence is still the one that was read, or is gone as old ones go.

    Args:
        bus: the connection.
        stream: the stream's name.
        sequence: of the message; 0 for none, which nothing speaks against.
        taken_us: when the stream took the message that was read; 0 where that is not known.

    """
    if not sequence or not taken_us:
        return True
    try:
        found = await bus.js.get_msg(stream, sequence)
    except NotFoundError:
        return True
    return found.time is None or abs(found.time.timestamp() * 1e6 - taken_us) < _CLOCK_US


async def find_start(bus: Bus, stream: str, known: Position | None) -> Position:
    """Return after which message to take in a stream, waiting until there is one; say what a person should know.

    Args:
        bus: the connection.
        stream: the stream's name.
        known: up to where it was taken in; None when it never was.

    """
    seldom = Seldom()
    why = "nobody has declared it yet"
    while True:
        try:
            info = await bus.stream_info(stream)
            if info is not None:
                assert info.created is not None, f"the server does not say when stream {stream} was made"
                extent = Extent(stream, info.created, info.state.first_seq, info.state.last_seq)
                as_read = known is None or await is_as_read(bus, stream, known.sequence, taken_us=known.taken_us)
                position, warning = begin(known, extent, as_read=as_read)
                if warning:
                    log.error("%s", warning)
                return position
        except (NatsError, TimeoutError) as exc:
            why = str(exc) or type(exc).__name__
        if seldom.due(asyncio.get_running_loop().time()):
            log.warning("waiting for stream %s: %s", stream, why)
        await asyncio.sleep(0.25)
