"""Tokens over gRPC: what changes something needs the right one, shown as grpcurl and as the gateway show it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import httpx
import pytest

from gateway.access import AdmissionRules
from mesh.service import rpc
from mesh.service.access import Access
from mesh.service.rpc import authorization, channel, serving
from mesh.service.wrong_tokens import PER_MINUTE
from tests.fixtures.gateway import SmallSignal, SmallStore, running_app, running_store, serving_health
from tickmesh.v1 import signal_pb2, signal_pb2_grpc

ACCESS = Access("s3cret", "reader")


@asynccontextmanager
async def guarded_signal(access: Access) -> AsyncIterator[tuple[SmallSignal, grpc.aio.Channel]]:
    small = SmallSignal()
    async with (
        serving(
            "127.0.0.1:0",
            services=["tickmesh.v1.SignalService"],
            register=lambda server: signal_pb2_grpc.add_SignalServiceServicer_to_server(small, server),
            health=serving_health(),
            access=access,
        ) as port,
        channel(f"127.0.0.1:{port}") as to_signal,
    ):
        yield small, to_signal


@pytest.mark.parametrize("token", [None, "reader", "wrong", "s3cret"])
async def test_what_changes_something_needs_the_token(token: str | None) -> None:
    expected = {
        None: grpc.StatusCode.UNAUTHENTICATED,
        "wrong": grpc.StatusCode.UNAUTHENTICATED,
        "reader": grpc.StatusCode.PERMISSION_DENIED,
        "s3cret": grpc.StatusCode.OK,
    }[token]
    async with guarded_signal(ACCESS) as (small, to_signal):
        stub, shown = signal_pb2_grpc.SignalServiceStub(to_signal), authorization(token)
        select = stub.SelectSymbol(signal_pb2.SelectSymbolRequest(symbol="ethusdt"), metadata=shown)
        reset = stub.ResetSession(signal_pb2.ResetSessionRequest(), metadata=shown)
        assert {await select.code(), await reset.code()} == {expected}
        assert small.selected == ("ethusdt" if token == "s3cret" else "btcusdt")
        assert (await stub.GetPrice(signal_pb2.GetPriceRequest())).venue == "sim"


async def test_reading_needs_one_where_it_is_protected_streams_too() -> None:
    async with guarded_signal(Access("s3cret", "reader", protect_reads=True)) as (_, to_signal):
        stub = signal_pb2_grpc.SignalServiceStub(to_signal)
        price = stub.GetPrice(signal_pb2.GetPriceRequest())
        watch = stub.Watch(signal_pb2.WatchRequest(all_symbols=True))
        direct = stub.WatchDirectly(signal_pb2.WatchDirectlyRequest())
        assert await price.code() == await watch.code() == await direct.code() == grpc.StatusCode.UNAUTHENTICATED
        shown = authorization("reader")
        assert (await stub.GetPrice(signal_pb2.GetPriceRequest(), metadata=shown)).venue == "sim"
        async for event in stub.Watch(signal_pb2.WatchRequest(all_symbols=True), metadata=shown):
            assert event.selected.symbol == "btcusdt"
            break


@pytest.mark.parametrize("protect_reads", [False, True])
async def test_the_gateway_shows_its_own_right_and_hands_nobody_more_than_his(protect_reads: bool) -> None:
    access = Access("s3cret", "reader", protect_reads=protect_reads)
    async with (
        guarded_signal(access) as (small, to_signal),
        running_store(SmallStore(), serving_health()) as store_port,
        channel(f"127.0.0.1:{store_port}") as to_store,
        running_app(to_signal, to_store, admission=AdmissionRules(tokens=access)) as (_, _, port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
    ):

        async def select(token: str) -> int:
            return (await http.post(f"/api/symbol?token={token}", json={"symbol": "ethusdt"})).status_code

        assert [await select("reader"), await select("")] == [403, 401]
        assert small.selected == "btcusdt"
        assert await select("s3cret") == 200
        assert (await http.get("/api/price", headers={"authorization": "Bearer reader"})).status_code == 200
        assert (await http.get("/metrics")).status_code == (401 if protect_reads else 200)
        assert (await http.get("/healthz")).status_code == (await http.get("/readyz")).status_code == 200


async def test_calls_at_once_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "MAX_CALLS", 4)
    async with guarded_signal(Access()) as (_, to_signal):
        stub = signal_pb2_grpc.SignalServiceStub(to_signal)
        watching = [stub.Watch(signal_pb2.WatchRequest(all_symbols=True)) for _ in range(4)]
        for watch in watching:
            assert await watch.read() is not grpc.aio.EOF
        price = stub.GetPrice(signal_pb2.GetPriceRequest())
        assert await price.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        for watch in watching:
            watch.cancel()


async def test_many_wrong_tokens_are_told_to_wait_and_a_right_one_is_answered_all_the_same() -> None:
    async with guarded_signal(ACCESS) as (small, to_signal):
        stub = signal_pb2_grpc.SignalServiceStub(to_signal)

        async def select(token: str) -> grpc.aio.AioRpcError | None:
            try:
                request = signal_pb2.SelectSymbolRequest(symbol="ethusdt")
                await stub.SelectSymbol(request, metadata=authorization(token))
            except grpc.aio.AioRpcError as exc:
                return exc
            return None

        found = [await select(f"guess{n}") for n in range(PER_MINUTE + 10)]
        codes = [one.code() for one in found if one is not None]
        assert codes[:PER_MINUTE] == [grpc.StatusCode.UNAUTHENTICATED] * PER_MINUTE
        assert codes[-1] == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert found[-1] is not None
        assert dict(found[-1].trailing_metadata())["retry-after"].isdigit()
        told = await select("reader")
        assert told is not None and told.code() == grpc.StatusCode.PERMISSION_DENIED
        assert await select("s3cret") is None and small.selected == "ethusdt"
