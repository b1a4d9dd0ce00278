"""How the instances of a service share its partitions, on a bus in memory that one of them may stand still on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import NoRespondersError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError

from mesh.bus import leases, shares
from mesh.bus.connection import Bus
from mesh.bus.partitions import Partition, partitions
from mesh.bus.shares import Shares, fair_share
from mesh.service.errors import LeaseLostError
from mesh.service.health import Health
from mesh.service.lifecycle import Stop
from tests.fixtures.waiting import eventually


class Server:
    """The subjects and the keys that all have in common."""

    def __init__(self) -> None:
        self.subscribed: list[tuple[str, MemoryBus, Callable[[Any], Awaitable[None]]]] = []
        self.keys: dict[str, tuple[bytes, int]] = {}
        self.revisions = count(1)


class MemoryBus:
    """One instance's connection; `frozen` while its process stands still."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._going = asyncio.Event()
        self._going.set()
        self.connected = True
        self.client: Any = self
        self.server = "one"

    def freeze(self) -> None:
        self._going.clear()

    def wake(self) -> None:
        self._going.set()

    def leave(self) -> None:
        self._server.subscribed = [one for one in self._server.subscribed if one[1] is not self]

    async def runs(self, server: str) -> bool:
        return server == self.server

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Never."""

    @contextmanager
    def under(self, confirm: object) -> Iterator[MemoryBus]:
        yield self

    async def bucket(self, name: str, *, max_bytes: int) -> MemoryBus:
        return self

    async def subscribe(self, subject: str, cb: Callable[[Any], Awaitable[None]]) -> None:
        self._server.subscribed.append((subject, self, cb))

    async def publish(self, subject: str, payload: bytes) -> None:
        await self._going.wait()
        for wanted, bus, call in list(self._server.subscribed):
            if wanted == subject and bus._going.is_set():
                await call(SimpleNamespace(data=payload))

    async def request(self, subject: str, *, timeout: float) -> None:
        await self._going.wait()
        found = [bus for wanted, bus, _ in self._server.subscribed if wanted == subject]
        if not found:
            raise NoRespondersError
        if not found[0]._going.is_set():
            await asyncio.sleep(timeout)
            raise TimeoutError

    async def get(self, key: str) -> Any:
        await self._going.wait()
        if key not in self._server.keys:
            raise KeyNotFoundError
        value, revision = self._server.keys[key]
        return SimpleNamespace(value=value, revision=revision)

    async def create(self, key: str, value: bytes) -> int:
        return await self.update(key, value, last=0)

    async def update(self, key: str, value: bytes, *, last: int) -> int:
        await self._going.wait()
        if self._server.keys.get(key, (b"", 0))[1] != last:
            raise KeyWrongLastSequenceError
        self._server.keys[key] = value, next(self._server.revisions)
        return self._server.keys[key][1]

    async def delete(self, key: str, *, last: int) -> None:
        await self._going.wait()
        if self._server.keys.get(key, (b"", 0))[1] != last:
            raise KeyWrongLastSequenceError
        del self._server.keys[key]


class Working:
    """In what order who began and ended to work in which partition."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str, int]] = []


class Instance:
    def __init__(self, name: str, server: Server, working: Working, *, partitions_: int) -> None:
        self.bus = MemoryBus(server)
        self.stop = Stop()
        self._name = name
        self._working = working
        bus: Any = self.bus
        self.shares = Shares(bus, "store", partitions(partitions_), self._work)
        self.running = asyncio.create_task(self.shares.run(self.stop))
        self.error: Exception | None = None
        self.winds_down = asyncio.Event()
        self.winds_down.set()

    @property
    def held(self) -> list[int]:
        return [partition.number for partition in self.shares.held]

    async def _work(self, partition: Partition, bus: Bus, stop: Stop) -> None:
        self._working.log.append(("begins", self._name, partition.number))
        try:
            while not stop.asked:
                await asyncio.sleep(0.005)
                if self.error is not None:
                    raise self.error
        except asyncio.CancelledError:
            self._working.log.append(("loses", self._name, partition.number))
            raise
        if partition.number:
            await self.winds_down.wait()
        self._working.log.append(("ends", self._name, partition.number))

    async def leave(self) -> None:
        self.stop.ask()
        await self.running
        self.bus.leave()

    async def kill(self) -> None:
        self.bus.freeze()  # it gives nothing back
        self.bus.leave()
        self.running.cancel()
        await asyncio.wait([self.running], timeout=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, seconds in (
        (leases, "_CONFIRM_EVERY_S", 0.02),
        (leases, "_ASK_EVERY_S", 0.02),
        (leases, "_ASK_AGAIN_S", 0.01),
        (leases, "_ANSWER_S", 0.02),
        (shares, "_LOOK_EVERY_S", 0.02),
        (shares, "_LEARN_S", 0.01),
    ):
        monkeypatch.setattr(module, name, seconds)


@asynccontextmanager
async def instances(*names: str, partitions_: int = 4) -> AsyncIterator[tuple[list[Instance], Working]]:
    server, working = Server(), Working()
    made = [Instance(name, server, working, partitions_=partitions_) for name in names]
    try:
        yield made, working
    finally:
        for one in made:
            one.bus.wake()
            one.running.cancel()
        await asyncio.wait([one.running for one in made])


@given(
    count=st.integers(1, 16),
    names=st.sets(st.text("abcdef0123456789", min_size=4, max_size=4), min_size=1, max_size=20),
)
def test_all_shares_together_are_all_partitions_and_differ_by_one_at_most(count: int, names: set[str]) -> None:
    found = [fair_share(name, names - {name}, count) for name in names]

    assert sum(found) == count
    assert max(found) - min(found) <= 1


async def test_one_instance_works_in_all_partitions_and_a_second_one_is_given_half_of_them_in_order() -> None:
    async with instances("one") as ([one], working):
        await eventually(lambda: one.held == [0, 1, 2, 3])

        two = Instance("two", one.bus._server, working, partitions_=4)
        await eventually(lambda: (len(one.held), len(two.held)) == (2, 2))

        assert sorted(one.held + two.held) == [0, 1, 2, 3]
        for number in two.held:  # the one has ended its work before the other begins
            assert [entry for entry in working.log if entry[2] == number] == [
                ("begins", "one", number),
                ("ends", "one", number),
                ("begins", "two", number),
            ]

        await two.leave()
        await eventually(lambda: one.held == [0, 1, 2, 3])
        assert not [entry for entry in working.log if entry[0] == "loses"]


async def test_one_that_ends_is_followed_in_each_partition_as_soon_as_that_is_given_back() -> None:
    async with instances("one", partitions_=2) as ([one], working):
        await eventually(lambda: one.held == [0, 1])
        one.winds_down.clear()
        two = Instance("two", one.bus._server, working, partitions_=2)

        one.stop.ask()

        await eventually(lambda: two.held == [0])
        assert one.held == [1]
        one.winds_down.set()
        await eventually(lambda: two.held == [0, 1])  # though the first one's connection is still there
        await two.leave()


async def test_what_a_killed_instance_held_is_taken_by_the_others() -> None:
    async with instances("one", "two", "three", partitions_=5) as ([one, two, three], _):
        await eventually(lambda: sorted(len(each.held) for each in (one, two, three)) == [1, 2, 2])

        await one.kill()

        await eventually(lambda: sorted(len(each.held) for each in (two, three)) == [2, 3])
        assert sorted(two.held + three.held) == [0, 1, 2, 3, 4]


async def test_one_that_stands_still_loses_its_partitions_and_lives_on_when_it_wakes() -> None:
    async with instances("one", "two") as ([one, two], working):
        await eventually(lambda: (len(one.held), len(two.held)) == (2, 2))
        lost = one.held

        one.bus.freeze()
        await eventually(lambda: two.held == [0, 1, 2, 3])
        one.bus.wake()

        await eventually(lambda: (len(one.held), len(two.held)) == (2, 2))
        assert {entry[2] for entry in working.log if entry[:2] == ("loses", "one")} == set(lost)
        assert not one.running.done()


async def test_work_that_finds_out_by_itself_that_its_lease_is_lost_lets_go_and_any_other_error_ends_all() -> None:
    async with instances("one", partitions_=2) as ([one], _):
        await eventually(lambda: one.held == [0, 1])
        one.error = LeaseLostError("another store.1 works now")
        await eventually(lambda: not one.held)
        one.error = None
        await eventually(lambda: one.held == [0, 1])

        one.error = ValueError("nonsense")

        with pytest.raises(ExceptionGroup) as raised:
            await one.running
        assert raised.group_contains(ValueError)


async def test_a_partition_that_was_given_back_while_the_bus_was_away_is_still_ones_own() -> None:
    async with instances("one", partitions_=2) as ([one], working):
        await eventually(lambda: one.held == [0, 1])
        one.bus.connected = False
        one.shares._held[Partition(1, 2)].ask()

        await eventually(lambda: working.log.count(("begins", "one", 1)) == 2)


async def test_each_instance_has_a_number_of_its_own_and_that_of_a_killed_one_is_given_again() -> None:
    server, durables = Server(), []
    buses: list[Any] = [MemoryBus(server) for _ in range(3)]
    async with AsyncExitStack() as stack:
        for bus in buses[:2]:
            lease = await stack.enter_async_context(leases.held(bus, "store", health=Health("lease"), is_shared=True))
            assert bus.confirm == lease.confirm
        buses[0].leave()
        buses[0].freeze()
        async with leases.held(buses[2], "store", health=Health("lease"), is_shared=True):
            durables = [Bus.own(bus, "control-store") for bus in buses]
        buses[0].wake()
    assert durables == ["control-store-0", "control-store-1", "control-store-0"]


async def test_work_under_a_lease_of_its_own_hears_of_reconnections_while_it_lasts() -> None:
    client: Any = SimpleNamespace(jetstream=lambda **_: None)
    bus, heard = Bus(client, Health("bus")), []

    async def confirm() -> None:
        heard.append("asked")

    with bus.under(confirm) as under:
        under.on_reconnect(lambda: heard.append("reconnected"))
        for callback in list(bus._reconnected):
            callback()
        await under.confirm()
    await bus.confirm()
    for callback in list(bus._reconnected):
        callback()

    assert heard == ["reconnected", "asked"]
