"""Two instances of one service at once: the second says that another is running, and waits until that is gone."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from mesh.bus import leases, subjects
from mesh.bus.connection import Bus, connect
from mesh.service.errors import LeaseLostError
from mesh.service.health import Health
from mesh.service.settings import BusSettings
from tests.fixtures.nats import NatsServer
from tests.fixtures.scripted_venue import scripted_venue
from tests.fixtures.services import GRPC_READY, Service
from tests.fixtures.store import Feeder, feeding
from tests.fixtures.trades import columns
from tests.fixtures.waiting import eventually
from tests.integration.test_signal import serving

Make = Callable[..., Service]
SERVICES = ["ingest", "signal", "store"]
MODULES = {"ingest": "ingest", "signal": "signalsvc", "store": "store"}
WAITS = "another {} is running"
DURABLES = {"signal": subjects.DURABLE_SIGNAL, "store": subjects.DURABLE_STORE}
GRPC = {
    "signal": ("SIGNAL_ADDR", "tickmesh.v1.SignalService"),
    "store": ("STORE_ADDR", "tickmesh.v1.StoreService"),
}


class Pair:
    """Two instances of one service on one bus, which has a trade in RAW for them."""

    def __init__(self, service: str, first: Service, second: Service, feeder: Feeder) -> None:
        self.service = service
        self.first = first
        self.second = second
        self.bus = feeder.bus
        self._feeder = feeder
        self._published = 0

    async def holder(self) -> int:
        """Return the pid that the lease names."""
        bucket = await self.bus.js.key_value(subjects.LEASE_BUCKET)
        return int(json.loads((await bucket.get(self.service)).value or b"")["pid"])

    async def works(self, instance: Service) -> bool:
        """Whether this instance has the lease and does its work."""
        assert await self.holder() == instance.process.pid
        if self.service == "ingest":
            return "following binance" in instance.output()
        if self.service == "store":
            info = await self.bus.js.consumer_info(subjects.RAW, subjects.DURABLE_STORE)
            assert info.ack_floor is not None
            assert info.ack_floor.stream_seq == self._published
        else:
            assert (await self.bus.js.stream_info(subjects.PROCESSED)).state.last_seq == self._published
        port = re.findall(GRPC_READY, instance.output())[-1]  # one that begins again picks another
        return await serving(f"127.0.0.1:{port}", GRPC[self.service][1])

    async def start(self, instance: Service) -> None:
        if self.service in GRPC:
            await asyncio.to_thread(instance.start_grpc, GRPC[self.service][0])
        else:
            instance.start()

    async def until_works(self, instance: Service) -> None:
        if self.service != "ingest":
            self._published += 1
            await self._feeder.publish(columns(self._published, 1))
        await eventually(
            lambda: self.works(instance), timeout_s=30, not_yet=(NotFoundError, grpc.aio.AioRpcError, TimeoutError)
        )

    async def durable_made(self) -> object:
        """Return when the service's durable was made; the same while nobody disturbs it."""
        if self.service not in DURABLES:
            return None
        return (await self.bus.js.consumer_info(subjects.RAW, DURABLES[self.service])).created


def waits(instance: Service, service: str) -> int:
    """Return how many lines say that this instance waits."""
    return instance.output().count(WAITS.format(service))


@asynccontextmanager
async def pair_of(
    service: str, server: NatsServer, make_service: Make, request: pytest.FixtureRequest
) -> AsyncIterator[Pair]:
    settings = {"NATS_URL": server.url_of(service)}
    if service in GRPC:
        settings[GRPC[service][0]] = "127.0.0.1:0"
    if service == "store":
        settings["DATABASE_URL"] = request.getfixturevalue("database_url")
    async with feeding(server) as feeder, scripted_venue() as venue:
        if service == "ingest":
            urls = {"BINANCE_WS_URL": venue.ws_url, "BINANCE_REST_URL": venue.rest_url}
            settings |= {"VENUE": "binance", "SYMBOLS": "btcusdt", **urls}
        first, second = (make_service(MODULES[service], **settings) for _ in range(2))
        pair = Pair(service, first, second, feeder)
        await pair.start(first)
        await pair.until_works(first)
        yield pair


@pytest.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with connected(nats_server) as made:
        yield made


@asynccontextmanager
async def connected(server: NatsServer) -> AsyncIterator[Bus]:
    async with connect(BusSettings(nats_url=server.url_of("store")), name="store", health=Health("bus")) as made:
        yield made


@pytest.mark.parametrize(
    "service",
    [service if service == "store" else pytest.param(service, marks=pytest.mark.slow) for service in SERVICES],
)
async def test_a_second_instance_says_in_one_line_that_another_is_running_and_takes_over_when_that_is_killed(
    service: str, nats_server: NatsServer, make_service: Make, request: pytest.FixtureRequest
) -> None:
    async with pair_of(service, nats_server, make_service, request) as pair:
        made, said = await pair.durable_made(), pair.first.output()
        await pair.start(pair.second)
        await eventually(lambda: waits(pair.second, service), timeout_s=30)
        if service in GRPC:
            assert not await serving(pair.second.address, GRPC[service][1])

        for _ in range(3):  # three of its questions later it has said nothing more and disturbed nobody
            await asked(pair, nats_server)

        assert waits(pair.second, service) == 1
        assert f"pid {pair.first.process.pid} on " in pair.second.output()
        assert await pair.durable_made() == made
        complaints = re.findall(r".*(?:warning|error).*", pair.first.output().removeprefix(said))
        # What there is nobody to make in this test is waited for, and after some seconds that is said.
        assert [line for line in complaints if "waiting for stream" not in line] == []
        assert await pair.works(pair.first)

        pair.first.process.kill()

        await pair.until_works(pair.second)
        assert f"the {service} of pid {pair.first.process.pid}" in pair.second.output()


async def asked(pair: Pair, server: NatsServer) -> None:
    """Wait until an instance was asked whether it is there."""
    subscription = await pair.bus.client.subscribe(subjects.instance(pair.service, "*"))
    await subscription.next_msg(timeout=10)
    await subscription.unsubscribe()


@pytest.mark.slow
@pytest.mark.parametrize("service", SERVICES)
async def test_one_that_stands_still_is_taken_over_and_waits_when_it_wakes(
    service: str, nats_server: NatsServer, make_service: Make, request: pytest.FixtureRequest
) -> None:
    async with pair_of(service, nats_server, make_service, request) as pair:
        await pair.start(pair.second)
        await eventually(lambda: waits(pair.second, service), timeout_s=30)

        pair.first.process.send(signal.SIGSTOP)
        await pair.until_works(pair.second)
        made = await pair.durable_made()
        pair.first.process.send(signal.SIGCONT)

        await eventually(lambda: waits(pair.first, service), timeout_s=30)
        assert f"another {service} works now (pid {pair.second.process.pid}" in pair.first.output()
        assert await pair.works(pair.second)
        assert await pair.durable_made() == made

        await asyncio.to_thread(pair.second.process.stop)  # gives it back, and the first one works again

        assert pair.second.process.returncode == 0
        await pair.until_works(pair.first)
        await asyncio.to_thread(pair.first.process.stop)
        assert pair.first.process.returncode == 0


async def test_one_that_waits_can_be_asked_to_stop_and_leaves_the_first_one_alone(
    nats_server: NatsServer, make_service: Make, request: pytest.FixtureRequest
) -> None:
    async with pair_of("ingest", nats_server, make_service, request) as pair:
        await pair.start(pair.second)
        await eventually(lambda: waits(pair.second, "ingest"), timeout_s=30)

        await asyncio.to_thread(pair.second.process.stop)

        assert pair.second.process.returncode == 0
        assert await pair.works(pair.first)


async def test_a_holder_of_another_version_is_asked_and_left_alone_while_it_is_there(
    bus: Bus, nats_server: NatsServer
) -> None:
    async with leases.held(bus, "store", health=Health("lease")):
        pass
    await (await bus.js.key_value(subjects.LEASE_BUCKET)).put("store", b'{"instance":"newer","address":"[::1]:1"}')
    async with connected(nats_server) as newer:
        await newer.client.subscribe(subjects.instance("store", "newer"), cb=leases.answering())
        health = Health("lease")
        waiting = asyncio.create_task(leases.Lease(bus, "store").take(health))
        await eventually(lambda: "another store is running (pid 0 on an unknown host" in health.conditions[0].message)

        assert not waiting.done()

    await asyncio.wait_for(waiting, 20)  # now that nobody answers


async def test_a_bus_that_starts_anew_takes_the_lease_from_nobody_who_is_there(
    nats_server: NatsServer,
) -> None:
    async with (
        connected(nats_server) as one,
        connected(nats_server) as other,
        leases.held(one, "store", health=Health("lease")) as lease,
    ):
        health = Health("lease")
        waiting = asyncio.create_task(leases.Lease(other, "store").take(health))
        for _ in range(2):
            await asyncio.to_thread(nats_server.restart)
            await eventually(lambda: one.connected and other.connected)
            await eventually(lambda: confirmed(lease), not_yet=(Exception,))
        async with connect(BusSettings(nats_url=nats_server.url), name="admin", health=Health("bus")) as admin:
            questions = await admin.client.subscribe(subjects.instance("store", "*"))
            for _ in range(2):
                await questions.next_msg(timeout=10)

        assert not waiting.done()
        assert f"another store is running (pid {os.getpid()} on " in health.conditions[0].message
        waiting.cancel()


async def test_all_who_confirm_at_once_after_the_bus_began_anew_find_no_other_instance(nats_server: NatsServer) -> None:
    async with connected(nats_server) as bus:
        lease = leases.Lease(bus, "store")
        await lease.take(Health("lease"))

        async def all_confirm() -> bool:
            await asyncio.gather(*(lease.confirm() for _ in range(20)))
            return True

        for _ in range(2):
            await asyncio.to_thread(nats_server.restart)
            await eventually(lambda: bus.connected)
            await eventually(all_confirm, not_yet=(NatsError, TimeoutError))


async def confirmed(lease: leases.Lease) -> bool:
    await lease.confirm()
    return True


async def test_a_lease_outlives_the_loss_of_the_files_of_the_bus(bus: Bus, nats_server: NatsServer) -> None:
    async with leases.held(bus, "store", health=Health("lease")) as lease:
        async with connect(BusSettings(nats_url=nats_server.url), name="admin", health=Health("bus")) as admin:
            await admin.js.delete_key_value(subjects.LEASE_BUCKET)

        await eventually(lambda: confirmed(lease), not_yet=(Exception,))
        [found] = [await (await bus.js.key_value(subjects.LEASE_BUCKET)).get("store")]
        assert found.value


async def test_a_lease_is_taken_in_a_bucket_that_a_person_gave_another_limit(bus: Bus) -> None:
    await bus.js.create_key_value(bucket=subjects.LEASE_BUCKET, history=1, max_bytes=4 * 2**20)

    async with asyncio.timeout(20), leases.held(bus, "store", health=Health("lease")) as lease:
        await lease.confirm()

    assert (await bus.js.stream_info(f"KV_{subjects.LEASE_BUCKET}")).config.max_bytes == 4 * 2**20


async def test_who_finds_another_name_in_the_key_is_cancelled_and_leaves_the_key_alone(bus: Bus) -> None:
    bucket_value = b'{"instance":"x","host":"elsewhere","pid":7,"since":"2026-01-01T00:00:00Z","server":"s"}'
    with pytest.raises(LeaseLostError, match=r"another store works now \(pid 7 on elsewhere"):
        async with leases.held(bus, "store", health=Health("lease")):
            bucket = await bus.js.key_value(subjects.LEASE_BUCKET)
            await bucket.put("store", bucket_value)
            await asyncio.Event().wait()

    assert (await bucket.get("store")).value == bucket_value


async def test_a_key_that_names_no_holder_is_said_and_taken(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    async with leases.held(bus, "store", health=Health("lease")):
        pass
    await (await bus.js.key_value(subjects.LEASE_BUCKET)).put("store", b"nonsense")

    async with leases.held(bus, "store", health=Health("lease")) as lease:
        await lease.confirm()

    assert "key store of bucket leases names no holder" in caplog.text


def test_nobody_there_means_gone_at_once_only_on_the_same_run_of_the_server() -> None:
    nobody, silent = leases.Sign.NOBODY, leases.Sign.SILENT

    assert leases._is_gone([nobody], at_once=True)
    assert not leases._is_gone([nobody], at_once=False)
    assert not leases._is_gone([nobody] * 11, at_once=False)
    assert leases._is_gone([nobody] * 12, at_once=False)
    assert not leases._is_gone([silent] * 4, at_once=True)
    assert leases._is_gone([silent] * 5, at_once=True)
    assert not leases._is_gone([], at_once=True)


async def test_who_takes_a_lease_over_says_so_to_the_one_before(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_CONFIRM_EVERY_S", 3600.0)
    async with connected(nats_server) as first_bus, connected(nats_server) as second_bus:
        first, second = leases.Lease(first_bus, "store"), leases.Lease(second_bus, "store")
        await first.take(Health("lease"))
        keeping = asyncio.create_task(first.keep())
        asked = {first.instance: leases.Sign.SILENT}
        for _ in range(leases._UNANSWERED):
            again_s = await second.attempt(asked=asked)

        assert again_s is None
        assert f"another store works now (pid {os.getpid()}" in str(await asyncio.wait_for(keeping, 20))
