"""What a connection to the gateway may be: its head, its body, its pace, its number, and the host it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.fixtures.gateway import Gateway, running_gateway


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running_gateway() as running:
        yield running


async def exchange(port: int, sent: bytes, *, limit_s: float = 20.0) -> bytes:
    """Send bytes on a connection of their own; return everything that comes until the gateway closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        async with asyncio.timeout(limit_s):
            return await reader.read()
    finally:
        writer.close()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GET /api/price HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n", 421),
        (b"GET /healthz HTTP/1.0\r\nHost: evil.example\r\n", 421),
        (b"POST /api/symbol HTTP/1.1\r\nHost: evil.example:8080\r\nOrigin: http://evil.example:8080\r\n"
         b"Connection: close\r\nContent-Length: 20\r\n", 421),
        (b"GET /ws HTTP/1.1\r\nHost: evil.example:8080\r\nOrigin: http://evil.example:8080\r\n" + UPGRADE, 421),
    ],
)  # fmt: skip
async def test_a_rebound_name_is_refused_in_every_form(gateway: Gateway, head: bytes, expected: int) -> None:
    body = b'{"symbol":"ethusdt"}' if head.startswith(b"POST") else b""
    assert status(await exchange(gateway.port, head + b"\r\n" + body)) == expected
    assert gateway.signal.selected == "btcusdt"
