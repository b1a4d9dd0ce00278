"""The bus as a cluster of three real servers: whichever is killed, no message is lost, doubled or out of order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest
from nats.errors import Error as NatsError
from nats.js.errors import NoStreamResponseError

from mesh.bus import subjects
from mesh.bus.connection import Bus, connect, raw_stream
from mesh.bus.leases import Lease, Sign
from mesh.bus.publisher import ForeignPublisherError, Publisher
from mesh.bus.reader import Reader
from mesh.service.health import Health
from mesh.service.settings import BusSettings
from tests.fixtures.nats import NatsCluster, NatsServer
from tests.fixtures.ports import free_ports
from tests.fixtures.waiting import eventually

pytestmark = pytest.mark.slow


@asynccontextmanager
async def bus_of(url: str, *, replicas: int = 3, health: Health | None = None) -> AsyncIterator[Bus]:
    settings = BusSettings.model_validate({"nats_url": url, "bus_replicas": replicas})
    async with connect(settings, name="ingest", health=health or Health("bus")) as bus:
        yield bus


@asynccontextmanager
async def publisher_of(bus: Bus) -> AsyncIterator[Publisher]:
    publisher = Publisher(bus, subjects.RAW)
    await publisher.open()
    running = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        running.cancel()


async def publish(publisher: Publisher, count: int, *, first: int = 0) -> None:
    for number in range(first, first + count):
        await publisher.publish(subjects.raw_of_symbol("sim", "btcusdt"), str(number).encode(), message_id=f"m{number}")


async def numbers_of(reader: Reader, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        messages = await reader.next(timeout_s=90)
        assert messages, f"only {len(found)} of {count} messages came"
        found += [int(message.payload) for message in messages]
    return found


async def test_the_leader_of_a_stream_is_killed_again_and_again_and_nothing_is_lost(nats_cluster: NatsCluster) -> None:
    async with bus_of(nats_cluster.url_of("admin")) as bus:
        await bus.declare(raw_stream(64 * 2**20))
        async with publisher_of(bus) as publisher, Reader(bus, subjects.RAW, "test", after=0) as reader:
            reading = asyncio.create_task(numbers_of(reader, 9000))
            for round_ in range(3):
                await eventually(lambda: asyncio.to_thread(nats_cluster.is_whole), timeout_s=60)
                await publish(publisher, 3000, first=3000 * round_)
                leader = await eventually(
                    lambda: nats_cluster.leader_of(bus, subjects.RAW), timeout_s=60, not_yet=(Exception,)
                )
                leader.kill()
                await asyncio.wait_for(publisher.settle(), 90)
                leader.start()
            assert await asyncio.wait_for(reading, 90) == list(range(9000))
            info = await eventually(lambda: bus.js.stream_info(subjects.RAW), timeout_s=60, not_yet=(Exception,))
    assert (info.state.messages, info.state.last_seq, info.config.num_replicas) == (9000, 9000, 3)


async def test_one_that_stood_still_is_refused_and_the_stream_goes_on(
    nats_cluster: NatsCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bus_of(nats_cluster.url_of("admin")) as bus:
        await bus.declare(raw_stream(64 * 2**20))
        former = Publisher(bus, subjects.RAW)
        await former.open()
        await publish(former, 10)
        assert await asyncio.wait_for(former.settle(), 60)
        async with publisher_of(bus) as publisher:
            await publish(publisher, 10, first=10)
            assert await asyncio.wait_for(publisher.settle(), 60)

            with monkeypatch.context() as patch:  # as if it had stood still
                patch.setattr("mesh.bus.publisher.TRUSTED_S", 0.0)
                await publish(former, 100, first=1000)  # at the eleventh the stream ends with what it expects
            with pytest.raises(ForeignPublisherError, match="'m19', expected 'm9'"):
                await asyncio.wait_for(former.run(), 60)

            await publish(publisher, 10, first=20)
            assert await asyncio.wait_for(publisher.settle(), 60)
        assert await asyncio.to_thread(nats_cluster.is_whole)
        async with Reader(bus, subjects.RAW, "test", after=0) as reader:
            assert await numbers_of(reader, 30) == list(range(30))


async def test_what_one_publishes_while_it_is_cut_off_never_reaches_the_stream_that_another_one_writes_meanwhile(
    nats_cluster: NatsCluster,
) -> None:
    *others, last = nats_cluster.url_of("admin").split(",")
    async with bus_of(last) as cut_off, bus_of(",".join(others)) as bus:
        await bus.declare(raw_stream(64 * 2**20))
        former = Publisher(cut_off, subjects.RAW)
        await former.open()
        await publish(former, 10)
        assert await asyncio.wait_for(former.settle(), 60)
        async with publisher_of(bus) as publisher:
            nats_cluster.servers[-1].kill()
            await eventually(lambda: not cut_off.connected)
            await publish(former, 100, first=1000)
            await publish(publisher, 10, first=10)  # at the eleventh the stream ends with what the former one expects
            assert await asyncio.wait_for(publisher.settle(), 60)
            nats_cluster.servers[-1].start()
            with pytest.raises(ForeignPublisherError, match="'m19', expected 'm9'"):
                await asyncio.wait_for(former.run(), 60)

            await publish(publisher, 10, first=20)
            assert await asyncio.wait_for(publisher.settle(), 60)
        async with Reader(bus, subjects.RAW, "test", after=0) as reader:
            assert await numbers_of(reader, 30) == list(range(30))


async def test_a_message_that_is_refused_for_its_predecessor_does_the_stream_no_harm(nats_cluster: NatsCluster) -> None:
    async with bus_of(nats_cluster.url_of("admin")) as bus:
        await bus.declare(raw_stream(64 * 2**20))
        one, other = Publisher(bus, subjects.RAW), Publisher(bus, subjects.RAW)
        await one.open()
        await other.open()
        await publish(one, 10)
        assert await asyncio.wait_for(one.settle(), 60)

        await publish(other, 5, first=1000)
        with pytest.raises(ForeignPublisherError, match="'m9', expected ''"):
            await asyncio.wait_for(other.run(), 60)

        await publish(one, 10, first=10)
        assert await asyncio.wait_for(one.settle(), 60)
        assert await asyncio.to_thread(nats_cluster.is_whole)
        assert (await bus.js.stream_info(subjects.RAW)).state.last_seq == 20


async def test_without_most_of_its_servers_a_bus_takes_nothing_and_says_so_until_they_are_back(
    nats_cluster: NatsCluster,
) -> None:
    health = Health("bus")
    async with bus_of(nats_cluster.url_of("admin"), health=health) as bus:
        await bus.declare(raw_stream(64 * 2**20))
        async with publisher_of(bus) as publisher:
            await publish(publisher, 100)
            await publisher.settle()
            away = nats_cluster.servers[1:]
            for server in away:
                server.kill()
            await publish(publisher, 100, first=100)
            await eventually(lambda: "bus" in health.away, timeout_s=60)
            for server in away:
                server.start()

            await asyncio.wait_for(publisher.settle(), 90)
            await eventually(lambda: "bus" not in health.away, timeout_s=60)
        async with Reader(bus, subjects.RAW, "test", after=0) as reader:
            assert await numbers_of(reader, 200) == list(range(200))


async def test_one_that_is_gone_has_left_its_lease_unless_its_server_is_gone_too(nats_cluster: NatsCluster) -> None:
    url = nats_cluster.url_of("admin")
    async with bus_of(url) as gone, AsyncExitStack() as stack:
        bus = gone
        while bus.server == gone.server:  # which server a connection is to is drawn
            bus = await stack.enter_async_context(bus_of(url))
        for part in ("0", "1"):
            await eventually(partial(taken, Lease(gone, "store", part, instance="gone")), what="the lease is taken")
        nobody, server = {"gone": Sign.NOBODY}, gone.client._server_info["server_name"]

        assert await Lease(bus, "store", "0").attempt(asked=nobody) is None

        nats_cluster.servers[int(server.removeprefix("tickmesh-")) - 1].kill()
        look = partial(Lease(bus, "store", "1").attempt, asked=nobody)
        again_s = await eventually(look, timeout_s=60, what="it is looked", not_yet=(NatsError, TimeoutError))
        assert again_s is not None  # those who were connected to it may be on their way to another one


async def taken(lease: Lease) -> bool:
    with contextlib.suppress(NatsError):  # the bucket has no leader yet
        return await lease.attempt() is None
    return False


async def test_a_bucket_and_a_stream_of_one_server_go_to_as_many_as_are_wanted(nats_cluster: NatsCluster) -> None:
    for replicas in (1, 3):
        async with bus_of(nats_cluster.url_of("admin"), replicas=replicas) as bus:
            await bus.declare(raw_stream(64 * 2**20))
            bucket = await bus.bucket(subjects.LEASE_BUCKET, max_bytes=2**20)
            if replicas == 1:
                # Some server may not have heard yet who has the bucket.
                put = partial(bucket.put, "ingest", b"here")
                await eventually(put, not_yet=(NoStreamResponseError,))
            for stream in (subjects.RAW, f"KV_{subjects.LEASE_BUCKET}"):
                assert (await bus.js.stream_info(stream)).config.num_replicas == replicas
            assert (await bucket.get("ingest")).value == b"here"


async def test_several_copies_on_a_single_server_are_refused_in_words(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with bus_of(nats_server.url_of("admin")) as bus:
        declaring = asyncio.create_task(bus.declare(raw_stream(64 * 2**20)))
        await eventually(lambda: "waiting for the bus to declare stream RAW" in caplog.text)
        declaring.cancel()
    assert "replicas > 1 not supported in non-clustered mode" in caplog.text


async def test_while_no_server_answers_the_log_names_all_of_them(caplog: pytest.LogCaptureFixture) -> None:
    one, other = free_ports(2)
    url = f"nats://ingest:secret@127.0.0.1:{one},nats://ingest:secret@127.0.0.1:{other}"

    async def never() -> None:
        async with bus_of(url):
            raise AssertionError("it connected")

    with caplog.at_level(logging.WARNING):
        connecting = asyncio.create_task(never())
        await eventually(lambda: f"waiting for NATS at 127.0.0.1:{one},127.0.0.1:{other}: " in caplog.text)
        connecting.cancel()
    assert "secret" not in caplog.text
