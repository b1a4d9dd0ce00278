"""Ordered reading of a stream: every message once, in the stream's order, from a position of the caller's choice.

A durable consumer remembers what was acknowledged, but after a crash it hands out new messages first and the old ones
again much later. So whoever keeps its own position (store in the database, signal in its saved state) reads from there:
the durable is made anew at that sequence at every start and after every break, delivers in order, and its acks only
show people how far the reader is. A sequence means something in one stream only: when the stream itself was made anew,
or has lost its end, that is said instead of reading on. A message is taken when it is the next one after the last, or
when the stream has nothing between the two any more: whoever else makes a consumer of that name makes no hole.

Pull requests go ahead of what is used up (`mesh/bus/flow_control.py`), and messages come by callback: measured
four to six times as fast as fetching.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import msgspec
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamInfo
from nats.js.errors import NotFoundError

from mesh.bus.connection import Bus
from mesh.bus.flow_control import MAX_MESSAGES, FlowControl
from mesh.bus.position import Position, StreamExtent, resume_position
from mesh.bus.subjects import MESSAGE_ID
from mesh.service.errors import TickmeshError
from mesh.service.logs import LogThrottle

log = logging.getLogger("mesh.bus.reader")

_PULL_BYTES = 4 * 2**20
_EXPIRES_S = 30.0
HEARTBEAT_S = 1.0
"""After three times as long without a message or heartbeat the consumer counts as gone, as with the nats-server that
led it."""
SELDOM_HEARTBEAT_S = 10.0
"""Of readers of what comes seldom: each heartbeat wakes the server and the reader. Of several servers the one that
leads a consumer may be gone and the connection not, so there it is HEARTBEAT_S all the same."""
_RETRY_S = 0.25
_ACK_WAIT_S = 3600
MAX_ACK_PENDING = 100_000
"""Messages that may be read and not acknowledged; then the server delivers no more."""
_FORGOTTEN_AFTER_S = 60.0
_CLOCK_US = 10  # what a time loses on its way through a float


class StreamReplacedError(TickmeshError):
    """The stream is another one than before, or ends before the position: the position means nothing any more."""


class Message(NamedTuple):
    """What a reader of a stream gets."""

    sequence: int
    subject: str
    payload: bytes
    reply: str
    """Where to acknowledge it."""
    taken_us: int
    """When the stream took it, in microseconds since 1970; beside its sequence this tells it from any other."""
    pending: int
    """How many messages the stream held behind this one when it was delivered."""
    message_id: str = ""
    """The name its publisher gave it."""
    part: int = 0
    """Which of the batches of that message this is, from 1 on; 0 for the whole message."""


class Delivery(NamedTuple):
    """What the ack subject of a message tells."""

    sequence: int
    """In the stream."""
    delivered: int
    """How many messages the consumer has delivered with this one."""
    taken_us: int
    pending: int


def delivery(reply: str) -> Delivery:
    """Read the ack subject of a message.

    Five numbers follow the names in `$JS.ACK.<stream>.<consumer>.`: times delivered, stream sequence, consumer
    sequence, time in nanoseconds, pending. Another form has the account's domain and hash before the stream, and
    perhaps one more token at the end.
    """
    tokens = reply.split(".")
    base = 5 if len(tokens) < 11 else 7
    sequence, delivered, taken_ns, pending = tokens[base : base + 4]
    return Delivery(int(sequence), int(delivered), int(taken_ns) // 1000, int(pending))


_ACK = b"$JS.ACK."
_MESSAGE_ID_LINE = f"\r\n{MESSAGE_ID}: ".encode()


def _message_id(headers: bytes | None) -> str | None:
    """Return the name that a message has by its headers as they are on the wire; None where they do not say."""
    if not headers:
        return ""
    begin = headers.find(_MESSAGE_ID_LINE) + len(_MESSAGE_ID_LINE)
    if begin < len(_MESSAGE_ID_LINE):
        return None
    return headers[begin : headers.index(b"\r\n", begin)].decode()


class Reader:
    """The ordered reader of one stream under a durable's name.

    `async with Reader(bus, "RAW", "store", after=position) as reader:` then `next()` and `ack()`.

    At most two pulls of MAX_MESSAGES messages or _PULL_BYTES bytes are held in memory; what the caller does not take
    stays in the stream.

    Args:
        bus: the connection.
        stream: the stream's name; waited for when it is not there yet.
        durable: the consumer's name, this reader's alone.
        after: the sequence after which to begin; None begins with the last message of each subject.
        after_us: when the stream took that message, if known: a stream that lost its end and has grown again since
            has another one in its place.
        subjects: only messages of these subjects; all when empty.
        acks: whether `ack` is ever called; see `make_durable`.
        gather_s: let messages gather in the stream for so long, for readers that are in no hurry: it costs them less.
        heartbeat_s: how often the server says that it still knows the reader, where no message comes. Without it for
            three times as long, the durable is made anew.

    Raises:
        StreamReplacedError: from `next`, when the stream was made anew or ends before the position. A reader that
            began with the last message of each subject begins so again instead.
        LeaseLostError: from `next` and on entering, when another instance of this service works now.

    """

    def __init__(
        self,
        bus: Bus,
        stream: str,
        durable: str,
        *,
        after: int | None,
        after_us: int = 0,
        subjects: Sequence[str] = (),
        acks: bool = True,
        gather_s: float = 0.0,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._bus = bus
        self._stream = stream
        self._durable = durable
        self._subjects = subjects
        self._acks = acks
        self._heartbeat_s = heartbeat_s if bus.replicas == 1 else HEARTBEAT_S
        self._from_last = after is None
        self._after = after
        self._after_us = after_us
        self._created: dt.datetime | None = None
        self._delivered = 0  # the consumer's own count: it tells a lost delivery from a gap in a filtered stream
        self._queue: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._bell: asyncio.TimerHandle | None = None
        self._bell_s = 0.0
        self._flow = FlowControl(gather_s)
        self._received_s = 0.0
        self._reopen = ""
        self._log_throttle = LogThrottle()
        self._subscription: Subscription | None = None
        self._consumers = 0  # made so far: what an earlier one still delivers is not read
        self._next_subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"

    async def __aenter__(self) -> Reader:
        self._bus.on_reconnect(lambda: self._break("reconnected"))
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._bell is not None:
            self._bell.cancel()
        await self._unsubscribe()

    @property
    def position(self) -> int | None:
        """The sequence of the last message received, taken or not."""
        return self._after

    async def next(self, *, max_messages: int = MAX_MESSAGES, timeout_s: float | None = None) -> list[Message]:
        """Return the messages that are there, in order, waiting for the first.

        Args:
            max_messages: at most so many.
            timeout_s: wait so long for the first one, then return an empty list; None waits for ever. While the bus
                does not answer it may take a few seconds longer.

        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._queue:
            now_s = time.monotonic()
            if deadline_s is not None and now_s >= deadline_s:
                return []
            if not self._flow.idle and now_s - self._received_s > 3 * self._heartbeat_s:
                self._break("no heartbeat")
            if self._reopen and self._bus.connected:
                why = self._reopen
                if not await self._try_open():
                    await asyncio.sleep(_RETRY_S if deadline_s is None else min(_RETRY_S, deadline_s - now_s))
                    continue
                log.info("reading %s as %s again after %s: %s", self._stream, self._durable, self._after, why)
            self._ask()
            wait_s = self._heartbeat_s if deadline_s is None else min(self._heartbeat_s, deadline_s - now_s)
            if not self._reopen and (due_s := self._flow.due_s()) is not None:
                wait_s = min(wait_s, max(due_s - now_s, 0.001))
            self._arrived.clear()
            self._ring_by(now_s + wait_s)
            await self._arrived.wait()
        taken = [self._queue.popleft() for _ in range(min(max_messages, len(self._queue)))]
        self._ask()
        return taken

    def _ring_by(self, at_s: float) -> None:
        """See to it that `next` looks again by then at the latest.

        A bell that rings earlier is left as it is: where messages come one by one, a timer made and ended for each of
        them took a twelfth of signal's time in Python.
        """
        if self._bell is not None and self._bell_s <= at_s:
            return
        if self._bell is not None:
            self._bell.cancel()
        self._bell_s = at_s
        self._bell = asyncio.get_running_loop().call_later(at_s - time.monotonic(), self._ring)

    def _ring(self) -> None:
        self._bell = None
        self._arrived.set()

    async def ack(self, message: Message) -> None:
        """Say that this message and all before it are done with; lost acks do no harm."""
        with contextlib.suppress(NatsError):
            await self._bus.client.publish(message.reply, b"+ACK")

    def _break(self, why: str) -> None:
        self._reopen = self._reopen or why
        self._arrived.set()

    async def _open(self) -> None:
        while not await self._try_open():  # noqa: ASYNC110 - nothing tells when the server is ready
            await asyncio.sleep(_RETRY_S)

    async def _try_open(self) -> bool:
        try:
            await self._open_once()
        except (NatsError, TimeoutError) as exc:
            why = "it does not exist yet" if isinstance(exc, NotFoundError) else str(exc) or type(exc).__name__
            if self._log_throttle.due(time.monotonic()):
                log.warning("waiting for stream %s to read as %s: %s", self._stream, self._durable, why)
            self._reopen = why
            return False
        self._log_throttle = LogThrottle()
        return True

    async def _open_once(self) -> None:
        await self._unsubscribe()
        self._reopen = ""
        await self._bus.confirm()
        await self._check_stream(await self._bus.js.stream_info(self._stream))
        await make_durable(
            self._bus, self._stream, self._durable, after=self._after, subjects=self._subjects, acks=self._acks
        )
        self._delivered = 0
        self._flow.begin()
        inbox = self._bus.client.new_inbox()
        self._consumers += 1
        self._subscription = await self._bus.subscribe(
            inbox,
            partial(self._on_message, self._consumers),
            take_at_once=partial(self._take_at_once, self._consumers),
        )
        self._inbox = inbox
        self._received_s = time.monotonic()
        self._ask()

    async def _check_stream(self, info: StreamInfo) -> None:
        created, self._created = self._created, info.created
        if (
            created in (None, info.created)
            and (self._after or 0) <= info.state.last_seq
            and await is_as_read(self._bus, self._stream, self._after or 0, taken_us=self._after_us)
        ):
            return
        if not self._from_last:
            raise StreamReplacedError(
                f"stream {self._stream}, made {info.created} and ending with {info.state.last_seq}, is not the one "
                f"that was read up to {self._after}"
            )
        self._after, self._after_us = None, 0

    async def _unsubscribe(self) -> None:
        if self._subscription is not None:
            await self._bus.unsubscribe(self._subscription)
            self._subscription = None

    def _ask(self) -> None:
        """Ask for more as soon as it is wanted."""
        now_s = time.monotonic()
        if self._reopen or not (wanted := self._flow.wanted(len(self._queue), now_s)):
            return
        if self._flow.idle:
            self._received_s = now_s  # nothing was on its way, so nothing was to be received
        self._flow.asked(wanted, now_s)
        request = {
            "batch": wanted,
            "max_bytes": _PULL_BYTES,
            "expires": int(_EXPIRES_S * 1e9),
            "idle_heartbeat": int(self._heartbeat_s * 1e9),
        }
        try:
            self._bus.post(self._next_subject, msgspec.json.encode(request), reply=self._inbox)
        except NatsError as exc:
            self._break(str(exc) or type(exc).__name__)

    def _take_at_once(self, consumer: int, subject: bytes, reply: bytes, payload: bytes, headers: bytes | None) -> bool:
        """Take a message that is as nearly all are, the next one of its stream; others are for `_on_message`.

        Nothing overtakes one of those: the consumer's count says that it has not been taken yet.
        """
        if consumer != self._consumers or self._reopen or not reply.startswith(_ACK):
            return False
        try:
            ack_subject, name, message_id = reply.decode(), subject.decode(), _message_id(headers)
            sequence, delivered, taken_us, pending = delivery(ack_subject)
        except ValueError:
            return False
        if delivered != self._delivered + 1 or not self._follows(sequence) or message_id is None:
            return False
        self._received_s = time.monotonic()
        message = Message(sequence, name, payload, ack_subject, taken_us, pending, message_id)
        self._came(message, delivered)
        return True

    async def _on_message(self, consumer: int, message: Msg) -> None:
        if consumer != self._consumers:
            return
        self._received_s = time.monotonic()
        if not message.reply.startswith(_ACK.decode()):
            await self._on_status(message)
            return
        sequence, delivered, taken_us, pending = delivery(message.reply)
        if delivered != self._delivered + 1:
            self._break(f"delivery {delivered} came after {self._delivered}")
            return
        if self._reopen:
            return
        if not self._follows(sequence) and not await self._is_next(sequence):
            # Somebody else has made a consumer of this name, elsewhere in the stream, and has read from it as often.
            if consumer == self._consumers:
                self._break(f"message {sequence} came after {self._after}")
            return
        if consumer != self._consumers or self._reopen:  # meanwhile
            return
        message_id = (message.headers or {}).get(MESSAGE_ID, "")
        self._came(
            Message(sequence, message.subject, message.data, message.reply, taken_us, pending, message_id), delivered
        )

    def _came(self, message: Message, delivered: int) -> None:
        self._delivered = delivered
        self._after, self._after_us = message.sequence, message.taken_us
        self._flow.came(message.pending)
        self._queue.append(message)
        self._arrived.set()

    def _follows(self, sequence: int) -> bool:
        """Return whether a message is the stream's next one; where only some are read, the consumer's count tells."""
        return self._from_last or bool(self._subjects) or sequence == (self._after or 0) + 1

    async def _is_next(self, sequence: int) -> bool:
        """Return whether the stream has nothing any more between the last message and this one."""
        try:
            found = await self._bus.js.get_msg(self._stream, (self._after or 0) + 1, subject=">", next=True)
        except (NatsError, TimeoutError):
            return False
        return found.seq == sequence

    async def _on_status(self, message: Msg) -> None:
        headers = message.headers or {}
        status = headers.get("Status", "")
        if status == "100":  # heartbeat
            return
        if status in ("404", "408", "409") and "Nats-Pending-Messages" in headers:
            self._flow.expired(int(headers["Nats-Pending-Messages"]))
            self._ask()
            return
        self._break(f"status {status} {headers.get('Description', '')}".rstrip())


async def make_durable(
    bus: Bus, stream: str, durable: str, *, after: int | None, subjects: Sequence[str], acks: bool = True
) -> None:
    """Make the durable, in place of one of that name.

    Args:
        bus: the connection.
        stream: the stream's name.
        durable: the durable's name.
        after: the sequence after which it begins; None begins with the last message of each subject.
        subjects: only messages of these subjects; all when empty.
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
            filter_subjects=list(subjects) or ([">"] if after is None else None),
            # Kept in a file it is written anew forty times a second, and it is made anew whenever the server was away.
            mem_storage=True,
            # For the same reason one server is enough; of several each would be told of every message.
            num_replicas=1,
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
    found_us = await taken_us_of(bus, stream, sequence)
    return not found_us or abs(found_us - taken_us) < _CLOCK_US


async def taken_us_of(bus: Bus, stream: str, sequence: int) -> int:
    """Return when a stream took the message of that sequence, in microseconds since 1970; 0 where it is gone.

    Args:
        bus: the connection.
        stream: the stream's name.
        sequence: of the message; 0 stands for none.

    """
    try:
        found = await bus.js.get_msg(stream, sequence) if sequence else None
    except NotFoundError:
        found = None
    return 0 if found is None or found.time is None else round(found.time.timestamp() * 1e6)


async def find_start(bus: Bus, stream: str, known: Position | None) -> Position:
    """Return after which message to take in a stream, waiting until there is one; say what a person should know.

    Args:
        bus: the connection.
        stream: the stream's name.
        known: up to where it was taken in; None when it never was.

    """
    log_throttle = LogThrottle()
    why = "nobody has declared it yet"
    while True:
        try:
            info = await bus.stream_info(stream)
            if info is not None:
                assert info.created is not None, f"the server does not say when stream {stream} was made"
                extent = StreamExtent(stream, info.created, info.state.first_seq, info.state.last_seq)
                as_read = known is None or await is_as_read(bus, stream, known.sequence, taken_us=known.taken_us)
                position, warning = resume_position(known, extent, as_read=as_read)
                if warning:
                    log.error("%s", warning)
                return position
        except (NatsError, TimeoutError) as exc:
            why = str(exc) or type(exc).__name__
        if log_throttle.due(time.monotonic()):
            log.warning("waiting for stream %s: %s", stream, why)
        await asyncio.sleep(0.25)
