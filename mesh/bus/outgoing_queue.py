"""Small messages on their way to the bus apart from the trades: each is published again until the bus has stored it.

`publish_until_stored` is for callers that wait for that; an `OutgoingQueue` is for those that do not.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from nats.errors import Error as NatsError

from mesh.bus.connection import Bus, Stream
from mesh.service.backoff import backoff
from mesh.service.errors import NotReady
from mesh.service.logs import LogThrottle

log = logging.getLogger("mesh.bus.outgoing_queue")


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message for a stream of the bus."""

    subject: str
    payload: bytes
    headers: dict[str, str] | None = None


async def publish_until_stored(
    bus: Bus, message: OutgoingMessage, *, stream: Stream | None = None, give_up: Callable[[], bool] = lambda: False
) -> None:
    """Publish a message; return when the bus has stored it, however long that takes.

    An attempt may succeed without an answer, so the message may be stored twice, unless it has an id.

    Args:
        bus: where to.
        message: what to publish.
        stream: created before each attempt where it is missing; without it somebody else must have created it.
        give_up: asked after each failure whether to stop trying.

    Raises:
        NotReady: `give_up` said so.

    """
    log_throttle = LogThrottle()
    for delay_s in backoff(first_s=0.1, max_s=2.0):
        try:
            if stream is not None:
                await bus.js.add_stream(stream.config())
            await bus.js.publish(message.subject, message.payload, headers=message.headers)
            return
        except (NatsError, TimeoutError) as exc:
            why = str(exc) or type(exc).__name__
            if log_throttle.due(asyncio.get_running_loop().time()):
                log.warning("waiting for the bus to take %s: %s", message.subject, why)
            if give_up():
                raise NotReady(f"the bus does not take {message.subject}: {why}") from exc
        await asyncio.sleep(delay_s)


class OutgoingQueue:
    """Publishes messages in the order in which they are put, without making anybody wait; `run` must be a task.

    Args:
        bus: where to.
        max_waiting: how many messages wait at most; when one more comes the oldest is dropped, which is logged.

    """

    def __init__(self, bus: Bus, *, max_waiting: int) -> None:
        self._bus = bus
        self._waiting: deque[OutgoingMessage] = deque(maxlen=max_waiting)
        self._arrived = asyncio.Event()
        self._log_throttle = LogThrottle(every_s=1)
        self._dropped = 0

    @property
    def waiting(self) -> int:
        """How many messages wait, without the one that is being published."""
        return len(self._waiting)

    def put(self, message: OutgoingMessage) -> None:
        """Take a message; returns at once."""
        if len(self._waiting) == self._waiting.maxlen:
            self._dropped += 1
            if self._log_throttle.due(asyncio.get_running_loop().time()):
                words = "%d messages wait for the bus, the last for %s: dropped the oldest %d"
                log.warning(words, len(self._waiting), message.subject, self._dropped)
                self._dropped = 0
        self._waiting.append(message)
        self._arrived.set()

    async def run(self) -> None:
        """Publish what comes, for ever."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                await publish_until_stored(self._bus, self._waiting.popleft())
