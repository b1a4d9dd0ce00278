"""The ordered reader when the stream under it is another one than before."""

from __future__ import annotations

import asyncio
import shutil
from typing import Any

import pytest

from mesh.bus.connection import CONTROL_STREAM, raw_stream
from mesh.bus.reader import Message, Reader, StreamReplacedError, make_durable
from mesh.bus.subjects import MESSAGE_ID
from tests.fixtures.nats import NatsServer
from tests.fixtures.store import feeding
from tests.fixtures.trades import columns
from tests.fixtures.waiting import eventually


async def test_a_stream_made_anew_is_said_instead_of_read_past_its_end(nats_server: NatsServer) -> None:
    async with feeding(nats_server) as feeder, Reader(feeder.bus, "RAW", "test", after=0) as reader:
        await feeder.publish(columns(1, 1))
        assert len(await reader.next(timeout_s=10)) == 1

        await feeder.bus.js.delete_stream("RAW")
        await feeder.bus.declare(raw_stream(2**30))
        await feeder.publish(columns(2, 1))

        with pytest.raises(StreamReplacedError, match="is not the one that was read up to 1"):
            await reader.next(timeout_s=30)


async def test_reading_writes_no_file_of_its_own(nats_server: NatsServer) -> None:
    def kept() -> set[str]:
        return {path.name for path in nats_server.directory.rglob("obs/**/o.dat")}

    async with feeding(nats_server) as feeder, Reader(feeder.bus, "RAW", "test", after=0) as reader:
        await feeder.publish(columns(1, 1))
        [message] = await reader.next(timeout_s=10)
        await reader.ack(message)
        config = (await feeder.bus.js.consumer_info("RAW", "test")).config

    assert (config.mem_storage, kept()) == (True, set())


async def test_a_position_behind_the_streams_end_is_said(nats_server: NatsServer) -> None:
    async with feeding(nats_server) as feeder:
        with pytest.raises(StreamReplacedError, match="ending with 0"):
            await Reader(feeder.bus, "RAW", "test", after=7).__aenter__()


async def test_a_stream_that_lost_its_end_and_has_grown_again_is_said(nats_server: NatsServer) -> None:
    files, kept = nats_server.directory / "store", nats_server.directory / "kept"
    async with feeding(nats_server) as feeder:
        await feeder.publish(columns(1, 1))
        nats_server.stop()
        shutil.copytree(files, kept)
        nats_server.start()
        await eventually(lambda: feeder.bus.connected)
        await feeder.publish(columns(2, 1))
        async with Reader(feeder.bus, "RAW", "test", after=0) as reader:
            read = [message for _ in range(2) for message in await reader.next(max_messages=1, timeout_s=10)]
            nats_server.stop()
            shutil.rmtree(files)
            shutil.copytree(kept, files)
            nats_server.start()
            await eventually(lambda: feeder.bus.connected)
            await feeder.publish(columns(3, 1))

            with pytest.raises(StreamReplacedError, match="ending with 2, is not the one that was read up to 2"):
                await reader.next(timeout_s=30)
        with pytest.raises(StreamReplacedError):
            await Reader(feeder.bus, "RAW", "test", after=2, after_us=read[-1].taken_us).__aenter__()


async def test_who_follows_the_last_message_follows_it_in_a_stream_made_anew(nats_server: NatsServer) -> None:
    async with feeding(nats_server) as feeder:
        await feeder.bus.declare(CONTROL_STREAM)
        for number in range(5):
            await feeder.bus.js.publish("control.symbol", b"old %d" % number)
        async with Reader(feeder.bus, "CONTROL", "test", after=None) as reader:
            assert [message.payload for message in await reader.next(timeout_s=10)] == [b"old 4"]

            await feeder.bus.js.delete_stream("CONTROL")
            await feeder.bus.declare(CONTROL_STREAM)
            await feeder.bus.js.publish("control.symbol", b"new")

            assert [message.payload for message in await reader.next(timeout_s=30)] == [b"new"]


@pytest.mark.slow
async def test_waiting_ends_in_time_while_the_stream_is_gone(nats_server: NatsServer) -> None:
    async with feeding(nats_server) as feeder, Reader(feeder.bus, "RAW", "test", after=0) as reader:
        await feeder.bus.js.delete_stream("RAW")
        # Long enough for the reader to notice that nothing beats any more and to try again.
        async with asyncio.timeout(60):
            assert await reader.next(timeout_s=8) == []


async def test_a_message_says_how_many_wait_behind_it(nats_server: NatsServer) -> None:
    async with feeding(nats_server) as feeder:
        for first_id in (1, 2, 3):
            await feeder.publish(columns(first_id, 1))
        async with Reader(feeder.bus, "RAW", "test", after=0) as reader:
            messages = [*await reader.next(timeout_s=10)]
            while len(messages) < 3:
                messages += await reader.next(timeout_s=10)

    assert [(message.sequence, message.pending) for message in messages] == [(1, 2), (2, 1), (3, 0)]


async def test_a_consumer_made_by_another_of_the_same_name_makes_no_hole(nats_server: NatsServer) -> None:
    """It reads as often as the first one has read, so that the count of the consumer tells nothing."""
    async with feeding(nats_server) as feeder, Reader(feeder.bus, "RAW", "test", after=0, gather_s=0.01) as reader:
        await feeder.publish(columns(1, 1))
        [first] = await reader.next(timeout_s=10)  # nothing more is asked for yet
        for number in range(2, 9):
            await feeder.publish(columns(number, 1))
        await make_durable(feeder.bus, "RAW", "test", after=4, subjects=[])
        other = await feeder.bus.js.pull_subscribe_bind("test", "RAW")
        await other.fetch(1, timeout=10)

        found = [first.sequence]
        while found[-1] < 8:
            messages = await reader.next(timeout_s=10)
            assert messages
            found += [message.sequence for message in messages]

    assert found == list(range(1, 9))


async def test_messages_that_the_stream_has_no_more_are_passed_over(nats_server: NatsServer) -> None:
    async with feeding(nats_server) as feeder:
        for number in range(1, 7):
            await feeder.publish(columns(number, 1))
        for number in (1, 4, 5):
            await feeder.bus.js.delete_msg("RAW", number)
        async with Reader(feeder.bus, "RAW", "test", after=0) as reader:
            found: list[int] = []
            while len(found) < 3:
                messages = await reader.next(timeout_s=10)
                assert messages
                found += [message.sequence for message in messages]

    assert found == [2, 3, 6]


async def test_a_message_is_the_same_whether_it_is_taken_as_it_is_read_or_by_a_task(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[dict[str, str] | None] = [None, {MESSAGE_ID: "one.1-one.2"}, {"Other": "x", MESSAGE_ID: "two"}]
    unnamed: list[dict[str, str] | None] = [{"Other": "x"}, {"Other": f"not {MESSAGE_ID}: three"}]
    count = len(named) + len(unnamed) + 1
    async with feeding(nats_server) as feeder:
        for number, headers in enumerate([*named, *unnamed, {MESSAGE_ID: "four"}]):
            subject, payload = f"trades.raw.binance.coin{number}usdt", bytes([number]) * number
            await feeder.bus.js.publish(subject, payload, headers=headers and dict(headers))

        class Nobody(dict[int, Any]):
            """Leaves every message to a task."""

            def __setitem__(self, subscription: int, taker: Any) -> None:
                pass

        found: list[list[Message]] = []
        by_task: list[int] = []
        for takers in (dict[int, Any](), Nobody()):
            monkeypatch.setattr(feeder.bus.client, "takers", takers)
            async with Reader(feeder.bus, "RAW", "test", after=0) as reader:
                found.append([])
                while len(found[-1]) < count:
                    found[-1] += await reader.next(timeout_s=10)
                assert reader._subscription is not None
                by_task.append(reader._subscription.delivered)

    at_once, later = ([message._replace(reply="") for message in messages] for messages in found)
    assert at_once == later
    assert [message.message_id for message in at_once] == ["", "one.1-one.2", "two", "", "", "four"]
    assert by_task[0] < count <= by_task[1]
