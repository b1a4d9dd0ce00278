"""Plain connections beside gRPC, over real sockets: who is let in, what is bounded, and how each side ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from mesh.service import direct
from mesh.service.direct import DirectListener, DirectReceiver, DirectSender, connected, listening, taken_within
from mesh.service.errors import NotReady
from mesh.service.tls import Tls
from tests.fixtures.tls import Authority
from tests.fixtures.waiting import eventually

HOST = "127.0.0.1"


@asynccontextmanager
async def pair(received: list[bytes], *, tls: Tls | None = None) -> AsyncIterator[tuple[DirectSender, DirectReceiver]]:
    async with listening(HOST, 0, tls=tls) as listener:
        with listener.offer() as (ticket, taken):
            async with connected(HOST, listener.port, ticket, received.extend, tls=tls) as receiver:
                yield await taken_within(taken), receiver


async def closed(reader: asyncio.StreamReader) -> bool:
    """Return whether the other side closes the connection without a word."""
    try:
        async with asyncio.timeout(20):
            return await reader.read() == b""
    except ConnectionResetError:
        return True


async def test_messages_come_in_order_and_an_end_in_order_is_no_error() -> None:
    messages = [b"", b"one", b"x" * 300_000, *(str(number).encode() for number in range(2_000))]
    received: list[bytes] = []
    async with pair(received) as (sender, receiver):
        for message in messages:
            await sender.send(message)
        sender.close()
        await receiver.lost
    assert received == messages


async def test_who_reads_nothing_is_waited_for_alone_and_its_end_wakes_who_waits() -> None:
    received: list[bytes] = []
    async with listening(HOST, 0, tls=None) as listener, pair(received) as (other, _):
        with listener.offer() as (ticket, taken):
            reader, writer = await asyncio.open_connection(HOST, listener.port, limit=1)
            writer.write(ticket)
            slow = await taken_within(taken)

            async def fill() -> None:
                while True:
                    await slow.send(bytes(100_000))

            lost = asyncio.Event()
            slow.tell_when_lost(lost.set)
            filling = asyncio.create_task(fill())
            await eventually(lambda: not slow._room.is_set())
            assert not slow.send_at_once(b"no room")
            assert other.send_at_once(b"not held up")
            await eventually(lambda: received == [b"not held up"])
            filling.cancel()
            waiting = asyncio.create_task(slow.send(b"one more"))
            writer.transport.abort()
            await waiting
            await lost.wait()
            await slow.send(b"nobody is there")
            del reader


@pytest.mark.parametrize("reads", [True, False])
async def test_who_listens_ends_once_what_was_sent_is_written_or_nobody_reads_it(
    reads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "WRITTEN_WITHIN_S", 20.0 if reads else 0.1)
    loop = asyncio.get_running_loop()
    with socket.socket() as reader:
        reader.setblocking(False)

        async def read() -> int:
            size = 0
            while some := await loop.sock_recv(reader, 1 << 16):
                size += len(some)
            return size

        async with listening(HOST, 0, tls=None) as listener:
            with listener.offer() as (ticket, taken):
                await loop.sock_connect(reader, (HOST, listener.port))
                await loop.sock_sendall(reader, ticket)
                sender, sent = await taken_within(taken), 0
                while sender.send_at_once(bytes(100_000)):
                    sent += 100_004
            reading = asyncio.create_task(read()) if reads else None
        assert sender._transport is None or sender._transport.get_write_buffer_size() == 0
        if reading is not None:
            assert await reading == sent


@pytest.mark.parametrize("who", ["sender", "receiver", "nobody"])
async def test_nothing_is_kept_of_connections_that_have_ended(who: str) -> None:
    async with listening(HOST, 0, tls=None) as listener:
        for _ in range(100):
            with listener.offer() as (ticket, taken):
                async with connected(HOST, listener.port, ticket, lambda _: None, tls=None) as receiver:
                    sender = await taken_within(taken)
                    await sender.send(b"one")
                    if who == "sender":
                        sender.close()
                        await receiver.lost
                if who == "receiver":
                    await sender.gone.wait()
        await eventually(lambda: not listener._closing)
        assert not listener._offers and not listener._without_ticket


async def test_a_ticket_is_good_once_and_nothing_else_is_a_ticket(caplog: pytest.LogCaptureFixture) -> None:
    async with listening(HOST, 0, tls=None) as listener:
        with listener.offer() as (ticket, taken):
            for shown in (b"\0" * 16, ticket + b"and more", b"GET / HTTP/1.1\r\n\r\n"):
                reader, writer = await asyncio.open_connection(HOST, listener.port)
                writer.write(shown)
                assert await closed(reader)
                assert not taken.done() or taken.cancelled()
                writer.close()
            async with connected(HOST, listener.port, ticket, lambda _: None, tls=None) as receiver:
                sender = await taken_within(taken)
                reader, writer = await asyncio.open_connection(HOST, listener.port)
                writer.write(ticket)
                assert await closed(reader)
                assert not receiver.lost.done()
                writer.close()
                sender.abort()
    assert "showed no ticket that is good" in caplog.text
    assert ticket.hex() not in caplog.text and str(ticket) not in caplog.text


async def test_who_says_more_than_its_ticket_later_is_let_go() -> None:
    async with listening(HOST, 0, tls=None) as listener:
        with listener.offer() as (ticket, taken):
            reader, writer = await asyncio.open_connection(HOST, listener.port)
            writer.write(ticket)
            await taken_within(taken)
            writer.write(b"x")
            assert await closed(reader)
            writer.close()


async def test_connections_without_a_ticket_are_few_and_do_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "MAX_WITHOUT_TICKET", 3)
    async with listening(HOST, 0, tls=None) as listener:
        silent = [await asyncio.open_connection(HOST, listener.port) for _ in range(3)]
        await eventually(lambda: len(listener._without_ticket) == 3)
        reader, writer = await asyncio.open_connection(HOST, listener.port)
        assert await closed(reader)
        writer.close()
        for _, one in silent:
            one.close()
        await eventually(lambda: not listener._without_ticket)
        monkeypatch.setattr(direct, "CONNECT_WITHIN_S", 0.1)
        reader, writer = await asyncio.open_connection(HOST, listener.port)
        writer.write(b"half a")
        assert await closed(reader)
        writer.close()
        assert not listener._without_ticket


async def test_nobody_who_connects_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "CONNECT_WITHIN_S", 0.1)
    async with listening(HOST, 0, tls=None) as listener:
        with listener.offer() as (_, taken), pytest.raises(NotReady, match=r"nobody connected .* within 0\.1 s"):
            await taken_within(taken)


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen for plain connections on {HOST}:{port}: .*in use"):
            async with listening(HOST, port, tls=None):
                pass


async def test_a_port_that_nobody_listens_on_is_an_error_at_once() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(OSError):
        async with connected(HOST, port, b"\0" * 16, lambda _: None, tls=None):
            pass


async def test_with_tls_both_sides_show_a_certificate(tmp_path: Path) -> None:
    ours, foreign = Authority(tmp_path / "ours").tls(), Authority(tmp_path / "foreign").tls()
    received: list[bytes] = []
    async with pair(received, tls=ours) as (sender, _):
        await sender.send(b"x" * 200_000)
        await sender.send(b"encrypted")
        await eventually(lambda: received[-1:] == [b"encrypted"])

    async def refused(listener: DirectListener, tls: Tls | None) -> None:
        with listener.offer() as (ticket, taken):
            try:
                async with connected(HOST, listener.port, ticket, received.extend, tls=tls) as receiver:
                    await receiver.lost
            except OSError:
                pass
            assert not taken.done()

    del received[:]
    async with listening(HOST, 0, tls=ours) as listener:
        await refused(listener, foreign)
        await refused(listener, None)
    assert received == []


async def test_an_error_of_the_taker_ends_the_connection() -> None:
    def take(_: Sequence[bytes]) -> None:
        raise LookupError("the taker's own")

    async with listening(HOST, 0, tls=None) as listener:
        with listener.offer() as (ticket, taken):
            async with connected(HOST, listener.port, ticket, take, tls=None) as receiver:
                sender = await taken_within(taken)
                lost = asyncio.Event()
                sender.tell_when_lost(lost.set)
                await sender.send(b"one")
                with pytest.raises(LookupError):
                    await receiver.lost
                await lost.wait()


def test_others_have_their_turn_between_what_comes_in_a_flood() -> None:
    uvloop.run(others_have_their_turn())  # asyncio's own loop reads once a turn, the one services use up to 32 times


async def others_have_their_turn() -> None:
    turns, taken_in = 0, list[int]()

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    def take(messages: Sequence[bytes]) -> None:
        taken_in.extend([turns] * len(messages))

    async with listening(HOST, 0, tls=None) as listener:
        with listener.offer() as (ticket, taken):
            async with connected(HOST, listener.port, ticket, take, tls=None) as receiver:
                sender = await taken_within(taken)
                reading, writing = receiver._transport, sender._transport
                assert reading is not None and writing is not None
                writing.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**22)
                reading.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
                reading.pause_reading()
                sent = 0
                while sender.send_at_once(bytes(2**17)):
                    sent += 1
                if sent <= 20:
                    pytest.skip(f"the system's buffers of sockets hold {sent} messages of 128 KiB, too few for a flood")
                counting = asyncio.create_task(count_turns())
                reading.resume_reading()
                await eventually(lambda: len(taken_in) >= sent)
                counting.cancel()
    most = max(taken_in.count(turn) for turn in set(taken_in))
    assert most <= 4, f"{most} of {sent} messages of 128 KiB in one turn of the loop"
