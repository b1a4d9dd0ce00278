"""The gateway in front of several instances of signal: scripted ones, and real ones that share a bus' partitions."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from gateway import instances
from gateway.instances import channels, reach_of, reason_of
from gateway.live import signal_feed
from mesh.bus import control, subjects
from mesh.bus.connection import Bus
from mesh.bus.partitions import partition_of
from mesh.service.rpc import channel
from tests.fixtures.gateway import (
    COINS,
    SmallSignal,
    SmallStore,
    batch,
    receive,
    receive_ids,
    running_app,
    running_signal,
    running_store,
    serving_health,
)
from tests.fixtures.nats import NatsServer
from tests.fixtures.services import Service
from tests.fixtures.store import start_store
from tests.fixtures.trades import columns
from tests.fixtures.waiting import eventually
from tests.integration.test_partitions import bus_of, feeding_partitions, holders, until_shared
from tests.integration.test_signal import calling
from tickmesh.v1 import control_pb2, signal_pb2

Make = Callable[..., Service]

SYMBOLS = ("btcusdt", "ethusdt", "solusdt", "bnbusdt", "xrpusdt", "dogeusdt")
COUNT = 2


@dataclass
class Pair:
    """Two scripted instances behind a gateway."""

    one: SmallSignal
    two: SmallSignal
    store: SmallStore
    http: httpx.AsyncClient
    app: Any
    port: int

    @asynccontextmanager
    async def listening(self, query: str = "?symbols=btcusdt&events=true") -> AsyncIterator[ClientConnection]:
        async with websockets.connect(f"ws://127.0.0.1:{self.port}/ws{query}", proxy=None) as client:
            yield client

    async def ready(self) -> tuple[int, str]:
        answer = await self.http.get("/readyz")
        return answer.status_code, answer.text


@asynccontextmanager
async def running_pair() -> AsyncIterator[Pair]:
    """Serve a gateway in front of two instances while inside; the first owns partition 0 of two, the second 1."""
    one, two, store = SmallSignal(), SmallSignal(), SmallStore()
    one.own(0)
    two.own(1)
    async with (
        running_signal(one, serving_health()) as first_port,
        running_signal(two, serving_health()) as second_port,
        running_store(store, serving_health()) as store_port,
        channels([f"127.0.0.1:{first_port}", f"127.0.0.1:{second_port}"]) as signals,
        channel(f"127.0.0.1:{store_port}") as store_channel,
        running_app(signals, store_channel, reach=reach_of(signals, [])) as (app, _, port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
    ):
        await eventually(lambda: app.state.websockets.flowing)
        yield Pair(one, two, store, http, app, port)


async def test_trades_of_both_instances_come_and_what_both_send_comes_once() -> None:
    async with running_pair() as pair, pair.listening("?symbols=btcusdt,ethusdt") as client:
        pair.one.push(batch("btcusdt", 1, 5))
        assert await receive_ids(client, range(1, 6)) == [1, 2, 3, 4, 5]
        pair.two.push(batch("btcusdt", 3, 5))  # as after a takeover: some of them again
        pair.two.push(batch("ethusdt", 8))
        assert await receive_ids(client, [8]) == [6, 7, 8]
        pair.one.push(batch("btcusdt", 6, 2))  # one that stood still wakes
        pair.two.push(batch("btcusdt", 8))
        pair.two.push(batch("btcusdt", 20))  # what one stream leaves out was never there
        assert await receive_ids(client, [20]) == [8, 20]


async def test_what_neither_instance_has_sent_comes_from_the_store_before_what_follows() -> None:
    async with running_pair() as pair, pair.listening() as client:
        pair.one.push(batch("btcusdt", 1, 5))
        assert await receive_ids(client, [5]) == [1, 2, 3, 4, 5]
        pair.store.newest = 8
        pair.two.push(batch("btcusdt", 9, 2))
        messages = [await receive(client) for _ in range(5)]

        assert [message["trade_id"] for message in messages] == [6, 7, 8, 9, 10]
        assert [message["high"] for message in messages] == [None, None, None, 9, 10]
        live, stored = messages[-1], messages[0]
        assert list(live) == list(stored) and {**live, **stored} | {"side": "SELL"} == stored


async def test_what_the_first_stream_still_had_on_its_way_comes_with_its_signals() -> None:
    async with running_pair() as pair, pair.listening() as client:
        pair.store.newest = 0
        pair.one.push(batch("btcusdt", 1, 5))
        assert await receive_ids(client, [5]) == [1, 2, 3, 4, 5]
        pair.two.push(batch("btcusdt", 9, 2))
        pair.two.push(batch("btcusdt", 11))
        await eventually(lambda: pair.store.pages)  # it does not have them yet
        pair.one.push(batch("btcusdt", 6, 3))
        messages = [await receive(client) for _ in range(6)]

        assert [message["trade_id"] for message in messages] == [6, 7, 8, 9, 10, 11]
        assert [message["high"] for message in messages] == [6, 7, 8, 9, 10, 11]


async def test_what_nobody_has_is_told_as_missing_and_trades_go_on() -> None:
    async with running_pair() as pair, pair.listening() as client:
        pair.store.missing = {6, 7}
        pair.one.push(batch("btcusdt", 1, 5))
        assert await receive_ids(client, [5]) == [1, 2, 3, 4, 5]
        pair.two.push(batch("btcusdt", 8))
        assert await receive(client) == {"type": "lagged", "missed": 2, "by": "gateway"}
        assert (await receive(client))["trade_id"] == 8


async def test_subscriptions_of_the_protocol_have_no_hole_where_the_owner_changes() -> None:
    async with running_pair() as pair, pair.listening("?channels=trades&symbols=btcusdt") as client:
        pair.one.push(batch("btcusdt", 1, 5))
        pair.store.newest = 8
        found: list[int] = []
        while not found or found[-1] < 10:
            message = await receive(client)
            if message["type"] in ("snapshot", "trades"):
                found += [trade["trade_id"] for trade in message["trades"]]
            if found and found[-1] == 5:
                pair.two.push(batch("btcusdt", 9, 2))
        assert found == list(range(found[0], 11))


async def test_it_is_live_while_every_partition_is_covered_and_says_which_one_is_not() -> None:
    async with running_pair() as pair, pair.listening("?symbols=*&events=true") as client:
        assert (await receive(client))["type"] == "selected"
        assert (await pair.ready())[0] == 200
        pair.two.own()
        assert await receive(client) == {
            "type": "status",
            "state": "waiting",
            "reason": "no signal sends the trades of partition 1 of 2 now; they go on when one does",
        }
        status, body = await pair.ready()
        assert status == 503 and "partition 1 of 2" in body
        known = await pair.app.state.mesh_status.ask()
        [own] = [each for each in known.services if each.service == "gateway"]
        assert "partition 1 of 2" in own.report.conditions[0].message

        pair.one.own(0, 1)
        assert await receive(client) == {"type": "status", "state": "live"}
        assert (await pair.ready())[0] == 200


async def test_a_subscription_waits_only_for_the_partitions_of_its_symbols() -> None:
    by_partition = {partition_of("sim", symbol, 2).number: symbol for symbol in COINS}
    async with running_pair() as pair, pair.listening("") as client:
        for symbol in by_partition.values():
            await client.send(json.dumps({"op": "subscribe", "channel": "trades", "symbols": [symbol]}))
        pair.one.own()
        wanted = {by_partition[0]: "waiting", by_partition[1]: "live"}
        states: dict[str, str] = {}
        while states != wanted:
            message = await receive(client)
            if message["type"] == "heartbeat":
                states = {each["symbols"][0]["symbol"]: each["state"] for each in message["subscriptions"]}


async def test_an_instance_that_says_nothing_any_more_counts_as_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal_feed, "SILENT_S", 0.2)
    async with running_pair() as pair, pair.listening() as client:
        while (await receive(client)).get("reason") != "signal is away; trades go on when it is back":
            pass
        monkeypatch.setattr(signal_feed, "SILENT_S", 60.0)
        pair.one.own(0)
        pair.two.own(1)
        while (await receive(client)).get("state") != "live":
            pass


async def test_who_starts_does_not_say_which_symbol_is_selected() -> None:
    async with running_pair() as pair, pair.listening() as client:
        assert (await receive(client))["symbol"] == "btcusdt"
        pair.one.own()
        pair.two.own(0, 1)
        pair.one.selected = "solusdt"
        pair.one.tell(signal_pb2.WatchResponse(selected=signal_pb2.GetSymbolResponse(symbol="solusdt", venue="sim")))
        pair.two.push(batch("btcusdt", 1))
        while "trade_id" not in (message := await receive(client)):
            assert message["type"] == "status"


async def test_the_owner_of_a_symbol_is_asked_and_nobody_else_can_answer_for_it() -> None:
    async with running_pair() as pair:
        pair.one.foreign, pair.two.foreign = {"ethusdt"}, {"btcusdt"}
        for symbol in ("btcusdt", "ethusdt", "btcusdt"):
            answer = await pair.http.get("/api/price", params={"symbol": symbol})
            assert (answer.status_code, answer.json()["symbol"]) == (200, symbol)

        pair.two.foreign = {"btcusdt", "ethusdt"}
        answer = await pair.http.get("/api/price?symbol=ethusdt")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json()["details"][0]["reason"] == "NOT_OWNER"
        answer = await pair.http.get("/api/price?symbol=solusdt")  # both say that it has not traded
        assert answer.json()["message"] == "solusdt has not traded yet"
        assert (await pair.http.get("/api/price?symbol=dogeusdt")).status_code == 404


async def test_an_instance_that_does_not_answer_does_not_keep_the_others_from_it() -> None:
    async with running_pair() as pair:
        pair.one.delay_s = 3600.0
        assert (await pair.http.get("/api/price?symbol=btcusdt")).status_code == 200
        calls = pair.one.calls
        assert (await pair.http.get("/api/price?symbol=btcusdt")).status_code == 200
        assert pair.one.calls == calls  # who answered is asked first


async def test_a_watch_over_rest_has_the_trades_of_all_instances_and_each_selection_once() -> None:
    async with running_pair() as pair, pair.http.stream("GET", "/api/watch?all_symbols=true") as answer:
        lines = answer.aiter_lines()
        await eventually(lambda: len(pair.one.watchers) == len(pair.two.watchers) == 2)
        pair.one.push(batch("btcusdt", 1))
        pair.two.push(batch("ethusdt", 2))
        found = [json.loads(await anext(lines))["result"] for _ in range(3)]

        assert [each for each in found if "selected" in each] == [found[0]]
        symbols = {each["batches"]["batches"][0]["trades"]["symbol"] for each in found[1:]}
        assert symbols == {"btcusdt", "ethusdt"}
        pair.two.fail(None)
        assert [line async for line in lines if line] == []


async def test_every_address_of_a_name_is_an_instance_as_long_as_it_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] | OSError = ["10.0.0.1", "10.0.0.2"]

    async def look_up(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        assert (host, port) == ("signal", 50051)
        if isinstance(found, OSError):
            raise found
        return [(socket.AF_INET, 1, 6, "", (ip, port)) for ip in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    monkeypatch.setattr(instances, "KEPT_S", 0.0)
    async with channels(["dns:///signal:50051", "other:1"]) as signals:
        addresses = instances.instances_of(signals)
        await eventually(lambda: set(addresses()) == {"other:1", "10.0.0.1:50051", "10.0.0.2:50051"})
        assert isinstance(signals, instances.Instances)
        found = OSError("no such name")
        await signals.resolve()
        assert len(addresses()) == 3
        found = ["10.0.0.2", "10.0.0.3"]
        await signals.resolve()
        assert set(addresses()) == {"other:1", "10.0.0.2:50051", "10.0.0.3:50051"}


class Mesh:
    """Two instances of signal, a store, and gateways; `publish` issues trades of all symbols."""

    def __init__(self, make: Make, server: NatsServer, database_url: str) -> None:
        settings = {"NATS_URL": server.url_of("signal"), "SIGNAL_ADDR": "127.0.0.1:0", "PARTITIONS": str(COUNT)}
        self._make = make
        self.signals = [make("signalsvc", **settings) for _ in range(2)]
        self.store = start_store(make, server, database_url, PARTITIONS=str(COUNT))
        self.addresses = [one.start_grpc("SIGNAL_ADDR") for one in self.signals]
        self.last_id = 0

    def gateway(self) -> str:
        """Start a gateway; return where it is: `127.0.0.1:8080`."""
        addresses = ",".join(self.addresses)
        service = self._make("gateway", GATEWAY_PORT="0", SIGNAL_ADDR=addresses, STORE_ADDR=self.store.address)
        service.start()
        return str(service.process.wait_for_line(r"http://(127\.0\.0\.1:\d+), documentation", timeout_s=30)[1])

    async def owner(self, bus: Bus, number: int) -> Service:
        """Return the instance that works in a partition."""
        pid = (await holders(bus, "signal", COUNT))[number]
        return next(one for one in self.signals if one.process.pid == pid)


@asynccontextmanager
async def running_mesh(make: Make, server: NatsServer, database_url: str) -> AsyncIterator[tuple[Mesh, Bus]]:
    mesh = Mesh(make, server, database_url)
    async with bus_of(server) as bus:
        await publish_catalog(bus)
        yield mesh, bus


async def publish_catalog(bus: Bus) -> None:
    """Tell which symbols are followed, once there is a stream for it."""
    catalog = control_pb2.Catalog(venue="binance", followed=SYMBOLS)
    for symbol in SYMBOLS:
        catalog.instruments.add(symbol=symbol)
    await eventually(lambda: bus.js.publish(subjects.CONTROL_CATALOG, control.encode(catalog)), not_yet=(Exception,))


class Reader:
    """What a client of `/ws` receives: the ids of each symbol, in order."""

    def __init__(self, address: str, query: str, first_message: object = None) -> None:
        self._url = f"ws://{address}/ws{query}"
        self._first_message = first_message
        self.ids: dict[str, list[int]] = defaultdict(list)
        self.others: list[dict[str, object]] = []

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reader]:
        async with websockets.connect(self._url, proxy=None, max_size=None) as client:
            if self._first_message is not None:
                await client.send(json.dumps(self._first_message))
            task = asyncio.create_task(self._read(client))
            try:
                yield self
            finally:
                if task.done():
                    task.result()  # why it has read no further
                task.cancel()

    async def _read(self, client: websockets.ClientConnection) -> None:
        async for text in client:
            message = json.loads(text)
            for symbol, trade_id in _trades_of(message):
                self.ids[symbol].append(trade_id)
            if "trade_id" not in message and message["type"] in ("status", "lagged", "error"):
                self.others.append(message)

    def has(self, wanted: Sequence[int]) -> bool:
        return all(self.ids[symbol] == list(wanted) for symbol in SYMBOLS)


def _trades_of(message: dict[str, object]) -> Iterator[tuple[str, int]]:
    if "trade_id" in message:
        yield str(message["symbol"]), int(str(message["trade_id"]))
    elif message["type"] == "trades":
        for one in message["trades"]:  # type: ignore[attr-defined]
            yield str(one["symbol"]), int(one["trade_id"])


async def test_each_signal_says_what_it_owns_and_answers_for_nothing_else(
    nats_server: NatsServer, make_service: Make
) -> None:
    settings = {"NATS_URL": nats_server.url_of("signal"), "SIGNAL_ADDR": "127.0.0.1:0", "PARTITIONS": "2"}
    signals = [make_service("signalsvc", **settings) for _ in range(2)]
    addresses = [each.start_grpc("SIGNAL_ADDR") for each in signals]
    async with feeding_partitions(nats_server, 2) as publish, bus_of(nats_server) as bus:
        await until_shared(bus, "signal", *signals, count=2)
        await publish_catalog(bus)
        await publish(columns(1, 30))
        owned, answers = [], []
        for address in addresses:
            async with calling(address) as stub:
                watch = stub.Watch(signal_pb2.WatchRequest(all_symbols=True, partitions=True, repeats=True))
                numbers: list[int] = []
                async for event in watch:
                    if event.HasField("partitions"):
                        numbers = list(event.partitions.numbers)
                        if numbers and event.partitions.count == 2:
                            break
                owned.append(numbers)

                async def answer(stub: Any = stub) -> str:
                    try:
                        return str((await stub.GetPrice(signal_pb2.GetPriceRequest(symbol="btcusdt"))).trade_id)
                    except grpc.aio.AioRpcError as exc:
                        if exc.code() is not grpc.StatusCode.FAILED_PRECONDITION:
                            raise
                        return reason_of(exc)

                answers.append(await eventually(answer, not_yet=(grpc.aio.AioRpcError,)))

        assert sorted(owned) == [[0], [1]]
        right = partition_of("binance", "btcusdt", 2).number
        assert answers == ["30" if numbers == [right] else "NOT_OWNER" for numbers in owned]
        async with calling(addresses[owned.index([right])]) as stub:
            watch = stub.Watch(signal_pb2.WatchRequest(all_symbols=True, repeats=True))
            events = [await anext(aiter(watch)) for _ in range(2)]
            assert list(events[0].batch.trades.trade_id) == [30]
            assert events[1].selected.venue == "binance"


@pytest.mark.slow
@pytest.mark.parametrize("blow", ["kill", "stand still", "stop"])
async def test_clients_receive_every_trade_once_and_in_order_whoever_owns_its_symbol(
    nats_server: NatsServer, database_url: str, make_service: Make, blow: str
) -> None:
    async with (
        running_mesh(make_service, nats_server, database_url) as (mesh, bus),
        feeding_partitions(nats_server, COUNT) as publish,
    ):
        one, two = mesh.signals
        await until_shared(bus, "signal", one, two, count=COUNT)
        gateways = [await asyncio.to_thread(mesh.gateway) for _ in range(2)]
        last_id = 0

        async def issue(rounds: int) -> None:
            nonlocal last_id
            for _ in range(rounds):
                for symbol in SYMBOLS:
                    await publish(columns(last_id + 1, 5, symbol=symbol))
                last_id += 5

        await issue(2)
        for address in gateways:
            await until_prices(address, last_id)
        symbols = ",".join(SYMBOLS)
        resumed = {"op": "subscribe", "channel": "trades", "symbols": SYMBOLS, "resume_from": dict.fromkeys(SYMBOLS, 0)}
        bare = [Reader(address, f"?symbols={symbols}&events=true") for address in gateways]
        protocol = [Reader(gateways[0], "", resumed)]
        async with bare[0].reading(), bare[1].reading(), protocol[0].reading():
            owner = await mesh.owner(bus, 0)
            [other] = [each for each in mesh.signals if each is not owner]

            async def begun() -> bool:  # a client whose handshake has waited long enough comes in without the stream
                await issue(1)
                return all(each.ids[symbol] for each in bare for symbol in SYMBOLS)

            await eventually(begun)
            await issue(10)
            if blow == "stop":
                stopping = asyncio.create_task(asyncio.to_thread(owner.process.stop))
            elif blow == "kill":
                owner.process.kill()
            else:
                owner.process.send(signal.SIGSTOP)
            await issue(40)
            await until_shared(bus, "signal", other, count=COUNT)
            await issue(10)
            if blow == "stand still":
                owner.process.send(signal.SIGCONT)
            else:
                if blow == "stop":
                    await stopping
                owner.start()
            await issue(10)
            await until_shared(bus, "signal", one, two, count=COUNT)
            await issue(10)

            def whole() -> bool:
                for each in bare:
                    for symbol in SYMBOLS:
                        found = each.ids[symbol]
                        wanted = list(range(found[0], last_id + 1))
                        assert found == wanted, (symbol, len(found), found[:2], found[-2:], _wrong(found), each.others)
                for symbol in SYMBOLS:
                    found = protocol[0].ids[symbol]
                    assert found == list(range(1, last_id + 1)), (symbol, len(found), _wrong(found))
                return True

            await eventually(whole, timeout_s=30)
            assert not [each for reader in bare for each in reader.others if each["type"] == "lagged"]


async def until_prices(address: str, trade_id: int) -> None:
    """Wait until a gateway answers with this trade for every symbol."""
    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as http:

        async def answered() -> bool:
            answers = [(await http.get("/api/price", params={"symbol": symbol})).json() for symbol in SYMBOLS]
            assert [answer.get("trade_id") for answer in answers] == [trade_id] * len(SYMBOLS), answers
            return True

        await eventually(answered)


def _wrong(found: Sequence[int]) -> list[tuple[int, int]]:
    return [(a, b) for a, b in itertools.pairwise(found) if b != a + 1][:5]
