"""StoreService.ListTrades: pages that are stable, complete and refuse nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.bus import control, subjects
from mesh.bus.connection import CONTROL_STREAM
from mesh.service import rpc
from tests.fixtures.nats import NatsServer
from tests.fixtures.services import Service
from tests.fixtures.store import Feeder, feeding, until_stored
from tests.fixtures.trades import START_US, columns
from tests.fixtures.waiting import eventually
from tickmesh.v1 import control_pb2, store_pb2, store_pb2_grpc, trade_pb2


@pytest.fixture
async def feeder(nats_server: NatsServer) -> AsyncIterator[Feeder]:
    async with feeding(nats_server) as feeder:
        await feeder.bus.declare(CONTROL_STREAM)
        yield feeder


@pytest.fixture
def store(make_service: Callable[..., Service], nats_server: NatsServer, database_url: str, feeder: Feeder) -> Service:
    store = make_service(
        "store", NATS_URL=nats_server.url_of("store"), DATABASE_URL=database_url, STORE_ADDR="127.0.0.1:0"
    )
    store.start_grpc("STORE_ADDR")
    return store


@asynccontextmanager
async def asking(store: Service) -> AsyncIterator[Any]:
    async with rpc.channel(store.address) as channel:
        yield store_pb2_grpc.StoreServiceStub(channel)


def time(trade_id: int) -> Timestamp:
    time_us = START_US + trade_id * 250
    return Timestamp(seconds=time_us // 10**6, nanos=time_us % 10**6 * 1000)


async def ids(stub: Any, **fields: Any) -> list[int]:
    answer = await stub.ListTrades(store_pb2.ListTradesRequest(**fields))
    return [trade.trade_id for trade in answer.trades]


async def test_pages_give_every_trade_once_newest_first_whatever_comes_meanwhile(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    await feeder.publish(columns(1, 250))
    await until_stored(database_url, range(1, 251))
    async with asking(store) as stub:
        first = await stub.ListTrades(store_pb2.ListTradesRequest(symbol="BTCUSDT", venue="binance"))
        await feeder.publish(columns(251, 50))
        await until_stored(database_url, range(1, 301))
        second = await stub.ListTrades(
            store_pb2.ListTradesRequest(symbol="btcusdt", venue="binance", page_token=first.next_page_token)
        )
        third = await stub.ListTrades(store_pb2.ListTradesRequest(page_size=1000, page_token=second.next_page_token))

    pages = [[trade.trade_id for trade in page.trades] for page in (first, second, third)]
    assert pages == [list(range(250, 150, -1)), list(range(150, 50, -1)), list(range(50, 0, -1))]
    assert third.next_page_token == ""


async def test_a_trade_comes_back_as_it_was(feeder: Feeder, store: Service, database_url: str) -> None:
    await feeder.publish(columns(3, 1))
    await until_stored(database_url, [3])
    async with asking(store) as stub:
        [trade] = (await stub.ListTrades(store_pb2.ListTradesRequest(symbol="btcusdt", venue="binance"))).trades

    sent = columns(3, 1)
    assert trade == trade_pb2.Trade(
        venue="binance",
        symbol="btcusdt",
        trade_id=3,
        price_e8=int(sent.price_e8[0]),
        quantity_e8=int(sent.quantity_e8[0]),
        timestamp=time(3),
        side=trade_pb2.SIDE_SELL,
    )


async def test_times_cut_the_answer(feeder: Feeder, store: Service, database_url: str) -> None:
    await feeder.publish(columns(1, 20))
    await until_stored(database_url, range(1, 21))
    async with asking(store) as stub:
        found = await ids(stub, symbol="btcusdt", venue="binance", start_time=time(5), end_time=time(8))

    assert found == [7, 6, 5]


async def test_trades_of_one_moment_are_paged_by_id(feeder: Feeder, store: Service, database_url: str) -> None:
    moment = columns(1, 10)
    moment.time_us[:] = START_US
    await feeder.publish(moment)
    await until_stored(database_url, range(1, 11))
    found, token = [], ""
    async with asking(store) as stub:
        for _ in range(4):
            request = store_pb2.ListTradesRequest(symbol="btcusdt", venue="binance", page_size=3, page_token=token)
            page = await stub.ListTrades(request)
            found += [trade.trade_id for trade in page.trades]
            token = page.next_page_token

    assert (found, token) == (list(range(10, 0, -1)), "")


async def test_pages_from_the_oldest_on_give_every_trade_once_also_those_that_come_meanwhile(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    moment = columns(11, 10)
    moment.time_us[:] = START_US + 11 * 250  # of one time: their order is that of the ids
    await feeder.publish(columns(1, 10))
    await feeder.publish(moment)
    await until_stored(database_url, range(1, 21))
    pages: list[list[int]] = []
    token = ""
    async with asking(store) as stub:
        while not pages or token:
            request = store_pb2.ListTradesRequest(
                symbol="btcusdt", venue="binance", order="asc", start_time=time(3), page_size=6, page_token=token
            )
            page = await stub.ListTrades(request)
            pages.append([trade.trade_id for trade in page.trades])
            token = page.next_page_token
            if len(pages) == 1:
                await feeder.publish(columns(21, 5))
                await until_stored(database_url, range(1, 26))

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ids(stub, symbol="btcusdt", venue="binance", order="newest")

    assert pages == [list(range(first, min(first + 6, 26))) for first in range(3, 26, 6)]
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_a_request_leaves_out_is_what_everybody_looks_at(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    for venue, symbol, first_id in (("sim", "ethusdt", 1), ("binance", "ethusdt", 11), ("sim", "btcusdt", 21)):
        await feeder.publish(columns(first_id, 2, venue=venue, symbol=symbol))
    await until_stored(database_url, [1, 2, 11, 12], symbol="ethusdt")
    await feeder.bus.js.publish(subjects.CONTROL_SYMBOL, b'{"symbol": "ETHUSDT"}')
    await feeder.bus.js.publish(subjects.CONTROL_CATALOG, control.encode(control_pb2.Catalog(venue="sim")))
    async with asking(store) as stub:

        async def look() -> bool:
            return await ids(stub) == [2, 1]

        assert await eventually(look, not_yet=(grpc.aio.AioRpcError,))


async def test_what_the_venue_lists_is_served_from_the_bus_without_any_trade(feeder: Feeder, store: Service) -> None:
    catalog = control_pb2.Catalog(venue="sim", listed_time=Timestamp(seconds=1_700_000_000))
    for base in ("BTC", "ETH", "SOL"):
        catalog.instruments.add(
            symbol=f"{base}USDT".lower(), base_asset=base, quote_asset="USDT", tick_size_e8=10**6, step_size_e8=1000
        )
    async with asking(store) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListInstruments(store_pb2.ListInstrumentsRequest())
        await feeder.bus.js.publish(subjects.CONTROL_CATALOG, control.encode(catalog))

        async def page(**fields: Any) -> Any:
            return await stub.ListInstruments(store_pb2.ListInstrumentsRequest(**fields))

        first = await eventually(lambda: page(q="usdt", page_size=2), not_yet=(grpc.aio.AioRpcError,))
        second = await page(q="usdt", page_token=first.next_page_token)

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert [instrument.symbol for each in (first, second) for instrument in each.instruments] == [
        *("btcusdt", "ethusdt", "solusdt")
    ]
    assert first.instruments[0].tick_size_e8 == 10**6
    assert (first.venue, first.listed_time.seconds, first.stale) == ("sim", 1_700_000_000, True)
    assert second.next_page_token == ""


async def test_before_anybody_told_the_venue_is_that_of_the_newest_trade(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    await feeder.publish(columns(1, 2, venue="sim"))
    await feeder.publish(columns(11, 2, venue="binance"))
    await until_stored(database_url, [1, 2, 11, 12])
    async with asking(store) as stub:
        found = await ids(stub, symbol="btcusdt")

    assert found == [12, 11]


async def test_a_symbol_without_trades_is_an_empty_list(feeder: Feeder, store: Service, database_url: str) -> None:
    await feeder.publish(columns(1, 1))
    await until_stored(database_url, [1])
    async with asking(store) as stub:
        assert await ids(stub, symbol="xrpusdt") == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"symbol": "no/symbol"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"symbol": "btcusdt", "page_size": -1}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"symbol": "btcusdt", "page_token": "made up"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({}, grpc.StatusCode.UNAVAILABLE),
    ],
)
async def test_nonsense_has_its_code(
    feeder: Feeder, store: Service, database_url: str, fields: dict[str, Any], code: grpc.StatusCode
) -> None:
    await feeder.publish(columns(1, 1))
    await until_stored(database_url, [1])
    async with asking(store) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListTrades(store_pb2.ListTradesRequest(**fields))

    assert caught.value.code() == code


async def test_reads_never_block_writing(feeder: Feeder, store: Service, database_url: str) -> None:
    await feeder.publish(columns(1, 1000))
    await until_stored(database_url, range(1, 1001))
    async with asking(store) as stub:
        request = store_pb2.ListTradesRequest(symbol="btcusdt", venue="binance", page_size=1000)
        reads = [asyncio.ensure_future(stub.ListTrades(request)) for _ in range(50)]
        await feeder.publish(columns(1001, 1000))
        answers = await asyncio.gather(*reads, return_exceptions=True)
        await until_stored(database_url, range(1, 2001))

    assert {type(answer).__name__ for answer in answers} == {"ListTradesResponse"}
