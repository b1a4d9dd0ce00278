"""Leases: of each service one instance works, and a second one waits until that is gone.

A lease is a key of the bus' bucket `leases` that names its holder, taken by compare-and-set. The holder answers on a
subject of its own, and that is the proof that it is there:

- A process that ended, by kill -9 too, has lost its connection, so the server itself says at once that nobody answers.
- One that stands still (SIGSTOP, a machine that sleeps) does not answer; after some seconds its lease is taken over.
  When it wakes it finds another name in the key and ends its work: before it makes a durable anew, before it saves a
  state, and every second anyhow.
- When nats-server itself was started anew, its clients need a moment to come back: then nobody is gone yet.

What is written stays right without this: a second writer of a chain is refused by the server, a second store moves no
position. Leases keep two instances from disturbing each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum

import msgspec
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from mesh.bus import subjects
from mesh.bus.connection import Bus
from mesh.service.errors import LeaseLostError
from mesh.service.health import Health
from mesh.service.logs import LogThrottle

log = logging.getLogger("mesh.bus.leases")

_BUCKET_BYTES = 2**20
_CONFIRM_EVERY_S = 1.0
_ASK_EVERY_S = 1.0
_ASK_AGAIN_S = 0.25
_ANSWER_S = 1.0
_UNANSWERED = 5
"""So many questions in a row without an answer, `_ANSWER_S` each: the holder stands still."""
_NOBODY = 12
"""So many times in a row nobody was there to answer, where the holder may only be on its way back to the bus."""
_RETRY_S = 0.25
_WIND_DOWN_S = 15.0


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lease; JSON, readable with any NATS client. Other versions may tell less or more of themselves."""

    instance: str
    """Names this run of the process: another one at every start."""
    host: str = "an unknown host"
    pid: int = 0
    since: str = "an unknown time"
    """RFC 3339, UTC: when it began to work."""
    server: str = ""
    """The run of nats-server it was connected to when it said so last."""

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host}, since {self.since}"


class _Sign(Enum):
    THERE = 1
    SILENT = 2
    NOBODY = 3


class Lease:
    """A service's lease; taken and given back by `held`."""

    def __init__(self, bus: Bus, service: str) -> None:
        self._bus = bus
        self._service = service
        self._instance = secrets.token_hex(8)
        self._since = ""
        self._revision = 0
        self._opened: KeyValue | None = None
        self._reconnected = asyncio.Event()
        self._confirming = asyncio.Lock()

    async def take(self, health: Health) -> None:
        """Wait until no other instance is running, and take the lease; says in one line whom it waits for."""
        self._bus.on_reconnect(self._reconnected.set)
        await self._bus.client.subscribe(subjects.instance(self._service, self._instance), cb=_answer)
        loop = asyncio.get_running_loop()
        log_throttle = LogThrottle()
        awaited = ""  # the instance that was seen alive
        signs: list[_Sign] = []
        while True:
            try:
                self._reconnected.clear()
                found = await self._read()
                if found is None:
                    await self._write(None)
                    break
                holder, revision = found
                sign = await self._ask(holder)
                if self._reconnected.is_set() or not self._bus.connected:
                    signs = []  # it was this one that was away
                    await asyncio.sleep(_RETRY_S)
                    continue
                if sign is _Sign.THERE and awaited != holder.instance:
                    awaited = holder.instance
                    said = f"another {self._service} is running ({holder})"
                    health.set("lease", False, said)
                    log.warning("%s: waiting until it is gone", said)
                signs = [] if sign is _Sign.THERE else [*signs, sign]
                at_once = awaited != holder.instance and holder.server == self._server()
                if _is_gone(signs, at_once=at_once):
                    await self._write(revision)
                    how = "stands still" if sign is _Sign.SILENT else "is gone"
                    log.info("the %s of %s %s: working in its place", self._service, holder, how)
                    break
            except KeyWrongLastSequenceError:
                signs = []  # a third one was faster
                continue
            except (NatsError, TimeoutError) as exc:
                self._opened = None
                if log_throttle.due(loop.time()):
                    log.warning("waiting for the bus to give the lease: %s", str(exc) or type(exc).__name__)
                await asyncio.sleep(_RETRY_S)
                continue
            await asyncio.sleep(_ASK_AGAIN_S if signs else _ASK_EVERY_S)

    async def confirm(self) -> None:
        """Return when the lease is still held; one question to the bus.

        Raises:
            LeaseLostError: another instance has taken over.
            NatsError, TimeoutError: the bus does not answer, so it is not known.

        """
        # One at a time: after a restart of the bus every reader asks, and the first one writes the key anew. A second
        # one that had read it before would take that for another instance.
        async with self._confirming:
            try:
                await self._confirm()
            except KeyWrongLastSequenceError as exc:
                raise LeaseLostError(f"another {self._service} works now") from exc
            except (NatsError, TimeoutError):
                self._opened = None  # the bucket may be gone: it is made anew
                raise

    async def _confirm(self) -> None:
        found = await self._read()
        if found is None:  # the bus has lost its files, or a person removed the key
            await self._write(None)
            return
        holder, revision = found
        if holder.instance != self._instance:
            raise LeaseLostError(f"another {self._service} works now ({holder})")
        self._revision = revision
        if holder.server != self._server():
            await self._write(revision)

    async def keep(self) -> LeaseLostError:
        """Confirm again and again; return when the lease is lost."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reconnected.wait(), _CONFIRM_EVERY_S)
            self._reconnected.clear()
            if not self._bus.connected:
                continue
            try:
                await self.confirm()
            except LeaseLostError as exc:
                return exc
            except (NatsError, TimeoutError) as exc:
                log.debug("the lease is not confirmed: %s", str(exc) or type(exc).__name__)

    async def give_back(self) -> None:
        """Let the next one begin at once; where the bus does not take it, the next one finds that nobody answers."""
        if not self._bus.connected:
            return
        with contextlib.suppress(NatsError, TimeoutError):
            async with asyncio.timeout(_ANSWER_S):
                await (await self._bucket()).delete(self._service, last=self._revision)

    async def _bucket(self) -> KeyValue:
        if self._opened is None:
            self._opened = await self._bus.bucket(subjects.LEASE_BUCKET, max_bytes=_BUCKET_BYTES)
        return self._opened

    async def _read(self) -> tuple[Holder, int] | None:
        try:
            entry = await (await self._bucket()).get(self._service)
        except KeyNotFoundError:
            return None
        assert entry.revision is not None
        try:
            return msgspec.json.decode(entry.value or b"", type=Holder), entry.revision
        except msgspec.MsgspecError as exc:
            log.error("key %s of bucket %s names no holder: %s", self._service, subjects.LEASE_BUCKET, exc)
            return Holder("unknown", server=self._server()), entry.revision

    async def _write(self, revision: int | None) -> None:
        self._since = self._since or dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        holder = Holder(self._instance, socket.gethostname(), os.getpid(), self._since, self._server())
        value = msgspec.json.encode(holder)
        bucket = await self._bucket()
        if revision is None:
            self._revision = await bucket.create(self._service, value)
        else:
            self._revision = await bucket.update(self._service, value, last=revision)

    async def _ask(self, holder: Holder) -> _Sign:
        try:
            await self._bus.client.request(subjects.instance(self._service, holder.instance), timeout=_ANSWER_S)
        except NoRespondersError:
            return _Sign.NOBODY
        except TimeoutError:
            return _Sign.SILENT
        return _Sign.THERE

    def _server(self) -> str:
        # nats-py has no public name for it; nats-server draws one at every start.
        return str(self._bus.client._server_info.get("server_id", ""))


@asynccontextmanager
async def held(bus: Bus, service: str, *, health: Health) -> AsyncIterator[Lease]:
    """Hold the lease of a service while inside; waits for it as long as it takes.

    Enter it before anything of the service's is declared, read or written. When the lease is lost the block is
    cancelled, again and again until it has ended.

    Args:
        bus: the connection.
        service: its name on the bus.
        health: whose condition `lease` follows.

    Raises:
        LeaseLostError: on leaving: another instance has taken over, because this one stood still.

    """
    lease = Lease(bus, service)
    await lease.take(health)
    health.set("lease", True)
    bus.confirm = lease.confirm
    working = asyncio.current_task()
    assert working is not None
    lost: LeaseLostError | None = None
    cancelled = 0

    async def watch() -> None:
        nonlocal lost, cancelled
        lost = await lease.keep()
        deadline_s = asyncio.get_running_loop().time() + _WIND_DOWN_S
        while asyncio.get_running_loop().time() < deadline_s:
            cancelled += 1
            working.cancel()
            await asyncio.sleep(0.25)
        log.error("%s, and the work did not end within %g s: stopping at once", lost, _WIND_DOWN_S)
        os._exit(1)

    watching = asyncio.create_task(watch(), name="lease")
    try:
        yield lease
    except asyncio.CancelledError:
        foreign = working.cancelling() - cancelled
        for _ in range(cancelled):
            working.uncancel()
        if lost is not None and not foreign:
            raise lost from None
        raise
    finally:
        watching.cancel()
        health.set("lease", False, str(lost or ""))
        if lost is None:
            await lease.give_back()


async def _answer(question: Msg) -> None:
    with contextlib.suppress(NatsError):
        await question.respond(b"here")


def _is_gone(signs: list[_Sign], *, at_once: bool) -> bool:
    """Return whether a holder is gone.

    Args:
        signs: what was seen of it since it was last there.
        at_once: whether nobody there means gone: it was connected to this very run of the server.

    """
    if not signs:
        return False
    if signs[-1] is _Sign.NOBODY and at_once:
        return True
    return signs[-_UNANSWERED:] == [_Sign.SILENT] * _UNANSWERED or signs[-_NOBODY:] == [_Sign.NOBODY] * _NOBODY
