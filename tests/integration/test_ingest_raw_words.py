"""Words that are no HTTP, no WebSocket, or neither in good faith, over real sockets: nothing of it ends ingest."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from ingest import venue_choice
from ingest.binance import BinanceAdapter
from ingest.http.errors import VenueRequestError
from ingest.network import Network
from ingest.websocket.connection import VenueConnection
from ingest.websocket.host_rotation import Endpoint
from tests.fixtures.binance import binance, connecting, following, nowhere_else
from tests.fixtures.passed_on import PassedOn, trade_publisher_into

HEAD = b"HTTP/1.1 200 OK\r\n"
ANSWERS = [
    b"",
    b"\x00" * 100,
    b"\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/1.1 999999 X\r\n\r\n",
    b"HTTP/1.1 " + b"9" * 5000 + b" X\r\n\r\n",
    b"HTTP/1.1 200 \xff\xfe\r\nContent-Length: 2\r\n\r\n[]",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 500,
    b"HTTP/1.1 302 BackfillResult\r\nLocation: http://[::bad\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 302 BackfillResult\r\nLocation: \xff//\xff:99999999\r\nContent-Length: 0\r\n\r\n",
    HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n[]",
    HEAD + b"Content-Length: 99999999999999999999\r\n\r\n[]",
    HEAD + b"Content-Length: -5\r\n\r\n[]",
    HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]",
    HEAD + b"Content-Length: 50\r\n\r\n[]",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"F" * 5000 + b"\r\n[]",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n[]",
    HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n",
    HEAD + b"X-MBX-USED-WEIGHT-1M: " + b"9" * 5000 + b"\r\nContent-Length: 2\r\n\r\n[]",
    HEAD + b"X: y\r\n" * 5000 + b"\r\n",
    HEAD + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
    HEAD + b"Set-Cookie: a=\xff; expires=\xff\r\nContent-Length: 2\r\n\r\n[]",
    HEAD + b"\x1b[2J: x\r\n\r\n",
    b"HTTP/1.1 429 X\r\nRetry-After: " + b"9" * 5000 + b"\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 418 X\r\nRetry-After: Wed, 99 Oct 9999999999 07:28:00 GMT\r\nContent-Length: 0\r\n\r\n",
]
FRAMES = [
    b"\x81\x7f" + b"\xff" * 8,  # a text of 2^64 - 1 bytes
    b"\x81\x7f\x7f" + b"\xff" * 7,
    b"\x81\x02\xff\xfe",  # no UTF-8
    b"\xc1\x00",  # a bit that nobody negotiated
    b"\x83\x00",  # an opcode that nobody knows
    b"\x89\x7e\x01\x00" + b"x" * 256,  # a ping too long
    b"\x88\x01\x03",  # a close with half a code
    b"\x88\x04\x03\xe8\xff\xfe",  # a close whose reason is no UTF-8
    b"\x88\x0e\x03\xe8\x1b[2Jgo away!",
    b"\x81\x80\x00\x00\x00\x00",  # masked by a server
    b"\x00\x05hello",  # goes on with nothing
    b"\x01\x7e\xff\xff" + b"x" * 65_535 + b"\x00\x7e\xff\xff" + b"x" * 65_535,  # pieces that never end
]


@asynccontextmanager
async def says(answer: Callable[[bytes], bytes]) -> AsyncIterator[int]:
    """Give the port of a server that answers every request's head and hangs up."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(answer(await reader.readuntil(b"\r\n\r\n")))
            await writer.drain()
            writer.write_eof()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def connection_to(port: int) -> VenueConnection:
    """Return a connection that was opened, or could not be, and has ended."""
    connect = connecting(binance(), following("btcusdt"), await trade_publisher_into(PassedOn()))
    connection = connect(
        endpoint=Endpoint(f"ws://127.0.0.1:{port}", plain=False), max_age_s=60, received_elsewhere=nowhere_else
    )
    await asyncio.wait_for(connection.run(), 20)
    return connection


@pytest.mark.parametrize("answer", ANSWERS)
async def test_no_answer_over_rest_raises_anything_but_its_refusal(answer: bytes) -> None:
    async with (
        says(lambda _: answer) as port,
        BinanceAdapter().http_api("binance", [f"http://127.0.0.1:{port}"], Network()) as rest,
    ):
        try:
            assert await rest.newest_id("btcusdt") is None
        except VenueRequestError as exc:
            assert str(exc)


@pytest.mark.parametrize("answer", ANSWERS)
async def test_no_answer_to_a_handshake_ends_more_than_the_connection(answer: bytes) -> None:
    async with says(lambda _: answer) as port:
        connection = await connection_to(port)
    assert not connection.open
    assert connection.why
    assert connection.away_s <= 3 * 24 * 3600


@pytest.mark.parametrize("answer", ANSWERS)
async def test_no_answer_ends_the_question_whether_the_venue_is_there(answer: bytes) -> None:
    async with says(lambda _: answer) as port:
        found = await venue_choice._ask_websocket(Network(), f"ws://127.0.0.1:{port}", 5.0, logging.DEBUG)
    assert not found.by_websocket


@pytest.mark.parametrize("frame", FRAMES)
async def test_no_frame_of_the_protocol_ends_more_than_the_connection(frame: bytes) -> None:
    def accept(head: bytes) -> bytes:
        key = head.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        digest = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        upgrade = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        return upgrade + digest + b"\r\n\r\n" + frame

    async with says(accept) as port:
        connection = await connection_to(port)
    assert not connection.open
    assert connection.why


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
async def test_a_redirect_of_the_handshake_is_not_followed(status: int) -> None:
    asked: list[bytes] = []

    def elsewhere(head: bytes) -> bytes:
        asked.append(head)
        return b""

    async with says(elsewhere) as other:
        redirect = b"HTTP/1.1 %d X\r\nLocation: ws://127.0.0.1:%d/ws\r\nContent-Length: 0\r\n\r\n" % (status, other)
        async with says(lambda _: redirect) as port:
            connection = await connection_to(port)
    assert (connection.status, asked) == (status, [])
