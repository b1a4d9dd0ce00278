"""The bus against a real nats-server: what is published is in the stream, once and in order, and is read so."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
import uvloop
from nats.aio.transport import TcpTransport
from nats.errors import ConnectionClosedError, MaxPayloadError
from nats.js.api import Header
from pydantic import SecretStr

from mesh.bus.connection import Bus, connect, raw_stream
from mesh.bus.publisher import ForeignPublisherError, Publisher, StreamGoneError
from mesh.bus.purge import purge_oldest
from mesh.bus.reader import Message, Reader
from mesh.local.nats import binary as nats_binary
from mesh.service.errors import LeaseLostError
from mesh.service.health import Health
from mesh.service.settings import BusSettings
from tests.fixtures.nats import LISTENING, PICK_PORT, NatsServer
from tests.fixtures.process import Process
from tests.fixtures.waiting import eventually

RAW_BYTES = 64 * 2**20


@asynccontextmanager
async def bus_of(server: NatsServer, health: Health | None = None) -> AsyncIterator[Bus]:
    settings = BusSettings(nats_url=server.url_of("admin"))
    async with connect(settings, name="ingest", health=health or Health("bus")) as bus:
        await bus.declare(raw_stream(RAW_BYTES))
        yield bus


@asynccontextmanager
async def publisher_of(bus: Bus, *readers: str) -> AsyncIterator[Publisher]:
    publisher = Publisher(bus, "RAW", readers=readers)
    await publisher.open()
    running = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        running.cancel()


async def publish(publisher: Publisher, numbers: range, *, size: int = 20) -> None:
    for number in numbers:
        payload = str(number).encode().ljust(size)
        await publisher.publish("trades.raw.binance.btcusdt", payload, message_id=f"m{number}")


async def read(reader: Reader, count: int) -> list[Message]:
    found: list[Message] = []
    while len(found) < count:
        messages = await reader.next(timeout_s=20)
        assert messages, f"only {len(found)} of {count} messages came"
        found += messages
    return found


def numbers_in(messages: list[Message]) -> list[int]:
    return [int(message.payload) for message in messages]


async def test_what_is_published_is_read_once_and_in_order(nats_server: NatsServer) -> None:
    async with bus_of(nats_server) as bus, publisher_of(bus) as publisher:
        await publish(publisher, range(5000))
        await publisher.settle()
        async with Reader(bus, "RAW", "test", after=0) as reader:
            messages = await read(reader, 5000)
            more = await reader.next(timeout_s=0.1)
    assert numbers_in(messages) == list(range(5000))
    assert [message.sequence for message in messages] == list(range(1, 5001))
    assert more == []


async def test_messages_that_asked_for_no_ack_are_confirmed_when_publishing_pauses(nats_server: NatsServer) -> None:
    async with bus_of(nats_server) as bus, publisher_of(bus) as publisher:
        await publish(publisher, range(3))

        await asyncio.wait_for(publisher.settle(), 10)

        info = await bus.stream_info("RAW")
    assert info is not None
    assert info.state.messages == 3


async def test_settling_does_not_wait_for_the_pause_after_which_confirmations_are_asked_for(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bus_of(nats_server) as bus:
        for name in ("_PAUSE_S", "ACK_EVERY_S", "_ACK_TIMEOUT_S"):
            monkeypatch.setattr(f"mesh.bus.publisher.{name}", 3600.0)
        async with publisher_of(bus) as publisher:
            for start in range(0, 100, 5):
                await publish(publisher, range(start, start + 5))
                await asyncio.wait_for(publisher.settle(), 30)


async def test_each_message_is_told_its_own_sequence_in_order(nats_server: NatsServer) -> None:
    stored: list[int] = []
    async with bus_of(nats_server) as bus, publisher_of(bus) as publisher:
        for number in range(300):
            await publisher.publish(
                "trades.raw.binance.btcusdt", b"x", message_id=f"m{number}", on_stored=stored.append
            )
        await publisher.settle()
    assert stored == list(range(1, 301))


async def test_a_server_killed_while_publishing_costs_nothing(nats_server: NatsServer) -> None:
    async with bus_of(nats_server) as bus, publisher_of(bus) as publisher:
        await publish(publisher, range(500))
        nats_server.kill()
        await publish(publisher, range(500, 1000))
        nats_server.start()
        await publish(publisher, range(1000, 1500))
        last_sequence = publisher.last_sequence
        await asyncio.wait_for(publisher.settle(), 30)
        async with Reader(bus, "RAW", "test", after=0) as reader:
            messages = await read(reader, 1500)
        async with publisher_of(bus) as next_one:
            assert next_one.last_sequence == last_sequence
    assert numbers_in(messages) == list(range(1500))
    assert messages[-1].sequence == last_sequence


async def test_a_server_that_has_forgotten_the_last_message_id_is_published_to(nats_server: NatsServer) -> None:
    """A server that starts knows only the ids of its window for duplicates, as after a stop for some minutes."""
    async with bus_of(nats_server) as bus, publisher_of(bus) as publisher:
        config = raw_stream(RAW_BYTES).config()
        config.duplicate_window = 0.1
        await bus.js.update_stream(config)
        await publish(publisher, range(10))
        await publisher.settle()
        await asyncio.sleep(0.2)  # the window itself
        nats_server.restart()
        await publish(publisher, range(10, 20))
        await asyncio.wait_for(publisher.settle(), 30)
        async with Reader(bus, "RAW", "test", after=0) as reader:
            messages = await read(reader, 20)
    assert numbers_in(messages) == list(range(20))


async def test_a_server_killed_while_reading_costs_nothing(nats_server: NatsServer) -> None:
    async with (
        bus_of(nats_server) as bus,
        publisher_of(bus) as publisher,
        Reader(bus, "RAW", "test", after=0) as reader,
    ):
        await publish(publisher, range(400))
        first = await read(reader, 100)
        nats_server.restart()
        await publish(publisher, range(400, 800))
        rest = await read(reader, 800 - len(first))
    assert numbers_in(first + rest) == list(range(800))


async def test_acks_that_come_while_it_mends_mislead_nobody(nats_server: NatsServer) -> None:
    async with bus_of(nats_server) as bus, publisher_of(bus) as publisher:
        publishing = asyncio.create_task(publish(publisher, range(6000)))
        while not publishing.done():
            for callback in bus._reconnected:
                callback()  # as after a reconnection, with hundreds of acks still on their way
            await asyncio.sleep(0.003)
        await asyncio.wait_for(publisher.settle(), 30)
        async with Reader(bus, "RAW", "test", after=0) as reader:
            messages = await read(reader, 6000)
    assert numbers_in(messages) == list(range(6000))


async def test_reading_begins_after_the_given_position(nats_server: NatsServer) -> None:
    async with bus_of(nats_server) as bus, publisher_of(bus) as publisher:
        await publish(publisher, range(100))
        await publisher.settle()
        async with Reader(bus, "RAW", "test", after=0) as reader:
            taken = await reader.next(max_messages=60, timeout_s=5)
            await reader.ack(taken[-1])
        async with Reader(bus, "RAW", "test", after=40) as reader:
            messages = await read(reader, 60)
    assert numbers_in(messages) == list(range(40, 100))


async def test_a_publisher_goes_on_where_its_predecessor_ended(nats_server: NatsServer) -> None:
    async with bus_of(nats_server) as bus:
        async with publisher_of(bus) as publisher:
            await publish(publisher, range(10))
            await publisher.settle()
        async with publisher_of(bus) as publisher:
            await publish(publisher, range(10, 20))
            await publisher.settle()
        info = await bus.js.stream_info("RAW")
    assert info.state.messages == 20


async def test_two_writers_of_one_stream_are_noticed(nats_server: NatsServer) -> None:
    async with bus_of(nats_server) as bus:
        publisher = Publisher(bus, "RAW")
        await publisher.open()
        await publish(publisher, range(3))
        await publisher.settle()
        await bus.js.publish("trades.raw.binance.btcusdt", b"mine", headers={"Nats-Msg-Id": "foreign"})
        await publish(publisher, range(3, 6))
        with pytest.raises(ForeignPublisherError, match="'foreign', expected 'm2'"):
            await asyncio.wait_for(publisher.run(), 20)
        assert not await asyncio.wait_for(publisher.settle(), 20)  # whoever saves a state then is not told that it may


async def test_of_two_writers_of_an_empty_stream_only_one_begins_it(nats_server: NatsServer) -> None:
    async with bus_of(nats_server) as bus, bus_of(nats_server) as other:
        first, second = Publisher(bus, "RAW"), Publisher(other, "RAW")
        await first.open()
        await second.open()
        running = asyncio.create_task(first.run())
        await publish(first, range(1))
        await first.settle()
        running.cancel()

        await second.publish("trades.raw.binance", b"two", message_id="second")
        with pytest.raises(ForeignPublisherError, match="'m0', expected ''"):
            await asyncio.wait_for(second.run(), 20)
        assert (await bus.js.stream_info("RAW")).state.messages == 1


async def test_one_that_stood_still_does_not_write_behind_its_successor_whose_messages_are_gone(
    nats_server: NatsServer,
) -> None:
    async def lost() -> None:
        raise LeaseLostError("another ingest works now")

    async with bus_of(nats_server) as bus, bus_of(nats_server) as other:
        first = Publisher(bus, "RAW")
        await first.open()
        await publish(first, range(1))
        assert await asyncio.wait_for(first.settle(), 20)
        async with publisher_of(other) as second:
            await publish(second, range(1, 3))
            assert await asyncio.wait_for(second.settle(), 20)
        await bus.js.purge_stream("RAW")
        bus.confirm = lost

        await publish(first, range(3, 4))
        with pytest.raises(LeaseLostError):
            await asyncio.wait_for(first.run(), 20)
        assert (await bus.js.stream_info("RAW")).state.messages == 0


async def test_a_full_stream_holds_the_publisher_back_until_there_is_room(nats_server: NatsServer) -> None:
    async with bus_of(nats_server) as bus, publisher_of(bus) as publisher:
        await bus.js.update_stream(raw_stream(2**20).config())
        publishing = asyncio.create_task(publish(publisher, range(2000), size=2000))
        await eventually(lambda: publisher.pending > 400)
        held = publishing.done()
        admin = await nats.connect(nats_server.url)
        await admin.jetstream().update_stream(raw_stream(RAW_BYTES).config())
        await asyncio.wait_for(publishing, 30)
        await asyncio.wait_for(publisher.settle(), 30)
        await admin.close()
        async with Reader(bus, "RAW", "test", after=0) as reader:
            messages = await read(reader, 2000)
    assert not held
    assert numbers_in(messages) == list(range(2000))


async def test_a_full_stream_forgets_what_every_reader_is_done_with_and_nothing_else(nats_server: NatsServer) -> None:
    async with bus_of(nats_server) as bus, publisher_of(bus, "fast", "slow") as publisher:
        await bus.js.update_stream(raw_stream(2**20).config())
        await publisher.publish("trades.raw.binance.quiet", b"-1", message_id="quiet")
        publishing = asyncio.create_task(publish(publisher, range(2000), size=2000))
        async with Reader(bus, "RAW", "fast", after=0) as fast, Reader(bus, "RAW", "slow", after=0) as slow:
            await fast.ack((await read(fast, 401))[-1])
            await eventually(lambda: publisher.pending > 400)
            held = (await bus.js.stream_info("RAW")).state.first_seq
            messages: list[Message] = []
            while len(messages) < 2001:
                messages += await slow.next(timeout_s=20)
                await slow.ack(messages[-1])
                for message in await fast.next(timeout_s=0.1):
                    await fast.ack(message)
            await asyncio.wait_for(publishing, 30)
            await asyncio.wait_for(publisher.settle(), 30)
        quiet = await bus.js.get_last_msg("RAW", "trades.raw.binance.quiet")
    assert held == 1
    assert numbers_in(messages) == list(range(-1, 2000))
    assert quiet.seq == 1


async def test_of_the_messages_of_many_symbols_a_full_stream_keeps_those_behind_the_last_trades_told_again(
    nats_server: NatsServer,
) -> None:
    async with (
        bus_of(nats_server) as bus,
        publisher_of(bus, "reader") as publisher,
        Reader(bus, "RAW", "reader", after=0) as reader,
    ):
        for number in range(100):
            subject = "trades.raw.binance.last-trades" if number in (4, 9) else "trades.raw.binance"
            await publisher.publish(subject, b"", message_id=f"m{number}")
        await publisher.settle()
        await reader.ack((await read(reader, 100))[-1])
        removed = await eventually(lambda: purge_oldest(bus, "RAW", ["reader"]))
        kept = (await bus.js.stream_info("RAW")).state
    assert (removed, kept.first_seq, kept.messages) == (9, 10, 91)


async def test_a_question_is_asked_again_until_there_is_a_leader_to_answer_it(tmp_path: Path) -> None:
    argv = [str(nats_binary()), "-a", "127.0.0.1", "-p", str(PICK_PORT)]  # without JetStream: the leader is played here
    server = Process(argv, environment={}, log=tmp_path / "nats.log")
    server.start()
    try:
        url = f"nats://127.0.0.1:{server.wait_for_line(LISTENING, timeout_s=20)[1]}"
        async with connect(BusSettings(nats_url=SecretStr(url)), name="ingest", health=Health("bus")) as bus:
            leader = await nats.connect(url)
            questions = await leader.subscribe("$JS.API.STREAM.INFO.RAW")
            await leader.flush()
            asking = asyncio.create_task(bus.client.request("$JS.API.STREAM.INFO.RAW", timeout=30))
            await questions.next_msg(timeout=20)  # and dies with it
            await (await questions.next_msg(timeout=20)).respond(b"told")

            assert (await asking).data == b"told"
            await leader.close()
    finally:
        server.kill()


async def test_health_follows_the_connection(nats_server: NatsServer) -> None:
    health = Health("bus")
    async with bus_of(nats_server, health):
        connected = health.serving
        nats_server.kill()
        await eventually(lambda: not health.serving)
        nats_server.start()
        await eventually(lambda: health.serving)
    assert connected


async def test_a_connection_waits_for_a_server_that_is_not_there_yet(nats_server: NatsServer) -> None:
    nats_server.kill()
    health = Health("bus")

    async def connect_and_leave() -> bool:
        async with bus_of(nats_server, health):
            return health.serving

    connecting = asyncio.create_task(connect_and_leave())
    assert not health.serving
    nats_server.start()
    assert await asyncio.wait_for(connecting, 20)


async def test_a_reader_waits_for_a_stream_that_is_not_there_yet(nats_server: NatsServer) -> None:
    async def first_message(bus: Bus) -> bytes:
        async with Reader(bus, "LATE", "test", after=0) as reader:
            return (await reader.next())[0].payload

    async with bus_of(nats_server) as bus:
        reading = asyncio.create_task(first_message(bus))
        admin = await nats.connect(nats_server.url)
        await admin.jetstream().add_stream(name="LATE", subjects=["late.>"])
        await admin.jetstream().publish("late.one", b"at last")
        assert await asyncio.wait_for(reading, 20) == b"at last"
        await admin.close()


async def test_a_publisher_goes_on_after_the_stream_was_emptied(nats_server: NatsServer) -> None:
    async with bus_of(nats_server) as bus, publisher_of(bus) as publisher:
        await publish(publisher, range(5))
        await publisher.settle()
        await bus.js.purge_stream("RAW")
        nats_server.restart()
        await publish(publisher, range(5, 8))
        await asyncio.wait_for(publisher.settle(), 20)
        async with Reader(bus, "RAW", "test", after=5) as reader:
            messages = await read(reader, 3)
    assert numbers_in(messages) == [5, 6, 7]


async def test_a_stream_that_is_gone_ends_its_publisher(nats_server: NatsServer) -> None:
    async with bus_of(nats_server) as bus:
        publisher = Publisher(bus, "RAW")
        await publisher.open()
        await bus.js.delete_stream("RAW")
        await publish(publisher, range(3))
        with pytest.raises(StreamGoneError, match="has the bus lost its files"):
            await asyncio.wait_for(publisher.run(), 20)


@pytest.mark.slow
async def test_a_bus_that_takes_nothing_is_not_healthy(nats_server: NatsServer) -> None:
    health = Health("bus")
    async with bus_of(nats_server, health) as bus, publisher_of(bus) as publisher:
        await bus.js.update_stream(raw_stream(2**20).config())
        publishing = asyncio.create_task(publish(publisher, range(2000), size=2000))
        await eventually(lambda: not health.serving)
        await bus.js.update_stream(raw_stream(RAW_BYTES).config())
        await asyncio.wait_for(publishing, 30)
        await eventually(lambda: health.serving)


async def posted(bus: Bus, subject: str, payload: bytes) -> None:
    bus.post(subject, payload)


async def published(bus: Bus, subject: str, payload: bytes) -> None:
    await bus.client.publish(subject, payload)


@pytest.mark.parametrize("ways", [(posted,), (published,), (posted, published)])
async def test_what_a_server_does_not_take_yet_waits_in_order(
    nats_server: NatsServer, ways: Sequence[Callable[[Bus, str, bytes], Awaitable[None]]]
) -> None:
    async with bus_of(nats_server) as bus:
        inbox, found = bus.client.new_inbox(), list[int]()
        subscription = await bus.client.subscribe(inbox)
        await bus.client.flush()
        nats_server.process.send(signal.SIGSTOP)
        try:
            for number in range(2000):
                await ways[number % len(ways)](bus, inbox, b"%d" % number + b" " * 8192)
            assert bus.client.pending_data_size > 0
        finally:
            nats_server.process.send(signal.SIGCONT)
        while len(found) < 2000:
            found.append(int((await subscription.next_msg(timeout=20)).data))

    assert found == list(range(2000))


async def test_what_cannot_be_posted_is_an_error(nats_server: NatsServer) -> None:
    async with bus_of(nats_server) as bus:
        with pytest.raises(MaxPayloadError):
            bus.post("trades.raw.x", b" " * (bus.client.max_payload + 1))
    with pytest.raises(ConnectionClosedError):
        bus.post("trades.raw.x", b"late")


def test_a_connection_is_lost_in_the_turn_in_which_its_socket_closes(nats_server: NatsServer) -> None:
    uvloop.run(posted_in_every_turn_around_a_loss(nats_server))  # what services run: its closed socket takes no write


async def posted_in_every_turn_around_a_loss(server: NatsServer) -> None:
    async with bus_of(server) as bus:
        inbox, refused = bus.client.new_inbox(), 0
        lose(bus)
        while not bus.reconnects:
            try:
                bus.post(inbox, b"one")
            except ConnectionClosedError:
                refused += 1
            await bus.client.publish(inbox, b"another")
            await asyncio.sleep(0)
        bus.post(inbox, b"one")
        assert refused

    async with bus_of(server) as bus:  # and it ends, in whichever of those turns
        lose(bus)


def lose(bus: Bus) -> None:
    transport = bus.client._transport
    assert isinstance(transport, TcpTransport) and transport._io_writer is not None
    transport._io_writer.transport.abort()


async def test_headers_arrive_as_they_are_and_a_line_end_in_one_begins_no_other(nats_server: NatsServer) -> None:
    async with bus_of(nats_server) as bus:
        inbox = bus.client.new_inbox()
        subscription = await bus.client.subscribe(inbox)
        await bus.client.publish(inbox, b"plain", headers={Header.MSG_ID: "a-1", "Other": "b"})
        await bus.client.publish(inbox, b"broken", headers={"Some-Id": "a\r\nOther: b"})
        plain, broken = [await subscription.next_msg(timeout=20) for _ in range(2)]

    assert (plain.data, plain.headers) == (b"plain", {"Nats-Msg-Id": "a-1", "Other": "b"})
    assert (broken.data, list(broken.headers or {})) == (b"broken", ["Some-Id"])
