"""The WebSocket to a venue: pieces, limits, a full queue, goodbyes, and nothing left behind, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request

from ingest.network import Network
from ingest.websocket.venue_socket import MAX_FRAME_BYTES, FrameQueue, VenueSocket, open_socket


@asynccontextmanager
async def opened(
    says: Callable[[ServerConnection], Coroutine[Any, Any, None]], *, max_frames: int = 1000
) -> AsyncIterator[tuple[VenueSocket, FrameQueue]]:
    """Give a socket to a server that says something to it, and the queue that it fills."""
    frames = FrameQueue(max_frames, 2**20)
    async with serve(says, "127.0.0.1", 0, compression=None, close_timeout=1) as server:
        port = server.sockets[0].getsockname()[1]
        socket = await open_socket(f"ws://127.0.0.1:{port}/", frames, network=Network(), within_s=10)
        try:
            yield socket, frames
        finally:
            await socket.close()


async def all_of(frames: FrameQueue) -> list[bytes]:
    """Return what came until the connection ended."""
    found: list[bytes] = []
    async with asyncio.timeout(20):
        while not frames.closed:
            await frames.wait()
            found += frames.take()[0]
    return found + frames.take()[0]


async def test_a_message_in_pieces_arrives_whole_and_in_order() -> None:
    async def says(peer: ServerConnection) -> None:
        await peer.send("first")
        await peer.send([b"in ", b"three ", b"pieces"])
        await peer.ping()
        await peer.send("last")

    async with opened(says) as (socket, frames):
        assert await all_of(frames) == [b"first", b"in three pieces", b"last"]
        assert socket.end == "the venue closed the connection: 1000"


async def test_the_limit_is_of_each_message_and_not_of_all_pieces_of_a_connection() -> None:
    async def says(peer: ServerConnection) -> None:
        for _ in range(3):
            await peer.send([b"x" * 20_000, b"y" * 20_000])

    async with opened(says) as (_, frames):
        assert await all_of(frames) == [b"x" * 20_000 + b"y" * 20_000] * 3


@pytest.mark.parametrize("pieces", [["x" * (MAX_FRAME_BYTES + 1)], ["x" * 40_000, "y" * 40_000], ["x"] * 5000])
async def test_a_message_that_is_too_long_ends_the_connection_and_is_not_kept(pieces: list[str]) -> None:
    closed: list[int | None] = []

    async def says(peer: ServerConnection) -> None:
        await peer.send("short")
        try:
            await peer.send(pieces)
        finally:
            await peer.wait_closed()
            closed.append(peer.close_code)

    async with opened(says) as (socket, frames):
        assert await all_of(frames) == [b"short"]
        assert socket.end.startswith("ingest closed the connection: 1009 ")
    assert closed == [1009]


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [(1001, "until later", "1001 until later"), (4321, "\x1b[2J", "4321 \x1b[2J"), (1000, "", "1000")],
)
async def test_the_venues_goodbye_is_told_with_its_code_and_its_reason(code: int, reason: str, words: str) -> None:
    async def says(peer: ServerConnection) -> None:
        await peer.close(code, reason)

    async with opened(says) as (socket, frames):
        assert await all_of(frames) == []
        assert socket.end == f"the venue closed the connection: {words}"


async def test_a_full_queue_holds_the_venue_back_and_nothing_is_lost() -> None:
    sent = 0

    async def says(peer: ServerConnection) -> None:
        nonlocal sent
        for number in range(4000):
            await peer.send(f"{number:010d}" * 500)
            sent += 1

    async with opened(says, max_frames=5) as (_, frames):
        await frames.wait()
        held_back, before = sent, -1
        while before != held_back:  # 20 MB do not fit between the two
            before = held_back
            await asyncio.sleep(0.2)
            held_back = sent
        assert held_back < 4000
        found, _ = frames.take()
        assert len(found) < 200
        found += await all_of(frames)
    assert [int(frame[:10]) for frame in found] == list(range(4000))


async def test_who_does_not_wait_for_the_handshake_leaves_no_connection_behind() -> None:
    asked, answer, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def late(_: ServerConnection, __: Request) -> None:
        asked.set()
        await answer.wait()

    async def says(peer: ServerConnection) -> None:
        await peer.wait_closed()
        gone.set()

    async with serve(says, "127.0.0.1", 0, process_request=late, ping_interval=None) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        opening = asyncio.create_task(open_socket(url, FrameQueue(1, 1), network=Network(), within_s=60))
        await asyncio.wait_for(asked.wait(), 20)
        opening.cancel()
        await asyncio.wait([opening])
        assert opening.cancelled()
        answer.set()
        await asyncio.wait_for(gone.wait(), 20)
