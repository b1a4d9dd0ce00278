"""Ingest as a process between a real simulated exchange and a real nats-server: all of it, once, in order, exactly."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mesh.bus import control, subjects, wire
from mesh.bus.connection import raw_stream
from mesh.values.fixed import parse_e8
from tests.fixtures.following import followed
from tests.fixtures.nats import NatsServer
from tests.fixtures.scripted_venue import TIME_US, price
from tests.fixtures.services import Service
from tests.fixtures.sim import running_sim
from tests.fixtures.sim_to_raw import (
    FOLLOWS,
    admin,
    assert_all_published,
    by_symbol,
    follow,
    ingest_of,
    issued,
    published,
)
from tests.fixtures.trades import columns
from tests.fixtures.waiting import eventually
from tickmesh.v1 import control_pb2

Make = Callable[..., Service]


async def catalog(server: NatsServer) -> control_pb2.Catalog:
    async with admin(server) as bus:
        message = await bus.js.get_last_msg(subjects.CONTROL, subjects.CONTROL_CATALOG)
    return control.decode(control_pb2.Catalog, message.data or b"")


async def select(server: NatsServer, payload: bytes) -> None:
    async with admin(server) as bus:
        await bus.js.publish(subjects.CONTROL_SYMBOL, payload)


async def test_every_trade_is_published_once_in_order_and_exactly(
    nats_server: NatsServer, make_service: Make, tmp_path: Path
) -> None:
    with running_sim("--rate", "0", "--log", str(tmp_path / "sim.csv")) as sim:
        service = ingest_of(make_service, nats_server, sim)
        follow(service)
        sim.issue(1)
        sim.post("/sim/rate", {"rate": 2000})
        await eventually(lambda: sim.status()["issued"] > 4000)
        sim.post("/sim/rate", {"rate": 0})
        await assert_all_published(nats_server, tmp_path / "sim.csv")


async def test_a_flood_is_published_without_loss(nats_server: NatsServer, make_service: Make, tmp_path: Path) -> None:
    with running_sim("--rate", "0", "--count", "60000", "--log", str(tmp_path / "sim.csv")) as sim:
        service = ingest_of(make_service, nats_server, sim)
        follow(service)
        sim.post("/sim/rate", {"rate": "max"})
        await eventually(lambda: sim.status()["issued"] == 60000, timeout_s=60)
        await assert_all_published(nats_server, tmp_path / "sim.csv", timeout_s=60)


async def test_the_catalog_tells_what_is_traded_and_followed(nats_server: NatsServer, make_service: Make) -> None:
    with running_sim("--rate", "0") as sim:
        service = ingest_of(make_service, nats_server, sim, SYMBOLS="btcusdt,nonsense")
        service.start()

        async def learned() -> control_pb2.Catalog:
            told = await catalog(nats_server)
            assert told.instruments
            return told

        told = await eventually(learned, not_yet=(Exception,))
    assert (told.venue, list(told.followed)) == ("sim", ["btcusdt", "nonsense"])
    assert "sim does not trade nonsense now" in service.output()
    btc = {instrument.symbol: instrument for instrument in told.instruments}["btcusdt"]
    assert (btc.base_asset, btc.quote_asset, btc.tick_size_e8, btc.step_size_e8) == ("BTC", "USDT", 1000000, 1000)


async def test_a_selected_symbol_is_followed_from_then_on(
    nats_server: NatsServer, make_service: Make, tmp_path: Path
) -> None:
    with running_sim("--rate", "0", "--log", str(tmp_path / "sim.csv")) as sim:
        service = ingest_of(make_service, nats_server, sim, SYMBOLS="btcusdt")
        follow(service)
        await eventually(lambda: "instruments" in service.output())
        await select(nats_server, b'{"symbol": "ETHUSDT"}')
        await eventually(lambda: "ethusdt@trade" in str(sim.status()), what="the subscription")
        sim.issue(300)

        async def both() -> bool:
            return set(by_symbol(await published(nats_server))) == {"btcusdt", "ethusdt"}

        await eventually(both)
        wanted = by_symbol(issued(tmp_path / "sim.csv"))

        async def whole() -> bool:
            found = by_symbol(await published(nats_server))
            return found == {symbol: wanted[symbol] for symbol in ("btcusdt", "ethusdt")}

        await eventually(whole)
        assert list((await catalog(nats_server)).followed) == ["btcusdt", "ethusdt"]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b'{"symbol": "dogebtc"}', "ignored the selection of dogebtc: sim does not trade it"),
        (b'{"symbol": "../etc"}', "'../etc' is not a symbol"),
        (b'{"symbol": 5}', "on control.symbol: no SymbolSelection"),
        (b"ethusdt", "on control.symbol: no SymbolSelection"),
        (b"\xff\xfe", "on control.symbol: no SymbolSelection"),
    ],
)
async def test_a_selection_that_is_none_is_ignored_aloud(
    nats_server: NatsServer, make_service: Make, payload: bytes, said: str
) -> None:
    with running_sim("--rate", "0") as sim:
        service = ingest_of(make_service, nats_server, sim, SYMBOLS="btcusdt")
        follow(service)
        await eventually(lambda: "instruments" in service.output())
        await select(nats_server, payload)
        await eventually(lambda: said in service.output())
        await select(nats_server, b'{"symbol": "ethusdt"}')
        await eventually(lambda: "ethusdt was selected" in service.output())


async def test_an_exchange_that_died_is_followed_again_and_nothing_is_missed(
    nats_server: NatsServer, make_service: Make, tmp_path: Path
) -> None:
    log = tmp_path / "sim.csv"
    with running_sim("--rate", "0", "--log", str(log)) as sim:
        ports = ("--ws-port", sim.ws.rpartition(":")[2], "--rest-port", sim.rest.rpartition(":")[2])
        service = ingest_of(make_service, nats_server, sim)
        follow(service)
        sim.issue(500)
        sim.process.kill()
    with running_sim("--rate", "0", "--log", str(log), *ports) as sim:
        sim.issue(700)  # most likely before ingest is back: these come over REST
        await eventually(lambda: len(sim.status()) and service.output().count("connected to ws://") == 2)
        sim.issue(300)
        await assert_all_published(nats_server, log)


async def test_a_bus_that_restarts_costs_nothing(nats_server: NatsServer, make_service: Make, tmp_path: Path) -> None:
    with running_sim("--rate", "0", "--log", str(tmp_path / "sim.csv")) as sim:
        service = ingest_of(make_service, nats_server, sim)
        follow(service)
        sim.post("/sim/rate", {"rate": 1500})
        await eventually(lambda: sim.status()["issued"] > 1000)
        nats_server.kill()
        await eventually(lambda: sim.status()["issued"] > 4000)
        nats_server.start()
        await eventually(lambda: sim.status()["issued"] > 6000)
        sim.post("/sim/rate", {"rate": 0})
        await assert_all_published(nats_server, tmp_path / "sim.csv")


async def test_a_killed_ingest_fetches_what_it_missed_even_when_nothing_more_is_traded(
    nats_server: NatsServer, make_service: Make, tmp_path: Path
) -> None:
    with running_sim("--rate", "0", "--log", str(tmp_path / "sim.csv")) as sim:
        service = ingest_of(make_service, nats_server, sim)
        follow(service)
        sim.post("/sim/rate", {"rate": 1500})
        await eventually(lambda: sim.status()["issued"] > 1000)
        service.process.kill()
        await eventually(lambda: sim.status()["issued"] > 4000)
        sim.post("/sim/rate", {"rate": 0})
        follow(service)
        await assert_all_published(nats_server, tmp_path / "sim.csv")


async def test_nonsense_that_somebody_wrote_to_its_stream_costs_no_trade(
    nats_server: NatsServer, make_service: Make, tmp_path: Path
) -> None:
    with running_sim("--rate", "0", "--log", str(tmp_path / "sim.csv")) as sim:
        service = ingest_of(make_service, nats_server, sim)
        follow(service)
        sim.issue(300)
        await assert_all_published(nats_server, tmp_path / "sim.csv")
        service.process.kill()
        async with admin(nats_server) as bus:
            of_all = subjects.raw("sim")
            subjects_of_ours = [subjects.raw_of_symbol("sim", symbol) for symbol in sim.status()["symbols"]]
            subjects_of_ours += [of_all, subjects.last_trades(of_all)]
            written = [await bus.js.publish(subject, b"no trades at all") for subject in subjects_of_ours]
            sim.issue(300)
            follow(service)
            for message in written:
                await bus.js.delete_msg(subjects.RAW, message.seq)
        await assert_all_published(nats_server, tmp_path / "sim.csv")


async def test_it_goes_on_after_what_an_older_ingest_published(nats_server: NatsServer, make_service: Make) -> None:
    ids = list(range(1, 41))
    told = replace(
        columns(1, 40, received_time_us=TIME_US),
        price_e8=np.array([parse_e8(price(trade_id)) for trade_id in ids]),
        time_us=TIME_US + np.array(ids),
    )
    async with followed(nats_server, make_service) as mesh, admin(nats_server) as bus:
        await bus.declare(raw_stream(2**30))
        header = {"Nats-Msg-Id": "binance.btcusdt.1-40"}
        subject = subjects.raw_of_symbol("binance", "btcusdt")
        await bus.js.publish(subject, wire.encode_trades(told), headers=header)
        mesh.venue.know("btcusdt", *range(1, 61))
        await mesh.start()
        await mesh.publishes(list(range(1, 61)))


async def test_of_many_symbols_each_goes_on_after_its_last_trade_however_often_ingest_is_killed(
    nats_server: NatsServer, make_service: Make, tmp_path: Path
) -> None:
    with running_sim("--rate", "0", "--log", str(tmp_path / "sim.csv")) as sim:
        service = ingest_of(make_service, nats_server, sim)
        for _ in range(4):
            follow(service)
            sim.post("/sim/rate", {"rate": 2000})
            issued_before = sim.status()["issued"]
            await eventually(lambda n=issued_before: sim.status()["issued"] > n + 1500)  # type: ignore[misc]
            service.process.kill()
            sim.post("/sim/rate", {"rate": 0})
        follow(service)
        await assert_all_published(nats_server, tmp_path / "sim.csv")
        async with admin(nats_server) as bus:
            found = (await bus.js.stream_info(subjects.RAW, subjects_filter=">")).state.subjects
    assert set(found or {}) == {"trades.raw.sim", "trades.raw.sim.last-trades"}


async def test_asked_to_stop_it_publishes_what_has_arrived_and_ends_well(
    nats_server: NatsServer, make_service: Make, tmp_path: Path
) -> None:
    with running_sim("--rate", "0", "--log", str(tmp_path / "sim.csv")) as sim:
        service = ingest_of(make_service, nats_server, sim)
        follow(service)
        sim.post("/sim/rate", {"rate": 1500})
        await eventually(lambda: sim.status()["issued"] > 1000)
        service.process.stop()
        sim.post("/sim/rate", {"rate": 0})
        assert "stopped" in service.output()
        assert '"level": "error"' not in service.output()
        found, wanted = by_symbol(await published(nats_server)), by_symbol(issued(tmp_path / "sim.csv"))
        for symbol, rows in found.items():
            assert rows == wanted[symbol][: len(rows)]


async def test_started_before_its_bus_it_waits_and_says_so(
    nats_server: NatsServer, make_service: Make, tmp_path: Path
) -> None:
    nats_server.kill()
    with running_sim("--rate", "0", "--log", str(tmp_path / "sim.csv")) as sim:
        service = ingest_of(make_service, nats_server, sim)
        service.start()
        service.process.wait_for_line("waiting for NATS", timeout_s=30)
        nats_server.start()
        service.process.wait_for_line(FOLLOWS, timeout_s=30)
        sim.issue(100)
        await assert_all_published(nats_server, tmp_path / "sim.csv")


async def test_asked_to_stop_while_it_waits_for_its_bus_it_ends_at_once(
    nats_server: NatsServer, make_service: Make
) -> None:
    nats_server.kill()
    service = make_service("ingest", NATS_URL=nats_server.url_of("ingest"), VENUE="sim")
    service.start()
    service.process.wait_for_line("waiting for NATS", timeout_s=30)
    service.process.send(signal.SIGTERM)
    await eventually(lambda: not service.process.running, timeout_s=5)
    assert "stopped" in service.output()


async def test_auto_takes_the_simulated_exchange_when_binance_is_away_and_says_so(
    nats_server: NatsServer, make_service: Make
) -> None:
    with running_sim("--rate", "0") as sim:
        nobody = "127.0.0.1:9"  # discard: nothing listens there
        service = ingest_of(
            make_service,
            nats_server,
            sim,
            VENUE_TIMEOUT_S="3",
            BINANCE_WS_URL=f"ws://{nobody}",
            BINANCE_REST_URL=f"http://{nobody}",
        )
        service.process.environment["VENUE"] = "auto"
        follow(service)
        assert "NO BINANCE HOST ANSWERS: following the SIMULATED exchange" in service.output()


async def test_auto_takes_binance_when_it_answers_and_its_trades_bear_that_name(
    nats_server: NatsServer, make_service: Make
) -> None:
    with running_sim("--rate", "0") as sim:
        service = make_service(
            "ingest",
            NATS_URL=nats_server.url_of("ingest"),
            BINANCE_WS_URL=f"ws://127.0.0.1:9, {sim.ws}/ws/",
            BINANCE_REST_URL=sim.rest,
        )
        follow(service)
        sim.issue(100)

        async def there() -> bool:
            async with admin(nats_server) as bus:
                info = await bus.js.stream_info(subjects.RAW, subjects_filter="trades.raw.binance.>")
                return bool(info.state.subjects)

        await eventually(there)


async def test_wrong_settings_are_all_named_and_nothing_is_started(make_service: Make) -> None:
    service = make_service("ingest", VENUE="kraken", SYMBOLS="../x", BINANCE_WS_URL="http://x")
    service.start()
    await eventually(lambda: not service.process.running)
    assert all(name in service.output() for name in ("VENUE", "SYMBOLS", "BINANCE_WS_URL"))
