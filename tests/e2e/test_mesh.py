"""The whole mesh against an exchange that writes down every trade it issues: all arrive, everywhere, unchanged."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path

import httpx
import nats
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.fixtures.mesh import Issued, LocalMesh, issued_in, running_mesh
from tests.fixtures.sim import Sim, running_sim
from tests.fixtures.terminal import open_terminal
from tests.fixtures.waiting import eventually

GRPCURL = Path(sysconfig.get_path("scripts")) / "grpcurl"
FOLLOWED = ("btcusdt", "ethusdt")


@dataclass(frozen=True, slots=True)
class World:
    """An exchange of three coins, and a mesh that follows two of them."""

    sim: Sim
    mesh: LocalMesh
    log: Path

    def issued(self, *symbols: str) -> list[Issued]:
        """Return what the exchange has issued of the followed coins, or of those named."""
        return [trade for trade in issued_in(self.log) if trade.symbol in (symbols or FOLLOWED)]

    async def issue(self, count: int) -> None:
        """Let the exchange issue trades, and wait until the database holds all there are to hold."""
        await asyncio.to_thread(self.sim.issue, count)
        await self.mesh.holds(len(self.issued()))

    async def is_followed(self, *symbols: str) -> None:
        """Wait until the mesh follows the coins: what was issued before is not the mesh's to have."""

        def followed() -> bool:
            streams = self.sim.status()["streams"]
            assert all(f"{symbol}@trade" in streams for symbol in symbols), streams
            return True

        await eventually(followed)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("mesh")
    log = directory / "issued.csv"
    with (
        running_sim("--rate", "0", "--log", str(log), "--symbols", "btcusdt,ethusdt,solusdt") as sim,
        running_mesh(
            directory,
            VENUE="binance",
            BINANCE_WS_URL=sim.ws,
            BINANCE_REST_URL=sim.rest,
            SYMBOLS=",".join(FOLLOWED),
        ) as mesh,
    ):
        yield World(sim, mesh, log)


@pytest.fixture
async def selected_btc(world: World) -> None:
    await world.is_followed(*FOLLOWED)
    answer = httpx.post(world.mesh.url + "/api/symbol", json={"symbol": "btcusdt"})
    assert answer.status_code == 200


async def next_trades(ws: ClientConnection, count: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            message = json.loads(await ws.recv(), parse_float=Decimal)
            if "price" in message:
                found.append(message)
    return found


def as_issued(row: dict[str, object]) -> Issued:
    """Read a trade of REST or `/ws` as what the exchange issued."""
    time = datetime.fromisoformat(str(row["timestamp"]))
    return Issued(
        str(row["symbol"]),
        int(str(row["trade_id"])),
        Decimal(str(row["price"])),
        Decimal(str(row["quantity"])),
        int(time.replace(microsecond=0).timestamp()) * 10**6 + time.microsecond,
        row["side"] == "SELL",
    )


@pytest.mark.usefixtures("selected_btc")
async def test_every_issued_trade_is_stored_once_and_unchanged(world: World) -> None:
    world.sim.post("/sim/rate", {"rate": 500})
    await eventually(lambda: len(world.issued()) > 1500, timeout_s=60)
    world.sim.post("/sim/rate", {"rate": 0})
    issued = world.issued()
    await world.mesh.holds(len(issued))
    counts = world.mesh.query("select count(*), count(distinct (symbol, trade_id)) from trades")
    assert world.mesh.stored() == issued
    assert counts == [(len(issued), len(issued))]


@pytest.mark.usefixtures("selected_btc")
async def test_history_lists_the_newest_trades_page_by_page(world: World) -> None:
    await world.issue(600)
    issued = world.issued("btcusdt")[::-1]
    first = httpx.get(world.mesh.url + "/api/history")
    token = first.headers["X-Next-Page-Token"]
    second = httpx.get(world.mesh.url + "/api/history", params={"page_token": token})
    rows = [*json.loads(first.text, parse_float=Decimal), *json.loads(second.text, parse_float=Decimal)]
    assert [as_issued(row) for row in rows] == issued[:200]


@pytest.mark.usefixtures("selected_btc")
async def test_the_candles_of_closed_seconds_are_what_the_issued_trades_make(world: World) -> None:
    world.sim.post("/sim/rate", {"rate": 200})
    await eventually(lambda: len(world.mesh.get("/api/candles", interval="1s")) > 3, timeout_s=30)
    world.sim.post("/sim/rate", {"rate": 0})
    await world.mesh.holds(len(world.issued()))

    def agree() -> bool:
        trades = world.issued("btcusdt")
        expected = [candle_of(list(group)) for _, group in groupby(trades, key=lambda trade: trade.time_us // 10**6)]
        answer = httpx.get(world.mesh.url + "/api/candles", params={"interval": "1s", "limit": 1000})
        assert [as_candle(row) for row in json.loads(answer.text, parse_float=Decimal)] == expected[:-1]
        return True

    assert await eventually(agree)


def candle_of(trades: list[Issued]) -> list[object]:
    prices = [trade.price for trade in trades]
    volume = sum(trade.quantity for trade in trades)
    return [trades[0].time_us // 10**6, prices[0], max(prices), min(prices), prices[-1], volume, len(trades)]


def as_candle(row: dict[str, object]) -> list[object]:
    numbers = [Decimal(str(row[name])) for name in ("open", "high", "low", "close", "volume")]
    return [int(datetime.fromisoformat(str(row["time"])).timestamp()), *numbers, row["count"]]


@pytest.mark.usefixtures("selected_btc")
async def test_a_websocket_client_gets_every_trade_of_the_selected_symbol(world: World) -> None:
    async with connect(world.mesh.ws_url) as ws:  # from here on nothing is missed
        before = len(world.issued("btcusdt"))
        await world.issue(300)
        issued = world.issued("btcusdt")[before:]
        trades = await next_trades(ws, len(issued))
    assert [as_issued(trade) for trade in trades] == issued


@pytest.mark.usefixtures("selected_btc")
async def test_price_and_statistics_are_those_of_the_issued_trades(world: World) -> None:
    await world.issue(100)
    issued = world.issued("btcusdt")

    def caught_up() -> bool:
        assert world.mesh.get("/api/price")["trade_id"] == issued[-1].trade_id
        return True

    await eventually(caught_up)
    price, stats = world.mesh.get("/api/price"), world.mesh.get("/api/stats")
    assert Decimal(str(price["price"])) == issued[-1].price
    assert Decimal(str(stats["high"])) == max(trade.price for trade in issued)
    assert Decimal(str(stats["low"])) == min(trade.price for trade in issued)
    assert stats["moving_average"] == float(sum(trade.price for trade in issued[-20:]) / 20)
    assert stats["count"] == len(issued)


@pytest.mark.usefixtures("selected_btc")
async def test_the_screen_shows_the_price_and_changes_with_the_coin(world: World) -> None:
    await world.issue(50)
    last = f"{world.issued('btcusdt')[-1].price:,.2f}"
    command = [sys.executable, "-m", "term", "--url", world.mesh.url]
    async with open_terminal(command, width=100, height=30) as terminal:
        await terminal.shows("Bitcoin", "Ethereum")
        terminal.press("\r")
        await terminal.shows("Bitcoin", last)
        httpx.post(world.mesh.url + "/api/symbol", json={"symbol": "ethusdt"}).raise_for_status()
        await terminal.shows("Ethereum")
        terminal.press("q")
        left = (await terminal.exit_code(), terminal.line_mode_restored)
    assert left == (0, True)


@pytest.mark.usefixtures("selected_btc")
async def test_a_coin_that_is_not_followed_yet_is_followed_when_it_is_selected(world: World) -> None:
    answer = httpx.post(world.mesh.url + "/api/symbol", json={"symbol": "SOLUSDT"})
    await world.is_followed("solusdt")
    before = len(world.issued("solusdt"))
    await asyncio.to_thread(world.sim.issue, 60)
    issued = world.issued("solusdt")[before:]

    def listed() -> bool:
        assert len(world.mesh.get("/api/history", symbol="solusdt")) >= len(issued)
        return True

    await eventually(listed)
    assert answer.json() == {"symbol": "solusdt", "name": "Solana (SOL)", "venue": "binance", "status": "TRADING"}
    assert world.mesh.get("/api/symbol")["symbol"] == "solusdt"


@pytest.mark.usefixtures("selected_btc")
async def test_a_coin_selected_on_the_bus_by_hand_is_selected_everywhere(world: World) -> None:
    bus = await nats.connect(world.mesh.env["NATS_URL"])
    await bus.jetstream().publish("control.symbol", b'{"symbol": "ethusdt"}')
    await bus.close()

    def selected() -> bool:
        assert world.mesh.get("/api/symbol")["symbol"] == "ethusdt"
        assert all(row["symbol"] == "ethusdt" for row in world.mesh.get("/api/history"))
        return True

    assert await eventually(selected)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"symbol": "nosuchcoin"}', 400),
        (b'{"symbol": 5}', 400),
        (b"not json", 400),
        (b"{}", 400),
        (b'{"symbol": "' + b"x" * 100_000 + b'"}', 413),
    ],
)
async def test_a_wrong_selection_is_refused_with_the_reason(world: World, body: bytes, status: int) -> None:
    answer = httpx.post(world.mesh.url + "/api/symbol", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, sorted(answer.json())) == (status, ["code", "details", "message"])


async def test_the_coins_are_the_originals_that_the_venue_trades(world: World) -> None:
    coins = world.mesh.get("/api/coins")
    assert {"symbol": "btcusdt", "name": "Bitcoin (BTC)", "status": "TRADING", "followed": True} in coins
    assert {coin["symbol"] for coin in coins} == {"btcusdt", "ethusdt", "solusdt"}


async def test_the_documentation_needs_nothing_from_outside(world: World) -> None:
    page = httpx.get(world.mesh.url + "/docs").text
    assert "-swagger-ui-bundle.js" in page
    assert not any(f'{attribute}="http' in page for attribute in ("src", "href"))


@pytest.mark.parametrize("service", ["Signal", "Store"])
async def test_both_services_answer_grpcurl_by_reflection(world: World, service: str) -> None:
    address = world.mesh.env[f"{service.upper()}_ADDR"]

    def grpcurl(*arguments: str) -> str:
        command = [sys.executable, str(GRPCURL), "-plaintext", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout

    name = f"tickmesh.v1.{service}Service"
    health = await asyncio.to_thread(
        grpcurl, "-d", json.dumps({"service": name}), address, "grpc.health.v1.Health/Check"
    )
    assert json.loads(health) == {"status": "SERVING"}
    assert name in await asyncio.to_thread(grpcurl, address, "list")
    assert f"{name} is a service" in await asyncio.to_thread(grpcurl, address, "describe", name)


async def test_the_runner_tells_how_everything_is(world: World) -> None:
    status = world.mesh.command("status")
    assert all(name in status for name in ("ingest", "signal", "store", "gateway", "nats", "postgres"))
    assert "connected to NATS" in world.mesh.command("logs", "ingest")
    assert "connected to NATS" in world.mesh.command("logs", "processing")


async def test_the_status_tells_that_every_service_serves_and_that_trades_come(world: World) -> None:
    await world.is_followed(*FOLLOWED)

    async def live() -> bool:
        await world.issue(2)
        found = world.mesh.get("/api/status")
        assert {one["service"]: one["state"] for one in found["services"]} == dict.fromkeys(
            ("ingest", "signal", "store", "gateway"), "SERVING"
        )
        assert {one["symbol"] for one in found["symbols"]} >= set(FOLLOWED)
        return bool((found["state"], found["venue"]) == ("LIVE", "binance"))

    await eventually(live)
    assert "feed     LIVE from binance" in world.mesh.command("status")
