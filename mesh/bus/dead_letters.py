"""Dead letters: messages of the bus that cannot be read or stored, kept in the stream DEAD with the reason.

Whoever reads a stream publishes what it cannot take in to `trades.dead.<stream>`, for people to see, and goes on. Two
readers that find the same message make the same letter with the same id, so within the stream's window for duplicates
it is kept once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from nats.errors import Error as NatsError
from prometheus_client import Counter

from mesh.bus import subjects
from mesh.bus.connection import DEAD_STREAM, Bus
from mesh.bus.message import MESSAGE_ID, REASON, Message, header_text
from mesh.service.backoff import backoff
from mesh.service.errors import NotReady
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


def dead_letter(stream: str, message: Message, reason: str) -> DeadLetter:
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
        MESSAGE_ID: f"{stream}.{message.taken_us}.{message.sequence}",
        REASON: header_text(reason),
        SUBJECT: message.subject.encode("ascii", "backslashreplace").decode(),
        SEQUENCE: str(message.sequence),
    }
    return DeadLetter(subjects.dead(stream), payload[:_MAX_PAYLOAD_BYTES], headers)


class DeadLetterQueue:
    """Dead letters on their way to the bus.

    `put` is for readers that never wait for them: at most MAX_WAITING wait here, and when one more comes the oldest is
    dropped, which is logged. It needs `run` as a task of the service's. `publish` is for readers that go on only when
    the bus has the letter; it needs no task.

    Args:
        bus: where the stream DEAD is.
        give_up: asked by `publish` after each failure; for stopping.
        published: counts the letters that `publish` has brought to the bus.

    """

    def __init__(
        self, bus: Bus, *, give_up: Callable[[], bool] = lambda: False, published: Counter | None = None
    ) -> None:
        self._bus = bus
        self._give_up = give_up
        self._published = published
        self._waiting: deque[DeadLetter] = deque(maxlen=MAX_WAITING)
        self._arrived = asyncio.Event()
        self._log_throttle = LogThrottle(every_s=1)
        self._unsaid = 0

    def put(self, stream: str, message: Message, reason: str) -> None:
        """Take a message that cannot be taken in, and log it; returns at once.

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
        if len(self._waiting) == MAX_WAITING:
            log.warning("%d dead letters wait for the bus: forgetting the oldest", MAX_WAITING)
        self._waiting.append(dead_letter(stream, message, reason))
        self._arrived.set()

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
        log_throttle = LogThrottle()
        for delay_s in backoff(first_s=0.1, max_s=2.0):
            try:
                await self._bus.js.add_stream(DEAD_STREAM.config())
                await self._bus.js.publish(letter.subject, letter.payload, headers=letter.headers)
                break
            except (NatsError, TimeoutError) as exc:
                why = str(exc) or type(exc).__name__
                if log_throttle.due(asyncio.get_running_loop().time()):
                    log.warning("waiting for the bus to take %s: %s", letter.subject, why)
                if self._give_up():
                    raise NotReady(f"the bus does not take {letter.subject}: {why}") from exc
            await asyncio.sleep(delay_s)
        if self._published is not None:
            self._published.inc()
        log.error("message %d of %s is a dead letter: %s", message.sequence, stream, reason[:500])

    async def run(self) -> None:
        """Publish what comes by `put`, in order, for ever."""
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
