"""The bus: one NATS connection a service, that waits for its server and never gives up on it.

Streams are declared here; ordered reading is `mesh.reader`, counted publishing `mesh.publisher`.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.errors import ConnectionClosedError, ConnectionDrainingError, MaxPayloadError
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig, StreamInfo
from nats.js.client import JetStreamContext
from nats.js.errors import APIError, BucketNotFoundError, NotFoundError
from nats.js.kv import KeyValue
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from mesh.bus import subjects
from mesh.bus.partitions import WHOLE, Partition
from mesh.service import nats_url
from mesh.service.health import Health
from mesh.service.logs import LogThrottle
from mesh.service.settings import BusSettings
from mesh.service.tls import Tls

log = logging.getLogger("mesh.bus.connection")

STREAM_NAME_IN_USE = 10058
_NO_SERVERS = 10005
"""A cluster of which too few servers are there: it passes when they come."""
_MIN_STREAM_BYTES = 2**20
_ASKED_AGAIN = tuple(
    f"$JS.API.{question}."
    for question in ("STREAM.INFO", "STREAM.MSG.GET", "DIRECT.GET", "CONSUMER.INFO", "CONSUMER.DELETE")
)
"""Questions that may be asked twice: where the first one is answered after all, the second one changes nothing."""
_ASK_AGAIN_S = 0.5
_GREETED_WITHIN_S = 0.25
_GREETING_BYTES = 2**16
_PENDING_BYTES = 32 * 2**20  # what one connection buffers while its server is away; publishers stay far below

_WRITE_AHEAD_BYTES = 64 * 1024
"""So much may wait for the socket; what comes after that waits in nats-py, which bounds it."""

_HEADERS_BEGIN, _LINE_END = b"NATS/1.0\r\n", b"\r\n"


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of the bus.

    `full` says what happens at `max_bytes`: REFUSE pushes back on the publisher, FORGET drops the oldest message.
    """

    name: str
    subjects: tuple[str, ...]
    max_bytes: int
    max_age_s: float
    full: DiscardPolicy
    max_msgs_per_subject: int = -1

    def config(self, *, replicas: int = 1) -> StreamConfig:
        """Return what JetStream is asked for.

        Args:
            replicas: on how many servers the stream is.

        """
        return StreamConfig(
            name=self.name,
            subjects=list(self.subjects),
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            discard=self.full,
            max_bytes=self.max_bytes,
            max_age=self.max_age_s,
            max_msgs_per_subject=self.max_msgs_per_subject,
            duplicate_window=min(120.0, self.max_age_s or 120.0),
            allow_direct=True,
            num_replicas=replicas,
        )


def raw_stream(max_bytes: int, partition: Partition = WHOLE) -> Stream:
    """The trades as they came; when full, no reader loses what it has not read (`mesh/bus/purge.py`).

    Args:
        max_bytes: of all partitions together.
        partition: which of them.

    """
    return _trades(subjects.RAW, subjects.raw(">", partition), max_bytes, partition, DiscardPolicy.NEW)


def processed_stream(max_bytes: int, partition: Partition = WHOLE) -> Stream:
    """The trades with their signals; derived from RAW, so the oldest may go.

    Args:
        max_bytes: of all partitions together.
        partition: which of them.

    """
    return _trades(subjects.PROCESSED, subjects.processed(">", partition), max_bytes, partition, DiscardPolicy.OLD)


def _trades(base: str, subject: str, max_bytes: int, partition: Partition, full: DiscardPolicy) -> Stream:
    # Whatever is divided, the largest messages have room.
    share = max(max_bytes // partition.count, _MIN_STREAM_BYTES)
    return Stream(partition.name(base), (subject,), share, 24 * 3600.0, full)


CONTROL_STREAM = Stream(
    subjects.CONTROL, (subjects.CONTROL_ALL,), 64 * 2**20, 0.0, DiscardPolicy.OLD, max_msgs_per_subject=1
)

# The venue's closed minutes, some 250 bytes each; a store away for longer than a day leaves its minutes unchecked.
CANDLE_STREAM = Stream(subjects.CANDLES, (subjects.CANDLES_ALL,), 64 * 2**20, 24 * 3600.0, DiscardPolicy.OLD)

# What store could not take, kept for a person to look at and replay; the oldest go first.
DEAD_STREAM = Stream(subjects.DEAD, (subjects.DEAD_ALL,), 256 * 2**20, 0.0, DiscardPolicy.OLD)


class Bus:
    """A connection to NATS; made by `connect`.

    Args:
        client: connected.
        health: whose condition `bus` is set here.
        replicas: on how many servers each stream and bucket is.
        servers: the URL of each, as the services are given them.

    """

    def __init__(self, client: Client, health: Health, *, replicas: int = 1, servers: Sequence[str] = ()) -> None:
        self.client = client
        self.js: JetStreamContext = client.jetstream(timeout=5)
        self._health = health
        self._replicas = replicas
        self._servers = servers
        self._reconnected: list[Callable[[], None]] = []
        self.instance_number: int | None = None
        """Which of the instances of a service this is, where they share its partitions."""
        self.confirm: Callable[[], Awaitable[None]] = _nothing_to_confirm
        """Asked before a durable is made anew or a state is saved. Raises: LeaseLostError when another instance of this
        service works now (`mesh/bus/leases.py`); NatsError or TimeoutError while that cannot be known."""

    @property
    def replicas(self) -> int:
        """On how many servers each stream is."""
        return self._replicas

    @property
    def connected(self) -> bool:
        """Whether the server is there."""
        return bool(self.client.is_connected)

    @property
    def server(self) -> str:
        """The run of nats-server this is connected to: it draws a name at every start; empty before the first one."""
        return _run_of(self.client._server_info)  # nats-py has no public name for it

    async def runs(self, server: str) -> bool:
        """Return whether this run of nats-server is there: all servers are asked for the name of theirs.

        Args:
            server: as `server` of a connection.

        """
        if server == self.server and self.connected:
            return True
        return server in await asyncio.gather(*(_run_at(url) for url in self._servers))

    @property
    def reconnects(self) -> int:
        """How often the connection was made anew."""
        return int(self.client.stats["reconnects"])

    def own(self, durable: str) -> str:
        """Return the name of a durable that every instance of a service has for itself: `control-store-3`."""
        return durable if self.instance_number is None else f"{durable}-{self.instance_number}"

    @contextmanager
    def under(self, confirm: Callable[[], Awaitable[None]]) -> Iterator[Bus]:
        """Give the same connection for work under a lease of its own; what waits for reconnections ends with it.

        Args:
            confirm: of that lease.

        """
        bus = copy.copy(self)
        bus.confirm, bus._reconnected = confirm, []

        def pass_on() -> None:
            for callback in bus._reconnected:
                callback()

        self._reconnected.append(pass_on)
        try:
            yield bus
        finally:
            self._reconnected.remove(pass_on)

    def report_stuck(self, *, stuck: bool, why: str = "") -> None:
        """Say that the bus takes nothing although it is there, and why, or that it does again; health follows.

        Args:
            stuck: whether it takes nothing now.
            why: in words for people.

        """
        self._health.set("bus", self.connected and not stuck, f"the bus takes nothing: {why}" if stuck else "")

    async def subscribe(
        self, subject: str, on_message: Callable[[Msg], Awaitable[None]], *, take_at_once: TakeAtOnce
    ) -> Subscription:
        """Subscribe without any bound on what waits.

        Args:
            subject: what to subscribe to.
            on_message: awaited with one message after the other, in a task of its own.
            take_at_once: called with each message first, as it is read, and raises nothing; those that it takes go
                nowhere else. What it takes may overtake what it has left.

        """
        found = await self.client.subscribe(subject, cb=on_message, pending_msgs_limit=-1, pending_bytes_limit=-1)
        if isinstance(self.client, _Client):
            self.client.takers[found._id] = take_at_once
        return found

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End what `subscribe` began."""
        if isinstance(self.client, _Client):
            self.client.takers.pop(subscription._id, None)
        with contextlib.suppress(NatsError):
            await subscription.unsubscribe()

    def post(self, subject: str, payload: bytes = b"", *, reply: str = "", header_lines: bytes = b"") -> None:
        """Publish without waiting for anything; who calls this bounds what may be on its way.

        Args:
            subject: where to.
            payload: the message.
            reply: where to answer.
            header_lines: `Name: value`, each with its line end.

        Raises:
            nats.errors.Error: there is no connection, or it takes no message of that size.

        """
        assert isinstance(self.client, _Client)
        self.client.post(subject, reply, header_lines, payload)

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` after every reconnection."""
        self._reconnected.append(callback)

    async def declare(self, stream: Stream) -> StreamInfo:
        """Make the stream, or bring its limits up to date; waits for JetStream as long as it takes."""
        log_throttle = LogThrottle()
        while True:
            try:
                return await self._declare_once(stream)
            except (NatsError, TimeoutError) as exc:
                if isinstance(exc, APIError) and exc.code == 400 and exc.err_code != _NO_SERVERS:
                    raise
                if log_throttle.due(asyncio.get_running_loop().time()):
                    log.warning(
                        "waiting for the bus to declare stream %s: %s", stream.name, str(exc) or type(exc).__name__
                    )
                await asyncio.sleep(0.25)

    async def stream_info(self, name: str) -> StreamInfo | None:
        """Return what is known of a stream, None when there is no such stream."""
        try:
            return await self.js.stream_info(name)
        except NotFoundError:
            return None

    async def bucket(self, name: str, *, max_bytes: int) -> KeyValue:
        """Open a key-value bucket that keeps the last value of each key, making it where there is none.

        One that is there keeps its limit: a person may have given it another one.

        Args:
            name: the bucket's name.
            max_bytes: the limit of one that is made.

        Raises:
            nats.errors.Error, TimeoutError: the bus is away.

        """
        try:
            bucket = await self.js.key_value(name)
        except BucketNotFoundError:
            return await self.js.create_key_value(bucket=name, history=1, max_bytes=max_bytes, replicas=self._replicas)
        config = (await self.js.stream_info(f"KV_{name}")).config
        if config.num_replicas != self._replicas:
            log.info("bucket %s is on %s servers: putting it on %d", name, config.num_replicas, self._replicas)
            await self.js.update_stream(config.evolve(num_replicas=self._replicas))
        return bucket

    async def _declare_once(self, stream: Stream) -> StreamInfo:
        config = stream.config(replicas=self._replicas)
        try:
            return await self.js.add_stream(config)
        except APIError as exc:
            if exc.err_code != STREAM_NAME_IN_USE:
                raise
        log.info("stream %s exists with other limits: updating them", stream.name)
        return await self.js.update_stream(config)


async def _nothing_to_confirm() -> None:
    """Stand for the lease where there is none: tools and tests read under names of their own."""


TakeAtOnce = Callable[[bytes, bytes, bytes, bytes | None], bool]
"""Takes a message as it is on the wire, its subject, reply subject, payload and headers; False leaves it to others."""


def _forget(question: asyncio.Task[Msg]) -> None:
    """Take note of how a question ended that nobody waits for any more, which asyncio complains of otherwise."""
    if not question.cancelled():
        question.exception()


def _run_of(greeting: Mapping[str, Any]) -> str:
    return str(greeting.get("server_id", ""))


async def _run_at(url: str) -> str:
    """Return which run of nats-server greets at an address; empty where none does, or wants TLS before it does.

    `INFO {"server_id":"NDLPC5MZQ7","server_name":"tickmesh-1","version":"2.15.1",...}` is the first line it sends.
    """
    address = urlsplit(url)
    try:
        async with asyncio.timeout(_GREETED_WITHIN_S):
            reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=_GREETING_BYTES)
            try:
                word, _, greeting = (await reader.readline()).partition(b" ")
            finally:
                writer.close()
        return _run_of(msgspec.json.decode(greeting, type=dict[str, Any])) if word == b"INFO" else ""
    except (OSError, ValueError, TimeoutError, msgspec.MsgspecError):
        return ""


# `HMSG <subject> <sid> <reply> <bytes of headers> <bytes of all>` and `MSG <subject> <sid> <reply> <bytes>`, as
# JetStream delivers, and `MSG <subject> <sid> <bytes>`, as it answers; all else is left to nats-py.
_MESSAGE = re.compile(rb"(H?)MSG (\S+) (\d+) (?:(\S+) )??(?:(\d+) )?(\d+)\r\n")


class _Parser(Parser):
    """nats-py's, that says when it holds nothing and works on nothing."""

    _is_working = False

    async def parse(self, data: bytes = b"") -> None:
        self._is_working = True
        try:
            await super().parse(data)
        finally:
            self._is_working = False

    @property
    def is_between_commands(self) -> bool:
        return not self.buf and not self._is_working and self.state == AWAITING_CONTROL_LINE


class _Client(Client):
    def __init__(self, tls: Tls | None) -> None:
        super().__init__()
        self._tls = tls
        self._ps = _Parser(self)
        self.takers: dict[int, TakeAtOnce] = {}

    def take_at_once(self, data: bytes) -> int:
        """Give whole messages at the beginning of what was read to those who take them at once.

        Args:
            data: as it came, from the beginning of a command on.

        Returns:
            How many bytes are done with.

        """
        done = 0
        while found := _MESSAGE.match(data, done):
            has_headers, subject, sid, reply, head, size = found.groups()
            begin, end = found.end(), found.end() + int(size)
            body = begin + int(head or 0)
            take = self.takers.get(int(sid))
            if take is None or bool(has_headers) != (head is not None) or data[end : end + 2] != b"\r\n":
                break
            if not take(subject, reply or b"", data[body:end], data[begin:body] or None):
                break
            self.stats["in_msgs"] += 1
            self.stats["in_bytes"] += end - body
            done = end + 2
        return done

    async def _read_loop(self) -> None:
        # What comes goes to a task of nats-py's by a future, and is copied twice on the way. What somebody takes at
        # once, and that is nearly every message, need not wait for that turn of the loop.
        transport = self._transport
        reader = transport._io_reader if isinstance(transport, TcpTransport) else None
        if reader is not None:
            feed = reader.feed_data

            def feed_rest(data: bytes) -> None:
                if not reader._buffer and self._ps.is_between_commands:  # type: ignore[attr-defined]
                    data = data[self.take_at_once(data) :]
                if data:
                    feed(data)

            reader.feed_data = feed_rest  # type: ignore[assignment, method-assign]
        await super()._read_loop()

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        # nats-py reads all headers, and passes each message on to another task.
        take = self.takers.get(sid)
        if take is not None and take(subject, reply, data, headers):
            self.stats["in_msgs"] += 1
            self.stats["in_bytes"] += len(data)
            return
        await super()._process_msg(sid, subject, reply, data, headers)

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float = 0.5,
        old_style: bool = False,
        headers: dict[str, Any] | None = None,
    ) -> Msg:
        # While a stream has no leader nobody answers, and of a consumer without one its end is never told. A leader
        # that is there again answers the next question at once, and one that is slow may answer the first.
        ask = partial(super().request, subject, payload, timeout, old_style, headers)
        if not subject.startswith(_ASKED_AGAIN):
            return await ask()
        questions: list[asyncio.Task[Msg]] = []
        clock = asyncio.get_running_loop().time
        ends_s = clock() + timeout
        try:
            while clock() < ends_s:
                questions.append(asyncio.create_task(ask()))
                answered, _ = await asyncio.wait(questions, timeout=_ASK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED)
                if answered:
                    return answered.pop().result()
            raise NatsTimeoutError
        finally:
            for question in questions:
                question.add_done_callback(_forget)
                question.cancel()

    def post(self, subject: str, reply: str, header_lines: bytes, payload: bytes) -> None:
        """Publish a message in this turn of the loop: to the socket's own transport, or behind what waits for it.

        Args:
            subject: where to.
            reply: where to answer; empty for nowhere.
            header_lines: `Name: value`, each with its line end; empty for none.
            payload: the message.

        Raises:
            nats.errors.Error: there is no connection, or it takes no message of that size.

        """
        size = len(payload)
        if self._status != Client.CONNECTED or self.is_lost:
            raise ConnectionDrainingError if self.is_draining else ConnectionClosedError
        if size > self._max_payload:
            raise MaxPayloadError
        if header_lines:
            head = len(_HEADERS_BEGIN) + len(header_lines) + len(_LINE_END)
            begin = f"HPUB {subject} {reply} {head} {head + size}\r\n".encode()
            command = b"".join((begin, _HEADERS_BEGIN, header_lines, _LINE_END, payload, _LINE_END))
        else:
            command = b"".join((f"PUB {subject} {reply} {size}\r\n".encode(), payload, _LINE_END))
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += size
        if (socket := self._ready_socket) is not None:
            socket.write(command)
            return
        self._pending.append(command)
        self._pending_data_size += len(command)
        if self._flush_queue is not None and self._flush_queue.empty():  # else its flusher is about to look
            self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())

    async def _send_publish(
        self, subject: str, reply: str, payload: bytes, payload_size: int, headers: dict[str, str] | None
    ) -> None:
        # nats-py hands each message to another task, by a future and a queue: two more turns of the loop, in which at
        # 200 messages/s nothing else happens. What has to wait, waits in nats-py, which bounds it.
        has_line_end = headers is not None and any("\r" in each or "\n" in each for each in headers.values())
        is_connected = self._status == Client.CONNECTED and not self.is_lost
        if not subject or has_line_end or not is_connected or self._ready_socket is None:
            await super()._send_publish(subject, reply, payload, payload_size, headers)
            return
        # Not by a format: nats-py's own names are members of an enumeration of strings.
        lines = [b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in (headers or {}).items()]
        self.post(subject, reply, b"".join(lines), payload)

    @property
    def _ready_socket(self) -> asyncio.WriteTransport | None:
        """The socket's transport; None where a command waits for its turn, or the socket does not take what it gets."""
        transport = self._transport
        if self._pending or not isinstance(transport, TcpTransport) or transport._io_writer is None:
            return None
        socket = transport._io_writer.transport
        return socket if socket.get_write_buffer_size() < _WRITE_AHEAD_BYTES else None

    def _unless_lost(self, write: Callable[[Any], None], payload: Any) -> None:
        # To a socket that is lost uvloop's transport raises what nobody expects, asyncio's own one writes nothing.
        if not self.is_lost:
            write(payload)

    @property
    def is_lost(self) -> bool:
        """Whether the socket is closed, which nats-py learns some turns of the loop later."""
        writer = self._transport._io_writer if isinstance(self._transport, TcpTransport) else None
        return writer is not None and writer.is_closing()

    async def _process_connect_init(self) -> None:
        if isinstance(self._transport, TcpTransport):
            for name in ("write", "writelines"):
                setattr(self._transport, name, partial(self._unless_lost, getattr(self._transport, name)))
        # nats-py sends all that was published meanwhile or had not been sent before. Of a stream that another one has
        # written since, a message could stand for the one after its last: publishers know better what to send now.
        await super()._process_connect_init()
        self._pending.clear()
        self._pending_data_size = 0

    @property
    def ssl_context(self) -> ssl.SSLContext:
        # nats-py asks at each connection, so that a renewed certificate is shown at the next one.
        return super().ssl_context if self._tls is None else self._tls.client_context()

    def _connect_command(self) -> bytes:
        # nats-py alone sends the password to whoever says that it has no TLS, also where the URL says tls.
        assert self._current_server is not None
        if self._current_server.uri.scheme == "tls" and not self._server_info.get("tls_required"):
            raise NatsError("it offers no TLS, expected by the scheme tls of NATS_URL")
        return super()._connect_command()


@asynccontextmanager
async def connect(settings: BusSettings, *, name: str, health: Health) -> AsyncIterator[Bus]:
    """Connect to NATS_URL, waiting for the server as long as it takes; say so once every few seconds.

    While inside, the condition `bus` of `health` follows the connection. On leaving, what was published is flushed.

    Args:
        settings: where the bus is.
        name: the service's, by which the bus' own tools show this connection.
        health: its condition `bus` follows the connection.

    """
    loop = asyncio.get_running_loop()
    log_throttle = LogThrottle()
    servers = nats_url.parse(settings.nats_url.get_secret_value())
    shown = servers.shown
    bus: Bus | None = None

    async def on_error(exc: Exception) -> None:
        if log_throttle.due(loop.time()):
            waiting = "" if bus is not None and bus.connected else f"waiting for NATS at {shown}: "
            log.warning("%s%s", waiting, str(exc) or type(exc).__name__)

    async def on_disconnect() -> None:
        health.set("bus", False)

    async def on_reconnect() -> None:
        log.info("NATS at %s is back", shown)
        health.set("bus", True)
        assert bus is not None
        for callback in list(bus._reconnected):
            callback()

    client = _Client(settings.tls())
    await client.connect(
        list(servers.urls),
        user=servers.user,
        password=servers.password,
        token=servers.token,
        name=f"tickmesh-{name}",
        error_cb=on_error,
        disconnected_cb=on_disconnect,
        reconnected_cb=on_reconnect,
        allow_reconnect=True,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.5,  # type: ignore[arg-type]  # it goes to asyncio.sleep
        connect_timeout=3,
        ping_interval=5,
        max_outstanding_pings=2,
        pending_size=_PENDING_BYTES,
        inbox_prefix=f"_INBOX_{name}",
        skip_subject_validation=True,  # ours come from mesh/bus/subjects.py; at a thousand messages a second it shows
    )
    bus = Bus(client, health, replicas=settings.bus_replicas, servers=servers.urls)
    health.set("bus", True)
    log.info("connected to NATS at %s", shown)
    try:
        yield bus
    finally:
        health.set("bus", False)
        if client.is_connected and not client.is_lost:
            await client.drain()
        else:
            await client.close()
