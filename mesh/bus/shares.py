"""Shares: the instances of a service share its partitions, by a lease for each, so that each has as many as the others.

Every second an instance says that it is there, and asks the others whether they are. Who has more than its share gives
back one partition at a time, once the work in it has ended in order. Who has less takes what nobody holds, or what one
holds that is gone or stands still (`leases.py`). Whoever counts wrongly for a moment takes nothing from anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeAlias

import msgspec
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from mesh.bus import subjects
from mesh.bus.connection import Bus
from mesh.bus.leases import Lease, Sign, answering, ask, end
from mesh.bus.partitions import Partition
from mesh.bus.publisher import ForeignPublisherError
from mesh.service.errors import LeaseLostError
from mesh.service.lifecycle import Stop, Stopped, first_of
from mesh.service.logs import LogThrottle

log = logging.getLogger("mesh.bus.shares")

_MEMBERS = "members"
"""On this subject, in place of an instance's name, all of them say that they are there."""
_LOOK_EVERY_S = 1.0
_LEARN_S = 0.25
"""So long a new instance waits for the others to say that they are there, before it takes what it finds."""

Work: TypeAlias = Callable[[Partition, Bus, Stop], Awaitable[None]]
"""Works in a partition until asked to stop, and then ends in order; by this connection, which confirms its lease."""


class Beat(msgspec.Struct, frozen=True):
    """What an instance says to all others; JSON."""

    instance: str
    gave_back: bool = False
    """Whether it has just given a partition back."""
    leaves: bool = False
    """Whether it takes no more, as it was asked to stop."""


def fair_share(instance: str, others: Collection[str], count: int) -> int:
    """Return how many partitions an instance should hold; all shares together are all partitions. Pure.

    Args:
        instance: its name.
        others: the names of those that are there.
        count: how many partitions there are.

    """
    ranked = sorted({*others, instance})
    return count // len(ranked) + (ranked.index(instance) < count % len(ranked))


async def work_in(within: Sequence[Partition], work: Work, *, bus: Bus, service: str, stop: Stop) -> None:
    """Work in the only partition, or in a fair share of several, until asked to stop.

    Args:
        within: all partitions.
        work: what is done in each that is held.
        bus: the connection; of the only partition's lease.
        service: the service's name on the bus.
        stop: ends it.

    Raises:
        Exception: what the work raises, in groups where there are several partitions.

    """
    if len(within) == 1:
        await work(within[0], bus, stop)
    else:
        await Shares(bus, service, within, work).run(stop)


class Shares:
    """An instance's share of the partitions; `run` holds them.

    Args:
        bus: the connection.
        service: the service's name on the bus.
        within: all partitions.
        work: what is done in each partition that is held.

    """

    def __init__(self, bus: Bus, service: str, within: Sequence[Partition], work: Work) -> None:
        self.instance = secrets.token_hex(8)
        self._bus = bus
        self._service = service
        self._work = work
        self._leases = {each: Lease(bus, service, str(each.number), instance=self.instance) for each in within}
        self._held: dict[Partition, Stop] = {}
        self._others: set[str] = set()
        self._leaves = False
        self._look = asyncio.Event()

    @property
    def held(self) -> list[Partition]:
        """The partitions that this instance works in."""
        return sorted(self._held)

    async def run(self, stop: Stop) -> None:
        """Hold a fair share and work in it until asked to stop; then end the work in order, and give all back.

        Args:
            stop: ends it.

        Raises:
            ExceptionGroup: of what the work has raised; a lost lease ends the work in that partition alone.

        """
        on_question = answering(*self._leases.values())
        await self._bus.client.subscribe(subjects.instance(self._service, self.instance), cb=on_question)
        await self._bus.client.subscribe(subjects.instance(self._service, _MEMBERS), cb=self._on_beat)
        log_throttle, again_s = LogThrottle(), _LEARN_S
        async with asyncio.TaskGroup() as tasks:
            stopping = tasks.create_task(self._wake_on(stop))
            await self._say()
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._look.wait(), again_s)
                if stop.asked:
                    break
                self._look.clear()
                try:
                    await self._say()
                    again_s = await self._balance(tasks)
                except (NatsError, TimeoutError) as exc:
                    again_s = _LEARN_S
                    if log_throttle.due(asyncio.get_running_loop().time()):
                        log.warning("waiting for the bus to share partitions: %s", str(exc) or type(exc).__name__)
            self._leaves = True
            await self._say()
            for asked in self._held.values():
                asked.ask()
            stopping.cancel()

    async def _wake_on(self, stop: Stop) -> None:
        await stop.wait()
        self._look.set()

    async def _say(self, *, gave_back: bool = False) -> None:
        beat = Beat(self.instance, gave_back, self._leaves)
        with contextlib.suppress(NatsError):  # it is said again
            await self._bus.client.publish(subjects.instance(self._service, _MEMBERS), msgspec.json.encode(beat))

    async def _on_beat(self, message: Msg) -> None:
        try:
            beat = msgspec.json.decode(message.data, type=Beat)
        except msgspec.MsgspecError as exc:
            log.error("no instance of %s says %r: %s", self._service, message.data[:80], exc)
            return
        if beat.instance == self.instance:
            return
        if beat.gave_back or beat.leaves == (beat.instance in self._others):
            self._look.set()
        if beat.leaves:
            self._others.discard(beat.instance)
        else:
            self._others.add(beat.instance)

    async def _balance(self, tasks: asyncio.TaskGroup) -> float:
        """Take or give back what is right now; return after how many seconds to look again."""
        others = sorted(self._others)
        signs = dict(
            zip(others, await asyncio.gather(*(ask(self._bus, self._service, name) for name in others)), strict=True)
        )
        self._others -= {name for name, sign in signs.items() if sign is Sign.NOBODY}
        there = [name for name, sign in signs.items() if sign is Sign.THERE]
        share, again_s = fair_share(self.instance, there, len(self._leases)), _LOOK_EVERY_S
        working = [partition for partition, asked in self._held.items() if not asked.asked]
        if len(working) > share and len(working) == len(self._held):
            log.info("giving back partition %d: %d instances share them now", working[-1].number, len(there) + 1)
            self._held[working[-1]].ask()
        for partition, lease in self._leases.items():
            if partition in self._held or len(self._held) >= share:
                lease.forget_signs()  # in a row means in one go
                continue
            if (wait_s := await lease.attempt(asked=signs)) is None:
                self._held[partition] = asked = Stop()
                tasks.create_task(self._hold(partition, lease, asked), name=f"partition {partition.number}")
            else:
                again_s = min(again_s, max(wait_s, _LEARN_S))
        return again_s

    async def _hold(self, partition: Partition, lease: Lease, asked: Stop) -> None:
        """Work in a partition until its work has ended or its lease is lost."""
        log.info("working in partition %d", partition.number)
        keeping = asyncio.create_task(lease.keep(), name="lease")
        working = asyncio.create_task(self._until_lost(partition, lease, asked))
        lost: LeaseLostError | None = None
        try:
            await asyncio.wait((keeping, working), return_when=asyncio.FIRST_COMPLETED)
            lost = working.result() if working.done() else keeping.result()
        finally:
            keeping.cancel()
            await end(working, f"partition {partition.number} is given up")
            del self._held[partition]
            if lost is None:
                await lease.give_back()
        if lost is not None:
            log.error("%s: this one stood still for too long, and lets partition %d go", lost, partition.number)
            return
        self._look.set()
        if self._bus.connected:
            await self._say(gave_back=True)

    async def _until_lost(self, partition: Partition, lease: Lease, asked: Stop) -> LeaseLostError | None:
        lost: LeaseLostError | None = None
        with self._bus.under(lease.confirm) as bus:
            try:
                await self._work(partition, bus, asked)
            except* Stopped:  # while it was waiting
                pass
            except* LeaseLostError as group:  # found out by the work itself
                lost = first_of(group)
            except* ForeignPublisherError as group:
                # Of the one before, that stood still with a message on its way: its trades are known when it is read.
                log.error("beginning anew in partition %d: %s", partition.number, group.exceptions[0])
                await asyncio.sleep(_LOOK_EVERY_S)
        return lost
