"""The gateway watches signal past gRPC where it can, and over gRPC where it cannot; its clients notice neither."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets

from gateway.instances import DirectReach
from gateway.live import direct_watch
from mesh.service import direct
from mesh.service.direct import DirectListener, listening
from mesh.service.rpc import channel, serving
from tests.fixtures.gateway import (
    Gateway,
    SmallSignal,
    SmallStore,
    batch,
    receive,
    receive_ids,
    running_app,
    running_gateway,
    running_store,
    serving_health,
)
from tests.fixtures.slow_link import slow_link
from tests.fixtures.tls import Authority
from tests.fixtures.waiting import eventually
from tickmesh.v1 import signal_pb2_grpc


@asynccontextmanager
async def following(gateway: Gateway) -> AsyncIterator[Any]:
    async with gateway.ws("?symbols=*") as client:
        await eventually(lambda: gateway.signal.watchers)
        yield client


async def test_trades_come_past_grpc_and_a_connection_that_breaks_is_opened_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running_gateway() as gateway, following(gateway) as client:
        gateway.signal.push(batch("btcusdt", 1, 3))
        assert await receive_ids(client, [1, 2, 3]) == [1, 2, 3]
        before = set(gateway.signal.watchers)
        gateway.signal.fail(None)
        await eventually(lambda: gateway.signal.watchers and not gateway.signal.watchers & before)
        gateway.signal.push(batch("btcusdt", 4, 2))
        assert await receive_ids(client, [4, 5]) == [4, 5]
    assert "over gRPC" not in caplog.text


async def test_a_signal_that_offers_no_connection_is_watched_over_grpc(caplog: pytest.LogCaptureFixture) -> None:
    async with running_gateway() as gateway:
        gateway.signal.direct = None
        async with following(gateway) as client:
            gateway.signal.push(batch("btcusdt", 1))
            assert await receive_ids(client, [1]) == [1]
    assert "come over gRPC: nobody can connect directly" in caplog.text


@asynccontextmanager
async def wrong_port(how: str, good: DirectListener) -> AsyncIterator[int]:
    """Give a port that carries no trades, for a reason."""
    if how == "void":  # of another instance, which never gave the ticket
        yield good.port
    elif how == "refused":
        async with listening("127.0.0.1", 0, tls=None) as other:
            pass
        yield other.port
    elif how == "swallowed":
        async with slow_link(good.port, delay_s=0) as link:
            link.swallow(everything=True)
            yield link.port
    else:

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
            await reader.read()
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("how", ["refused", "void", "swallowed", "somebody else's"])
async def test_where_the_connection_is_not_to_be_had_trades_come_over_grpc_until_the_stream_is_opened_again(
    how: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "CONNECT_WITHIN_S", 1.0)
    async with running_gateway() as gateway, AsyncExitStack() as stack:
        good = gateway.signal.direct
        assert good is not None
        gateway.signal.direct = DirectListener(await stack.enter_async_context(wrong_port(how, good)))
        async with following(gateway) as client:
            gateway.signal.push(batch("btcusdt", 1))
            assert await receive_ids(client, [1]) == [1]
            assert f"come over gRPC: port {gateway.signal.direct.port}" in caplog.text
            caplog.clear()
            gateway.signal.fail(None)
            await eventually(lambda: not gateway.signal.watchers)
            await eventually(lambda: gateway.signal.watchers)
            assert "over gRPC" not in caplog.text  # it is said once
            assert gateway.signal.watched_directly == 0
            gateway.signal.direct = good
            gateway.signal.fail(None)
            await eventually(lambda: not gateway.signal.watchers)
            await eventually(lambda: gateway.signal.watchers)
            gateway.signal.push(batch("btcusdt", 2))
            assert await receive_ids(client, [2]) == [2]
            assert gateway.signal.watched_directly == 1


async def test_a_connection_that_stands_still_while_its_call_does_not_is_opened_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct_watch, "LOOK_EVERY_S", 0.1)
    async with running_gateway() as gateway:
        assert gateway.signal.direct is not None
        async with slow_link(gateway.signal.direct.port, delay_s=0) as link:
            gateway.signal.direct.port = link.port
            async with following(gateway) as client:
                gateway.signal.push(batch("btcusdt", 1))
                assert await receive_ids(client, [1]) == [1]
                before = set(gateway.signal.watchers)
                link.swallow(everything=True)
                await eventually(lambda: not gateway.signal.watchers & before)
                link.swallow(everything=False)
                await eventually(lambda: gateway.signal.watchers)
                gateway.signal.push(batch("btcusdt", 2))
                assert await receive_ids(client, [2]) == [2]
    assert "the connection broke: nothing has come for 0.3 s" in caplog.text


async def test_nothing_is_kept_of_streams_that_have_ended() -> None:
    async with running_gateway() as gateway:

        async def reopened() -> int:
            """Let the stream end, and return how many tasks there are, on either side, once it is open again."""
            before = set(gateway.signal.watchers)
            gateway.signal.fail(None)
            await eventually(lambda: gateway.signal.watchers and not gateway.signal.watchers & before)
            return len(asyncio.all_tasks())

        async with following(gateway):
            tasks = [await reopened() for _ in range(20)]
        assert max(tasks[-5:]) < min(tasks[:5]) + 15, tasks


async def test_nothing_is_said_of_a_way_that_nobody_gave() -> None:
    async with running_gateway(reach=None) as gateway, following(gateway) as client:
        gateway.signal.push(batch("btcusdt", 1))
        assert await receive_ids(client, [1]) == [1]


async def test_with_tls_the_connection_is_encrypted_as_well(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority, signal = Authority(tmp_path / "tls"), SmallSignal()
    tls = authority.tls()
    async with (
        listening("127.0.0.1", 0, tls=tls) as signal.direct,
        serving(
            "127.0.0.1:0",
            services=["tickmesh.v1.SignalService"],
            register=lambda server: signal_pb2_grpc.add_SignalServiceServicer_to_server(signal, server),
            health=serving_health(),
            tls=tls,
        ) as signal_port,
        running_store(SmallStore(), serving_health()) as store_port,
        channel(f"127.0.0.1:{signal_port}", tls=tls) as to_signal,
        channel(f"127.0.0.1:{store_port}") as to_store,
        running_app(to_signal, to_store, reach=DirectReach(f"127.0.0.1:{signal_port}", tls)) as (_, _, port),
        websockets.connect(f"ws://127.0.0.1:{port}/ws?symbols=*", proxy=None) as client,
    ):
        await eventually(lambda: signal.watchers)
        signal.push(batch("btcusdt", 1))
        assert (await receive(client))["trade_id"] == 1
    assert "over gRPC" not in caplog.text
