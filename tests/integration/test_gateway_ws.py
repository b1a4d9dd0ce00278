"""The WebSocket half of the gateway, over real sockets on both of its sides."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import grpc
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.access import AdmissionRules
from gateway.live import coins, endpoint, signal_feed
from gateway.live.connection import WebSocketConnection
from gateway.live.fanout import ClientLimits
from mesh.service import rpc
from mesh.service.access import Access
from mesh.service.rpc import channel
from tests.fixtures.gateway import (
    COINS,
    Gateway,
    SmallSignal,
    batch,
    receive,
    receive_ids,
    running_app,
    running_gateway,
    running_signal,
    serving_health,
)
from tests.fixtures.waiting import eventually
from tickmesh.v1 import signal_pb2

SELECTED = {"type": "selected", "symbol": "btcusdt", "name": "Bitcoin (BTC)", "venue": "sim"}


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running_gateway() as running:
        yield running


async def test_a_client_is_told_the_selection_and_then_each_trade(gateway: Gateway) -> None:
    async with gateway.ws() as client:
        assert await receive(client) == SELECTED
        gateway.signal.push(batch("btcusdt", 7))
        assert await client.recv() == (
            '{"symbol":"btcusdt","name":"Bitcoin (BTC)","venue":"sim","price":7,"quantity":0.00000638,"trade_id":7,'
            '"timestamp":"2023-11-14T22:13:20.000007Z","side":"BUY","moving_average":7.0,"high":7,"low":1,'
            '"window_high":7,"window_low":7,"count":7,"volume":0.5,"open":1,"vwap":7.0,"exponential_average":7.0,'
            '"volatility":0.25}'
        )


async def test_without_asking_for_events_a_client_hears_trades_alone_as_from_the_original(gateway: Gateway) -> None:
    async with gateway.ws("") as plain, gateway.ws() as curious:
        await receive(curious)
        gateway.signal.push(batch("btcusdt", 1))
        await gateway.http.post("/api/symbol", json={"symbol": "ethusdt"})
        gateway.signal.push(batch("ethusdt", 2))
        heard = [await receive(plain) for _ in range(2)]
    assert [(message["symbol"], message["price"]) for message in heard] == [("btcusdt", 1), ("ethusdt", 2)]


async def test_whoever_is_connected_misses_nothing_not_even_the_first_of_all(gateway: Gateway) -> None:
    for number in range(5):  # each time the stream has to be opened again
        async with gateway.ws("") as client:
            gateway.signal.push(batch("btcusdt", number))
            assert (await receive(client))["trade_id"] == number
        await eventually(lambda: not gateway.signal.watchers)


async def test_a_client_that_comes_while_the_gateway_goes_is_not_taken(gateway: Gateway) -> None:
    await gateway.app.state.websockets.drain()
    with pytest.raises(InvalidStatus) as caught:
        async with gateway.ws():
            pass
    assert caught.value.response.status_code == 503


async def test_a_batch_is_one_message_a_trade(gateway: Gateway) -> None:
    async with gateway.ws() as client:
        await receive(client)
        gateway.signal.push(batch("btcusdt", 1, 1000))
        assert await receive_ids(client, range(1, 1001)) == list(range(1, 1001))


async def test_without_symbols_a_client_follows_the_selection(gateway: Gateway) -> None:
    async with gateway.ws() as client:
        await receive(client)
        gateway.signal.push(batch("ethusdt", 1))
        await gateway.http.post("/api/symbol", json={"symbol": "ethusdt"})
        gateway.signal.push(batch("btcusdt", 2))
        gateway.signal.push(batch("ethusdt", 3))
        told, trade = await receive(client), await receive(client)
        assert told == {"type": "selected", "symbol": "ethusdt", "name": "Ethereum (ETH)", "venue": "sim"}
        assert (trade["symbol"], trade["trade_id"]) == ("ethusdt", 3)


async def test_symbols_can_be_listed(gateway: Gateway) -> None:
    async with gateway.ws("?symbols=ETHUSDT,solusdt&events=true") as client:
        await receive(client)
        for number, symbol in enumerate(["btcusdt", "ethusdt", "solusdt"]):
            gateway.signal.push(batch(symbol, number))
        assert await receive_ids(client, [1, 2]) == [1, 2]


async def test_a_star_is_every_symbol(gateway: Gateway) -> None:
    async with gateway.ws("?symbols=*&events=true") as client:
        await receive(client)
        for number, symbol in enumerate(["btcusdt", "ethusdt", "newusdt"]):
            gateway.signal.push(batch(symbol, number))
        assert await receive_ids(client, [0, 1, 2]) == [0, 1, 2]


async def test_batches_that_come_together_are_told_each_client_as_if_they_had_come_one_by_one(gateway: Gateway) -> None:
    wrong = batch("solusdt", 30, 1)
    wrong.trades.time_us[:] = [-1]  # cannot be told, and what comes with it is
    together = [
        *(batch("btcusdt", 1, 2), batch("ethusdt", 10), batch("solusdt", 20, 130), batch("btcusdt", 3), wrong),
        *(batch("ethusdt", 10), batch("ethusdt", 11), batch("newusdt", 400)),
    ]
    alone = [1, 2, 10, *range(20, 150), 3, 11, 400]
    queries = {
        "?symbols=*": alone,
        "?symbols=ethusdt,btcusdt": [1, 2, 10, 3, 11],
        "?symbols=solusdt": [*range(20, 150)],
    }
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(gateway.ws(query)) for query in queries]
        await eventually(lambda: gateway.signal.watchers)
        gateway.signal.tell(signal_pb2.WatchResponse(batches=signal_pb2.SignalBatches(batches=together)))
        for client, ids in zip(clients, queries.values(), strict=True):
            assert await receive_ids(client, ids) == ids


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("?symbols=nope", "symbol 'nope' is not followed"),
        ("?symbol=btcusdt", "unknown parameter 'symbol', expected symbols, events or token"),
        ("?symbols=btcusdt,a/b", "'a/b' is not a symbol"),
        ("?symbols=" + ",".join(f"s{n}" for n in range(65)), "65 symbols, expected at most 64"),
    ],
)
async def test_symbols_that_will_never_do_are_refused_with_the_reason(
    gateway: Gateway, query: str, reason: str
) -> None:
    async with gateway.ws(query) as client:
        with pytest.raises(ConnectionClosed) as caught:
            await client.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1008 and reason in caught.value.rcvd.reason


async def test_handshakes_do_not_multiply_the_calls_to_signal(gateway: Gateway) -> None:
    gateway.signal.delay_s = 0.3

    async def refused(query: str) -> bool:
        async with gateway.ws(query) as client:
            with contextlib.suppress(ConnectionClosed):
                await client.recv()
            return bool(client.close_code == 1008)

    found = await asyncio.gather(*(refused("?symbols=btcusdt,nope,ethusdt,solusdt") for _ in range(50)))
    assert all(found)
    assert gateway.signal.calls < 25  # two or three, where the machine is not slow


async def test_a_symbol_that_was_selected_a_moment_ago_is_followed(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway.ws("?symbols=btcusdt"):
        monkeypatch.setitem(COINS, "newusdt", "New (NEW)")
        async with gateway.ws("?symbols=newusdt") as client:
            gateway.signal.push(batch("newusdt", 1))
            assert (await receive(client))["symbol"] == "newusdt"


async def test_without_a_list_from_signal_any_symbol_will_do(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.signal.delay_s = 30
    monkeypatch.setattr(coins, "CALL_LIMIT_S", 0.1)
    async with gateway.ws("?symbols=whatusdt") as client:
        await eventually(lambda: gateway.signal.watchers)
        gateway.signal.push(batch("whatusdt", 1))
        assert (await receive(client))["symbol"] == "whatusdt"


async def test_all_clients_share_one_stream_and_the_last_one_closes_it(gateway: Gateway) -> None:
    async with gateway.ws() as one, gateway.ws("?symbols=*&events=true") as other:
        await receive(one), await receive(other)
        assert len(gateway.signal.watchers) == 1
        gateway.signal.push(batch("btcusdt", 1))
        assert (await receive(one))["trade_id"] == (await receive(other))["trade_id"] == 1
    await eventually(lambda: not gateway.signal.watchers)
    async with gateway.ws() as again:
        assert await receive(again) == SELECTED


async def test_a_client_that_comes_later_is_told_the_selection_at_once(gateway: Gateway) -> None:
    async with gateway.ws() as first:
        await receive(first)
        async with gateway.ws() as second:
            assert await receive(second) == SELECTED


async def test_trades_that_signal_left_out_are_told_to_everybody(gateway: Gateway) -> None:
    async with gateway.ws() as client:
        await receive(client)
        gateway.signal.tell(signal_pb2.WatchResponse(missed=signal_pb2.Missed(trades=9)))
        assert await receive(client) == {"type": "lagged", "missed": 9, "by": "gateway"}


async def test_an_unreadable_batch_is_left_out_and_the_stream_goes_on(gateway: Gateway) -> None:
    broken = batch("btcusdt", 1, 2)
    broken.moving_average.pop()
    async with gateway.ws() as client:
        await receive(client)
        gateway.signal.push(broken)
        gateway.signal.push(batch("btcusdt", 3))
        assert (await receive(client))["trade_id"] == 3


@pytest.mark.parametrize(
    ("queued", "passed_s"),
    [pytest.param(500, 0.0, id="what was too much"), pytest.param(10**6, 2.0, id="what waited for too long")],
)
async def test_a_slow_client_lags_alone_and_is_told_what_it_missed(
    queued: int, passed_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running_gateway(client_limits=ClientLimits(queued=queued, missed=10**9)) as gateway,
        gateway.ws() as quick,
        gateway.ws(max_queue=1, sock=small_socket(gateway.port)) as slow,
    ):
        await receive(quick), await receive(slow)
        total = 0
        quick_ids: list[int] = []
        while total < 20_000:  # more than all buffers on the way hold
            gateway.signal.push(batch("btcusdt", total, 500))
            total += 500
            quick_ids += await receive_ids(quick, [total - 1])
        assert quick_ids == list(range(total))

        monkeypatch.setattr(endpoint, "monotonic", lambda: monotonic() + passed_s)
        seen, missed, last = 0, 0, -1
        while seen + missed < total:
            message = await receive(slow)
            if message.get("type") == "lagged":
                missed += message["missed"]
            else:
                assert message["trade_id"] > last
                last = message["trade_id"]
                seen += 1
        assert missed > 0 and seen > 0 and seen + missed == total


async def test_a_client_that_takes_half_of_a_write_gets_the_rest_in_order_and_one_that_is_reset_harms_nobody() -> None:
    async with (
        running_gateway(client_limits=ClientLimits(queued=10**6, missed=10**9, age_s=600.0)) as gateway,
        gateway.ws() as quick,
        gateway.ws(max_queue=1, sock=small_socket(gateway.port)) as slow,
    ):
        await receive(quick), await receive(slow)
        _, broken = await open_stalled(gateway.port)
        await eventually(lambda: clients(gateway) == 3)
        broken.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        broken.transport.abort()  # without asking the gateway: a reset
        total = 0
        while total < 10_000:  # each batch is more than the slow one's socket has room for
            gateway.signal.push(batch("btcusdt", total, 2000))
            total += 2000
            assert await receive_ids(quick, [total - 1]) == list(range(total - 2000, total))
        assert await receive_ids(slow, [total - 1]) == list(range(total))
        await eventually(lambda: clients(gateway) == 2)


async def test_a_client_that_never_reads_is_let_go_and_the_others_stay() -> None:
    async with (
        running_gateway(client_limits=ClientLimits(queued=500, missed=5000, catch_up_s=0.0)) as gateway,
        gateway.ws() as quick,
    ):
        await receive(quick)
        _, stalled = await open_stalled(gateway.port)
        try:
            await eventually(lambda: clients(gateway) == 2)
            number = 0

            async def one_left() -> bool:
                nonlocal number
                gateway.signal.push(batch("btcusdt", number, 500))
                number += 500
                await receive_ids(quick, [number - 1])
                return clients(gateway) == 1

            await eventually(one_left)
        finally:
            stalled.transport.abort()


async def test_what_waits_for_all_clients_together_is_bounded_and_the_slowest_go_first() -> None:
    roomy = ClientLimits(queued=2000, missed=10_000_000)  # no client's own bound is reached
    async with (
        running_gateway(client_limits=roomy, max_ws_bytes=4 * 2**20) as gateway,
        gateway.ws() as quick,
    ):
        await receive(quick)
        stalled = [(await open_stalled(gateway.port))[1] for _ in range(12)]
        for writer in stalled:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
        try:
            await eventually(lambda: clients(gateway) == 13)
            number = 0

            async def some_left() -> bool:
                nonlocal number
                gateway.signal.push(batch("btcusdt", number, 500))
                number += 500
                await receive_ids(quick, [number - 1])
                return clients(gateway) < 13

            await eventually(some_left)
            for _ in range(20):
                await some_left()
            assert endpoint.WAITING._value.get() <= 4 * 2**20
            assert clients(gateway) > 1
        finally:
            for writer in stalled:
                writer.transport.abort()
        await quick.close()
        await eventually(lambda: clients(gateway) == 0 and endpoint.WAITING._value.get() == 0)


async def test_a_client_that_has_vanished_is_let_go_when_it_does_not_answer_a_ping() -> None:
    async with running_gateway(ping_s=0.5) as gateway, gateway.ws() as quick:
        await receive(quick)
        _, stalled = await open_stalled(gateway.port)
        stalled.transport.pause_reading()  # type: ignore[attr-defined]
        try:
            await eventually(lambda: clients(gateway) == 2)
            number = 0

            async def one_left() -> bool:
                nonlocal number
                gateway.signal.push(batch("btcusdt", number, 100))  # so that what is buffered for it never drains
                number += 100
                await receive_ids(quick, [number - 1])
                return clients(gateway) == 1 and len(gateway.server.server_state.connections) < 3

            await eventually(one_left)
        finally:
            stalled.transport.abort()


async def test_pings_of_a_client_that_reads_nothing_are_not_answered_for_ever() -> None:
    async with running_gateway() as gateway:
        reader, stalled = await open_stalled(gateway.port)
        await reader.readuntil(b"}")
        stalled.transport.pause_reading()  # type: ignore[attr-defined]
        ping = b"\x89\xfd" + bytes(4) + bytes(125)  # masked with zeros
        try:
            for _ in range(200):
                stalled.write(ping * 500)
                await stalled.drain()
            [socket] = [one for one in gateway.server.server_state.connections if isinstance(one, WebSocketConnection)]
            # what is buffered when nothing more is, and the pongs of what one read brings, 256 KiB at most
            assert socket.transport.get_write_buffer_size() < 64 * 1024 + 256 * 1024
        finally:
            stalled.transport.abort()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /ws?symbols=" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n", 414),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(200)), 431),
    ],
)
async def test_a_handshake_that_is_too_long_is_refused_and_not_left_hanging(
    gateway: Gateway, head: bytes, status: int
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        head + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 %d " % status)


async def test_a_websocket_elsewhere_is_told_where_it_is(gateway: Gateway) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(f"ws://127.0.0.1:{gateway.port}/ws/", proxy=None):
            pass
    response = caught.value.response
    assert (response.status_code, json.loads(response.body)["message"]) == (
        404,
        "no WebSocket is at '/ws/', only at '/ws'",
    )


async def test_an_answer_of_signal_that_cannot_be_decoded_is_left_out_and_the_stream_goes_on() -> None:
    async def garbage_then_a_trade(request: signal_pb2.WatchRequest, context: Any) -> AsyncIterator[bytes]:
        yield b"\xff\xff\xff"
        yield signal_pb2.WatchResponse(
            batches=signal_pb2.SignalBatches(batches=[batch("btcusdt", 7)])
        ).SerializeToString()
        await asyncio.Event().wait()

    watch: Any = grpc.unary_stream_rpc_method_handler(garbage_then_a_trade, signal_pb2.WatchRequest.FromString)
    raw = grpc.method_handlers_generic_handler("tickmesh.v1.SignalService", {"Watch": watch})
    async with (
        rpc.serving(
            "127.0.0.1:0",
            services=["tickmesh.v1.SignalService"],
            register=lambda server: server.add_generic_rpc_handlers([raw]),
            health=serving_health(),
        ) as port,
        channel(f"127.0.0.1:{port}") as signal_channel,
        running_app(signal_channel, signal_channel) as (_, _, http_port),
        connect(f"ws://127.0.0.1:{http_port}/ws?symbols=*", proxy=None) as client,
    ):
        assert (await receive(client))["trade_id"] == 7


def small_socket(port: int) -> socket.socket:
    """Return a connected socket that holds little for a reader who does not come."""
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
    small.connect(("127.0.0.1", port))
    return small


async def open_stalled(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(sock=small_socket(port), limit=1024)
    writer.write(
        b"GET /ws?events=true HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


def clients(gateway: Gateway) -> int:
    return len(gateway.app.state.websockets)


async def test_a_client_that_talks_too_much_is_let_go(gateway: Gateway) -> None:
    async with gateway.ws() as client:
        with pytest.raises(ConnectionClosed) as caught:
            for _ in range(200):
                await client.send("hello?")
                await asyncio.sleep(0)
            while True:
                await client.recv()
    assert caught.value.rcvd is not None and caught.value.rcvd.code == 1008


async def test_a_message_that_is_too_large_is_refused(gateway: Gateway) -> None:
    async with gateway.ws() as client:
        await receive(client)
        with pytest.raises(ConnectionClosed) as caught:
            await client.send("x" * 5000)
            await client.recv()
    assert caught.value.rcvd is not None and caught.value.rcvd.code == 1009


async def test_a_few_words_are_ignored(gateway: Gateway) -> None:
    async with gateway.ws() as client:
        await receive(client)
        await client.send("hello?")
        await client.ping()
        gateway.signal.push(batch("btcusdt", 1))
        assert (await receive(client))["trade_id"] == 1


async def test_clients_get_1001_when_the_gateway_goes(gateway: Gateway) -> None:
    async with gateway.ws() as client:
        await receive(client)
        draining = asyncio.create_task(gateway.app.state.websockets.drain())
        with pytest.raises(ConnectionClosed) as caught:
            await client.recv()
        await draining
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1001, "the server is going away")


async def test_the_stream_is_opened_as_soon_as_signal_serves_and_not_after_a_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signal_feed, "UNWOKEN_S", 3600.0)
    small, health = SmallSignal(), serving_health()
    async with running_signal(small, health) as port:
        pass  # now nobody is there
    address = f"127.0.0.1:{port}"
    async with channel(address) as to_signal, running_app(to_signal, to_signal) as (app, server, http_port):
        gateway: Any = Gateway(None, http_port, app, server, small, None, None, None)  # type: ignore[arg-type]
        async with gateway.ws() as client:
            assert (await receive(client))["state"] == "waiting"
            health.set("bus", False)
            async with running_signal(small, health, address):
                with pytest.raises(TimeoutError):  # it is there, but does not serve yet
                    await asyncio.wait_for(client.recv(), 0.5)
                health.set("bus", True)
                assert await receive(client) == {"type": "status", "state": "live"}


@pytest.mark.slow
async def test_clients_wait_while_signal_is_away_and_go_on_when_it_is_back() -> None:
    signal = SmallSignal()
    async with running_signal(signal, serving_health()) as port:
        pass  # now nobody is there
    address = f"127.0.0.1:{port}"
    async with (
        channel(address) as signal_channel,
        running_app(signal_channel, signal_channel) as (app, server, http_port),
    ):
        gateway: Any = Gateway(None, http_port, app, server, signal, None, None, None)  # type: ignore[arg-type]
        async with gateway.ws("?symbols=btcusdt&events=true") as client:
            for trade_id in (1, 2):
                waiting = await receive(client)
                assert (waiting["type"], waiting["state"]) == ("status", "waiting")
                async with gateway.ws() as late:
                    assert (await receive(late))["state"] == "waiting"
                async with running_signal(signal, serving_health(), address):
                    assert [await receive(client), await receive(client)] == [
                        {"type": "status", "state": "live"},
                        SELECTED,
                    ]
                    signal.push(batch("btcusdt", trade_id))
                    assert (await receive(client))["trade_id"] == trade_id


async def test_trades_that_signal_sends_once_more_after_a_crash_are_told_once(gateway: Gateway) -> None:
    async with gateway.ws("") as client:
        gateway.signal.push(batch("btcusdt", 1, 10))
        gateway.signal.push(batch("btcusdt", 6, 5))
        gateway.signal.push(batch("btcusdt", 8, 8))
        assert await receive_ids(client, range(1, 16)) == list(range(1, 16))


async def test_ids_that_begin_again_with_later_times_are_told(gateway: Gateway) -> None:
    later = batch("btcusdt", 1)
    later.trades.time_us[0] += 3_600_000_000
    async with gateway.ws("") as client:
        gateway.signal.push(batch("btcusdt", 50))
        gateway.signal.push(later)
        assert [(await receive(client))["trade_id"] for _ in range(2)] == [50, 1]


async def test_a_page_of_another_host_cannot_listen(gateway: Gateway) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with gateway.ws(origin="http://evil.example"):
            pass
    assert caught.value.response.status_code == 403
    async with gateway.ws(origin="http://127.0.0.1:3000") as client:
        assert await receive(client) == SELECTED


async def test_with_a_token_the_stream_needs_it_and_no_log_shows_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with running_gateway(admission=AdmissionRules(tokens=Access("s3cret"))) as gateway:
        for query in ("", "?token=wrong"):
            with pytest.raises(InvalidStatus) as caught:
                async with gateway.ws(query):
                    pass
            assert caught.value.response.status_code == 401
        async with gateway.ws("?token=s3cret&events=true") as client:
            assert await receive(client) == SELECTED
        async with gateway.ws(additional_headers={"Authorization": "Bearer s3cret"}) as client:
            assert await receive(client) == SELECTED
    ours = [record for record in caplog.records if not record.name.startswith("websockets.client")]
    assert not [record for record in ours if "s3cret" in record.getMessage()]
