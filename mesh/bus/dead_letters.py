"""Dead letters: what cannot be read or stored, kept in the stream DEAD with the reason.

Whoever reads a stream of the bus publishes what it cannot take in to `trades.dead.<stream>`, for people to see, and
goes on. Two readers that find the same message make the same letter with the same id, so within the stream's window for
duplicates it is kept once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from prometheus_client import Counter

from mesh.bus import subjects
from mesh.bus.connection import DEAD_STREAM, Bus
from mesh.bus.outgoing_queue import OutgoingMessage, OutgoingQueue, publish_until_stored
from mesh.bus.reader import Message
from mesh.bus.subjects import MESSAGE_ID
from mesh.service.logs import LogThrottle

log = logging.getLogger("mesh.bus.dead_letters")

REASON = "Tickmesh-Reason"
"""The header in which a dead letter says why it is one."""
SUBJECT = "Tickmesh-Subject"
SEQUENCE = "Tickmesh-Sequence"
MAX_WAITING = 256
_MAX_REASON = 500
_MAX_PAYLOAD_BYTES = 1_000_000
"""With its headers a message must stay below the server's limit of 1 MiB."""

FOUND = Counter("tickmesh_bad_messages_total", "Messages of the bus that this service could not take in", ["stream"])


def dead_letter(stream: str, message: Message, reason: str) -> OutgoingMessage:
    """Return the dead letter of a message.

    Args:
        stream: where the message was read.
        message: as it was read. The letter's id also says when the stream took it: in a stream made anew another
            message has its sequence. A payload that is too long for the bus is cut, which the reason then says.
        reason: why it cannot be taken in.

    """
    payload = message.payload
    if len(payload) > _MAX_PAYLOAD_BYTES:
        reason = f"only its first {_MAX_PAYLOAD_BYTES} of {len(payload)} bytes are here; {reason}"
    headers = {
        MESSAGE_ID: f"{stream}.{message.taken_us}.{message.sequence}" + (f".{message.part}" if message.part else ""),
        REASON: _header_text(reason),
        SUBJECT: message.subject.encode("ascii", "backslashreplace").decode(),
        SEQUENCE: str(message.sequence),
    }
    return OutgoingMessage(subjects.dead(stream), payload[:_MAX_PAYLOAD_BYTES], headers)


def letter_about(kind: str, content: bytes, reason: str) -> OutgoingMessage:
    """Return the dead letter of something that is no message of the bus.

    Args:
        kind: what it is, the last part of the letter's subject: "frames".
        content: as much of it as shall be kept, below 1 MB.
        reason: why it is a dead letter.

    """
    return OutgoingMessage(subjects.dead(kind), content, {REASON: _header_text(reason)})


def _header_text(reason: str) -> str:
    """Return a reason as a header may hold it: one short line of ASCII."""
    return " ".join(reason[:_MAX_REASON].split()).encode("ascii", "replace").decode()


class DeadLetterQueue:
    """Dead letters on their way to the bus.

    `put` and `put_letter` are for those that never wait for them; they need `run` as a task of the service's. `publish`
    is for readers that go on only when the bus has the letter; it needs no task.

    Args:
        bus: where the stream DEAD is.
        give_up: asked by `publish` after each failure; for stopping.
        published: counts the letters that `publish` has brought to the bus.
        max_waiting: how many wait here at most; when one more comes the oldest is dropped, which is logged.

    """

    def __init__(
        self,
        bus: Bus,
        *,
        give_up: Callable[[], bool] = lambda: False,
        published: Counter | None = None,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._bus = bus
        self._give_up = give_up
        self._published = published
        self._outgoing = OutgoingQueue(bus, max_waiting=max_waiting)
        self._log_throttle = LogThrottle(every_s=1)
        self._unsaid = 0

    @property
    def waiting(self) -> int:
        """How many letters wait for the bus."""
        return self._outgoing.waiting

    def put(self, stream: str, message: Message, reason: str) -> None:
        """Take a message that cannot be taken in, and count and log it; returns at once.

        Args:
            stream: where it was read.
            message: as it was read.
            reason: why it cannot be taken in.

        """
        FOUND.labels(stream).inc()
        self._unsaid += 1
        if self._log_throttle.due(asyncio.get_running_loop().time()):
            log.error(
                "%d messages of %s are dead letters, the last: %d on %s: %s",
                *(self._unsaid, stream, message.sequence, message.subject, reason[:500]),
            )
            self._unsaid = 0
        self.put_letter(dead_letter(stream, message, reason))

    def put_letter(self, letter: OutgoingMessage) -> None:
        """Take a letter about something that is no message of the bus, such as a frame; returns at once.

        Whoever puts it counts and logs it. `letter_about` makes one.
        """
        self._outgoing.put(letter)

    async def publish(self, stream: str, message: Message, reason: str) -> None:
        """Publish a message that cannot be taken in; return when the bus has it, however long that takes.

        A message that comes again before the reader's position has moved, as after a crash, has the same id: it is kept
        once.

        Args:
            stream: where it was read.
            message: as it was read.
            reason: why it cannot be taken in.

        Raises:
            NotReady: `give_up` said so.

        """
        letter = dead_letter(stream, message, reason)
        await publish_until_stored(self._bus, letter, stream=DEAD_STREAM, give_up=self._give_up)
        if self._published is not None:
            self._published.inc()
        log.error("message %d of %s is a dead letter: %s", message.sequence, stream, reason[:500])

    async def run(self) -> None:
        """Publish what is put, in order, for ever."""
        await self._outgoing.run()
