"""The signal service as a process, against a real nats-server: RAW in, PROCESSED and SignalService out."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import nats
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from mesh.bus import control, subjects, wire
from mesh.bus.connection import CONTROL_STREAM, DEAD_STREAM, Bus, connect, processed_stream, raw_stream
from mesh.bus.publisher import Publisher
from mesh.service import rpc
from mesh.service.direct import connected
from mesh.service.health import Health
from mesh.service.settings import BusSettings
from mesh.values.trades import SignalColumns, TradeColumns
from signalsvc.engine import Engine
from tests.fixtures.nats import NatsServer
from tests.fixtures.services import Service
from tests.fixtures.trades import START_US, columns
from tests.fixtures.waiting import eventually
from tickmesh.v1 import control_pb2, signal_pb2, signal_pb2_grpc

Make = Callable[..., Service]
GRPCURL = Path(sysconfig.get_path("scripts")) / "grpcurl"


class Feed:
    """What ingest does on the bus, for tests: trades to RAW, the catalog to CONTROL."""

    def __init__(self, bus: Bus, publisher: Publisher) -> None:
        self.bus = bus
        self._publisher = publisher

    async def trades(self, *batches: TradeColumns) -> None:
        for trades in batches:
            ids = trades.trade_id
            await self._publisher.publish(
                subjects.raw_of_symbol(trades.venue, trades.symbol),
                wire.encode_trades(trades),
                message_id=f"{trades.venue}.{trades.symbol}.{ids[0]}-{ids[-1]}",
            )
        await self._publisher.settle()

    async def together(self, *batches: bytes) -> None:
        payload = b"".join(map(wire.one_of_many, batches))
        await self._publisher.publish("trades.raw.binance", payload, message_id=f"together-{hash(payload)}")
        await self._publisher.settle()

    async def raw(self, payload: bytes) -> None:
        await self._publisher.publish("trades.raw.binance.btcusdt", payload, message_id=f"raw-{hash(payload)}")

    async def catalog(self, *followed: str, venue: str = "binance") -> None:
        instruments = [
            control_pb2.Instrument(symbol=symbol, base_asset=symbol[:-4].upper())
            for symbol in ("btcusdt", "ethusdt", "adausdt")
        ]
        catalog = control_pb2.Catalog(venue=venue, followed=followed, instruments=instruments)
        await self.bus.js.publish(subjects.CONTROL_CATALOG, control.encode(catalog))

    async def processed(self, trades: int) -> list[SignalColumns]:
        """Return all of PROCESSED as soon as it holds so many trades."""

        async def look() -> list[SignalColumns]:
            found: list[SignalColumns] = []
            info = await self.bus.stream_info(subjects.PROCESSED)
            for sequence in range(1, info.state.last_seq + 1 if info is not None else 0):
                message = await self.bus.js.get_msg(subjects.PROCESSED, sequence)
                old = subjects.is_of_one_symbol(message.subject or "")
                batches = [message.data or b""] if old else wire.batches_of(message.data or b"")
                found += map(wire.decode_signals, batches)
            count = sum(len(signals.trades) for signals in found)
            assert count >= trades, f"{count} of {trades} trades"
            return found

        return await eventually(look)


@asynccontextmanager
async def feeding(server: NatsServer) -> AsyncIterator[Feed]:
    settings = BusSettings(nats_url=server.url_of("admin"))
    async with connect(settings, name="ingest", health=Health("bus")) as bus:
        await bus.declare(raw_stream(64 * 2**20))
        await bus.declare(CONTROL_STREAM)
        publisher = Publisher(bus, subjects.RAW)
        await publisher.open()
        running = asyncio.create_task(publisher.run())
        try:
            yield Feed(bus, publisher)
        finally:
            running.cancel()


@asynccontextmanager
async def calling(address: str) -> AsyncIterator[signal_pb2_grpc.SignalServiceAsyncStub]:
    async with rpc.channel(address) as channel:
        yield signal_pb2_grpc.SignalServiceStub(channel)


async def serving(address: str, service: str = "tickmesh.v1.SignalService") -> bool:
    async with rpc.channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)  # type: ignore[attr-defined]  # untyped
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@pytest.fixture
def signal(nats_server: NatsServer, make_service: Make) -> Service:
    return make_service("signalsvc", NATS_URL=nats_server.url_of("signal"), SIGNAL_ADDR="127.0.0.1:0")


def bytes_of(processed: Iterable[SignalColumns]) -> dict[str, bytes]:
    """Return the signals of each symbol as one batch: how they are cut into batches is signal's own affair."""
    joined: dict[str, signal_pb2.SignalBatch] = {}
    for signals in processed:
        batch = joined.setdefault(signals.trades.symbol, signal_pb2.SignalBatch())
        batch.MergeFromString(wire.encode_signals(signals))
    return {symbol: batch.SerializeToString(deterministic=True) for symbol, batch in joined.items()}


def expected(*batches: TradeColumns) -> dict[str, bytes]:
    engine = Engine(moving_average_window=20, extremes_window=20)
    made = [engine.process(trades, raw_sequence=number) for number, trades in enumerate(batches, 1)]
    return bytes_of(signals for signals in made if signals is not None)


async def test_before_ingest_has_told_nothing_is_unknown_but_not_known_yet(
    nats_server: NatsServer, signal: Service
) -> None:
    address = signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server), calling(address) as stub:
        await eventually(lambda: serving(address))
        calls = [("ListCoins", signal_pb2.ListCoinsRequest()), ("GetSymbol", signal_pb2.GetSymbolRequest())]
        for symbol in ("", "btcusdt", "ethusdt", "adausdt"):
            calls += [
                ("GetPrice", signal_pb2.GetPriceRequest(symbol=symbol)),
                ("GetStats", signal_pb2.GetStatsRequest(symbol=symbol)),
                ("ResetSession", signal_pb2.ResetSessionRequest(symbol=symbol)),
            ]
        for method, request in calls:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await getattr(stub, method)(request)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE, (method, request, caught.value.details())


async def test_every_trade_leaves_with_its_signals(nats_server: NatsServer, signal: Service) -> None:
    batches = [columns(1, 30), columns(1, 5, symbol="ethusdt"), columns(31, 200)]
    signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed:
        await feed.trades(*batches)
        processed = await feed.processed(235)
    assert bytes_of(processed) == expected(*batches)


def minutely(count: int) -> TradeColumns:
    """Return trades of which each closes a second and a minute."""
    trades = columns(1, count)
    trades.time_us[:] = START_US + np.arange(count) * 60_000_000
    return trades


async def test_a_batch_whose_candles_are_too_many_for_a_message_leaves_in_parts(
    nats_server: NatsServer, signal: Service
) -> None:
    sparse = minutely(4096)
    signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed:
        await feed.trades(sparse)
        processed = await feed.processed(4096)
    assert len(processed) > 1
    assert [number for part in processed for number in part.trades.trade_id] == list(range(1, 4097))
    assert Counter(candle.interval for part in processed for candle in part.candles) == {
        "1s": 4095, "1m": 4095, "5m": 819, "15m": 273, "1h": 69, "1d": 3
    }  # fmt: skip


async def test_a_crash_between_two_parts_of_a_batch_loses_and_doubles_none(
    nats_server: NatsServer, signal: Service
) -> None:
    sparse = minutely(4096)
    whole = Engine().process(sparse, raw_sequence=1)
    assert whole is not None
    parts = wire.split_signals(whole)
    admin = BusSettings(nats_url=nats_server.url_of("admin"))
    async with feeding(nats_server) as feed, connect(admin, name="admin", health=Health("bus")) as bus:
        await feed.trades(sparse)
        await bus.declare(processed_stream(64 * 2**20))
        # As an older signal did: it gave each symbol messages of its own.
        await bus.js.publish("trades.processed.binance.btcusdt", wire.encode_signals(parts[0]))
        signal.start_grpc("SIGNAL_ADDR")
        processed = await feed.processed(4096)
    assert bytes_of(processed) == bytes_of(parts)


@pytest.mark.slow
async def test_a_coin_nobody_follows_leaves_memory_and_its_session_goes_on_when_it_trades_again(
    nats_server: NatsServer, make_service: Make
) -> None:
    settings = {"NATS_URL": nats_server.url_of("signal"), "SIGNAL_ADDR": "127.0.0.1:0", "MAX_STATES": "1"}
    service = make_service("signalsvc", **settings)
    service.start_grpc("SIGNAL_ADDR")
    batches = [columns(1, 30), columns(1, 40, symbol="ethusdt"), columns(31, 5), columns(41, 50, symbol="ethusdt")]
    async with feeding(nats_server) as feed:
        await feed.catalog("binance", "btcusdt")
        await feed.trades(*batches[:3])
        await eventually(lambda: "that nobody follows leave memory" in service.output(), timeout_s=30)
        await feed.trades(batches[3])
        processed = await feed.processed(125)
        assert "ethusdt goes on with its saved state" in service.output()
    assert bytes_of(processed) == expected(*batches)


async def test_what_changes_something_for_all_may_not_be_done_too_often(
    nats_server: NatsServer, make_service: Make
) -> None:
    settings = {"NATS_URL": nats_server.url_of("signal"), "SIGNAL_ADDR": "127.0.0.1:0", "CHANGES_PER_MINUTE": "2"}
    service = make_service("signalsvc", **settings)
    service.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed, calling(service.address) as calls:
        await feed.catalog("binance", "btcusdt", "ethusdt")
        await feed.trades(columns(1, 3))
        await feed.processed(3)
        await eventually(lambda: calls.GetPrice(signal_pb2.GetPriceRequest()), not_yet=(grpc.aio.AioRpcError,))
        codes = []
        for _ in range(3):
            call = calls.ResetSession(signal_pb2.ResetSessionRequest())
            codes.append((await call.code()).name)
        assert codes == ["OK", "OK", "RESOURCE_EXHAUSTED"]
        assert 1 <= int(dict(await call.trailing_metadata())["retry-after"]) <= 30
        selecting = calls.SelectSymbol(signal_pb2.SelectSymbolRequest(symbol="ethusdt"))
        assert (await selecting.code()).name == "RESOURCE_EXHAUSTED"
        again = calls.SelectSymbol(signal_pb2.SelectSymbolRequest(symbol="btcusdt"))
        assert (await again.code()).name == "OK"  # it is selected already


async def test_a_killed_service_goes_on_as_if_it_had_never_died(nats_server: NatsServer, signal: Service) -> None:
    batches = [columns(first_id, 50) for first_id in range(1, 2001, 50)]
    signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed:
        await feed.trades(*batches[:20])
        await feed.processed(1)
        signal.process.kill()
        await feed.trades(*batches[20:])
        signal.start_grpc("SIGNAL_ADDR")
        processed = await feed.processed(2000)
    assert bytes_of(processed) == expected(*batches)


async def test_a_service_that_was_stopped_in_order_and_then_killed_publishes_nothing_twice(
    nats_server: NatsServer, signal: Service
) -> None:
    # What the state says that was published, and what was published behind that state.
    batches = [columns(1, 30), columns(1, 5, symbol="ethusdt"), columns(31, 20), columns(51, 10)]
    signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed:
        await feed.trades(*batches[:2])
        await feed.processed(35)
        signal.process.stop()
        signal.start_grpc("SIGNAL_ADDR")
        await feed.trades(batches[2])
        await feed.processed(55)
        signal.process.kill()
        signal.start_grpc("SIGNAL_ADDR")
        await feed.trades(batches[3])
        processed = await feed.processed(65)
    assert bytes_of(processed) == expected(*batches)


async def test_signals_of_symbols_that_came_together_are_one_message(nats_server: NatsServer, signal: Service) -> None:
    symbols = [f"coin{number}usdt" for number in range(40)]
    async with feeding(nats_server) as feed:
        await feed.trades(*(columns(1, 3, symbol=symbol) for symbol in symbols))
        signal.start_grpc("SIGNAL_ADDR")
        processed = await feed.processed(120)
        info = await feed.bus.js.stream_info(subjects.PROCESSED)
    assert [signals.trades.symbol for signals in processed] == symbols
    assert info.state.messages < len(symbols)


async def test_repeats_and_unreadable_messages_do_no_harm(nats_server: NatsServer, signal: Service) -> None:
    signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed:
        await feed.trades(columns(1, 10))
        await feed.raw(b"\xffnonsense")
        await feed.trades(columns(5, 3), columns(8, 10))
        free = columns(18, 1)
        free.price_e8[:] = 0
        await feed.trades(free)
        processed = await feed.processed(17)
        await feed.bus.declare(DEAD_STREAM)

        async def put_aside() -> list[Any]:
            return [await feed.bus.js.get_msg("DEAD", sequence) for sequence in (1, 2)]

        dead = await eventually(put_aside, not_yet=(NatsError,))
    ids = np.concatenate([signals.trades.trade_id for signals in processed])
    assert ids.tolist() == list(range(1, 18))
    assert [letter.subject for letter in dead] == ["trades.dead.RAW"] * 2
    assert dead[0].data == b"\xffnonsense"
    assert "price_e8 is 0" in (dead[1].headers or {})["Tickmesh-Reason"]


async def test_a_message_of_many_symbols_is_taken_but_for_what_is_wrong(
    nats_server: NatsServer, signal: Service
) -> None:
    signal.start_grpc("SIGNAL_ADDR")
    free = columns(50, 2, symbol="solusdt")
    free.price_e8[:] = 0
    batches = [columns(1, 10), free, columns(7, 3, symbol="ethusdt"), columns(11, 10)]
    async with feeding(nats_server) as feed:
        await feed.together(*map(wire.encode_trades, batches), b"\xffnonsense")
        await feed.together(wire.encode_trades(columns(21, 5)), wire.encode_trades(columns(10, 4, symbol="ethusdt")))
        processed = await feed.processed(32)
        await feed.bus.declare(DEAD_STREAM)
        dead = [
            await eventually(lambda n=n: feed.bus.js.get_msg("DEAD", n), not_yet=(NatsError,))  # type: ignore[misc]
            for n in (1, 2)
        ]
    found: dict[str, list[int]] = {}
    for signals in processed:
        found.setdefault(signals.trades.symbol, []).extend(signals.trades.trade_id.tolist())
    assert found == {"btcusdt": list(range(1, 26)), "ethusdt": list(range(7, 14))}
    assert [letter.data for letter in dead] == [wire.encode_trades(free), b"\xffnonsense"]
    assert len({(letter.headers or {})["Nats-Msg-Id"] for letter in dead}) == 2


async def test_price_and_statistics_are_those_of_the_last_trade(nats_server: NatsServer, signal: Service) -> None:
    address = signal.start_grpc("SIGNAL_ADDR")
    trades = columns(1, 40)
    async with feeding(nats_server) as feed, calling(address) as stub:
        await feed.catalog("btcusdt")
        await feed.trades(trades)
        await feed.processed(40)
        price = await stub.GetPrice(signal_pb2.GetPriceRequest())
        stats = await stub.GetStats(signal_pb2.GetStatsRequest(symbol="BTCUSDT"))
    assert (price.symbol, price.price_e8, price.trade_id) == ("btcusdt", trades.price_e8[-1], 40)
    assert price.timestamp.ToMicroseconds() == trades.time_us[-1]
    assert stats.moving_average == int(trades.price_e8[-20:].sum()) / (20 * 10**8)
    assert (stats.high_e8, stats.low_e8, stats.count) == (trades.price_e8.max(), trades.price_e8.min(), 40)


async def test_a_selected_symbol_is_told_to_everybody(nats_server: NatsServer, signal: Service) -> None:
    address = signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed, calling(address) as stub:
        await feed.catalog("btcusdt")
        await eventually(lambda: stub.GetSymbol(signal_pb2.GetSymbolRequest()), not_yet=(grpc.aio.AioRpcError,))
        watch = stub.Watch(signal_pb2.WatchRequest())
        events = aiter(watch)
        first = await anext(events)
        answer = await stub.SelectSymbol(signal_pb2.SelectSymbolRequest(symbol="ETHUSDT"))
        second = await anext(events)
        watch.cancel()
        kept = await feed.bus.js.get_last_msg(subjects.CONTROL, subjects.CONTROL_SYMBOL)
    assert first.selected.symbol == "btcusdt"
    assert (answer.symbol, answer.name) == ("ethusdt", "Ethereum (ETH)")
    assert second.selected.symbol == "ethusdt"
    assert json.loads(kept.data or b"") == {"symbol": "ethusdt"}


async def test_a_selection_survives_a_restart(nats_server: NatsServer, signal: Service) -> None:
    address = signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed, calling(address) as stub:
        await feed.catalog("btcusdt")
        await eventually(lambda: serving(address))
        await eventually(lambda: stub.GetSymbol(signal_pb2.GetSymbolRequest()), not_yet=(grpc.aio.AioRpcError,))
        await stub.SelectSymbol(signal_pb2.SelectSymbolRequest(symbol="ethusdt"))
        signal.process.kill()
        signal.start_grpc("SIGNAL_ADDR")

        async def selected() -> bool:
            try:
                return (await stub.GetSymbol(signal_pb2.GetSymbolRequest())).symbol == "ethusdt"
            except grpc.aio.AioRpcError as exc:
                assert exc.code() is grpc.StatusCode.UNAVAILABLE, exc
                return False

        assert await eventually(selected)


async def test_nonsense_selected_by_hand_is_refused_and_put_right(nats_server: NatsServer, signal: Service) -> None:
    signal.start_grpc("SIGNAL_ADDR")

    async def last_selection() -> object:
        kept = await feed.bus.js.get_last_msg(subjects.CONTROL, subjects.CONTROL_SYMBOL)
        return json.loads(kept.data or b"")

    async with feeding(nats_server) as feed:
        await feed.catalog("btcusdt")
        await eventually(lambda: "gRPC" in signal.output())
        await eventually(last_selection, not_yet=(NotFoundError,))
        await feed.bus.js.publish(subjects.CONTROL_SYMBOL, b"not json at all")
        await eventually(lambda: "on control.symbol: no SymbolSelection" in signal.output())
        await feed.bus.js.publish(subjects.CONTROL_SYMBOL, b'{"symbol": "pepeusdt"}')
        await eventually(lambda: "control.symbol is refused" in signal.output())

        async def put_right() -> bool:
            return await last_selection() == {"symbol": "btcusdt"}

        assert await eventually(put_right)


@pytest.mark.parametrize(
    ("call", "request_", "code"),
    [
        ("GetPrice", signal_pb2.GetPriceRequest(symbol="ethusdt"), grpc.StatusCode.UNAVAILABLE),
        ("GetPrice", signal_pb2.GetPriceRequest(symbol="adausdt"), grpc.StatusCode.NOT_FOUND),
        ("GetStats", signal_pb2.GetStatsRequest(symbol="no/symbol"), grpc.StatusCode.INVALID_ARGUMENT),
        ("SelectSymbol", signal_pb2.SelectSymbolRequest(symbol="pepeusdt"), grpc.StatusCode.INVALID_ARGUMENT),
        ("SelectSymbol", signal_pb2.SelectSymbolRequest(), grpc.StatusCode.INVALID_ARGUMENT),
        ("ResetSession", signal_pb2.ResetSessionRequest(symbol="ethusdt"), grpc.StatusCode.UNAVAILABLE),
    ],
)
async def test_wrong_requests_get_their_code(
    nats_server: NatsServer, signal: Service, call: str, request_: object, code: grpc.StatusCode
) -> None:
    address = signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed, calling(address) as stub:
        await feed.catalog("btcusdt", "ethusdt")
        await eventually(lambda: serving(address))

        async def refused() -> bool:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await getattr(stub, call)(request_)
            return caught.value.code() is code

        assert await eventually(refused)


async def test_a_watcher_gets_the_trades_of_the_selected_symbol(nats_server: NatsServer, signal: Service) -> None:
    address = signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed, calling(address) as stub:
        await feed.catalog("btcusdt", "ethusdt")
        await eventually(lambda: stub.GetSymbol(signal_pb2.GetSymbolRequest()), not_yet=(grpc.aio.AioRpcError,))
        watch = stub.Watch(signal_pb2.WatchRequest())
        events = aiter(watch)
        await anext(events)
        await feed.trades(columns(1, 4, symbol="ethusdt"), columns(1, 7))
        event = await anext(events)
        watch.cancel()
    assert list(event.batch.trades.trade_id) == list(range(1, 8))
    assert event.batch.trades.symbol == "btcusdt"


async def test_who_watches_directly_gets_what_a_watcher_gets(nats_server: NatsServer, signal: Service) -> None:
    address = signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed, calling(address) as stub:
        await feed.catalog("btcusdt", "ethusdt")
        await eventually(lambda: serving(address))
        request = signal_pb2.WatchRequest(all_symbols=True, partitions=True, repeats=True)
        direct_request = signal_pb2.WatchDirectlyRequest(watch=request)
        watch, direct, received = stub.Watch(request), stub.WatchDirectly(direct_request), list[bytes]()
        where: Any = await direct.read()
        assert len(where.ticket) == 16
        events = aiter(watch)
        async with connected("127.0.0.1", where.port, where.ticket, received.extend, tls=None) as receiver:
            await eventually(lambda: len(received) >= 2)
            await feed.trades(*(columns(first, 3, symbol=s) for first in (1, 4, 7) for s in ("btcusdt", "ethusdt")))
            over_grpc: list[bytes] = []
            while len(over_grpc) < 6:
                if (event := await anext(events)).WhichOneof("event") == "batch":
                    over_grpc.append(event.SerializeToString())
            batches = signal_pb2.WatchResponse.FromString
            await eventually(lambda: [one for one in received if batches(one).HasField("batch")] == over_grpc)
            kinds = [batches(one).WhichOneof("event") for one in received[:2]]
            assert kinds == ["partitions", "selected"]
            direct.cancel()
            with suppress(OSError):
                await receiver.lost
        watch.cancel()


async def test_a_direct_watch_ends_with_its_connection_and_with_signal(
    nats_server: NatsServer, signal: Service
) -> None:
    address = signal.start_grpc("SIGNAL_ADDR")
    request = signal_pb2.WatchDirectlyRequest(watch=signal_pb2.WatchRequest(all_symbols=True))
    async with feeding(nats_server) as feed, calling(address) as stub:
        await feed.catalog("btcusdt")
        await eventually(lambda: serving(address))
        first = stub.WatchDirectly(request)
        where: Any = await first.read()
        async with connected("127.0.0.1", where.port, where.ticket, lambda _: None, tls=None):
            pass
        assert await first.read() is grpc.aio.EOF
        second, received = stub.WatchDirectly(request), list[bytes]()
        where = await second.read()
        async with connected("127.0.0.1", where.port, where.ticket, received.extend, tls=None) as receiver:
            await eventually(lambda: received)
            await asyncio.to_thread(signal.process.stop)
            await receiver.lost  # in order: what was to be sent has been
            assert await second.read() is grpc.aio.EOF


async def test_a_watcher_gets_no_trade_of_a_venue_that_is_not_followed_any_more(
    nats_server: NatsServer, signal: Service
) -> None:
    address = signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed, calling(address) as stub:
        await feed.catalog("btcusdt", venue="sim")
        await eventually(lambda: stub.GetSymbol(signal_pb2.GetSymbolRequest()), not_yet=(grpc.aio.AioRpcError,))
        events = aiter(stub.Watch(signal_pb2.WatchRequest()))
        assert (await anext(events)).selected.venue == "sim"
        await feed.trades(columns(1, 2, venue="sim"))
        assert (await anext(events)).batch.trades.venue == "sim"
        await feed.catalog("btcusdt", venue="binance")
        assert (await anext(events)).selected.venue == "binance"
        with pytest.raises(grpc.aio.AioRpcError, match="no trade of btcusdt has come yet"):
            await stub.GetPrice(signal_pb2.GetPriceRequest())
        await feed.trades(columns(3, 2, venue="sim"), columns(1, 1))
        assert (await anext(events)).batch.trades.venue == "binance"
        assert (await stub.GetPrice(signal_pb2.GetPriceRequest())).venue == "binance"
        assert {signals.trades.venue for signals in await feed.processed(5)} == {"sim", "binance"}


async def test_a_symbol_that_the_next_venue_does_not_trade_gives_way_to_one_that_is_followed(
    nats_server: NatsServer, signal: Service
) -> None:
    signal.process.environment["SYMBOL"] = "dogeusdt"
    address = signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed, calling(address) as stub:
        told = control_pb2.Catalog(venue="sim", followed=["dogeusdt"])
        await feed.bus.js.publish(subjects.CONTROL_CATALOG, control.encode(told))
        await eventually(lambda: stub.GetSymbol(signal_pb2.GetSymbolRequest()), not_yet=(grpc.aio.AioRpcError,))
        await feed.catalog("ethusdt", venue="binance")

        async def replaced() -> bool:
            now = await stub.GetSymbol(signal_pb2.GetSymbolRequest())
            return (now.symbol, now.venue) == ("ethusdt", "binance")

        await eventually(replaced)
        last = await feed.bus.js.get_last_msg(subjects.CONTROL, subjects.CONTROL_SYMBOL)
    assert control.decode_selection(last.data or b"") == "ethusdt"


async def test_a_service_that_waits_for_its_bus_says_so_and_does_not_serve(
    nats_server: NatsServer, signal: Service
) -> None:
    nats_server.kill()
    address = signal.start_grpc("SIGNAL_ADDR")
    await eventually(lambda: "waiting for NATS" in signal.output())
    waiting = await serving(address)
    nats_server.start()
    async with feeding(nats_server):
        assert await eventually(lambda: serving(address))
    assert not waiting


async def test_a_stop_while_waiting_for_the_bus_is_clean(nats_server: NatsServer, signal: Service) -> None:
    nats_server.kill()
    signal.start_grpc("SIGNAL_ADDR")
    signal.process.stop()
    assert signal.process.returncode == 0


async def test_a_stopped_service_has_published_what_it_took(nats_server: NatsServer, signal: Service) -> None:
    signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed:
        await feed.trades(*(columns(first_id, 10) for first_id in range(1, 1001, 10)))
        await feed.processed(1)
        signal.process.stop()
        info = await feed.bus.js.consumer_info(subjects.RAW, subjects.DURABLE_SIGNAL)
        processed = await feed.processed(1)
    assert signal.process.returncode == 0
    assert info.ack_floor is not None
    assert info.ack_floor.stream_seq == processed[-1].raw_sequence
    assert sum(len(signals.trades) for signals in processed) == 10 * processed[-1].raw_sequence


async def test_wrong_settings_stop_the_start_and_are_all_named(make_service: Make) -> None:
    service = make_service("signalsvc", NATS_URL="http://nats", SMA_WINDOW="0", SIGNAL_ADDR="nowhere")
    service.start()
    await eventually(lambda: service.process.returncode is not None)
    assert service.process.returncode == 2
    assert all(name in service.output() for name in ("NATS_URL", "SMA_WINDOW", "SIGNAL_ADDR"))


async def test_grpcurl_lists_describes_and_calls_by_reflection(nats_server: NatsServer, signal: Service) -> None:
    address = signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed:
        await feed.catalog("btcusdt")
        await feed.trades(columns(1, 3))
        await feed.processed(3)
        await eventually(lambda: serving(address))

        def grpcurl(*arguments: str) -> str:
            command = [sys.executable, str(GRPCURL), "-plaintext", *arguments]
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout

        async def answer(*arguments: str) -> str:
            return await asyncio.to_thread(grpcurl, *arguments)

        assert "tickmesh.v1.SignalService" in await answer(address, "list")
        assert "rpc Watch" in await answer(address, "describe", "tickmesh.v1.SignalService")
        assert '"trade_id": "3"' in await answer(address, "tickmesh.v1.SignalService/GetPrice")
        assert "SERVING" in await answer(
            "-d", '{"service": "tickmesh.v1.SignalService"}', address, "grpc.health.v1.Health/Check"
        )


async def snapshot_position(feed: Feed) -> int:
    """Return the RAW sequence of the saved state."""
    kept = await feed.bus.js.get_last_msg("KV_engine", "$KV.engine.position")
    return int(json.loads(kept.data or b"")["raw_sequence"])


async def test_a_stopped_service_goes_on_from_its_saved_state(nats_server: NatsServer, signal: Service) -> None:
    batches = [columns(first_id, 50) for first_id in range(1, 1001, 50)]
    signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed:
        await feed.trades(*batches[:10])
        await feed.processed(500)
        signal.process.stop()
        saved = await snapshot_position(feed)
        address = signal.start_grpc("SIGNAL_ADDR")
        async with calling(address) as stub:
            await feed.catalog("btcusdt")
            await eventually(lambda: stub.GetPrice(signal_pb2.GetPriceRequest()), not_yet=(grpc.aio.AioRpcError,))
        await feed.trades(*batches[10:])
        processed = await feed.processed(1000)
    assert saved == 10
    assert "going on with the state of 1 symbols after RAW 10" in signal.output()
    assert bytes_of(processed) == expected(*batches)


@pytest.mark.parametrize("damage", [b"", b"not json", b'{"raw_sequence": 1}', b'{"raw_sequence": "x"}'])
async def test_a_damaged_saved_state_is_made_again_loudly(
    nats_server: NatsServer, signal: Service, damage: bytes
) -> None:
    batches = [columns(first_id, 50) for first_id in range(1, 501, 50)]
    signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed:
        await feed.trades(*batches[:5])
        await feed.processed(250)
        signal.process.stop()
        admin = await nats.connect(nats_server.url)
        await (await admin.jetstream().key_value("engine")).put("position", damage)
        await admin.close()
        signal.start_grpc("SIGNAL_ADDR")
        await feed.trades(*batches[5:])
        processed = await feed.processed(500)
    assert "the saved state cannot be used" in signal.output()
    assert bytes_of(processed) == expected(*batches)


@pytest.mark.parametrize("setting", ["SMA_WINDOW=7", "RSI_PERIOD=7"])
async def test_another_window_or_period_is_another_state(
    nats_server: NatsServer, signal: Service, setting: str
) -> None:
    name, _, length = setting.partition("=")
    signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed:
        await feed.trades(columns(1, 50))
        await feed.processed(50)
        signal.process.stop()
        signal.process.environment[name] = length
        signal.start_grpc("SIGNAL_ADDR")
        await feed.trades(columns(51, 1))
        processed = await feed.processed(51)
    window = 7 if name == "SMA_WINDOW" else 20
    mean = int(columns(52 - window, window).price_e8.sum()) / (window * 10**8)
    assert processed[-1].moving_average.tolist() == [mean]
    assert "the saved state cannot be used" in signal.output()


async def test_a_new_session_is_kept_through_a_crash(nats_server: NatsServer, signal: Service) -> None:
    address = signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed, calling(address) as stub:
        await feed.catalog("btcusdt")
        await feed.trades(columns(1, 50))
        await feed.processed(50)
        await eventually(lambda: serving(address))
        await stub.ResetSession(signal_pb2.ResetSessionRequest(symbol="btcusdt"))
        signal.process.kill()
        signal.start_grpc("SIGNAL_ADDR")
        await feed.trades(columns(51, 3))
        processed = await feed.processed(53)
    assert processed[-1].session_count.tolist() == [1, 2, 3]


async def test_a_new_session_is_kept_though_nothing_was_traded_since_the_start(
    nats_server: NatsServer, signal: Service
) -> None:
    signal.start_grpc("SIGNAL_ADDR")
    async with feeding(nats_server) as feed:
        await feed.catalog("btcusdt")
        await feed.trades(columns(1, 50))
        await feed.processed(50)
        signal.process.stop()
        address = signal.start_grpc("SIGNAL_ADDR")
        await eventually(lambda: serving(address))
        async with calling(address) as stub:
            request = signal_pb2.ResetSessionRequest(symbol="btcusdt")
            await eventually(lambda: stub.ResetSession(request), not_yet=(grpc.aio.AioRpcError,))
        signal.process.kill()
        signal.start_grpc("SIGNAL_ADDR")
        await feed.trades(columns(51, 3))
        processed = await feed.processed(53)
    assert processed[-1].session_count.tolist() == [1, 2, 3]
