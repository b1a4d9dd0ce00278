"""What the venue lists, and what it does not trade now or did not list a moment ago: ingest and signal together."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import unquote

import grpc
import pytest

from mesh.service import rpc
from tests.fixtures.following import Followed, followed
from tests.fixtures.nats import NatsServer
from tests.fixtures.services import Service
from tests.fixtures.waiting import eventually
from tickmesh.v1 import signal_pb2, signal_pb2_grpc

Make = Callable[..., Service]
EXCHANGE_INFO = "/api/v3/exchangeInfo"


class Both:
    """An ingest that follows a scripted venue, a signal behind it, and a caller of that one."""

    def __init__(self, ingest: Followed, signal: Service, stub: signal_pb2_grpc.SignalServiceAsyncStub) -> None:
        self.ingest = ingest
        self.signal = signal
        self.venue = ingest.venue
        self._stub = stub

    async def select(self, symbol: str) -> signal_pb2.SelectSymbolResponse:
        return await self._stub.SelectSymbol(signal_pb2.SelectSymbolRequest(symbol=symbol), timeout=10)

    async def selected(self) -> signal_pb2.GetSymbolResponse:
        return await self._stub.GetSymbol(signal_pb2.GetSymbolRequest(), timeout=10)

    async def is_selected(self, symbol: str, status: str) -> None:
        async def look() -> bool:
            found = await self.selected()
            assert (found.symbol, found.status) == (symbol, status)
            return True

        await eventually(look, timeout_s=30, not_yet=(grpc.RpcError,))

    async def price(self) -> signal_pb2.GetPriceResponse:
        return await self._stub.GetPrice(signal_pb2.GetPriceRequest(), timeout=10)

    def asked_for_the_list(self) -> int:
        return sum(target.startswith(EXCHANGE_INFO) for target in self.venue.asked)

    async def asks_for(self, stream: str) -> None:
        def asked() -> bool:
            said = [unquote(target) for target in self.venue.opened[-1:]]
            said += [name for request in self.venue.requests for name in request["params"]]
            return any(stream in words for words in said)

        await eventually(asked)

    def restart_signal(self) -> None:
        self.signal.process.kill()
        self.signal.start()

    async def restart_ingest(self) -> None:
        self.ingest.service.process.kill()
        await eventually(lambda: not self.venue.clients)
        self.venue.requests.clear()
        self.venue.opened.clear()
        await self.ingest.start()


@asynccontextmanager
async def both(server: NatsServer, make_service: Make, **settings: str) -> AsyncIterator[Both]:
    signal = make_service("signalsvc", NATS_URL=server.url_of("signal"), SIGNAL_ADDR="127.0.0.1:0")
    async with followed(server, make_service, **settings) as ingest:
        address = signal.start_grpc("SIGNAL_ADDR")
        await ingest.start()
        async with rpc.channel(address) as channel:
            mesh = Both(ingest, signal, signal_pb2_grpc.SignalServiceStub(channel))
            await mesh.is_selected("btcusdt", "TRADING")
            yield mesh


async def test_a_coin_that_rests_stays_selected_across_restarts_and_is_followed_when_it_trades_again(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with both(nats_server, make_service) as mesh:
        mesh.venue.symbols = ("btcusdt", "ethusdt", "pepeusdt")
        assert (await mesh.select("PEPEUSDT")).status == "TRADING"
        await mesh.venue.trade("btcusdt", 1)
        mesh.venue.statuses = dict.fromkeys(mesh.venue.symbols, "BREAK")
        await mesh.restart_ingest()
        mesh.restart_signal()
        await mesh.is_selected("pepeusdt", "BREAK")
        report = json.loads(await mesh.ingest.last("CONTROL", "control.status.ingest"))
        assert "btcusdt BREAK" in str(report)
        with pytest.raises(grpc.aio.AioRpcError, match="it rests, binance says BREAK") as refused:
            await mesh.price()  # and not another coin's
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE

        mesh.venue.statuses = {}
        await mesh.asks_for("pepeusdt@trade")
        await mesh.venue.trade("pepeusdt", 7)
        await mesh.is_selected("pepeusdt", "TRADING")  # a trade says so at once, not the next list in a minute
        assert (await mesh.price()).trade_id == 7


async def test_a_coin_that_is_missing_from_the_list_after_a_restart_stays_selected(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with both(nats_server, make_service) as mesh:
        await mesh.select("ethusdt")
        mesh.venue.symbols = ("btcusdt",)
        await mesh.restart_ingest()
        await mesh.is_selected("ethusdt", "UNLISTED")
        mesh.restart_signal()
        await mesh.is_selected("ethusdt", "UNLISTED")


async def test_a_list_with_nothing_on_it_is_no_answer(nats_server: NatsServer, make_service: Make) -> None:
    async with both(nats_server, make_service) as mesh:
        await mesh.select("ethusdt")
        mesh.venue.symbols = ()
        await mesh.restart_ingest()
        await eventually(lambda: mesh.ingest.says("lists nothing at all"))
        mesh.restart_signal()
        await mesh.is_selected("ethusdt", "TRADING")  # as far as anybody knows


async def test_a_coin_listed_a_moment_ago_can_be_selected(nats_server: NatsServer, make_service: Make) -> None:
    async with both(nats_server, make_service) as mesh:
        mesh.venue.symbols = (*mesh.venue.symbols, "newusdt")
        assert (await mesh.select("newusdt")).symbol == "newusdt"
        await mesh.asks_for("newusdt@trade")
        await mesh.venue.trade("newusdt", 1)

        async def priced() -> bool:
            return (await mesh.price()).symbol == "newusdt"

        await eventually(priced, not_yet=(grpc.RpcError,))


async def test_a_coin_listed_a_moment_ago_can_be_selected_over_the_bus(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with both(nats_server, make_service) as mesh:
        mesh.venue.symbols = (*mesh.venue.symbols, "newusdt")
        await mesh.ingest.tell("control.symbol", b'{"symbol":"newusdt"}')
        await mesh.is_selected("newusdt", "TRADING")
        await mesh.ingest.tell("control.symbol", b'{"symbol":"nonsense"}')

        async def restored() -> bool:
            return bool(json.loads(await mesh.ingest.last("CONTROL", "control.symbol")) == {"symbol": "newusdt"})

        await eventually(lambda: "control.symbol is refused" in mesh.signal.output())
        await eventually(restored)
        assert (await mesh.selected()).symbol == "newusdt"


async def test_many_unknown_symbols_are_refused_and_do_not_spend_the_budget(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with both(nats_server, make_service) as mesh:
        before = mesh.asked_for_the_list()
        for number in range(15):
            with pytest.raises(grpc.aio.AioRpcError, match="binance does not trade it") as refused:
                await mesh.select(f"nonsense{number}")
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert 1 <= mesh.asked_for_the_list() - before <= 5


@pytest.mark.slow
async def test_a_coin_whose_name_is_not_ascii_is_followed_and_goes_on_after_restarts(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with both(nats_server, make_service) as mesh:
        mesh.venue.symbols = (*mesh.venue.symbols, "币安人生usdt")
        assert (await mesh.select("币安人生USDT")).symbol == "币安人生usdt"
        await mesh.asks_for("币安人生usdt@trade")
        await mesh.venue.trade("币安人生usdt", 1, 2)
        await mesh.ingest.publishes_of("币安人生usdt", [1, 2])
        await mesh.restart_ingest()
        mesh.restart_signal()
        await mesh.is_selected("币安人生usdt", "TRADING")
        await mesh.asks_for("币安人生usdt@trade")
        mesh.venue.know("币安人生usdt", 3)
        await mesh.venue.trade("币安人生usdt", 4)  # REST is asked for the third one, by its name in percent escapes
        await mesh.ingest.publishes_of("币安人生usdt", [1, 2, 3, 4])

        async def counted() -> bool:
            return (await mesh.price()).trade_id == 4

        await eventually(counted, not_yet=(grpc.RpcError,))
