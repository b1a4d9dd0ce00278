"""Leases: of each service one instance works, and a second one waits until that is gone.

A lease is a key of the bus' bucket `leases` that names its holder, taken by compare-and-set. The holder answers on a
subject of its own, and that is the proof that it is there:

- A process that ended, by kill -9 too, has lost its connection, so the server itself says at once that nobody answers.
  Of several servers that holds where the one is there that it was connected to.
- One that stands still (SIGSTOP, a machine that sleeps) does not answer; after some seconds its lease is taken over.
  Who takes it over says so on the other one's subject, so that one finds when it wakes that another name is in the
  key, and ends its work. It looks before it makes a durable anew and before it saves a state, too, and every few
  seconds anyhow.
- When nats-server itself was started anew, or is gone, its clients need a moment to come back: then nobody is gone yet.

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
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any

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

MAX_INSTANCES = 16
"""Of a service that share its partitions; for so many the bus' permissions are written."""
_BUCKET_BYTES = 2**20
_CONFIRM_EVERY_S = 5.0
"""So often the key is looked at though nobody has said that it is taken: a question each second costs as much as
twenty trades, and who takes it says so."""
_ASK_EVERY_S = 1.0
_ASK_AGAIN_S = 0.25
_ANSWER_S = 1.0
_UNANSWERED = 5
"""So many questions in a row without an answer, `_ANSWER_S` each: the holder stands still."""
_NOBODY = 12
"""So many times in a row nobody was there to answer, where the holder may only be on its way back to the bus."""
_RETRY_S = 0.25
_TAKEN = b"taken"
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


class Sign(Enum):
    """What an instance shows of itself when it is asked."""

    THERE = 1
    SILENT = 2
    NOBODY = 3


class Lease:
    """The lease of a service, or of a part of its work; taken and given back by `held`, or by `Shares`.

    Args:
        bus: the connection.
        service: the service's name on the bus.
        part: of its work, the end of the lease's key: `instance.3`, or the number of a partition; all of it when empty.
        instance: names this run of the process, whose subject is answered on by somebody else; drawn where empty.

    """

    def __init__(self, bus: Bus, service: str, part: str = "", *, instance: str = "") -> None:
        self._bus = bus
        self._service = service
        self._key = f"{service}.{part}" if part else service
        self.instance = instance or secrets.token_hex(8)
        self._is_answered = bool(instance)
        self._since = ""
        self._revision = 0
        self._opened: KeyValue | None = None
        self._reconnected = asyncio.Event()
        self._in_doubt = asyncio.Event()
        self._confirming = asyncio.Lock()
        self._awaited = ""  # the instance that was seen alive
        self._signs: list[Sign] = []
        bus.on_reconnect(self._on_reconnect)

    def _on_reconnect(self) -> None:
        self._reconnected.set()
        self._in_doubt.set()

    def doubt(self) -> None:
        """Have `keep` look at the key now: another instance says that it has taken it."""
        self._in_doubt.set()

    async def take(self, health: Health) -> None:
        """Wait until no other instance is running, and take the lease; says in one line whom it waits for."""

        def say(holder: Holder) -> None:
            said = f"another {self._key} is running ({holder})"
            health.set("lease", False, said)
            log.warning("%s: waiting until it is gone", said)

        loop = asyncio.get_running_loop()
        log_throttle = LogThrottle()
        while True:
            try:
                again_s = await self.attempt(on_other=say)
            except (NatsError, TimeoutError) as exc:
                if log_throttle.due(loop.time()):
                    log.warning("waiting for the bus to give the lease: %s", str(exc) or type(exc).__name__)
                again_s = _RETRY_S
            if again_s is None:
                return
            await asyncio.sleep(again_s)

    async def attempt(
        self, *, on_other: Callable[[Holder], None] = lambda _: None, asked: Mapping[str, Sign] | None = None
    ) -> float | None:
        """Take the lease if nobody holds it, or who does is gone, as some looks in a row tell.

        Args:
            on_other: called once with another instance that is seen to be there.
            asked: what instances have just shown of themselves; the others are asked.

        Returns:
            None when it is taken, else after how many seconds to look again.

        Raises:
            NatsError, TimeoutError: the bus is away.

        """
        try:
            return await self._attempt(on_other, asked or {})
        except KeyWrongLastSequenceError:
            self._signs = []  # a third one was faster
            return 0.0
        except (NatsError, TimeoutError):
            self._opened = None
            raise

    def forget_signs(self) -> None:
        """Forget what earlier attempts have seen: the next ones do not follow them."""
        self._signs = []

    async def _attempt(self, on_other: Callable[[Holder], None], asked: Mapping[str, Sign]) -> float | None:
        self._reconnected.clear()
        if not self._is_answered:
            await self._bus.client.subscribe(subjects.instance(self._service, self.instance), cb=answering(self))
            self._is_answered = True
        found = await self._read()
        if found is None:
            await self._write(None)
            return None
        holder, revision = found
        if holder.instance == self.instance:  # the bus did not hear that it was given back
            self._revision = revision
            return None
        sign = asked.get(holder.instance) or await ask(self._bus, self._service, holder.instance)
        if self._reconnected.is_set() or not self._bus.connected:
            self._signs = []  # it was this one that was away
            return _RETRY_S
        if sign is Sign.THERE and self._awaited != holder.instance:
            self._awaited = holder.instance
            on_other(holder)
        self._signs = [] if sign is Sign.THERE else [*self._signs, sign]
        at_once = sign is Sign.NOBODY and self._awaited != holder.instance and await self._bus.runs(holder.server)
        if not _is_gone(self._signs, at_once=at_once):
            return _ASK_AGAIN_S if self._signs else _ASK_EVERY_S
        await self._write(revision)
        with contextlib.suppress(NatsError):  # it looks by itself as well
            await self._bus.client.publish(subjects.instance(self._service, holder.instance), _TAKEN)
        how = "stands still" if sign is Sign.SILENT else "is gone"
        log.info("the %s of %s %s: working in its place", self._key, holder, how)
        return None

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
                raise LeaseLostError(f"another {self._key} works now") from exc
            except (NatsError, TimeoutError):
                self._opened = None  # the bucket may be gone: it is made anew
                raise

    async def _confirm(self) -> None:
        found = await self._read()
        if found is None:  # the bus has lost its files, or a person removed the key
            await self._write(None)
            return
        holder, revision = found
        if holder.instance != self.instance:
            raise LeaseLostError(f"another {self._key} works now ({holder})")
        self._revision = revision
        if holder.server != self._bus.server:
            await self._write(revision)

    async def keep(self) -> LeaseLostError:
        """Confirm again and again; return when the lease is lost."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._in_doubt.wait(), _CONFIRM_EVERY_S)
            self._in_doubt.clear()
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
                await (await self._bucket()).delete(self._key, last=self._revision)

    async def _bucket(self) -> KeyValue:
        if self._opened is None:
            self._opened = await self._bus.bucket(subjects.LEASE_BUCKET, max_bytes=_BUCKET_BYTES)
        return self._opened

    async def _read(self) -> tuple[Holder, int] | None:
        try:
            entry = await (await self._bucket()).get(self._key)
        except KeyNotFoundError:
            return None
        assert entry.revision is not None
        try:
            return msgspec.json.decode(entry.value or b"", type=Holder), entry.revision
        except msgspec.MsgspecError as exc:
            log.error("key %s of bucket %s names no holder: %s", self._key, subjects.LEASE_BUCKET, exc)
            return Holder("unknown", server=self._bus.server), entry.revision

    async def _write(self, revision: int | None) -> None:
        self._since = self._since or dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        holder = Holder(self.instance, socket.gethostname(), os.getpid(), self._since, self._bus.server)
        value = msgspec.json.encode(holder)
        bucket = await self._bucket()
        if revision is None:
            self._revision = await bucket.create(self._key, value)
        else:
            self._revision = await bucket.update(self._key, value, last=revision)


async def _first_free(bus: Bus, service: str, health: Health) -> tuple[Lease, int]:
    instance, log_throttle = secrets.token_hex(8), LogThrottle()
    leases = [Lease(bus, service, f"instance.{number}", instance=instance) for number in range(MAX_INSTANCES)]
    await bus.client.subscribe(subjects.instance(service, instance), cb=answering(*leases))
    while True:
        why = f"{MAX_INSTANCES} instances of {service} are running"
        try:
            for number, lease in enumerate(leases):
                if await lease.attempt() is None:
                    return lease, number
        except (NatsError, TimeoutError) as exc:
            why = str(exc) or type(exc).__name__
        health.set("lease", False, why)
        if log_throttle.due(asyncio.get_running_loop().time()):
            log.warning("waiting for a lease: %s", why)
        await asyncio.sleep(_RETRY_S)


async def end(work: asyncio.Task[Any], why: str) -> None:
    """Cancel a task again and again until it has ended; where it does not, end the process.

    Args:
        work: may lose a cancellation, as nats-py does.
        why: for the log.

    """
    deadline_s = asyncio.get_running_loop().time() + _WIND_DOWN_S
    while not work.done():
        if asyncio.get_running_loop().time() > deadline_s:
            log.error("%s, and the work did not end within %g s: stopping at once", why, _WIND_DOWN_S)
            os._exit(1)
        work.cancel()
        await asyncio.wait([work], timeout=0.25)


@asynccontextmanager
async def held(bus: Bus, service: str, *, health: Health, is_shared: bool = False) -> AsyncIterator[Lease]:
    """Hold the lease of a service while inside; waits for it as long as it takes.

    Where instances share partitions, it is the first free one of MAX_INSTANCES, and its number makes the names of
    durables that each instance has for itself.

    Enter it before anything of the service's is declared, read or written. When the lease is lost the block is
    cancelled, again and again until it has ended.

    Args:
        bus: the connection.
        service: its name on the bus.
        health: whose condition `lease` follows.
        is_shared: whether several instances work, and share the partitions.

    Raises:
        LeaseLostError: on leaving: another instance has taken over, because this one stood still.

    """
    if is_shared:
        lease, bus.instance_number = await _first_free(bus, service, health)
    else:
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


async def ask(bus: Bus, service: str, instance: str) -> Sign:
    """Ask an instance whether it is there.

    Args:
        bus: the connection.
        service: its service.
        instance: its name.

    """
    try:
        await bus.client.request(subjects.instance(service, instance), timeout=_ANSWER_S)
    except NoRespondersError:
        return Sign.NOBODY
    except TimeoutError:
        return Sign.SILENT
    return Sign.THERE


def answering(*leases: Lease) -> Callable[[Msg], Awaitable[None]]:
    """Return what answers `ask`, and lets leases be looked at when one of them is taken over.

    Args:
        leases: of the instance on whose own subject it is the callback of a subscription.

    """

    async def answer(question: Msg) -> None:
        if question.data == _TAKEN:
            for lease in leases:
                lease.doubt()
            return
        with contextlib.suppress(NatsError):
            await question.respond(b"here")

    return answer


def _is_gone(signs: list[Sign], *, at_once: bool) -> bool:
    """Return whether a holder is gone.

    Args:
        signs: what was seen of it since it was last there.
        at_once: whether nobody there means gone: the very run of the server is there that it was connected to.

    """
    if not signs:
        return False
    if signs[-1] is Sign.NOBODY and at_once:
        return True
    return signs[-_UNANSWERED:] == [Sign.SILENT] * _UNANSWERED or signs[-_NOBODY:] == [Sign.NOBODY] * _NOBODY
