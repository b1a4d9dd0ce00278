"""What a connection to the gateway may be: its head, its body, its pace, its number, and the host it asks for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest
import pytest_asyncio
from websockets.exceptions import InvalidStatus

from gateway import connection
from gateway.connection import CUT
from gateway.limits import ConnectionLimits
from tests.fixtures.gateway import Gateway, running_gateway
from tests.fixtures.waiting import eventually


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


HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
CLOSE = b"Connection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "expected", "said"),
    [
        (HEAD + b"X: " + b"a" * 32 * 2**20, 431, b"head has more than 32768 bytes"),
        (HEAD + b"x:1\r\n" * 10_000 + CLOSE, 431, b"more than 100 headers"),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, b"target has more than 8192 bytes"),
        (b"\r\n" * 50_000, 431, b"head has more than"),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400, b"no Host header"),
        (b"\x16\x03\x01 this is TLS\r\n\r\n", 400, b"this is no HTTP request"),
        (b"CONNECT evil:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400, b""),
        (HEAD + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabc", 400, b"Content-Length"),
        (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400, b"Transfer-Encoding"),
        (HEAD + UPGRADE + b"X: " + b"a" * 100_000, 431, b"head has more than"),
    ],
)  # fmt: skip
async def test_a_head_that_is_too_much_or_none_is_refused_in_words(
    gateway: Gateway, sent: bytes, expected: int, said: bytes
) -> None:
    answer = await exchange(gateway.port, sent)
    assert status(answer) == expected
    assert said in answer and b"onnection: close" in answer.lower()


async def test_a_head_of_32_mb_leaves_the_others_their_answers(gateway: Gateway) -> None:
    flood = asyncio.create_task(exchange(gateway.port, HEAD + b"X: " + b"a" * 32 * 2**20))
    asked = 0
    while not flood.done():
        assert (await gateway.http.get("/healthz")).status_code == 200
        asked += 1
    assert status(await flood) == 431


@pytest.mark.parametrize(
    "sent",
    [HEAD + CLOSE, b"GET /healthz HTTP/1.0\r\n\r\n", b"GET http://localhost/healthz HTTP/1.1\r\nHost: x\r\n" + CLOSE],
)
async def test_what_is_right_is_answered(gateway: Gateway, sent: bytes) -> None:
    assert status(await exchange(gateway.port, sent)) == 200


async def test_a_whole_target_counts_and_not_the_host_beside_it(gateway: Gateway) -> None:
    sent = b"GET http://evil.example/healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + CLOSE
    assert status(await exchange(gateway.port, sent)) == 421


@pytest.mark.parametrize("host", [b"127.0.0.1", b"evil.example"])
async def test_frames_before_the_handshake_is_answered_end_it_and_no_refusal_fills_the_log(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, host: bytes
) -> None:
    sent = b"GET /ws?symbols=btcusdt HTTP/1.1\r\nHost: " + host + b"\r\n" + UPGRADE + b"\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(sent)
    await writer.drain()
    writer.write(b"\xff" * 1000)
    writer.write_eof()
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), 20)
    writer.close()
    await eventually(lambda: not gateway.server.server_state.tasks)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_head_in_single_bytes_is_read(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    for byte in HEAD + CLOSE:
        writer.write(bytes([byte]))
        await writer.drain()
    assert status(await reader.read()) == 200
    writer.close()


async def test_whoever_never_ends_its_head_is_closed(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_LIMIT_S", 0.2)
    first, second = await asyncio.gather(exchange(gateway.port, HEAD + b"X: a"), exchange(gateway.port, b""))
    assert (status(first), second) == (408, b"")


async def test_a_second_head_has_its_time_too(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_LIMIT_S", 0.2)
    answers = await exchange(gateway.port, HEAD + b"\r\n" + HEAD)
    assert answers.count(b"HTTP/1.1 ") == 2 and b"408 Request Timeout" in answers


async def test_a_body_nobody_asked_for_ends_in_time(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REST_LIMIT_S", 0.2)
    for body in (b"Content-Length: 100\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"):
        assert status(await exchange(gateway.port, HEAD + body)) == 200


async def test_a_trailer_is_no_header_and_has_a_bound(gateway: Gateway) -> None:
    post = b"POST /api/symbol HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n"
    post += b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + b'{"symbol":"ethusdt"}' + b"\r\n0\r\n"
    assert status(await exchange(gateway.port, post + b"Origin: http://evil.example\r\n\r\n")) == 200
    endless = await exchange(gateway.port, post + b"X: " + b"a" * 200_000)
    assert status(endless) == 431


async def test_requests_sent_without_waiting_are_answered_in_order_up_to_a_bound(gateway: Gateway) -> None:
    ask = b"GET /api/coins HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    assert (await exchange(gateway.port, ask * 9 + ask[:-2] + CLOSE)).count(b"HTTP/1.1 200") == 10
    answered = (await exchange(gateway.port, ask * 10_000)).count(b"HTTP/1.1 200")
    assert answered == connection.MAX_PIPELINED + 1


async def test_a_client_that_does_not_read_its_answers_is_cut(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ANSWER_LIMIT_S", 0.2)
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    before = CUT.labels("answer")._value.get()
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

    async def cut() -> bool:
        if not writer.is_closing():
            writer.write(ask)
        return bool(CUT.labels("answer")._value.get() > before)

    await eventually(cut)
    writer.close()


async def test_half_a_request_gives_way_to_a_newcomer() -> None:
    async with running_gateway(limits=ConnectionLimits(total=100, per_address=50)) as gateway:
        stalled = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(200)]
        for _, writer in stalled:
            writer.write(HEAD)
        assert (await gateway.http.get("/healthz")).status_code == 200
        gone = await asyncio.wait_for(stalled[0][0].read(), 20)
        assert gone == b"" or status(gone) == 503
        for _, writer in stalled:
            writer.close()


@pytest.mark.parametrize(("limits", "expected"), [(ConnectionLimits(4, 100), 503), (ConnectionLimits(100, 4), 429)])
async def test_beyond_the_bound_a_newcomer_is_refused_in_words_but_told_of_health(
    limits: ConnectionLimits, expected: int
) -> None:
    async with running_gateway(limits=limits) as gateway:
        clients = [await gateway.ws() for _ in range(4)]
        refused = await exchange(gateway.port, b"GET /api/coins HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert status(refused) == expected and b"4 connections are open" in refused
        assert b"retry-after: 1" in refused.lower() and b"connection: close" in refused.lower()
        assert status(await exchange(gateway.port, HEAD + b"\r\n")) == 200
        with pytest.raises(InvalidStatus):
            await gateway.ws()
        await clients[0].close()

        async def room() -> bool:
            return status(await exchange(gateway.port, b"GET /api/coins HTTP/1.0\r\n\r\n")) == 200

        await eventually(room)
        for client in clients:
            await client.close()


async def test_the_proxies_clients_do_not_count_as_one() -> None:
    limits = ConnectionLimits(100, 4, (ip_network("127.0.0.0/8"),))
    async with running_gateway(limits=limits) as gateway:
        clients = [await gateway.ws() for _ in range(8)]
        for client in clients:
            await client.close()


async def test_a_flood_of_2000_stalled_heads_leaves_another_client_its_answers() -> None:
    async with running_gateway() as gateway:
        gateway.server.config.timeout_keep_alive = 75
        stalled = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(2000)))
        for _, writer in stalled:
            writer.write(HEAD)
        for _ in range(100):
            assert (await gateway.http.get("/healthz")).status_code == 200
        for _, writer in stalled:
            writer.close()
