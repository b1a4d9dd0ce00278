"""Several instances of a service in place of one channel."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import grpc
import pytest

from gateway.instances import Instances
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
