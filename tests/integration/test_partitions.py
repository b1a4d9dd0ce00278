"""PARTITIONS against a real bus and database: the first start says how many there are, and every other one agrees."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import httpx
import pytest
from nats.js.errors import NotFoundError

from mesh.bus import control, subjects, wire
from mesh.bus.connection import CONTROL_STREAM, Bus, connect, processed_stream, raw_stream
from mesh.bus.membership import require_partitions
from mesh.bus.partitions import Partition, partition_of, partitions
from mesh.bus.position import Position
from mesh.service import rpc
from mesh.service.errors import BadMessage
from mesh.service.health import Health
from mesh.service.settings import BusSettings, WrongSettings
from mesh.values.trades import TradeColumns
from store import repartition as repartition_module
from store.__main__ import command
from store.database import Database
from store.intake.position import Positions
from tests.fixtures.nats import NatsServer
from tests.fixtures.services import Service
from tests.fixtures.sim import Sim, running_sim
from tests.fixtures.sim_to_raw import FOLLOWS, Row, by_symbol, follow, ingest_of, issued, published
from tests.fixtures.store import ask, start_store, until_stored
from tests.fixtures.trades import columns
from tests.fixtures.waiting import eventually
from tests.integration.test_signal import calling
from tickmesh.v1 import control_pb2, signal_pb2, status_pb2
from tickmesh.v1.status_pb2_grpc import StatusServiceStub

Make = Callable[..., Service]


@asynccontextmanager
async def bus_of(server: NatsServer) -> AsyncIterator[Bus]:
    settings = BusSettings.model_validate({"nats_url": server.url_of("admin")})
    async with connect(settings, name="admin", health=Health("bus")) as bus:
        yield bus


async def kept(bus: Bus) -> int:
    message = await bus.js.get_last_msg(subjects.CONTROL, subjects.CONTROL_PARTITIONS)
    return control.decode_partitions(message.data or b"")


async def test_whoever_comes_first_says_how_many_there_are_and_the_others_agree(nats_server: NatsServer) -> None:
    async with bus_of(nats_server) as bus, bus_of(nats_server) as other:
        found = await asyncio.gather(
            *(require_partitions(one, count) for one, count in ((bus, 4), (other, 2))), return_exceptions=True
        )
        await require_partitions(bus, await kept(bus))

        [refused] = [each for each in found if each is not None]
        assert isinstance(refused, WrongSettings)
        assert f"expected {await kept(bus)} as this mesh was begun with" in str(refused)


async def test_a_mesh_from_before_there_were_partitions_has_one(nats_server: NatsServer) -> None:
    async with bus_of(nats_server) as bus:
        await bus.declare(raw_stream(2**24))

        with pytest.raises(WrongSettings, match="PARTITIONS: found 4, expected 1"):
            await require_partitions(bus, 4)
        await require_partitions(bus, 1)


async def test_a_bus_that_has_lost_the_number_has_as_many_as_raw_has_streams(nats_server: NatsServer) -> None:
    async with bus_of(nats_server) as bus:
        for partition in partitions(3):
            await bus.declare(raw_stream(2**24, partition))

        with pytest.raises(WrongSettings, match="PARTITIONS: found 1, expected 3"):
            await require_partitions(bus, 1)
        await require_partitions(bus, 3)


async def test_what_is_no_number_of_partitions_is_refused_in_words(nats_server: NatsServer) -> None:
    async with bus_of(nats_server) as bus:
        await require_partitions(bus, 1)
        await bus.js.publish(subjects.CONTROL_PARTITIONS, b'{"count": 17}')

        with pytest.raises(BadMessage, match="17 partitions, expected 1 to 16"):
            await require_partitions(bus, 1)


@pytest.mark.parametrize(("module", "user"), [("signalsvc", "signal"), ("ingest", "ingest")])
async def test_a_service_with_another_number_ends_as_with_any_wrong_setting(
    nats_server: NatsServer, make_service: Make, module: str, user: str
) -> None:
    async with bus_of(nats_server) as bus:
        await require_partitions(bus, 2)
        settings = {"SIGNAL_ADDR": "127.0.0.1:0", "VENUE": "sim", "PARTITIONS": "3"}
        service = make_service(module, NATS_URL=nats_server.url_of(user), **settings)
        service.start()

        await eventually(lambda: service.process.returncode is not None)
        assert service.process.returncode == 2, service.output()
        assert "PARTITIONS: found 3, expected 2" in service.output()
        with pytest.raises(NotFoundError):  # it has declared nothing of its own
            await bus.js.stream_info("RAW_0")


async def test_the_database_knows_the_number_when_the_bus_has_lost_it(
    nats_server: NatsServer, database_url: str, make_service: Make
) -> None:
    first = start_store(make_service, nats_server, database_url, PARTITIONS="2")
    await eventually(lambda: ask(database_url, "SELECT count FROM partitions"), not_yet=(Exception,))
    first.process.kill()
    assert await ask(database_url, "SELECT count FROM partitions") == [(2,)]
    async with bus_of(nats_server) as bus:
        await bus.js.delete_stream(subjects.CONTROL)

    second = make_service(
        *("store",), NATS_URL=nats_server.url_of("store"), DATABASE_URL=database_url, STORE_ADDR="127.0.0.1:0"
    )
    second.start()

    await eventually(lambda: second.process.returncode is not None)
    assert second.process.returncode == 2
    assert "PARTITIONS: found 1, expected 2" in second.output()


async def test_a_database_with_trades_from_before_there_were_partitions_has_one(
    nats_server: NatsServer, database_url: str, make_service: Make
) -> None:
    first = start_store(make_service, nats_server, database_url)
    async with bus_of(nats_server) as bus:
        await bus.declare(raw_stream(2**24))
        await eventually(lambda: ask(database_url, "SELECT 1 FROM progress WHERE stream = 'RAW'"), not_yet=(Exception,))
    first.process.kill()
    await ask(database_url, "DROP TABLE partitions")
    await ask(database_url, "DELETE FROM schema_migrations WHERE name >= '0011_partitions'")

    first.start()

    await eventually(lambda: ask(database_url, "SELECT 1 FROM partitions"), not_yet=(Exception,))
    assert await ask(database_url, "SELECT count FROM partitions") == [(1,)]


@asynccontextmanager
async def feeding_partitions(server: NatsServer, count: int) -> AsyncIterator[Callable[[TradeColumns], Awaitable[int]]]:
    """Give what publishes trades to their partition as ingest does, and returns the sequence there."""
    async with bus_of(server) as bus:
        for partition in partitions(count):
            await bus.declare(raw_stream(2**26, partition))

        async def publish(trades: TradeColumns) -> int:
            subject = subjects.raw(trades.venue, partition_of(trades.venue, trades.symbol, count))
            payload = wire.one_of_many(wire.encode_trades(trades))
            acked = await bus.js.publish(subject, payload, headers={subjects.MESSAGE_ID: uuid.uuid4().hex})
            return acked.seq

        yield publish


async def positions_in(database_url: str) -> dict[str, int]:
    found = await ask(database_url, "SELECT stream, sequence FROM progress WHERE stream ^@ 'RAW'")
    return {str(stream): int(str(sequence)) for stream, sequence in found}


async def test_store_takes_in_each_partition_from_a_position_of_its_own(
    nats_server: NatsServer, database_url: str, make_service: Make
) -> None:
    store = start_store(make_service, nats_server, database_url, PARTITIONS="2")
    async with feeding_partitions(nats_server, 2) as publish:
        for first_id in (1, 11, 21):
            await publish(columns(first_id, 10, symbol="btcusdt"))
        await publish(columns(1, 10, symbol="solusdt"))
        await until_stored(database_url, range(1, 31))
        await until_stored(database_url, range(1, 11), symbol="solusdt")
        assert await positions_in(database_url) == {"RAW_0": 1, "RAW_1": 3}

        store.process.kill()
        await publish(columns(11, 10, symbol="solusdt"))
        await publish(columns(41, 10, symbol="btcusdt"))  # after a hole
        store.start()

        await until_stored(database_url, range(1, 21), symbol="solusdt")
        await until_stored(database_url, [*range(1, 31), *range(41, 51)])
        assert await positions_in(database_url) == {"RAW_0": 2, "RAW_1": 4}
        holes = await ask(database_url, "SELECT symbol, first_trade_id, last_trade_id FROM holes")
        assert holes == [("btcusdt", 31, 40)]


async def until_published(server: NatsServer, wanted: dict[str, list[Row]], count: int) -> None:
    """Wait until the partitions of RAW hold exactly these trades, each symbol's in its own and in order."""

    async def whole() -> bool:
        by_partition = {each: by_symbol(await published(server, each.name(subjects.RAW))) for each in partitions(count)}
        found = {name: rows for one in by_partition.values() for name, rows in one.items()}
        is_whole = found == wanted and sum(map(len, by_partition.values())) == len(found)
        assert is_whole, {name: len(rows) for name, rows in found.items()}
        return all(partition_of("sim", name, count) == each for each, one in by_partition.items() for name in one)

    await eventually(whole, timeout_s=60)


async def test_trades_in_a_wrong_partition_are_dead_letters_and_its_others_go_on(
    nats_server: NatsServer, database_url: str, make_service: Make
) -> None:
    start_store(make_service, nats_server, database_url, PARTITIONS="2")
    signalsvc = make_service(
        "signalsvc", NATS_URL=nats_server.url_of("signal"), SIGNAL_ADDR="127.0.0.1:0", PARTITIONS="2"
    )
    signalsvc.start()
    async with feeding_partitions(nats_server, 2) as publish, bus_of(nats_server) as bus:
        wrong = partitions(2)[0]
        payload = wire.one_of_many(wire.encode_trades(columns(1, 10)))
        await bus.js.publish(subjects.raw("binance", wrong), payload, headers={subjects.MESSAGE_ID: "wrong"})
        await publish(columns(1, 10, symbol="solusdt"))
        await until_stored(database_url, range(1, 11), symbol="solusdt")
        await until_stored(database_url, [])

        async def signals() -> bool:
            return await processed(bus, 2) == {"solusdt": list(range(1, 11))}

        await eventually(signals, not_yet=(NotFoundError,))
        letter = await bus.js.get_last_msg(subjects.DEAD, subjects.dead("RAW_0"))
        why = (letter.headers or {})["Tickmesh-Reason"]
        assert why == "trades of binance btcusdt in partition 0, expected them in 1"


async def processed(bus: Bus, count: int) -> dict[str, list[int]]:
    """Return the ids of the trades whose signals all partitions of PROCESSED hold, in order, by symbol."""
    found: dict[str, list[int]] = defaultdict(list)
    for partition in partitions(count):
        stream = partition.name(subjects.PROCESSED)
        for sequence in range(1, (await bus.js.stream_info(stream)).state.last_seq + 1):
            message = await bus.js.get_msg(stream, sequence)
            for signals in map(wire.decode_signals, wire.batches_of(message.data or b"")):
                found[signals.trades.symbol] += signals.trades.trade_id.tolist()
    return dict(found)


async def issue_more(sim: Sim, count: int) -> None:
    """Wait until the exchange has issued so many more trades."""
    until = sim.status()["issued"] + count
    await eventually(lambda: sim.status()["issued"] >= until)


@pytest.mark.slow
async def test_every_trade_and_its_signals_are_in_the_symbols_partition_once_whoever_is_killed(
    nats_server: NatsServer, database_url: str, make_service: Make, tmp_path: Path
) -> None:
    settings = {"PARTITIONS": "3", "SIGNAL_ADDR": "127.0.0.1:0"}
    with running_sim("--rate", "0", "--log", str(tmp_path / "sim.csv")) as sim:
        ingest = ingest_of(make_service, nats_server, sim, **settings)
        signalsvc = make_service("signalsvc", NATS_URL=nats_server.url_of("signal"), **settings)
        store = start_store(make_service, nats_server, database_url, PARTITIONS="3")
        signalsvc.start()
        follow(ingest)
        sim.issue(1)
        sim.post("/sim/rate", {"rate": 1000})
        for killed in (ingest, signalsvc, store):
            await issue_more(sim, 500)
            killed.process.kill()
            killed.start()
        await issue_more(sim, 500)
        sim.post("/sim/rate", {"rate": 0})
        wanted = by_symbol(issued(tmp_path / "sim.csv"))

        await until_published(nats_server, wanted, 3)
        for name, rows in wanted.items():
            await until_stored(database_url, [row[1] for row in rows], symbol=name, timeout_s=60)

        async with bus_of(nats_server) as bus:

            async def signals_are_whole() -> bool:
                return await processed(bus, 3) == {name: [row[1] for row in rows] for name, rows in wanted.items()}

            await eventually(signals_are_whole, timeout_s=60)


async def test_signal_answers_for_the_symbols_of_all_partitions(nats_server: NatsServer, make_service: Make) -> None:
    signalsvc = make_service(
        "signalsvc", NATS_URL=nats_server.url_of("signal"), SIGNAL_ADDR="127.0.0.1:0", PARTITIONS="2"
    )
    address = signalsvc.start_grpc("SIGNAL_ADDR")
    async with feeding_partitions(nats_server, 2) as publish, calling(address) as stub:
        async with bus_of(nats_server) as bus:
            await bus.declare(CONTROL_STREAM)
            catalog = control_pb2.Catalog(venue="binance", followed=["btcusdt", "solusdt"])
            catalog.instruments.add(symbol="btcusdt")
            catalog.instruments.add(symbol="solusdt")
            await bus.js.publish(subjects.CONTROL_CATALOG, control.encode(catalog))
        await publish(columns(1, 30))
        await publish(columns(101, 30, symbol="solusdt"))

        async def last_id(symbol: str) -> int:
            answer = await stub.GetPrice(signal_pb2.GetPriceRequest(symbol=symbol))
            return int(answer.trade_id)

        async def both() -> bool:
            return [await last_id("btcusdt"), await last_id("solusdt")] == [30, 130]

        await eventually(both, not_yet=(grpc.aio.AioRpcError,))


async def holders(bus: Bus, service: str, count: int) -> list[int]:
    """Return the pid of who holds each partition."""
    bucket = await bus.js.key_value(subjects.LEASE_BUCKET)
    return [int(json.loads((await bucket.get(f"{service}.{number}")).value or b"")["pid"]) for number in range(count)]


async def until_shared(bus: Bus, service: str, *instances: Service, count: int) -> None:
    """Wait until these instances hold as many partitions as each other, and all of them."""

    async def shared() -> bool:
        found = Counter(await holders(bus, service, count))
        return found == {instance.process.pid: count // len(instances) for instance in instances}

    await eventually(shared, timeout_s=30, not_yet=(NotFoundError, TimeoutError))


@pytest.mark.slow
@pytest.mark.parametrize("blow", ["kill", "stand still", "stop"])
async def test_two_stores_share_the_partitions_and_one_takes_over_what_the_other_leaves(
    nats_server: NatsServer, database_url: str, make_service: Make, blow: str
) -> None:
    symbols = ("btcusdt", "ethusdt", "solusdt", "bnbusdt", "xrpusdt", "dogeusdt")
    one, two = (start_store(make_service, nats_server, database_url, PARTITIONS="4") for _ in range(2))
    async with feeding_partitions(nats_server, 4) as publish, bus_of(nats_server) as bus:
        await until_shared(bus, "store", one, two, count=4)
        for symbol in symbols:
            await publish(columns(1, 20, symbol=symbol))
        for symbol in symbols:
            await until_stored(database_url, range(1, 21), symbol=symbol)

        if blow == "stop":
            await asyncio.to_thread(one.process.stop)
            assert one.process.returncode == 0
        elif blow == "kill":
            one.process.kill()
        else:
            one.process.send(signal.SIGSTOP)
        for symbol in symbols:
            await publish(columns(21, 20, symbol=symbol))
        await until_shared(bus, "store", two, count=4)
        for symbol in symbols:
            await until_stored(database_url, range(1, 41), symbol=symbol)

        if blow == "stand still":
            one.process.send(signal.SIGCONT)
        else:
            one.start()
        await until_shared(bus, "store", one, two, count=4)
        for symbol in symbols:
            await publish(columns(41, 20, symbol=symbol))
        for symbol in symbols:
            await until_stored(database_url, range(1, 61), symbol=symbol)
        assert await ask(database_url, "SELECT * FROM holes") == []
        if blow == "stand still":  # it has let its partitions go, and has not begun again
            assert one.output().count('"starting"') == 1


@pytest.mark.slow
@pytest.mark.parametrize("blow", ["kill", "stand still", "stop"])
async def test_two_signals_share_the_partitions_and_every_trades_signals_are_published_once(
    nats_server: NatsServer, make_service: Make, blow: str
) -> None:
    symbols = ("btcusdt", "ethusdt", "solusdt", "bnbusdt", "xrpusdt", "dogeusdt")
    settings = {"NATS_URL": nats_server.url_of("signal"), "SIGNAL_ADDR": "127.0.0.1:0", "PARTITIONS": "4"}
    one, two = (make_service("signalsvc", **settings) for _ in range(2))
    one.start()
    two.start()
    async with feeding_partitions(nats_server, 4) as publish, bus_of(nats_server) as bus:
        await until_shared(bus, "signal", one, two, count=4)

        async def publish_all(first_id: int) -> None:
            for first in range(first_id, first_id + 100, 10):
                for symbol in symbols:
                    await publish(columns(first, 10, symbol=symbol))

        async def until_published(last_id: int) -> None:
            async def whole() -> bool:
                found = await processed(bus, 4)
                assert found == {symbol: list(range(1, last_id + 1)) for symbol in symbols}
                return True

            await eventually(whole, timeout_s=30)

        await publish_all(1)
        if blow == "stop":
            await asyncio.to_thread(one.process.stop)
            assert one.process.returncode == 0
        elif blow == "kill":
            one.process.kill()
        else:
            one.process.send(signal.SIGSTOP)
        await publish_all(101)
        await until_shared(bus, "signal", two, count=4)
        await until_published(200)

        if blow == "stand still":
            one.process.send(signal.SIGCONT)
        else:
            one.start()
        await publish_all(201)
        await until_shared(bus, "signal", one, two, count=4)
        await until_published(300)


@pytest.mark.slow
@pytest.mark.parametrize("blow", ["kill", "stand still", "stop"])
async def test_two_ingests_share_the_partitions_and_publish_every_trade_once(
    nats_server: NatsServer, make_service: Make, tmp_path: Path, blow: str
) -> None:
    with running_sim("--rate", "0", "--log", str(tmp_path / "sim.csv")) as sim:
        one, two = (ingest_of(make_service, nats_server, sim, PARTITIONS="4") for _ in range(2))
        one.start()
        two.start()
        async with bus_of(nats_server) as bus:
            await until_shared(bus, "ingest", one, two, count=4)
            one.process.wait_for_line(FOLLOWS, timeout_s=30)
            two.process.wait_for_line(FOLLOWS, timeout_s=30)
            sim.issue(1)
            sim.post("/sim/rate", {"rate": 500})
            await issue_more(sim, 1000)

            if blow == "stop":
                await asyncio.to_thread(one.process.stop)
                assert one.process.returncode == 0
            elif blow == "kill":
                one.process.kill()
            else:
                one.process.send(signal.SIGSTOP)
            await until_shared(bus, "ingest", two, count=4)
            await issue_more(sim, 1000)

            if blow == "stand still":
                one.process.send(signal.SIGCONT)
            else:
                one.start()
            await until_shared(bus, "ingest", one, two, count=4)
            await issue_more(sim, 1000)
            sim.post("/sim/rate", {"rate": 0})
            await until_published(nats_server, by_symbol(issued(tmp_path / "sim.csv")), 4)


async def until_followed(sim: Sim, count: int) -> None:
    """Wait until so many symbols are followed by all connections together."""

    def all_of_them() -> bool:
        found = sum(stream.endswith("@trade") for stream in sim.status()["streams"])
        assert found == count, found
        return True

    await eventually(all_of_them, timeout_s=60, not_yet=(httpx.HTTPError,))


@pytest.mark.slow
async def test_two_ingests_follow_more_symbols_than_one_has_room_for(
    nats_server: NatsServer, make_service: Make
) -> None:
    names = ",".join(f"coin{number}usdt" for number in range(1, 601))
    with running_sim("--rate", "0", "--symbols", names) as sim:
        one, two = (ingest_of(make_service, nats_server, sim, PARTITIONS="2", SYMBOLS=names) for _ in range(2))
        one.start()
        two.start()
        await until_followed(sim, 600)

        two.process.kill()
        one.process.wait_for_line("100 symbols are not followed, for which one connection has no room", timeout_s=60)
        await until_followed(sim, 500)

        two.start()
        await until_followed(sim, 600)


async def issue_of(sim: Sim, symbols: int) -> None:
    """Let trades of so many symbols happen at least."""

    def counts() -> dict[str, int]:
        return {symbol: told["count"] for symbol, told in sim.status()["symbols"].items()}

    before = counts()
    while sum(count > before.get(symbol, 0) for symbol, count in counts().items()) < symbols:
        await asyncio.to_thread(sim.issue, 2000)


@pytest.mark.slow
async def test_of_600_symbols_those_that_missed_nothing_are_whole_at_once_and_the_others_share_what_rest_allows(
    nats_server: NatsServer, make_service: Make
) -> None:
    names = ",".join(f"coin{number}usdt" for number in range(1, 601))
    with running_sim("--rate", "0", "--symbols", names) as sim:

        def used() -> int:
            return int(httpx.get(sim.rest + "/api/v3/ping").headers["X-MBX-USED-WEIGHT-1M"])

        async def all_published() -> bool:
            found = [await published(nats_server, each.name(subjects.RAW)) for each in partitions(2)]
            assert sum(map(len, found)) == sim.status()["issued"], list(map(len, found))
            return True

        pair = [ingest_of(make_service, nats_server, sim, PARTITIONS="2", SYMBOLS=names) for _ in range(2)]
        for one in pair:
            one.start()
        await until_followed(sim, 600)
        await issue_of(sim, 600)
        await eventually(all_published, timeout_s=60)
        for one in pair:
            one.process.kill()
        await asyncio.to_thread(sim.issue, 30)  # so some have missed something
        for one in pair:
            one.start()
        await until_followed(sim, 600)

        # Asked for one by one they would weigh 15,000, of which 4,800 are spent in a minute; some are spent already.
        await eventually(all_published, timeout_s=100)

        for one in pair:
            one.process.kill()
        await issue_of(sim, 400)
        for one in pair:
            one.start()
        for one in pair:
            one.process.wait_for_line("the REST budget of sim lasts again", timeout_s=60)
        # 80 % of 6,000 are spent, but for what is under way when one learns what the other has spent.
        assert used() < 5400


@pytest.mark.slow
async def test_which_of_two_instances_stands_still_is_named_by_the_others(
    nats_server: NatsServer, make_service: Make
) -> None:
    settings = {"NATS_URL": nats_server.url_of("signal"), "SIGNAL_ADDR": "127.0.0.1:0", "PARTITIONS": "2"}
    one, two = (make_service("signalsvc", **settings) for _ in range(2))
    address = one.start_grpc("SIGNAL_ADDR")
    two.start()
    async with feeding_partitions(nats_server, 2), bus_of(nats_server) as bus, rpc.channel(address) as channel:
        await until_shared(bus, "signal", one, two, count=2)
        bucket = await bus.js.key_value(subjects.LEASE_BUCKET)
        numbers = {
            int(json.loads((await bucket.get(f"signal.instance.{number}")).value or b"")["pid"]): number
            for number in range(2)
        }
        stub = StatusServiceStub(channel)

        async def of_signal() -> status_pb2.ServiceStatus:
            answer = await stub.GetStatus(status_pb2.GetStatusRequest())
            return next(each for each in answer.services if each.service == "signal")

        async def is_named() -> bool:
            found = await of_signal()
            name = f"signal-{numbers[two.process.pid]}"
            assert f"instances: {name} has not reported for " in found.message, found
            [silent] = found.report.silent_instances
            assert (silent.name, silent.pid, silent.host) == (name, two.process.pid, socket.gethostname())
            return True

        async def nobody_is_named() -> bool:
            found = await of_signal()
            assert "instances" not in found.message, found
            assert not found.report.silent_instances
            return True

        two.process.send(signal.SIGSTOP)
        await eventually(is_named, timeout_s=40)
        two.process.send(signal.SIGCONT)
        await eventually(nobody_is_named, timeout_s=40)


def repartition(
    make_service: Make, server: NatsServer, database_url: str, *options: str, old: int, new: int
) -> Service:
    command = make_service("store", NATS_URL=server.url, DATABASE_URL=database_url, PARTITIONS=str(old))
    command.process.argv += ["repartition", str(new), *options]
    command.start()
    return command


async def test_a_mesh_that_is_stopped_is_given_another_number_of_partitions_and_goes_on(
    nats_server: NatsServer, database_url: str, make_service: Make
) -> None:
    store = start_store(make_service, nats_server, database_url)
    async with feeding_partitions(nats_server, 1) as publish:
        await publish(columns(1, 10))
        await publish(columns(1, 10, symbol="solusdt"))
        await until_stored(database_url, range(1, 11), symbol="solusdt")

        refused = repartition(make_service, nats_server, database_url, old=1, new=2)
        await eventually(lambda: refused.process.returncode is not None)
        assert refused.process.returncode == 1
        assert f"store is running (pid {store.process.pid}" in refused.output()

        await asyncio.to_thread(store.process.stop)
        await publish(columns(11, 10))
        refused = repartition(make_service, nats_server, database_url, old=1, new=2)
        await eventually(lambda: refused.process.returncode is not None)
        assert "RAW ends with message 3, of which 2 are stored" in refused.output()

        store.start()
        await until_stored(database_url, range(1, 21))
        await asyncio.to_thread(store.process.stop)
    done = repartition(make_service, nats_server, database_url, old=1, new=2)
    await eventually(lambda: done.process.returncode is not None)
    assert (done.process.returncode, "has 2 partitions now instead of 1" in done.output()) == (0, True)
    again = repartition(make_service, nats_server, database_url, old=1, new=2)
    await eventually(lambda: again.process.returncode is not None)
    assert (again.process.returncode, "has 2 partitions already" in again.output()) == (0, True)

    start_store(make_service, nats_server, database_url, PARTITIONS="2")
    async with feeding_partitions(nats_server, 2) as publish:
        await publish(columns(21, 10))
        await publish(columns(11, 10, symbol="solusdt"))
        await until_stored(database_url, range(1, 31))
        await until_stored(database_url, range(1, 21), symbol="solusdt")
    assert await positions_in(database_url) == {"RAW_0": 1, "RAW_1": 1}
    assert await ask(database_url, "SELECT * FROM holes") == []


async def test_whoever_wants_to_change_the_number_can_wait_until_signal_and_store_have_taken_in_all(
    nats_server: NatsServer, database_url: str, make_service: Make
) -> None:
    store = start_store(make_service, nats_server, database_url)
    signalsvc = make_service("signalsvc", NATS_URL=nats_server.url_of("signal"), SIGNAL_ADDR="127.0.0.1:0")
    await asyncio.to_thread(signalsvc.start_grpc, "SIGNAL_ADDR")  # else it may be stopped before it has begun
    async with feeding_partitions(nats_server, 1) as publish, bus_of(nats_server) as bus:
        await publish(columns(1, 10))
        waiting = repartition(make_service, nats_server, database_url, "--wait", old=1, new=2)
        await eventually(lambda: waiting.process.returncode is not None, timeout_s=60)
        assert (waiting.process.returncode, "all there is has been taken in" in waiting.output()) == (0, True)
        assert await kept(bus) == 1

        await asyncio.to_thread(signalsvc.process.stop)
        await publish(columns(11, 10))
        await until_stored(database_url, range(1, 21))
        await asyncio.to_thread(store.process.stop)
        refused = repartition(make_service, nats_server, database_url, old=1, new=2)
        await eventually(lambda: refused.process.returncode is not None)
        assert "RAW ends with message 2, of which 1 are in the saved state of signal" in refused.output()


async def test_what_signal_publishes_while_one_looks_whether_all_is_taken_in_is_looked_at_too(
    nats_server: NatsServer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    position_of_signal = repartition_module._position_of_signal

    async def publish_and_tell(bus: Bus, partition: Partition) -> Position | None:
        await bus.js.publish(subjects.processed("binance", partition), b"signals")
        return await position_of_signal(bus, partition)

    monkeypatch.setattr(repartition_module, "_position_of_signal", publish_and_tell)
    async with feeding_partitions(nats_server, 1), bus_of(nats_server) as bus:
        await bus.declare(processed_stream(2**30))
        async with Database(database_url, health=Health()) as database:
            missing = [
                each async for each in repartition_module._not_taken_in(bus, Positions(database), (partitions(1)[0],))
            ]
    assert missing == ["PROCESSED ends with message 1, of which 0 are stored"]


@pytest.mark.parametrize("wanted", [[], ["0"], ["17"], ["four"]])
def test_what_is_no_number_of_partitions_is_refused_before_anything_is_touched(
    wanted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["repartition", *wanted]) == 2
    assert "expected a number from 1 to 16" in capsys.readouterr().err
