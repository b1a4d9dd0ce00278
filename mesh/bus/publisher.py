"""Ordered publishing with counted acks: many messages on their way at once, and still none lost, doubled or overtaken.

Every message names its predecessor (`Nats-Expected-Last-Msg-Id`), so the stream holds exactly what was published, in
that order: when one is refused or its ack is lost, the server refuses all that follow it, and the publisher reads what
the stream really ends with and goes on from there. That also holds when the server was away for longer than its window
for duplicates, and it shows at once if somebody else writes to the same stream.

Few messages ask for an ack (`mesh/bus/in_flight.py`). When publishing pauses behind one that did not, the stream is
asked for its last message instead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from mesh.bus.ack import STREAM_FULL, decode_ack
from mesh.bus.connection import Bus
from mesh.bus.in_flight import ACK_EVERY_S, Item, Unconfirmed
from mesh.bus.message import MESSAGE_ID
from mesh.bus.purge import make_room
from mesh.bus.stream_end import end_of_stream
from mesh.service.backoff import backoff
from mesh.service.errors import TickmeshError
from mesh.service.logs import Seldom

log = logging.getLogger("mesh.publisher")

MAX_PENDING = 1024
MAX_PENDING_BYTES = 16 * 2**20
_ACK_TIMEOUT_S = 3.0
_STUCK_AFTER_S = 3.0
_PREDECESSOR = "Nats-Expected-Last-Msg-Id"
_PREDECESSOR_SEQUENCE = "Nats-Expected-Last-Sequence"
_LAST = "last"
_PAUSE_S = 2 * ACK_EVERY_S


class ForeignPublisherError(TickmeshError):
    """Somebody else writes to a stream that has one writer."""


class Publisher:
    """The one writer of a stream. Open it, publish, `settle()` before stopping.

    At most MAX_PENDING messages or MAX_PENDING_BYTES wait for their acks; at the bound `publish` waits too, which is
    how a slow or full stream pushes back.

    Args:
        bus: the connection.
        stream: the stream's name.
        readers: the durables whose acknowledged messages may go when the stream is full; none may when empty.

    """

    def __init__(self, bus: Bus, stream: str, *, readers: Sequence[str] = ()) -> None:
        self._bus = bus
        self._stream = stream
        self._readers = readers
        self._unconfirmed = Unconfirmed("", max_messages=MAX_PENDING, max_bytes=MAX_PENDING_BYTES)
        self._healthy = asyncio.Event()
        self._broken = asyncio.Event()
        self._room = asyncio.Event()
        self._why = ""
        self._heard_s = 0.0
        self._sent_s = 0.0
        self._pause: asyncio.TimerHandle | None = None

    @property
    def pending(self) -> int:
        """How many messages wait for their acks."""
        return len(self._unconfirmed)

    async def open(self) -> None:
        """Find the end of the stream; call once before the first `publish`, and keep `run` going from then on."""
        self._inbox = self._bus.client.new_inbox()
        await self._bus.client.subscribe(f"{self._inbox}.*", cb=self._on_reply)
        self._bus.on_reconnect(lambda: self._break("reconnected"))
        self._unconfirmed.last_id = (await end_of_stream(self._bus, self._stream))[1] or ""
        self._room.set()
        self._healthy.set()

    async def publish(
        self, subject: str, payload: bytes, *, message_id: str, on_stored: Callable[[int], None] | None = None
    ) -> None:
        """Hand a message over; returns at once while there is room.

        Args:
            subject: one of the stream's subjects.
            payload: the message.
            message_id: names the message; different for every message of the stream.
            on_stored: called with the message's sequence when the stream holds it, in the order of publishing.

        """
        while self._unconfirmed.full:
            self._room.clear()
            await self._room.wait()
        item = Item(subject, payload, message_id, on_stored)
        predecessor = self._unconfirmed.tail_id
        self._unconfirmed.add(item)
        if self._healthy.is_set():
            await self._send(item, predecessor)

    async def settle(self) -> None:
        """Wait until everything handed over is in the stream."""
        while self._unconfirmed:
            self._room.clear()
            await self._room.wait()

    async def run(self) -> None:
        """Mend what breaks, for ever; a task of the service's own.

        Raises:
            ForeignPublisherError: the stream ends with a message that is not ours.
            StreamGoneError: the stream does not exist any more.
            LeaseLostError: another instance of this service writes it now.

        """
        while True:
            try:
                await asyncio.wait_for(self._broken.wait(), 0.5)
            except TimeoutError:
                now_s = asyncio.get_running_loop().time()
                if self._unconfirmed and now_s - self._heard_s > _ACK_TIMEOUT_S:
                    self._break(f"no ack for {_ACK_TIMEOUT_S:g} s")
                continue
            await self._mend()

    def _break(self, why: str) -> None:
        if self._healthy.is_set() and self._unconfirmed:
            self._why = why
            self._healthy.clear()
            self._broken.set()

    async def _send(self, item: Item, predecessor: str) -> None:
        loop = asyncio.get_running_loop()
        self._sent_s = loop.time()
        if len(self._unconfirmed) == 1:
            self._heard_s = self._sent_s
        self._unconfirmed.send(item, self._sent_s)
        headers = {MESSAGE_ID: item.message_id}
        if predecessor:
            headers[_PREDECESSOR] = predecessor
        reply = f"{self._inbox}.{item.token}" if item.ack_wanted else ""
        if not item.ack_wanted and self._pause is None:
            self._pause = loop.call_later(_PAUSE_S, self._on_pause)
        try:
            await self._bus.client.publish(item.subject, item.payload, reply=reply, headers=headers)
        except NatsError as exc:
            self._break(str(exc) or type(exc).__name__)

    def _on_pause(self) -> None:
        self._pause = None
        if not self._unconfirmed or self._unconfirmed.last.ack_wanted or not self._healthy.is_set():
            return
        loop = asyncio.get_running_loop()
        rest_s = self._sent_s + _PAUSE_S - loop.time()
        if rest_s <= 0:
            self._asking = loop.create_task(self._ask_for_last(self._unconfirmed.last.subject))
        self._pause = loop.call_later(rest_s if rest_s > 0 else _PAUSE_S, self._on_pause)

    async def _ask_for_last(self, subject: str) -> None:
        request = f"$JS.API.DIRECT.GET.{self._stream}.{subject}"
        try:
            await self._bus.client.publish(request, reply=f"{self._inbox}.{_LAST}")
        except NatsError as exc:
            self._break(str(exc) or type(exc).__name__)

    async def _on_reply(self, message: Msg) -> None:
        if not self._healthy.is_set():
            return  # while it mends, only the stream tells what it holds: an ack would outrun what was read of it
        if message.headers and message.headers.get("Status") == "503":
            self._break("no JetStream answers")
            return
        token = message.subject.rpartition(".")[2]
        if token == _LAST:
            self._on_last(message.headers or {})
            return
        count = self._unconfirmed.up_to_token(int(token))
        if not count:
            return  # of a message that was sent again since
        ack = decode_ack(message.data)
        if ack.error is not None:
            self._break(str(ack.error))
            return
        self._confirm(count, ack.seq)

    def _on_last(self, headers: dict[str, str]) -> None:
        # None of ours: the server had not come to them yet. It is asked again, until that took too long.
        if count := self._unconfirmed.up_to_id(headers.get(MESSAGE_ID)):
            self._confirm(count, int(headers["Nats-Sequence"]))

    def _confirm(self, count: int, last_sequence: int) -> None:
        self._heard_s = asyncio.get_running_loop().time()
        self._unconfirmed.confirm(count, last_sequence)
        self._room.set()

    async def _mend(self) -> None:
        seldom = Seldom()
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for delay_s in backoff(first_s=0.05, max_s=2.0):
            if seldom.due(loop.time()):
                log.warning("publishing %d messages to %s again: %s", self.pending, self._stream, self._why)
            try:
                if self._bus.connected and await self._go_on():
                    break
            except (NatsError, TimeoutError) as exc:
                self._why = str(exc) or type(exc).__name__
            if loop.time() - began_s > _STUCK_AFTER_S:
                self._bus.tell_stuck(stuck=True, why=self._why)
            await asyncio.sleep(delay_s)
        self._bus.tell_stuck(stuck=False)
        self._broken.clear()

    async def _go_on(self) -> bool:
        """Find out what arrived, send the first message alone, then the rest; return whether that went well."""
        sequence, end_id = await end_of_stream(self._bus, self._stream)
        if count := self._unconfirmed.up_to_id(end_id):
            self._confirm(count, sequence)
        elif end_id not in (self._unconfirmed.last_id, None):
            await self._bus.confirm()
            raise ForeignPublisherError(
                f"stream {self._stream} ends with message {end_id!r}, expected {self._unconfirmed.last_id!r}: "
                "is another writer running?"
            )
        self._unconfirmed.forget_sendings()
        if self._unconfirmed:
            first = self._unconfirmed.items[0]
            # By its sequence: nats-server 2.12, when it starts, knows the last id only of the window for duplicates.
            headers = {MESSAGE_ID: first.message_id, _PREDECESSOR_SEQUENCE: str(sequence)}
            reply = await self._bus.client.request(first.subject, first.payload, timeout=5, headers=headers)
            ack = decode_ack(reply.data)
            if ack.error is not None:
                self._why = str(ack.error)
                if ack.error.err_code == STREAM_FULL and self._readers:
                    await make_room(self._bus, self._stream, self._readers)
                return False
            self._confirm(1, ack.seq)
        self._healthy.set()
        self._broken.clear()
        predecessor = self._unconfirmed.last_id
        for item in self._unconfirmed.items:
            if not self._healthy.is_set():
                return False
            await self._send(item, predecessor)
            predecessor = item.message_id
        return True
