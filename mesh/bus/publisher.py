"""Ordered publishing with counted acks: many messages on their way at once, and still none lost, doubled or overtaken.

Every message names its predecessor (`Nats-Expected-Last-Msg-Id`), so the stream holds exactly what was published, in
that order: when one is refused or its ack is lost, the server refuses all that follow it, and the publisher reads what
the stream really ends with and goes on from there. That also holds when the server was away for longer than its window
for duplicates, and it shows at once if somebody else writes to the same stream.

In a stream that is on several servers the predecessor is named by its sequence (`Nats-Expected-Last-Sequence`). Their
leader looks at that before it hands a message on; at the id each server looks for itself when it writes the message,
and nats-server 2.15.1 takes what it finds wrong there for a broken disk: the stream takes nothing more, for ever. One
that stood still could hit the sequence its successor has come to. So it goes on as after an error, with the id of the
stream's last message and one message alone, when nothing that it sent within TRUSTED_S is known to be stored. While
there is no connection nothing is sent, and what still waited for it is dropped when there is one again (`_Client`).

An ack of one message confirms all messages before it, and costs the server and us as much as the message itself. So few
messages ask for one; when publishing pauses behind one that did not, the stream is asked for its last message instead.
`InFlight` is the pure half: which messages wait, and which of them an answer confirms.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from mesh.bus.connection import Bus
from mesh.bus.purge import purge_oldest
from mesh.bus.subjects import MESSAGE_ID
from mesh.service.backoff import backoff
from mesh.service.errors import TickmeshError
from mesh.service.logs import LogThrottle

log = logging.getLogger("mesh.bus.publisher")

MAX_PENDING = 1024
MAX_PENDING_BYTES = 16 * 2**20
ACK_EVERY_S = 0.25
"""Every ack wakes both sides once more: with ten a second 200 messages/s cost ingest a tenth more than with four."""

ACK_EVERY_MESSAGES = 64
TRUSTED_S = 2.0
"""So long a message that was stored vouches for those after it; a lease is not taken from its holder within 5 s."""
NEVER_SENT = -1
_ACK_TIMEOUT_S = 3.0
_LOOK_EVERY_S = 0.5
_STUCK_AFTER_S = 3.0
_PREDECESSOR = "Nats-Expected-Last-Msg-Id"
_PREDECESSOR_SEQUENCE = "Nats-Expected-Last-Sequence"
_LAST = "last"
_PAUSE_S = ACK_EVERY_S
_SETTLE_ASK_S, _SETTLE_ASK_MOST_S = 0.003, 0.1


_STREAM_FULL = 10077


class _AckError(msgspec.Struct):
    """Why the stream did not take it."""

    code: int = 0
    err_code: int = 0
    description: str = ""

    def __str__(self) -> str:
        return f"{self.description} ({self.err_code})"


class _Ack(msgspec.Struct):
    """The sequence it got, or the error.

    `{"stream":"RAW","seq":7}` or `{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},
    "stream":"RAW","seq":0}`.
    """

    seq: int = 0
    error: _AckError | None = None


_decode_ack = msgspec.json.Decoder(_Ack).decode


class ForeignPublisherError(TickmeshError):
    """Somebody else writes to a stream that has one writer."""


class StreamGoneError(TickmeshError):
    """The stream does not exist any more; who starts anew declares it again."""


class InFlightMessage(msgspec.Struct):
    """A message; `token` numbers its last sending, `sent_s` is when that was."""

    subject: str
    payload: bytes
    message_id: str
    on_stored: Callable[[int], None] | None
    token: int = NEVER_SENT
    ack_wanted: bool = False
    sent_s: float = float("-inf")


class InFlight:
    """The messages in flight, oldest first. Times are seconds of one monotonic clock.

    Args:
        last_id: the id of the stream's last message, "" for none.
        last_sequence: its sequence.
        now_s: when the stream was seen to end with it.
        max_messages: how many there may be.
        max_bytes: how much they may hold, but for the last one.

    """

    def __init__(
        self, last_id: str, last_sequence: int = 0, *, now_s: float = 0.0, max_messages: int, max_bytes: int
    ) -> None:
        self.last_id = last_id
        self.last_sequence = last_sequence
        self.own_s = now_s
        """When the newest message was sent that is known to be stored, or the end of the stream was looked at."""
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._items: deque[InFlightMessage] = deque()
        self._bytes = 0
        self._token = 0
        self._sent_since = 0  # messages since the last one that asked for an ack
        self._ack_asked_s = 0.0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def items(self) -> list[InFlightMessage]:
        """All of them, in order."""
        return list(self._items)

    @property
    def full(self) -> bool:
        """Whether there is no room for one more."""
        return len(self._items) >= self._max_messages or self._bytes >= self._max_bytes

    @property
    def last(self) -> InFlightMessage:
        """The one that came last; there must be one."""
        return self._items[-1]

    @property
    def tail_id(self) -> str:
        """The id that the next message has to name as its predecessor."""
        return self._items[-1].message_id if self._items else self.last_id

    @property
    def tail_sequence(self) -> int:
        """The sequence of the next message's predecessor: a stream of one writer leaves none out."""
        return self.last_sequence + len(self._items)

    def add(self, item: InFlightMessage) -> None:
        """Put a message behind the others."""
        self._items.append(item)
        self._bytes += len(item.payload)

    def forget_sendings(self) -> None:
        """Take no ack of earlier sendings for one of these any more."""
        for item in self._items:
            item.token = NEVER_SENT

    def send(self, item: InFlightMessage, now_s: float) -> None:
        """Count a sending: the message gets its token, and whether to ask for an ack.

        Args:
            item: one of these messages, which is about to be sent or sent again.
            now_s: the time.

        """
        self._token += 1
        item.token, item.sent_s = self._token, now_s
        self._sent_since += 1
        item.ack_wanted = (
            item.on_stored is not None
            or self._sent_since >= ACK_EVERY_MESSAGES
            or now_s - self._ack_asked_s >= ACK_EVERY_S
        )
        if item.ack_wanted:
            self._sent_since, self._ack_asked_s = 0, now_s

    def up_to_token(self, token: int) -> int:
        """Return how many were sent up to this sending, 0 when that was of one that is confirmed or sent again."""
        count = 0
        for item in self._items:
            if not 0 <= item.token <= token:
                break
            count += 1
        return count

    def up_to_id(self, message_id: str | None) -> int:
        """Return how many there are up to the one of this id, 0 when it is none of them."""
        for count, item in enumerate(self._items, 1):
            if item.message_id == message_id:
                return count
        return 0

    def confirm(self, count: int, last_sequence: int) -> None:
        """Let the first ones go: the stream holds them, the last one of them at this sequence.

        Args:
            count: how many of the oldest ones are stored.
            last_sequence: the stream's sequence of the last of them; those before it stand right before it.

        """
        for behind in range(count - 1, -1, -1):
            item = self._items.popleft()
            self._bytes -= len(item.payload)
            self.last_id = item.message_id
            self.last_sequence = last_sequence - behind
            self.own_s = max(self.own_s, item.sent_s)
            if item.on_stored is not None:
                item.on_stored(last_sequence - behind)


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
        self._in_flight = InFlight("", max_messages=MAX_PENDING, max_bytes=MAX_PENDING_BYTES)
        self._healthy = asyncio.Event()
        self._broken = asyncio.Event()
        self._room = asyncio.Event()
        self._why = ""
        self.handed_over = 0
        """How many messages `publish` was given so far."""
        self._end_at_open = 0
        self._is_replicated = False
        self._reconnects = 0  # of the connection, when the stream's end was last looked at
        self._acked_s = 0.0
        self._sent_s = 0.0
        self._pause: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._ended = False

    @property
    def pending(self) -> int:
        """How many messages wait for their acks."""
        return len(self._in_flight)

    @property
    def unanswered_s(self) -> float:
        """For how long the stream has acknowledged nothing of what waits for it; 0 when nothing waits."""
        return time.monotonic() - self._acked_s if self._in_flight else 0.0

    @property
    def last_sequence(self) -> int:
        """The sequence of the last message handed over, which it has as soon as the stream has taken it.

        The stream has no other writer and leaves no sequence out. Without such a message it is the stream's last one.
        """
        return self._end_at_open + self.handed_over

    async def open(self) -> None:
        """Find the end of the stream; call once before the first `publish`, and keep `run` going from then on."""
        self._inbox = self._bus.client.new_inbox()
        self._replies = await self._bus.subscribe(f"{self._inbox}.*", self._on_reply, take_at_once=self._take_ack)
        self._bus.on_reconnect(self._on_reconnect)
        looked_s, self._reconnects = time.monotonic(), self._bus.reconnects
        end = await _end_of_stream(self._bus, self._stream)
        self._end_at_open = end.sequence
        self._in_flight = InFlight(
            end.message_id or "", end.sequence, now_s=looked_s, max_messages=MAX_PENDING, max_bytes=MAX_PENDING_BYTES
        )
        self._is_replicated = end.is_replicated
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
        while not self.offer(subject, payload, message_id=message_id, on_stored=on_stored):
            await self.wait_for_room()

    async def wait_for_room(self) -> None:
        """Wait until `offer` may find room again, as some messages are stored now."""
        self._room.clear()
        await self._room.wait()

    def offer(
        self, subject: str, payload: bytes, *, message_id: str, on_stored: Callable[[int], None] | None = None
    ) -> bool:
        """Hand a message over as `publish` does where there is room; return whether there was.

        After the end of `run` nobody waits for a message any more, and there is room for all.

        Args:
            subject: one of the stream's subjects.
            payload: the message.
            message_id: names the message; different for every message of the stream, and without a line end.
            on_stored: called with the message's sequence when the stream holds it, in the order of publishing.

        """
        in_flight = self._in_flight
        if self._ended:
            return True
        if in_flight.full:
            return False
        if not in_flight:
            self._acked_s = time.monotonic()
            if self._look is None:
                self._look = asyncio.get_running_loop().call_later(_LOOK_EVERY_S, self._on_look)
        item = InFlightMessage(subject, payload, message_id, on_stored)
        predecessor, sequence = in_flight.tail_id, in_flight.tail_sequence
        in_flight.add(item)
        self.handed_over += 1
        if self._healthy.is_set():
            self._send(item, predecessor, sequence)
        return True

    async def settle(self) -> bool:
        """Wait until everything that has been handed over by now is in the stream; False when `run` ended before."""
        delays, by_now = backoff(first_s=_SETTLE_ASK_S, max_s=_SETTLE_ASK_MOST_S), self.handed_over
        while self.handed_over - len(self._in_flight) < by_now and not self._ended:
            self._room.clear()
            if self._healthy.is_set() and not self._in_flight.last.ack_wanted:
                self._ask_for_last(self._in_flight.last.subject)
            # The question overtakes what was sent just before it, and then the answer is about an earlier message.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(next(delays)):
                    await self._room.wait()
        return not self._ended

    async def run(self) -> None:
        """Mend what breaks, for ever; a task of the service's own.

        Raises:
            ForeignPublisherError: the stream ends with a message that is not ours.
            StreamGoneError: the stream does not exist any more.
            LeaseLostError: another instance of this service writes it now.

        """
        try:
            while True:
                await self._broken.wait()
                await self._mend()
        finally:
            self._ended = True  # nobody waits any more for what is not stored by now
            self._in_flight = InFlight("", max_messages=MAX_PENDING, max_bytes=MAX_PENDING_BYTES)
            self._room.set()
            await self._bus.unsubscribe(self._replies)

    def _on_look(self) -> None:
        """Look whether acks come; again and again while messages wait for them, and not while none does."""
        self._look = None
        if self._in_flight:
            if time.monotonic() - self._acked_s > _ACK_TIMEOUT_S:
                self._break(f"no ack for {_ACK_TIMEOUT_S:g} s")
            self._look = asyncio.get_running_loop().call_later(_LOOK_EVERY_S, self._on_look)

    def _break(self, why: str) -> None:
        if self._healthy.is_set() and self._in_flight:
            self._why = why
            self._healthy.clear()
            self._broken.set()

    def _on_reconnect(self) -> None:
        # The server may have lost the stream's end. With nothing in flight, that is looked at before the next message.
        self._break("reconnected")

    def _send(self, item: InFlightMessage, predecessor: str, sequence: int) -> None:
        self._sent_s = time.monotonic()
        if not self._bus.connected:  # what waits for a connection would come when another one may write
            self._break("not connected")
            return
        if self._is_replicated and not self._is_trusted():
            self._break("")
            return
        self._in_flight.send(item, self._sent_s)
        if predecessor and not self._is_replicated:
            after = f"{_PREDECESSOR}: {predecessor}"
        else:  # also of an empty stream, or one whose last message is gone: two writers are told apart there, too
            after = f"{_PREDECESSOR_SEQUENCE}: {sequence}"
        headers = f"{MESSAGE_ID}: {item.message_id}\r\n{after}\r\n".encode()
        reply = f"{self._inbox}.{item.token}" if item.ack_wanted else ""
        if not item.ack_wanted and self._pause is None:
            self._pause = asyncio.get_running_loop().call_later(_PAUSE_S, self._on_pause)
        try:
            self._bus.post(item.subject, item.payload, reply=reply, header_lines=headers)
        except NatsError as exc:
            self._break(str(exc) or type(exc).__name__)

    def _is_trusted(self) -> bool:
        return self._bus.reconnects == self._reconnects and self._sent_s - self._in_flight.own_s <= TRUSTED_S

    def _on_pause(self) -> None:
        self._pause = None
        if not self._in_flight or self._in_flight.last.ack_wanted or not self._healthy.is_set():
            return
        loop = asyncio.get_running_loop()
        rest_s = self._sent_s + _PAUSE_S - time.monotonic()
        if rest_s <= 0:
            self._ask_for_last(self._in_flight.last.subject)
        self._pause = loop.call_later(rest_s if rest_s > 0 else _PAUSE_S, self._on_pause)

    def _ask_for_last(self, subject: str) -> None:
        request = f"$JS.API.DIRECT.GET.{self._stream}.{subject}"
        try:
            self._bus.post(request, reply=f"{self._inbox}.{_LAST}")
        except NatsError as exc:
            self._break(str(exc) or type(exc).__name__)

    def _take_ack(self, subject: bytes, reply: bytes, payload: bytes, headers: bytes | None) -> bool:
        """Take an ack as it is read; all else is for `_on_reply`."""
        if reply or headers:
            return False
        try:
            token, ack = int(subject.rpartition(b".")[2]), _decode_ack(payload)
        except (ValueError, msgspec.MsgspecError):
            return False
        self._on_ack(token, ack)
        return True

    def _on_ack(self, token: int, ack: _Ack) -> None:
        # While it mends, only the stream tells what it holds: an ack would outrun what was read of it. None are waiting
        # for the ack of a message that was sent again since.
        if not self._healthy.is_set() or not (count := self._in_flight.up_to_token(token)):
            return
        if ack.error is not None:
            self._break(str(ack.error))
            return
        self._confirm(count, ack.seq)

    async def _on_reply(self, message: Msg) -> None:
        if not self._healthy.is_set():
            return  # as in `_on_ack`
        if message.headers and message.headers.get("Status") == "503":
            self._break("no JetStream answers")
            return
        token = message.subject.rpartition(".")[2]
        if token == _LAST:
            self._on_last(message.headers or {})
            return
        self._on_ack(int(token), _decode_ack(message.data))

    def _on_last(self, headers: dict[str, str]) -> None:
        # None of ours: the server had not come to them yet. It is asked again, until that took too long.
        if count := self._in_flight.up_to_id(headers.get(MESSAGE_ID)):
            self._confirm(count, int(headers["Nats-Sequence"]))

    def _confirm(self, count: int, last_sequence: int) -> None:
        self._acked_s = time.monotonic()
        self._in_flight.confirm(count, last_sequence)
        self._room.set()

    async def _mend(self) -> None:
        log_throttle = LogThrottle()
        began_s = time.monotonic()
        for delay_s in backoff(first_s=0.05, max_s=2.0):
            if self._why and log_throttle.due(time.monotonic()):
                log.warning("publishing %d messages to %s again: %s", self.pending, self._stream, self._why)
            try:
                if self._bus.connected and await self._go_on():
                    break
            except (NatsError, TimeoutError) as exc:
                self._why = str(exc) or type(exc).__name__
            if time.monotonic() - began_s > _STUCK_AFTER_S:
                self._bus.report_stuck(stuck=True, why=self._why)
            await asyncio.sleep(delay_s)
        self._bus.report_stuck(stuck=False)
        self._broken.clear()

    async def _go_on(self) -> bool:
        """Find out what arrived, send the first message alone, then the rest; return whether that went well."""
        self._reconnects = self._bus.reconnects
        end = await _end_of_stream(self._bus, self._stream)
        self._is_replicated = end.is_replicated
        if count := self._in_flight.up_to_id(end.message_id):
            self._confirm(count, end.sequence)
        elif end.message_id != self._in_flight.last_id:
            await self._bus.confirm()
            if end.message_id is not None:
                raise ForeignPublisherError(
                    f"stream {self._stream} ends with message {end.message_id!r}, expected "
                    f"{self._in_flight.last_id!r}: is another writer running?"
                )
        self._in_flight.last_sequence = end.sequence
        self._in_flight.forget_sendings()
        if self._in_flight:
            first = self._in_flight.items[0]
            # By its sequence: nats-server 2.12, when it starts, knows the last id only of the window for duplicates.
            headers = {MESSAGE_ID: first.message_id, _PREDECESSOR_SEQUENCE: str(end.sequence)}
            first.sent_s = time.monotonic()
            reply = await self._bus.client.request(
                first.subject, first.payload, timeout=_ACK_TIMEOUT_S, headers=headers
            )
            ack = _decode_ack(reply.data)
            if ack.error is not None:
                self._why = str(ack.error)
                if ack.error.err_code == _STREAM_FULL and self._readers:
                    await purge_oldest(self._bus, self._stream, self._readers)
                return False
            self._confirm(1, ack.seq)
        self._healthy.set()
        self._broken.clear()
        predecessor, before = self._in_flight.last_id, self._in_flight.last_sequence
        for sequence, item in enumerate(self._in_flight.items, before):
            if not self._healthy.is_set():
                return False
            self._send(item, predecessor, sequence)
            predecessor = item.message_id
        return self._healthy.is_set()


@dataclass(frozen=True, slots=True)
class _End:
    """The last message ever of a stream; its id is None where limits have removed it."""

    sequence: int
    message_id: str | None
    is_replicated: bool


async def _end_of_stream(bus: Bus, stream: str) -> _End:
    """Return what a stream ends with.

    Raises:
        StreamGoneError: there is no such stream any more.

    """
    info = await bus.stream_info(stream)
    if info is None:
        raise StreamGoneError(f"stream {stream} is gone: has the bus lost its files?")
    sequence, is_replicated = info.state.last_seq, (info.config.num_replicas or 1) > 1
    if not info.state.messages:
        return _End(sequence, None, is_replicated)
    try:
        last = await bus.js.get_msg(stream, sequence)
    except NotFoundError:
        return _End(sequence, None, is_replicated)
    return _End(sequence, (last.headers or {}).get(MESSAGE_ID, ""), is_replicated)
