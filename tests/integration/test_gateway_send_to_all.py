"""The same frames to many clients at once, on real sockets that take all, a part, or nothing of it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import uvloop

from gateway.live import connection
from gateway.live.connection import WebSocketConnection, bare_sockets, text_frames, write_to_all
from tests.fixtures.gateway import Gateway, running_gateway
from tests.fixtures.waiting import eventually
from tickcodec.sockets import send_to_all

HANDSHAKE = (
    b"GET /ws?symbols=*&events=false HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


in_each_loop = pytest.mark.parametrize("run", [asyncio.run, uvloop.run])  # the gateway's is uvloop


class Client:
    """A client that reads when it is told to, and both ends of its connection."""

    def __init__(self, raw: socket.socket, served: WebSocketConnection) -> None:
        self.raw = raw
        self.served = served

    async def read(self, size: int, *, step: int = 1 << 16) -> bytes:
        """Read so many bytes, at most `step` of them at a time."""
        loop, found = asyncio.get_running_loop(), b""
        async with asyncio.timeout(20):
            while len(found) < size and (more := await loop.sock_recv(self.raw, min(step, size - len(found)))):
                found += more
        return found

    async def nothing_more(self) -> bool:
        """Whether the next that comes is the answer to a ping, and so nothing was sent before."""
        await asyncio.get_running_loop().sock_sendall(self.raw, b"\x89\x80" + bytes(4))
        return await self.read(2) == b"\x8a\x00"

    def reset(self) -> None:
        """End the connection at once, with what the kernel calls a reset."""
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.raw.close()


@asynccontextmanager
async def connected(gateway: Gateway, count: int) -> AsyncIterator[list[Client]]:
    loop, clients = asyncio.get_running_loop(), list[Client]()
    async with AsyncExitStack() as stack:
        for _ in range(count):
            raw = stack.enter_context(socket.socket())
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            raw.setblocking(False)
            await loop.sock_connect(raw, ("127.0.0.1", gateway.port))
            await loop.sock_sendall(raw, HANDSHAKE)
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += await loop.sock_recv(raw, 1)
            here = raw.getsockname()
            [served] = [
                one
                for one in gateway.server.server_state.connections
                if isinstance(one, WebSocketConnection) and one.client == here
            ]
            clients.append(Client(raw, served))
        yield clients


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What each socket took of what was sent to all, noted while it is sent."""
    noted = list[int]()

    def noting(sockets: Sequence[int], data: bytes) -> Sequence[int] | None:
        sent = send_to_all(sockets, data)
        noted.extend([len(data)] * len(sockets) if sent is None else sent)
        return sent

    monkeypatch.setattr(connection, "send_to_all", noting)
    return noted


def numbered(first: int, count: int, size: int) -> bytes:
    return text_frames(b"%d " % number + b"." * size for number in range(first, first + count))


@pytest.mark.parametrize("full", [False, True])
@in_each_loop
def test_a_client_that_takes_a_part_or_nothing_gets_the_rest_in_order_and_the_others_wait_for_nothing(
    run: Callable[[Coroutine[Any, Any, None]], None], taken: list[int], full: bool
) -> None:
    async def scenario() -> None:
        async with running_gateway() as gateway, connected(gateway, 2) as (slow, quick):
            sent = numbered(0, 1000, 4000)
            already = 0
            while full and (took := send_to_all(bare_sockets([slow.served]), sent[already:])) and took[0]:
                already += took[0]
            rest, more = sent[already:], numbered(1000, 3, 10)
            taken.clear()
            reading = asyncio.create_task(quick.read(len(rest)))
            assert write_to_all([quick.served, slow.served], rest) == []
            assert (0 if full else 1) <= taken[1] < len(rest)
            assert bare_sockets([slow.served]) == [-1]  # the rest waits in front of all that follows
            assert write_to_all([slow.served], more) == [0]
            assert await reading == rest
            assert await slow.read(len(sent), step=10_000) == sent
            await eventually(lambda: bare_sockets([slow.served])[0] >= 0)
            last = numbered(7, 2, 10)
            assert write_to_all([slow.served, quick.served], last) == []
            for client in (slow, quick):
                assert await client.read(len(last)) == last
                assert await client.nothing_more()

    run(scenario())


@in_each_loop
def test_a_client_that_was_reset_a_moment_ago_ends_alone(
    run: Callable[[Coroutine[Any, Any, None]], None], taken: list[int]
) -> None:
    async def scenario() -> None:
        async with running_gateway() as gateway, connected(gateway, 3) as clients:
            first, gone, last = clients
            gone.reset()
            frames = numbered(1, 5, 100)
            for _ in range(2):  # the kernel tells the reset first, and then that the pipe is broken
                write_to_all([one.served for one in clients], frames)
            assert taken[:3] == [len(frames), 0, len(frames)]
            for client in (first, last):
                assert await client.read(2 * len(frames)) == 2 * frames
            await eventually(lambda: gone.served not in gateway.server.server_state.connections)
            assert bare_sockets([gone.served]) == [-1]
            write_to_all([one.served for one in clients], frames)
            for client in (first, last):
                assert await client.read(len(frames)) == frames
                assert await client.nothing_more()

    run(scenario())


@in_each_loop
def test_a_client_that_is_being_closed_is_sent_nothing_behind_its_close(
    run: Callable[[Coroutine[Any, Any, None]], None], taken: list[int]
) -> None:
    async def scenario() -> None:
        async with running_gateway() as gateway, connected(gateway, 2) as (leaving, staying):
            leaving.served.let_go(1008, "too slow", grace_s=20)
            assert write_to_all([leaving.served, staying.served], numbered(1, 1, 10)) == [0]
            assert len(taken) == 1
            assert await leaving.read(12) == b"\x88\x0a\x03\xf0too slow"
            assert await staying.read(14) == numbered(1, 1, 10)

    run(scenario())
