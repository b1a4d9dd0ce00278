"""Messages that cannot be stored: put aside on `trades.dead.<stream>` with the reason, for people to see and replay."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from nats.errors import Error as NatsError

from mesh.bus.connection import DEAD_STREAM, Bus
from mesh.bus.dead_letters import DeadLetter, dead_letter
from mesh.service.backoff import backoff
from mesh.service.errors import NotReady
from mesh.service.logs import LogThrottle
from store import metrics
from store.intake.batch import Taken

log = logging.getLogger("store.dead")


class DeadLetters:
    """Where messages go that cannot be stored.

    Args:
        bus: where the stream DEAD is.
        give_up: asked after each failure; for stopping.

    """

    def __init__(self, bus: Bus, *, give_up: Callable[[], bool]) -> None:
        self._bus = bus
        self._give_up = give_up

    async def put_aside(self, stream: str, messages: Sequence[Taken]) -> None:
        """Publish dead messages of a stream; return when the bus has them, however long that takes.

        Args:
            stream: where they were read.
            messages: each with its reason. One that is put aside again (a crash before the position moved) has the
                same id, so that within the stream's window there is one of it.

        Raises:
            NotReady: `give_up` said so.

        """
        for message in messages:
            letter = dead_letter(
                stream,
                sequence=message.sequence,
                taken_us=message.taken_us,
                subject=message.subject,
                payload=message.payload,
                reason=message.reason,
            )
            await self._publish(letter)
            metrics.DEAD.inc()
            log.error("message %d of %s is put aside: %s", message.sequence, stream, message.reason[:500])

    async def _publish(self, letter: DeadLetter) -> None:
        subject = letter.subject
        log_throttle = LogThrottle()
        for delay_s in backoff(first_s=0.1, max_s=2.0):
            try:
                await self._bus.js.add_stream(DEAD_STREAM.config())
                await self._bus.js.publish(subject, letter.payload, headers=letter.headers)
                return
            except (NatsError, TimeoutError) as exc:
                why = str(exc) or type(exc).__name__
                if log_throttle.due(asyncio.get_running_loop().time()):
                    log.warning("waiting for the bus to take %s: %s", subject, why)
                if self._give_up():
                    raise NotReady(f"the bus does not take {subject}: {why}") from exc
            await asyncio.sleep(delay_s)
