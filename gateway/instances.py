"""Several instances of a service in place of one channel: one that knows is asked, and none that is away is waited for.

SIGNAL_ADDR=signal:50051                     one instance: a plain channel, and nothing of this
SIGNAL_ADDR=signal-1:50051,signal-2:50051    these
SIGNAL_ADDR=dns:///signal:50051              every address that the name has, looked up again every RESOLVE_EVERY_S

STORE_ADDR is the same. Of signal each instance knows some symbols, and all of them together stream; of store each knows
everything, so that they take turns (`each_knows_all`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from mesh.service.logs import LogThrottle
from mesh.service.rpc import RICH_STATUS, channel
from mesh.service.tls import Tls

log = logging.getLogger("gateway.instances")

DNS = "dns:///"
RESOLVE_EVERY_S = 2.0
KEPT_S = 30.0
"""So long an address is kept that its name has no more: what goes away in order still tells the rest."""
NEXT_AFTER_S = 0.5
"""So long one instance is waited for before another one is asked the same as well."""
NEXT_OF_STORE_AFTER_S = 2.0
"""The same, where each knows all: what takes long there takes as long of another one, and is work for the database."""
AVOIDED_S = 5.0
"""So long one that did not answer is asked after the others."""
_READ_AHEAD = 16

_Metadata = Sequence[tuple[str, str | bytes]]
_OTHERS_MAY_KNOW = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """Return the reason that an error of ours brings for programs: `NOT_OWNER`; empty where there is none."""
    metadata = error.trailing_metadata()
    rich = metadata.get(RICH_STATUS) if metadata is not None else None
    info = error_details_pb2.ErrorInfo()
    with contextlib.suppress(DecodeError):
        for detail in status_pb2.Status.FromString(rich).details if isinstance(rich, bytes) else ():
            if detail.Unpack(info):
                return str(info.reason)
    return ""


class Instances:
    """The instances of a service, as stubs want a channel.

    `unary_unary` asks one that knows. `unary_stream` asks all, or one of them where each knows all.

    Args:
        addresses: `host:port`, or `dns:///host:port` for all addresses of a name.
        tls: what is shown to them; None is without TLS.
        each_knows_all: whether any of them answers anything; then they take turns.

    """

    def __init__(self, addresses: Sequence[str], *, tls: Tls | None = None, each_knows_all: bool = False) -> None:
        self._addresses = addresses
        self._tls = tls
        self._each_knows_all = each_knows_all
        self.channels: dict[str, grpc.aio.Channel] = {
            each: channel(each, tls=tls) for each in addresses if not each.startswith(DNS)
        }
        """Address -> the channel to the instance there."""
        self.names: dict[str, str] = {}
        """Address -> the name that it was found by, where it was looked up."""
        self._seen_s: dict[str, float] = {}  # when a name last had this address
        self._preferred: dict[str, str] = {}  # symbol -> the address of who answered last, where not each knows all
        self._failed_s: dict[str, float] = {}  # when an address last did not answer
        self._turn = 0
        self._log_throttle = LogThrottle()

    async def close(self) -> None:
        """Close all channels."""
        await asyncio.gather(*(each.close() for each in self.channels.values()))

    async def run(self) -> None:
        """Look the names up again and again, for ever."""
        while True:
            await self.resolve()
            await asyncio.sleep(RESOLVE_EVERY_S)

    async def resolve(self) -> None:
        """Look the names up; one that cannot be looked up now keeps the addresses that it had."""
        loop = asyncio.get_running_loop()
        answered, now_s = True, loop.time()
        for name in self._addresses:
            if not name.startswith(DNS):
                continue
            host, _, port = name.removeprefix(DNS).rpartition(":")
            try:
                found = await loop.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
            except OSError as exc:
                answered = False
                if self._log_throttle.due(now_s):
                    log.warning("%s cannot be looked up, going on with what is known: %s", host, exc)
                continue
            for family, *_, (ip, *_) in found:
                address = f"[{ip}]:{port}" if family == socket.AF_INET6 else f"{ip}:{port}"
                self._seen_s[address] = now_s
                if address not in self.channels:
                    log.info("an instance is at %s", address)
                    self.channels[address] = channel(address, tls=self._tls, host=host)
                    self.names[address] = host
        for address, seen_s in tuple(self._seen_s.items()) if answered else ():
            if seen_s < now_s - KEPT_S:
                log.info("no instance is at %s any more", address)
                del self._seen_s[address]
                self._failed_s.pop(address, None)
                self.names.pop(address, None)
                await self.channels.pop(address).close()

    def get_state(self) -> grpc.ChannelConnectivity:
        """Return READY where all instances are connected, else how one is that is not."""
        states = {one.get_state() for one in self.channels.values()} or {grpc.ChannelConnectivity.IDLE}
        return next(iter(states - {grpc.ChannelConnectivity.READY}), grpc.ChannelConnectivity.READY)

    # --- what stubs ask a channel for ---

    def unary_unary(self, method: str, *args: Any, **options: Any) -> Callable[..., Any]:
        """Return what calls a method on one instance after another until one knows the answer."""
        options.pop("_registered_method", None)

        async def call(request: Any, *, timeout: float | None = None, metadata: _Metadata = ()) -> Any:
            symbol = str(getattr(request, "symbol", "")).lower()
            first = self._preferred.get(symbol)
            rest = self._in_turn() if self._each_knows_all else sorted(self.channels, key=lambda one: one != first)
            next_after_s = NEXT_OF_STORE_AFTER_S if self._each_knows_all else NEXT_AFTER_S
            asking: dict[asyncio.Task[Any], str] = {}
            failed: list[grpc.aio.AioRpcError] = []

            async def ask(one: grpc.aio.Channel) -> Any:
                with _closed_is_away():
                    rpc = one.unary_unary(method, *args, **options)
                    return await rpc(request, timeout=timeout, metadata=tuple(metadata))

            try:
                async with asyncio.timeout(timeout):
                    while rest or asking:
                        if rest:
                            address = rest.pop(0)
                            if (one := self.channels.get(address)) is None:
                                continue  # its name has lost it meanwhile
                            asking[asyncio.create_task(ask(one))] = address
                        within_s = next_after_s if rest else None
                        done, late = await asyncio.wait(asking, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
                        if not done:
                            self._note_failures(asking[task] for task in late)
                        for task in done:
                            address = asking.pop(task)
                            try:
                                answer = task.result()
                            except grpc.aio.AioRpcError as exc:
                                if exc.code() not in _OTHERS_MAY_KNOW and reason_of(exc) != "NOT_OWNER":
                                    raise
                                failed.append(exc)
                                self._note_failures([address])
                                continue
                            if not self._each_knows_all and (first or len(self._preferred) < _MAX_PREFERRED):
                                self._preferred[symbol] = address
                            return answer
            except TimeoutError:
                failed.append(_error(grpc.StatusCode.DEADLINE_EXCEEDED, "nobody has answered in time"))
            finally:
                for task in asking:
                    task.cancel()
            raise min(failed, key=_weight, default=_error(grpc.StatusCode.UNAVAILABLE, "cannot connect: no address"))

        return call

    def unary_stream(self, method: str, *args: Any, **options: Any) -> Callable[..., MergedCalls | CallOfOne]:
        """Return what calls a streaming method on all instances, and gives what any of them says.

        Where each of them knows all, it is called on one, and on the next one if that is away before it said anything.
        """
        options.pop("_registered_method", None)

        def call(request: Any, *, timeout: float | None = None, metadata: _Metadata = ()) -> MergedCalls | CallOfOne:
            def begin(one: grpc.aio.Channel) -> Any:
                return one.unary_stream(method, *args, **options)(request, timeout=timeout, metadata=tuple(metadata))

            if not self._each_knows_all:
                return MergedCalls([begin(one) for one in self.channels.values()])
            return CallOfOne(self._calls_in_turn(begin))

        return call

    def _calls_in_turn(self, begin: Callable[[grpc.aio.Channel], Any]) -> Iterator[Any]:
        for address in self._in_turn():
            if (one := self.channels.get(address)) is not None:
                yield begin(one)
                self._note_failures([address])  # else no other one is asked for

    def _in_turn(self) -> list[str]:
        """Return all addresses, another one first each time, and those that did not answer just now last."""
        known = list(self.channels)
        self._turn += 1
        begin = self._turn % max(1, len(known))
        not_before_s = asyncio.get_running_loop().time() - AVOIDED_S
        return sorted(known[begin:] + known[:begin], key=lambda one: self._failed_s.get(one, -1.0) > not_before_s)

    def _note_failures(self, addresses: Iterable[str]) -> None:
        self._failed_s |= dict.fromkeys(addresses, asyncio.get_running_loop().time())


_MAX_PREFERRED = 4096


def _error(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details)


@contextlib.contextmanager
def _closed_is_away() -> Iterator[None]:
    """Say of a call that ends because its channel was closed, as its name has lost the address, that nobody was there.

    gRPC says that it was cancelled, as if the caller had done it.
    """
    try:
        yield
    except (asyncio.CancelledError, grpc.aio.UsageError):
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise _error(grpc.StatusCode.UNAVAILABLE, "the connection was closed") from None


def _weight(error: grpc.aio.AioRpcError) -> int:
    """Return which of several errors says most, the lowest: the one of who is responsible before those who are not."""
    reason = reason_of(error)
    return 2 if reason == "NOT_OWNER" else 0 if reason else 1 if error.code() != grpc.StatusCode.UNAVAILABLE else 3


class MergedCalls:
    """The answers of several streams of one method as one; it ends when one of them ends that has begun.

    Args:
        calls: the streams.

    """

    def __init__(self, calls: Sequence[Any]) -> None:
        self._calls = calls
        self._came: asyncio.Queue[Any] = asyncio.Queue(_READ_AHEAD)
        self._tasks = [asyncio.create_task(self._read(call)) for call in calls]
        self._selected: Any = None

    def cancel(self) -> None:
        """End all streams."""
        for task in self._tasks:
            task.cancel()
        for call in self._calls:
            call.cancel()

    async def read(self) -> Any:
        """Return the next answer of any stream, EOF at the end; raises as a stream does."""
        while True:
            came = await self._came.get()
            if isinstance(came, Exception) or came is grpc.aio.EOF:
                self.cancel()
                if isinstance(came, Exception):
                    raise came
                return came
            if came.WhichOneof("event") == "selected":
                if came == self._selected:
                    continue  # all of them say it
                self._selected = came
            return came

    async def _read(self, call: Any) -> None:
        begun = False
        while True:
            try:
                with _closed_is_away():
                    answer: Any = await call.read()
            except grpc.aio.AioRpcError as exc:
                answer = exc
            ended = isinstance(answer, Exception) or answer is grpc.aio.EOF
            if (
                ended
                and not begun
                and any(not task.done() for task in self._tasks if task is not asyncio.current_task())
            ):
                return
            begun = True
            await self._came.put(answer)
            if ended:
                return


class CallOfOne:
    """The answers of a stream of one instance; of the next one where that is away before its first answer.

    A stream that has begun is never gone on with elsewhere: its reader gets the error.

    Args:
        calls: begins the stream on one instance after the other.

    """

    def __init__(self, calls: Iterator[Any]) -> None:
        self._calls = calls
        self._call = next(calls, None)
        self._begun = False

    def cancel(self) -> None:
        """End the stream."""
        self._calls = iter(())
        if self._call is not None:
            self._call.cancel()

    async def read(self) -> Any:
        """Return the next answer, EOF at the end; raises as a stream does."""
        while self._call is not None:
            try:
                with _closed_is_away():
                    answer = await self._call.read()
            except grpc.aio.AioRpcError as exc:
                another = None if self._begun or exc.code() != grpc.StatusCode.UNAVAILABLE else next(self._calls, None)
                if another is None:
                    raise
                self._call = another
                continue
            self._begun = True
            return answer
        raise _error(grpc.StatusCode.UNAVAILABLE, "cannot connect: no address")


def instances_of(signal: grpc.aio.Channel) -> Callable[[], Mapping[str, grpc.aio.Channel]]:
    """Return what tells the instances behind a channel: those of now, by address; of a plain one itself."""
    if isinstance(signal, Instances):
        return lambda: signal.channels
    return lambda: {"": signal}


@dataclass(frozen=True, slots=True)
class DirectReach:
    """How instances of signal are reached beside gRPC.

    Attributes:
        address: `host:port` of the only one; empty where there are several, each with an address of its own.
        tls: what is shown to them; None is without TLS.
        names: address -> the name that its certificate has to be for, where that is not its host.

    """

    address: str = ""
    tls: Tls | None = None
    names: Mapping[str, str] = field(default_factory=dict)


def reach_of(signal: grpc.aio.Channel, addresses: Sequence[str], *, tls: Tls | None = None) -> DirectReach:
    """Return how the instances of signal are reached beside gRPC.

    Args:
        signal: what `channels` gave.
        addresses: those it was given.
        tls: likewise.

    """
    if isinstance(signal, Instances):
        return DirectReach(tls=tls, names=signal.names)
    return DirectReach(addresses[0], tls)


@asynccontextmanager
async def channels(
    addresses: Sequence[str], *, tls: Tls | None = None, each_knows_all: bool = False
) -> AsyncIterator[grpc.aio.Channel]:
    """Give the channel to a service, or its instances in place of one, while inside.

    Args:
        addresses: as `Instances` has them; a single `host:port` is a plain channel.
        tls: what is shown to them; None is without TLS.
        each_knows_all: as `Instances` has it.

    """
    if len(addresses) == 1 and not addresses[0].startswith(DNS):
        async with channel(addresses[0], tls=tls) as plain:
            yield plain
        return
    instances = Instances(addresses, tls=tls, each_knows_all=each_knows_all)
    resolving = asyncio.create_task(instances.run(), name="addresses")
    try:
        yield cast("grpc.aio.Channel", instances)  # stubs ask a channel for nothing else
    finally:
        resolving.cancel()
        await instances.close()
