"""The queue of small messages against a real nats-server: in order, once each, bounded, and nobody waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mesh.bus.connection import DEAD_STREAM, Bus, connect
from mesh.bus.outgoing_queue import OutgoingMessage, OutgoingQueue
from mesh.service.health import Health
from mesh.service.settings import BusSettings
from tests.fixtures.nats import NatsServer
from tests.fixtures.waiting import eventually


def message(number: int) -> OutgoingMessage:
    return OutgoingMessage("trades.dead.RAW", str(number).encode(), {"Nats-Msg-Id": str(number)})


@asynccontextmanager
async def connected(server: NatsServer) -> AsyncIterator[Bus]:
    settings = BusSettings.model_validate({"nats_url": server.url_of("store")})
    async with connect(settings, name="store", health=Health("bus")) as bus:
        yield bus


@asynccontextmanager
async def running(queue: OutgoingQueue) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run())
    try:
        yield
    finally:
        task.cancel()


async def stored(bus: Bus, count: int) -> list[bytes]:
    """Wait until the stream holds so many messages, and return them."""

    async def last() -> int:
        info = await bus.stream_info(DEAD_STREAM.name)
        return 0 if info is None else info.state.last_seq

    async def is_there() -> bool:
        return await last() >= count

    await eventually(is_there)
    return [(await bus.js.get_msg(DEAD_STREAM.name, n)).data or b"" for n in range(1, await last() + 1)]


async def test_messages_are_stored_in_the_order_in_which_they_were_put(nats_server: NatsServer) -> None:
    async with connected(nats_server) as bus:
        await bus.declare(DEAD_STREAM)
        queue = OutgoingQueue(bus, max_waiting=10)
        async with running(queue):
            for number in range(3):
                queue.put(message(number))
            assert await stored(bus, 3) == [b"0", b"1", b"2"]
            queue.put(message(3))  # it waits for more when it has published all
            assert await stored(bus, 4) == [b"0", b"1", b"2", b"3"]
            assert queue.waiting == 0


async def test_a_message_whose_stream_is_missing_is_published_again_until_it_is_stored_and_no_other_overtakes_it(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(nats_server) as bus:
        queue = OutgoingQueue(bus, max_waiting=10)
        async with running(queue):
            queue.put(message(0))
            queue.put(message(1))
            await eventually(lambda: "waiting for the bus to take trades.dead.RAW" in caplog.text)
            assert queue.waiting == 1  # the first one is being published
            await bus.declare(DEAD_STREAM)
            assert await stored(bus, 2) == [b"0", b"1"]


async def test_messages_wait_for_a_server_that_is_away_and_each_is_stored_once(nats_server: NatsServer) -> None:
    async with connected(nats_server) as bus:
        await bus.declare(DEAD_STREAM)
        queue = OutgoingQueue(bus, max_waiting=10)
        async with running(queue):
            nats_server.kill()
            for number in range(3):
                queue.put(message(number))
            await eventually(lambda: not bus.connected)
            nats_server.start()
            assert await stored(bus, 3) == [b"0", b"1", b"2"]


async def test_of_more_messages_than_may_wait_the_oldest_are_dropped_which_is_logged(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(nats_server) as bus:
        await bus.declare(DEAD_STREAM)
        queue = OutgoingQueue(bus, max_waiting=2)
        with caplog.at_level(logging.WARNING, logger="mesh.bus.outgoing_queue"):
            for number in range(3):
                queue.put(message(number))
        assert queue.waiting == 2
        assert caplog.messages == ["2 messages wait for the bus, the last for trades.dead.RAW: dropped the oldest 1"]
        async with running(queue):
            assert await stored(bus, 2) == [b"1", b"2"]
