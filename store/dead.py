"""Messages that cannot be stored: put aside on `trades.dead.RAW` with the reason, for a person to see and replay."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from nats.errors import Error as NatsError

from mesh import subjects
from mesh.backoff import backoff
from mesh.bus import DEAD_STREAM, Bus
from mesh.errors import NotReady
from mesh.logs import Seldom
from mesh.message import MESSAGE_ID, REASON, worded
from store import metrics
from store.batch import Taken
from store.position import Position

log = logging.getLogger("store.dead")

SUBJECT = "Tickmesh-Subject"
SEQUENCE = "Tickmesh-Sequence"
_MAX_PAYLOAD_BYTES = 1_000_000  # with its headers a message must stay below the server's limit of 1 MiB


class DeadLetters:
    """Where messages go that cannot be stored.

    Args:
        bus: where the stream DEAD is.
        give_up: asked after each failure; for stopping.

    """

    def __init__(self, bus: Bus, *, give_up: Callable[[], bool]) -> None:
        self._bus = bus
        self._give_up = give_up

    async def put_aside(self, after: Position, messages: Sequence[Taken]) -> None:
        """Publish dead messages of a stream; return when the bus has them, however long that takes.

        Args:
            after: where they were read; names the stream they come from.
            messages: each with its reason. One that is put aside again (a crash before the position moved) has the
                same id, so that within the stream's window there is one of it.

        Raises:
            NotReady: `give_up` said so.

        """
        for message in messages:
            reason = message.reason
            if len(message.payload) > _MAX_PAYLOAD_BYTES:
                reason = f"only its first {_MAX_PAYLOAD_BYTES} of {len(message.payload)} bytes are here; {reason}"
            headers = {
                MESSAGE_ID: f"{after.stream}.{after.created:%Y%m%dT%H%M%S.%f}.{message.sequence}",
                REASON: worded(reason),
                SUBJECT: message.subject,
                SEQUENCE: str(message.sequence),
            }
            await self._publish(subjects.dead(after.stream), message.payload[:_MAX_PAYLOAD_BYTES], headers)
            metrics.DEAD.inc()
            log.error("message %d of %s is put aside: %s", message.sequence, after.stream, reason)

    async def _publish(self, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        seldom = Seldom()
        for delay_s in backoff(first_s=0.1, max_s=2.0):
            try:
                await self._bus.js.add_stream(DEAD_STREAM.config())
                await self._bus.js.publish(subject, payload, headers=headers)
                return
            except (NatsError, TimeoutError) as exc:
                why = str(exc) or type(exc).__name__
                if seldom.due(asyncio.get_running_loop().time()):
                    log.warning("waiting for the bus to take %s: %s", subject, why)
                if self._give_up():
                    raise NotReady(f"the bus does not take {subject}: {why}") from exc
            await asyncio.sleep(delay_s)
