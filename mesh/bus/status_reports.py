"""Reports of how each service is, over the bus: told by everyone, received by those who are asked."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import logging
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from importlib.metadata import version
from typing import Annotated, Any

import msgspec
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from mesh.bus import control, subjects
from mesh.bus.connection import Bus
from mesh.service import status
from mesh.service.errors import BadMessage
from mesh.service.health import Health
from mesh.service.lifecycle import Stopped
from mesh.service.logs import LogThrottle
from mesh.service.status import Received, SymbolFeed
from mesh.values.times import format_fraction, format_seconds
from tickmesh.v1 import status_pb2, status_pb2_grpc

log = logging.getLogger("mesh.bus.status_reports")

STATUS_SERVICE = status_pb2.DESCRIPTOR.services_by_name["StatusService"].full_name

_NAME = re.compile(rf"({'|'.join(status.SERVICES)})(-1?[0-9])?")
"""Of who reports: a service, or one of its instances (`Bus.own`)."""
_AT_MOST_EVERY_S = 0.5  # a condition that flickers: the report of 700 symbols takes 2 ms to make
_SYMBOLS_AT_ONCE = 50  # some 0.1 ms: the report is written in pieces, and trades pass between them
_READ_WITHIN_S = 2.0
_KEPT_WITHIN_S = 1.0

Describe = Callable[[status_pb2.ServiceReport], Sequence[SymbolFeed] | None]
"""Adds to a report what only the service knows: backlogs, the feed. Returns the symbols of the feed, if it has one."""


@asynccontextmanager
async def reporting(
    service: str, bus: Bus, health: Health, describe: Describe = lambda _: None, *, board: StatusBoard | None = None
) -> AsyncIterator[None]:
    """Tell the bus how this service is while inside: at every change of its health and every REPORT_EVERY_S.

    A `board` of the same process is told directly, so that it knows of this service while the bus is away; then the bus
    is told every ANSWERING_REPORT_EVERY_S. Such a service reports of no symbols.

    Enter it once this process is the one that works for its service. Leaving in order says that the service was
    stopped, so that its next start does not count as a restart; leaving by an error says nothing.

    Args:
        service: the service's name.
        bus: where to report.
        health: the service's; its conditions are the report.
        describe: adds what only the service knows.
        board: of the same process, if there is one.

    """
    name = bus.own(service)
    run = status.first_report(service, await _last_report(bus, name), now_us=_now_us())
    run.version, run.pid, run.host = version("tickmesh"), os.getpid(), socket.gethostname()
    changed = asyncio.Event()
    health.on_change(changed.set)

    def current() -> status_pb2.ServiceReport:
        report = status.report_of(run, health, now_us=_now_us())
        describe(report)
        return report

    async def encoded(*, stopped: bool = False) -> bytes:
        report = status.report_of(run, health, now_us=_now_us(), stopped=stopped)
        symbols = describe(report) or ()
        pieces = []
        for start in range(0, len(symbols), _SYMBOLS_AT_ONCE):
            pieces.append(encode_symbols(symbols[start : start + _SYMBOLS_AT_ONCE]))
            await asyncio.sleep(0)
        return encode_report(report, pieces)

    async def tell() -> None:
        # Without waiting for an answer: where the bus takes nothing, that no report arrives says so. While it is away
        # nothing is left for later: old reports would arrive as new ones, and take the room of what trades need.
        payload = await encoded()
        if bus.connected:
            with contextlib.suppress(NatsError):
                await bus.client.publish(subjects.status(name), payload)

    async def tell_stopped() -> None:
        # This one has to be kept, for the next start.
        payload = await encoded(stopped=True)
        with contextlib.suppress(NatsError, TimeoutError):
            if bus.connected:
                await bus.js.publish(subjects.status(name), payload, timeout=_KEPT_WITHIN_S)

    async def keep_telling() -> None:
        loop = asyncio.get_running_loop()
        every_s = status.REPORT_EVERY_S if board is None else status.ANSWERING_REPORT_EVERY_S
        while True:
            changed.clear()
            told_s = loop.time()
            await tell()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), every_s)
            await asyncio.sleep(max(0.0, told_s + _AT_MOST_EVERY_S - loop.time()))

    async with asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(keep_telling(), name="status reports")
        orderly = False
        if board is not None:
            board.own, board.own_name = current, name
        try:
            yield
            orderly = True
        except* Stopped:
            orderly = True
            raise
        finally:
            telling.cancel()
            if board is not None:
                board.own = None
            if orderly:
                await tell_stopped()


async def _last_report(bus: Bus, name: str) -> status_pb2.ServiceReport | None:
    """Return the last report of the run before; None when there is none, or the bus does not tell."""
    try:
        message = await asyncio.wait_for(bus.js.get_last_msg(subjects.CONTROL, subjects.status(name)), _READ_WITHIN_S)
        return control.decode(status_pb2.ServiceReport, message.data or b"")
    except (NatsError, TimeoutError, BadMessage) as exc:
        log.debug("no report of an earlier run: %s", exc)
        return None


class StatusBoard:
    """The newest report of each service, as this process received them; answers for StatusService.

    `register` it with the server, then enter `receiving` once there is a bus.
    """

    def __init__(self) -> None:
        self._reports: dict[str, _KeptReport] = {}
        self._unread: dict[str, tuple[bytes, float]] = {}  # newer ones
        self._log_throttle = LogThrottle(every_s=10)
        self.own_name = ""
        """By which this process reports: its service's name, with its number where several instances share the work."""
        self.own: Callable[[], status_pb2.ServiceReport] | None = None
        """Gives the report of this process's own service, which needs no bus to be known here."""

    def reports(self, *, without_symbols: bool = False) -> dict[str, Received]:
        """Return service -> its newest report, and for how long nothing newer has come.

        Args:
            without_symbols: whether the symbols of feeds are left out, and not even read.

        """
        now_s = time.monotonic()
        self._read_all()
        found: dict[str, Received] = {}
        for name, kept in self._reports.items():
            report = kept.without_symbols
            if not without_symbols:
                for _ in kept.read_symbols():
                    pass
                report = kept.whole
            found[name] = Received(report, now_s - kept.at_s)
        if self.own is not None:
            found[self.own_name] = Received(self.own(), 0.0)
        instances: dict[str, dict[str, Received]] = {}
        for name, received in found.items():
            instances.setdefault(received.report.service, {})[name] = received
        return {service: status.together(each) for service, each in instances.items()}

    async def read_symbols(self) -> None:
        """Read what `reports` is to return, in pieces between which trades pass."""
        self._read_all()
        await asyncio.sleep(0)
        for kept in tuple(self._reports.values()):
            for _ in kept.read_symbols():
                await asyncio.sleep(0)

    def register(self, server: Any) -> None:
        """Offer StatusService on a gRPC server."""
        status_pb2_grpc.add_StatusServiceServicer_to_server(_StatusServicer(self), server)

    @asynccontextmanager
    async def receiving(self, bus: Bus) -> AsyncIterator[None]:
        """Receive reports while inside, beginning with the last one of each service."""

        async def receive(message: Msg) -> None:
            self.take(message.subject, message.data)

        subscription = await bus.client.subscribe(subjects.STATUS_ALL, cb=receive)
        for service in status.SERVICES:
            with contextlib.suppress(NatsError, TimeoutError):
                subject = subjects.status(service)
                kept = await asyncio.wait_for(bus.js.get_last_msg(subjects.CONTROL, subject), _READ_WITHIN_S)
                if service not in self._reports | self._unread:
                    # What was kept may be old: it counts as unreachable until a report comes.
                    self.take(subject, kept.data or b"", age_s=status.UNREACHABLE_AFTER_S + 1)
        try:
            yield
        finally:
            with contextlib.suppress(NatsError):
                await subscription.unsubscribe()

    def take(self, subject: str, payload: bytes, *, age_s: float = 0.0) -> None:
        """Take in a message of `control.status.*`, to be read when somebody asks: that of 700 symbols takes 3 ms.

        Args:
            subject: which names the service, and which of several instances.
            payload: the report as JSON.
            age_s: for how long nothing newer has come.

        """
        name = subject.removeprefix(subjects.STATUS_ALL.removesuffix("*"))
        if _NAME.fullmatch(name):
            self._unread[name] = payload, time.monotonic() - age_s

    def _read_all(self) -> None:
        """Read what has come; a message that is no report is said and ignored."""
        while self._unread:
            name, (payload, at_s) = self._unread.popitem()
            try:
                kept = _KeptReport(payload, at_s, self._log_throttle)
                if kept.without_symbols.service != name.partition("-")[0]:
                    raise BadMessage(f"it is a report of {kept.without_symbols.service[:20]!r}")
            except BadMessage as exc:
                if self._log_throttle.due(time.monotonic()):
                    log.warning("%s is ignored: %s", subjects.status(name), exc)
            else:
                self._reports[name] = kept


class _KeptReport:
    """A report that was received; its symbols are read when they are asked for.

    Args:
        payload: the report as JSON.
        at_s: when it came.
        log_throttle: of what is wrong with reports.

    Raises:
        BadMessage: it is none.

    """

    def __init__(self, payload: bytes, at_s: float, log_throttle: LogThrottle) -> None:
        self.at_s = at_s
        self._log_throttle = log_throttle
        self.without_symbols, self._symbols = _decode_without_symbols(payload)
        self._whole = self.without_symbols if self._symbols == _NO_SYMBOLS else None

    @property
    def whole(self) -> status_pb2.ServiceReport:
        """The report with its symbols, once those are read."""
        assert self._whole is not None
        return self._whole

    def read_symbols(self) -> Iterator[None]:
        """Read the symbols, with pauses; symbols that are none are said, and left out all together."""
        if self._whole is not None:
            return
        whole = status_pb2.ServiceReport()
        whole.CopyFrom(self.without_symbols)
        try:
            for piece in _decode_symbols(self._symbols):
                whole.feed.MergeFrom(piece)
                yield
        except BadMessage as exc:
            if self._log_throttle.due(time.monotonic()):
                log.warning("symbols in a report of %s are ignored: %s", whole.service, exc)
            whole = self.without_symbols
        self._whole = whole


class _SymbolFeed(msgspec.Struct):
    """A `SymbolFeed` as the JSON has it, where what is 0 or empty is left out."""

    symbol: str = ""
    state: str = ""
    message: str = ""
    last_trade_time: Annotated[dt.datetime, msgspec.Meta(tz=True)] | None = None
    last_trade_id: int = 0
    held_trades: int = 0


_STATES = dict(status_pb2.FeedState.items())


def encode_report(report: status_pb2.ServiceReport, symbols: Sequence[str] = ()) -> bytes:
    """Return a report as JSON, the same as `control.encode` has it; of 300 symbols in a tenth of the time.

    Args:
        report: without its symbols, to which one is added here.
        symbols: those, in pieces, as `encode_symbols` has them.

    """
    if not symbols:
        return control.encode(report)
    report.feed.symbols.add()
    # It stands there once: in anybody's text its quotes would be escaped.
    return control.encode(report).replace(_SYMBOLS % b"{}", _SYMBOLS % ", ".join(symbols).encode())


def encode_symbols(symbols: Sequence[SymbolFeed]) -> str:
    """Return the feeds of symbols as `control.encode` has them, without the brackets around them."""
    return ", ".join(map(_encode_symbol, symbols))


_SYMBOLS = b'"symbols": [%b]'
_STATE_NAMES = {state: name for name, state in _STATES.items()}


def _encode_symbol(one: SymbolFeed) -> str:
    # what is 0 or empty is left out
    message = f', "message": {_encode_text(one.message)}' if one.message else ""
    time = ""
    if one.last_trade_time_us:
        seconds, micros = divmod(one.last_trade_time_us, 1_000_000)
        time = f', "last_trade_time": "{format_seconds(seconds)}{format_fraction(micros * 1000)}Z"'
    trade_id = f', "last_trade_id": "{one.last_trade_id}"' if one.last_trade_id else ""
    held = f', "held_trades": "{one.held_trades}"' if one.held_trades else ""
    symbol, state = _encode_text(one.symbol), _STATE_NAMES[one.state]
    return f'{{"symbol": {symbol}, "state": "{state}"{message}{time}{trade_id}{held}}}'


@lru_cache(maxsize=4096)  # the same symbols again and again
def _encode_text(text: str) -> str:
    return json.dumps(text)


_CHANGING = ("reported_time", "backlogs", "feed")


@lru_cache(maxsize=32)
def _decode_lasting(payload: bytes) -> status_pb2.ServiceReport:
    return control.decode(status_pb2.ServiceReport, payload)


def decode_report(payload: bytes) -> status_pb2.ServiceReport:
    """Read a report; that of ingest comes each second, and of 300 symbols it takes 1 ms instead of the library's 7.

    Raises:
        BadMessage: it is none.

    """
    report, symbols = _decode_without_symbols(payload)
    for piece in _decode_symbols(symbols):
        report.feed.MergeFrom(piece)
    return report


def _decode_without_symbols(payload: bytes) -> tuple[status_pb2.ServiceReport, bytes]:
    """Read a report but for the symbols of its feed, and return these as they stand there.

    Most of a report is as it was a second ago, and is read once.
    """
    try:
        found = _read_members(payload)
        feed = _read_members(found["feed"]) if found.get("feed", _NULL) != _NULL else None
        symbols = _NO_SYMBOLS
        if feed is not None:
            symbols = bytes(feed.pop("symbols", symbols))
            found["feed"] = msgspec.Raw(msgspec.json.encode(feed))
        changing = {name: found.pop(name) for name in _CHANGING if name in found}
        report = status_pb2.ServiceReport()
        report.CopyFrom(_decode_lasting(msgspec.json.encode(found)))
        report.MergeFrom(control.decode(status_pb2.ServiceReport, msgspec.json.encode(changing)))
    except (msgspec.DecodeError, ValueError, RecursionError) as exc:
        raise BadMessage(f"no ServiceReport: {str(exc)[:300]}") from exc
    return report, symbols


_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_symbols = msgspec.json.Decoder(list[_SymbolFeed], strict=False).decode  # numbers are texts in the JSON of protos
_NO_SYMBOLS = b"[]"
_NULL = msgspec.Raw(b"null")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def _decode_symbols(payload: bytes) -> Iterator[status_pb2.Feed]:
    """Read the symbols of a feed, a few at a time.

    Raises:
        BadMessage: they are none.

    """
    try:
        symbols = _read_symbols(payload)
        for start in range(0, len(symbols), _SYMBOLS_AT_ONCE):
            values: Any = [_values_of(symbol) for symbol in symbols[start : start + _SYMBOLS_AT_ONCE]]
            yield status_pb2.Feed(symbols=values)
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as exc:
        raise BadMessage(f"no symbols: {str(exc)[:300]}") from exc


def _values_of(symbol: _SymbolFeed) -> dict[str, Any]:
    # The library takes dicts in a third of the time of messages, and this one for a time in that of a datetime.
    time = None
    if symbol.last_trade_time is not None:
        since = symbol.last_trade_time.astimezone(dt.UTC) - _EPOCH
        time = {"seconds": since.days * 86_400 + since.seconds, "nanos": since.microseconds * 1000}
    return {
        "symbol": symbol.symbol,
        "state": _STATES.get(symbol.state, 0),
        "message": symbol.message,
        "last_trade_time": time,
        "last_trade_id": symbol.last_trade_id,
        "held_trades": symbol.held_trades,
    }


class _StatusServicer(status_pb2_grpc.StatusServiceServicer):
    def __init__(self, board: StatusBoard) -> None:
        self._board = board

    async def GetStatus(  # noqa: N802 - the proto's name
        self, request: status_pb2.GetStatusRequest, _context: Any
    ) -> status_pb2.GetStatusResponse:
        if not request.without_symbols:
            await self._board.read_symbols()
        reports = self._board.reports(without_symbols=request.without_symbols)
        return status.summarize(reports, now_us=_now_us())


def _now_us() -> int:
    return time.time_ns() // 1000
