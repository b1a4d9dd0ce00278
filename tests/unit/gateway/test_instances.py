"""Several instances of a service in place of one channel."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, cast

import grpc
import pytest

from gateway.instances import Instances
from tests.fixtures.gateway import SmallSignal, running_signal, serving_health
from tickmesh.v1 import signal_pb2, signal_pb2_grpc


async def test_an_address_that_its_name_loses_while_others_are_asked_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        first, second = f"127.0.0.1:{silent.getsockname()[1]}", "127.0.0.1:1"
        instances = Instances([first, second])
        try:
            stub = signal_pb2_grpc.SignalServiceStub(cast("grpc.aio.Channel", instances))
            asked = asyncio.ensure_future(stub.GetPrice(signal_pb2.GetPriceRequest(symbol="btcusdt"), timeout=1.5))
            await asyncio.sleep(0)
            await instances.channels.pop(second).close()
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await asked
        finally:
            await instances.close()

    assert refused.value.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)


@asynccontextmanager
async def instances_at(*addresses: str) -> AsyncIterator[tuple[Instances, Any]]:
    instances = Instances(addresses)
    try:
        yield instances, signal_pb2_grpc.SignalServiceStub(cast("grpc.aio.Channel", instances))
    finally:
        await instances.close()


async def underway(call: Awaitable[Any]) -> asyncio.Future[Any]:
    """Begin a call, and return once what it does first waits for an answer."""
    asked = asyncio.ensure_future(call)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not asked.done()
    return asked


async def test_what_is_asked_of_an_instance_whose_channel_is_closed_is_asked_of_the_next_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        first = f"127.0.0.1:{silent.getsockname()[1]}"
        async with (
            running_signal(SmallSignal(), serving_health()) as port,
            instances_at(first, f"127.0.0.1:{port}") as (instances, stub),
        ):
            asked = await underway(stub.GetPrice(signal_pb2.GetPriceRequest(symbol="btcusdt"), timeout=10))
            await instances.channels.pop(first).close()

            assert (await asked).symbol == "btcusdt"


async def test_a_closed_channel_with_no_other_instance_is_one_that_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        async with instances_at(address) as (instances, stub):
            asked = await underway(stub.GetPrice(signal_pb2.GetPriceRequest(symbol="btcusdt"), timeout=10))
            stream = stub.Watch(signal_pb2.WatchRequest())
            told = await underway(stream.read())
            await instances.channels.pop(address).close()

            for each in (asked, told):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await each
                assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_who_asks_may_give_up_asking() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with instances_at(f"127.0.0.1:{silent.getsockname()[1]}") as (_, stub):
            asked = await underway(stub.GetPrice(signal_pb2.GetPriceRequest(symbol="btcusdt"), timeout=10))
            asked.cancel()

            with pytest.raises(asyncio.CancelledError):
                await asked
