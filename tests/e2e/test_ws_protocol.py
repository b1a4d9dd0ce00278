"""A program that follows `/ws?channels=` has every trade once, and all else as it is, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from tests.chaos.world import SYMBOLS, World, running_world
from tests.fixtures.mesh import Issued, issued_in
from tests.fixtures.poor_network import poor_network
from tests.fixtures.waiting import eventually
from tickmesh_client import AsyncTickmesh, Candle, Coverage, Missing, Status, SymbolCandle

pytestmark = pytest.mark.slow

RATE = 300
PAUSE_S = 20.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("feed"), seed=11) as world:
        yield world


@dataclass
class Follower:
    """Follows all symbols, connects again, resumes, and fetches what it was told that it missed."""

    url: str
    received: dict[str, list[Issued]] = field(default_factory=lambda: defaultdict(list))
    reads: asyncio.Event = field(default_factory=asyncio.Event)
    lagged: int = 0
    connections: int = 0

    async def follow(self) -> None:
        self.reads.set()
        async with httpx.AsyncClient(base_url=self.url, timeout=10) as http:
            while True:
                try:
                    await self._connection(http)
                except (OSError, WebSocketException, InvalidHandshake):
                    await asyncio.sleep(0.1)

    async def _connection(self, http: httpx.AsyncClient) -> None:
        # A small buffer, so that a pause is not simply kept by this machine's kernel.
        place = urlsplit(self.url)
        with socket.socket() as small:
            small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            small.setblocking(False)
            await asyncio.get_running_loop().sock_connect(small, (place.hostname, place.port))
            url = f"ws://{place.netloc}/ws?channels="
            async with connect(url, sock=small, max_queue=4, compression=None, proxy=None, ping_interval=None) as ws:
                self.connections += 1
                await self._read(ws, http)

    async def _read(self, client: ClientConnection, http: httpx.AsyncClient) -> None:
        resume = {symbol: trades[-1].trade_id for symbol, trades in self.received.items() if trades}
        request = {"op": "subscribe", "channel": "trades", "symbols": list(SYMBOLS), "resume_from": resume}
        await client.send(json.dumps(request))
        sequence = 0
        while True:
            await self.reads.wait()
            message = json.loads(await client.recv(), parse_float=Decimal, parse_int=Decimal)
            if "sequence" not in message:
                assert message["type"] in ("subscribed", "heartbeat"), message
                continue
            sequence += 1
            assert message["sequence"] == sequence
            symbol = message["symbol"]
            if message["type"] == "lagged":
                self.lagged += 1
                await self._fetch(http, symbol, int(message["last_id"]))
            elif message["type"] == "trades" or symbol not in resume:
                self.received[symbol] += map(_issued, message["trades"])

    async def _fetch(self, http: httpx.AsyncClient, symbol: str, last_id: int) -> None:
        trades = self.received[symbol]
        while trades[-1].trade_id < last_id:
            path = f"/api/trades/{symbol}/{trades[-1].trade_id}/next"
            try:
                answer = await http.get(path, params={"page_size": 1000})
            except httpx.TransportError:
                await asyncio.sleep(0.1)
                continue
            if answer.status_code != 200:
                await asyncio.sleep(0.1)
                continue
            page = json.loads(answer.content, parse_float=Decimal, parse_int=Decimal)["trades"]
            trades += [one for one in map(_issued, page) if one.trade_id <= last_id]
            if not page or page[-1]["trade_id"] < last_id:
                await asyncio.sleep(0.1)


def _issued(trade: dict[str, Any]) -> Issued:
    moment = datetime.fromisoformat(trade["timestamp"])
    return Issued(
        trade["symbol"],
        int(trade["trade_id"]),
        trade["price"],
        trade["quantity"],
        int(moment.timestamp()) * 1_000_000 + moment.microsecond,
        trade["side"] == "SELL",
    )


@dataclass
class Library:
    """Follows all symbols with the client library, whose reader pauses, too."""

    url: str
    reads: asyncio.Event
    received: dict[str, list[Issued]] = field(default_factory=lambda: defaultdict(list))
    missing: list[Missing] = field(default_factory=list)

    async def follow(self) -> None:
        async with AsyncTickmesh(self.url) as mesh:
            async for trade in mesh.live(SYMBOLS, missing=self.missing.append):
                await self.reads.wait()
                moment = int(trade.timestamp.timestamp()) * 1_000_000 + trade.timestamp.microsecond
                values = trade.trade_id, trade.price, trade.quantity, moment, trade.side == "SELL"
                self.received[trade.symbol].append(Issued(trade.symbol, *values))

    def agrees(self, issued: dict[str, list[Issued]]) -> None:
        """Assert that nothing is missing or twice; the first trades may have come before it was there."""
        assert self.missing == []
        for symbol, trades in self.received.items():
            assert trades == issued[symbol][-len(trades) :]


@dataclass
class States:
    """Follows candles, coverage and status of the mesh with the client library.

    Attributes:
        url: where it follows them.
        there: where REST is asked for what they are.

    """

    url: str
    there: str
    candles: list[SymbolCandle] = field(default_factory=list)
    coverage: dict[str, Coverage] = field(default_factory=dict)
    status: list[Status] = field(default_factory=list)

    async def follow(self) -> None:
        async with AsyncTickmesh(self.url) as mesh, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_candles(mesh))
            tasks.create_task(self._follow_coverage(mesh))
            async for status in mesh.live(channel="status"):
                self.status.append(status)

    async def _follow_candles(self, mesh: AsyncTickmesh) -> None:
        async for candle in mesh.live(SYMBOLS, "candles", interval="10s"):
            self.candles.append(candle)

    async def _follow_coverage(self, mesh: AsyncTickmesh) -> None:
        async for coverage in mesh.live(SYMBOLS, "coverage"):
            self.coverage[coverage.symbol] = coverage

    async def agree(self) -> bool:
        """Assert that what was told last is what REST says, and that no candle was told twice."""
        told = [(one.symbol, one.time, one.closed, one.revision, one.count) for one in self.candles]
        assert len(set(told)) == len(told)
        async with AsyncTickmesh(self.there) as mesh:
            for symbol in SYMBOLS:
                known = {one.time: values(one) for one in self.candles if one.symbol == symbol}
                listed = mesh.candles(symbol, interval="10s", start=min(known), open=True)
                assert {one.time: values(one) async for one in listed} == known
                assert self.coverage[symbol] == await mesh.coverage(symbol)
            assert conditions(self.status[-1]) == conditions(await mesh.status())
        return True


def values(candle: Candle) -> dict[str, Any]:
    return {name: repr(getattr(candle, name)) for name in Candle.__struct_fields__}  # NaN is None, and equals itself


def conditions(status: Status) -> list[tuple[str, str, str]]:
    """Return what does not change with each second, as the figures of the reports do."""
    return [(one.service, one.state, one.message) for one in status.services]


async def test_gateway_signal_and_store_are_killed_and_the_client_pauses_and_it_has_every_trade_once(
    world: World,
) -> None:
    follower = Follower(world.mesh.url)
    library = Library(world.mesh.url, follower.reads)
    states = States(world.mesh.url, there=world.mesh.url)
    following = [asyncio.create_task(each.follow()) for each in (follower, library, states)]
    try:
        await eventually(lambda: follower.connections == 1)
        await asyncio.to_thread(world.feed, RATE)

        async def goes_on() -> None:
            before = sum(map(len, follower.received.values()))
            await eventually(lambda: sum(map(len, follower.received.values())) > before + RATE, timeout_s=90)

        await goes_on()
        for name in ("gateway", "signal", "store"):
            await asyncio.to_thread(world.kill, name)
            await goes_on()
        await asyncio.to_thread(world.misbehave, {"kind": "disconnect"})
        await goes_on()
        await asyncio.to_thread(world.feed, 5 * RATE)  # more than the buffers on the way hold
        follower.reads.clear()
        await asyncio.sleep(PAUSE_S)  # the pause is what is tested
        await asyncio.to_thread(world.feed, RATE)
        follower.reads.set()
        await eventually(lambda: follower.lagged > 0, timeout_s=60)  # it has read what was on the way before
        await goes_on()
        await asyncio.to_thread(world.kill, "gateway", "signal", "store")
        await goes_on()
        await asyncio.to_thread(world.feed, 0)

        issued = issued_by_symbol(world)
        await eventually(lambda: has_all(follower.received, issued), timeout_s=60)
        await eventually(lambda: has_all(library.received, issued), timeout_s=60)
        await eventually(states.agree, timeout_s=60)
        assert follower.received == issued
        assert follower.connections >= 3
        library.agrees(issued)
        for symbol, trades in library.received.items():
            assert len(trades) > len(issued[symbol]) / 2
    finally:
        for task in following:
            task.cancel()
        await asyncio.wait(following)


@pytest.mark.timeout(300)
async def test_a_network_that_breaks_off_and_falls_silent_costs_the_client_library_no_trade_and_no_candle(
    world: World,
) -> None:
    reads = asyncio.Event()
    reads.set()
    async with poor_network(urlsplit(world.mesh.url).port or 0, seed=11) as network:
        library = Library(f"http://127.0.0.1:{network.port}", reads)
        states = States(library.url, there=world.mesh.url)
        following = [asyncio.create_task(each.follow()) for each in (library, states)]
        try:
            await asyncio.to_thread(world.feed, RATE)
            await eventually(lambda: network.broken >= 16 and network.silent >= 3, timeout_s=100)
            network.poor = False
            await asyncio.to_thread(world.feed, 0)
            issued = issued_by_symbol(world)
            await eventually(lambda: has_all(library.received, issued), timeout_s=60)
            await eventually(states.agree, timeout_s=60)
            library.agrees(issued)
        finally:
            for task in following:
                task.cancel()
            await asyncio.wait(following)


def issued_by_symbol(world: World) -> dict[str, list[Issued]]:
    found: dict[str, list[Issued]] = defaultdict(list)
    for trade in issued_in(world.log):
        found[trade.symbol].append(trade)
    return found


def has_all(received: dict[str, list[Issued]], issued: dict[str, list[Issued]]) -> bool:
    last = {symbol: trades[-1].trade_id for symbol, trades in issued.items()}
    assert {symbol: trades[-1].trade_id for symbol, trades in received.items() if trades} == last
    return True
