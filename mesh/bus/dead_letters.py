"""Dead letters: messages of the bus that cannot be taken in, kept in the stream DEAD with the reason.

Whoever reads a stream puts aside what it cannot take in and goes on. Two readers that find the same message word the
same letter with the same id, so within the stream's window for duplicates it is kept once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from nats.errors import Error as NatsError
from prometheus_client import Counter

from mesh.bus import subjects
from mesh.bus.connection import Bus
from mesh.bus.message import MESSAGE_ID, REASON, Message, header_text
from mesh.service.backoff import backoff
from mesh.service.logs import LogThrottle

log = logging.getLogger("mesh.dead_letters")

SUBJECT = "Tickmesh-Subject"
SEQUENCE = "Tickmesh-Sequence"
MAX_WAITING = 256
_MAX_PAYLOAD_BYTES = 1_000_000
"""With its headers a message must stay below the server's limit of 1 MiB."""

FOUND = Counter("tickmesh_bad_messages_total", "Messages of the bus that this service could not take in", ["stream"])


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message for the stream DEAD."""

    subject: str
    payload: bytes
    headers: dict[str, str]


def dead_letter(stream: str, *, sequence: int, taken_us: int, subject: str, payload: bytes, reason: str) -> DeadLetter:
    """Word a dead letter.

    Args:
        stream: where the message was read.
        sequence: its sequence there.
        taken_us: when the stream took it: in a stream made anew another message has that sequence.
        subject: the subject it came on.
        payload: its bytes; one that is too long for the bus is cut, which the reason then says.
        reason: why it cannot be taken in.

    """
    if len(payload) > _MAX_PAYLOAD_BYTES:
        reason = f"only its first {_MAX_PAYLOAD_BYTES} of {len(payload)} bytes are here; {reason}"
    headers = {
        MESSAGE_ID: f"{stream}.{taken_us}.{sequence}",
        REASON: header_text(reason),
        SUBJECT: subject.encode("ascii", "backslashreplace").decode(),
        SEQUENCE: str(sequence),
    }
    return DeadLetter(subjects.dead(stream), payload[:_MAX_PAYLOAD_BYTES], headers)


class DeadLetterQueue:
    """Dead letters on their way to the bus, for readers that never wait for them; `run` is a task of the service's own.

    At most MAX_WAITING wait; when one more comes the oldest goes, which the log says.

    Args:
        bus: where the stream DEAD is.

    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: deque[DeadLetter] = deque(maxlen=MAX_WAITING)
        self._arrived = asyncio.Event()
        self._log_throttle = LogThrottle(every_s=1)
        self._unsaid = 0

    def put(self, stream: str, message: Message, reason: str) -> None:
        """Take a message that cannot be taken in, and say so; returns at once.

        Args:
            stream: where it was read.
            message: as it was read.
            reason: why it cannot be taken in.

        """
        FOUND.labels(stream).inc()
        self._unsaid += 1
        if self._log_throttle.due(asyncio.get_running_loop().time()):
            log.error(
                "%d messages of %s are put aside, the last: %d on %s: %s",
                *(self._unsaid, stream, message.sequence, message.subject, reason[:500]),
            )
            self._unsaid = 0
        if len(self._waiting) == MAX_WAITING:
            log.warning("%d dead letters wait for the bus: forgetting the oldest", MAX_WAITING)
        self._waiting.append(
            dead_letter(
                stream,
                sequence=message.sequence,
                taken_us=message.taken_us,
                subject=message.subject,
                payload=message.payload,
                reason=reason,
            )
        )
        self._arrived.set()

    async def run(self) -> None:
        """Publish what comes, in order, for ever."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            delays = backoff(max_s=5)
            while self._waiting:
                letter = self._waiting[0]
                try:
                    await self._bus.js.publish(letter.subject, letter.payload, headers=letter.headers)
                except (NatsError, TimeoutError) as exc:
                    log.debug("%d dead letters wait for the bus: %s", len(self._waiting), exc)
                    await asyncio.sleep(next(delays))
                    continue
                if self._waiting and self._waiting[0] is letter:  # else it went for a newer one meanwhile
                    self._waiting.popleft()
