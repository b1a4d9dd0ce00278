"""The gateway in front of several real stores: any answers any question, and one that dies costs no answer."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import pytest

from gateway import instances
from gateway.instances import channels
from mesh.service.rpc import channel
from tests.fixtures.gateway import SmallSignal, SmallStore, running_app, running_signal, running_store, serving_health
from tests.fixtures.nats import NatsServer
from tests.fixtures.services import Service
from tests.fixtures.store import ask, start_store
from tests.fixtures.waiting import eventually
from tests.integration.test_export import EXPORTING, MANY, TRADES, store_trades, trades

Make = Callable[..., Service]

QUESTIONS = [f"/api/{what}?venue=binance&symbol=btcusdt" for what in ("history", "coverage")]
TRADE = "/api/trades/btcusdt/1"


@asynccontextmanager
async def gateway_of(*store_addresses: str) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        running_signal(SmallSignal(), serving_health()) as signal_port,
        channel(f"127.0.0.1:{signal_port}") as signals,
        channels(store_addresses, each_knows_all=True) as stores,
        running_app(signals, stores) as (_, _, port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http,
    ):
        yield http


@dataclass
class Stores:
    """Two stores of one database, and a client of the gateway that is told of both."""

    pair: list[Service]
    http: httpx.AsyncClient
    database_url: str

    async def answers(self, count: int) -> Counter[int]:
        """Ask so many questions, one after the other; return how often each status came."""
        return Counter([(await self.http.get(QUESTIONS[n % len(QUESTIONS)])).status_code for n in range(count)])

    async def exporting(self) -> Service:
        """Return the store that exports now, as its connection to the database tells."""
        [(port,)] = await ask(self.database_url, EXPORTING.replace("pid", "client_port"))

        def ports_of(one: Service) -> set[int]:
            connections = psutil.Process(one.process.pid).net_connections("tcp")
            return {each.laddr.port for each in connections if each.laddr}

        [found] = [one for one in self.pair if port in ports_of(one)]
        return found


@pytest.fixture
async def stores(nats_server: NatsServer, database_url: str, make_service: Make) -> AsyncIterator[Stores]:
    pair = [start_store(make_service, nats_server, database_url, PARTITIONS="2") for _ in range(2)]
    for one in pair:
        async with gateway_of(one.address) as alone:

            async def serves(http: httpx.AsyncClient = alone) -> bool:
                return (await http.get(QUESTIONS[0])).status_code == 200

            await eventually(serves, timeout_s=30)
    async with gateway_of(*(one.address for one in pair)) as http:
        yield Stores(pair, http, database_url)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
async def test_one_that_ends_or_stands_still_costs_no_answer(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, blow: signal.Signals
) -> None:
    monkeypatch.setattr(instances, "NEXT_OF_STORE_AFTER_S", 0.2)
    await store_trades(stores.database_url, trades(100))
    process = psutil.Process(stores.pair[0].process.pid)
    assert await stores.answers(10) == {200: 10}

    process.send_signal(blow)
    found = await stores.answers(60)
    if blow == signal.SIGSTOP:
        process.send_signal(signal.SIGCONT)

    assert found == {200: 60}


async def test_while_both_are_away_the_answer_is_503_and_whoever_comes_back_is_asked(stores: Stores) -> None:
    for one in stores.pair:
        one.process.kill()
    away = await stores.http.get(QUESTIONS[0])
    stores.pair[1].start()

    assert (away.status_code, away.headers["Retry-After"]) == (503, "1")
    assert "StoreService is away" in away.text

    async def serves() -> bool:
        return (await stores.http.get(QUESTIONS[0])).status_code == 200

    await eventually(serves, timeout_s=30)


@pytest.mark.slow
async def test_an_export_whose_store_dies_never_looks_whole_though_the_other_one_lives(stores: Stores) -> None:
    await store_trades(stores.database_url, trades(MANY))
    received = 0

    async with stores.http.stream("GET", TRADES) as answer:
        with pytest.raises(httpx.RemoteProtocolError):
            async for piece in answer.aiter_raw():
                if not received:
                    (await stores.exporting()).process.kill()
                received += len(piece)

    again = await stores.http.get(TRADES)  # of the one that is left
    assert again.status_code == 200 and again.text.count("\n") == MANY + 1
    assert 0 < received < len(again.content)


async def test_an_export_is_begun_at_the_other_one_where_the_first_is_away(stores: Stores) -> None:
    await store_trades(stores.database_url, trades(100))
    stores.pair[0].process.kill()

    found = [await stores.http.get(TRADES) for _ in range(4)]

    assert [(one.status_code, one.text.count("\n")) for one in found] == [(200, 101)] * 4


async def test_they_take_turns_and_one_that_did_not_answer_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances, "NEXT_OF_STORE_AFTER_S", 0.1)
    one, two = CountingStore(), CountingStore()
    async with (
        running_store(one, serving_health()) as first,
        running_store(two, serving_health()) as second,
        gateway_of(f"127.0.0.1:{first}", f"127.0.0.1:{second}") as http,
    ):
        assert [(await http.get(TRADE)).status_code for _ in range(10)] == [200] * 10
        assert (one.questions, two.questions) == (5, 5)

        two.hangs = True
        assert [(await http.get(TRADE)).status_code for _ in range(10)] == [200] * 10
        assert two.questions == 6
        assert (await http.get(TRADE + "999")).status_code == 404


class CountingStore(SmallStore):
    """A store that counts one kind of question, and does not answer it while it `hangs`."""

    def __init__(self) -> None:
        super().__init__()
        self.questions = 0
        self.hangs = False

    async def GetTrade(self, request: Any, context: Any) -> Any:
        self.questions += 1
        if self.hangs:
            await asyncio.Event().wait()
        return await super().GetTrade(request, context)
