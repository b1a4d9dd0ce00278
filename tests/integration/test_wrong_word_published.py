"""A wrong word that was published, as nothing said yet that it was wrong: the real trade takes its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import psycopg
from nats.js.errors import NotFoundError

from mesh.bus import subjects
from mesh.service import rpc
from mesh.values import epochs
from mesh.values.fixed import parse_e8
from tests.fixtures.following import HISTORY, Followed, followed
from tests.fixtures.nats import NatsServer
from tests.fixtures.scripted_venue import TIME_US, Refusal, frame, price
from tests.fixtures.services import Service
from tests.fixtures.store import ask, start_store
from tests.fixtures.waiting import eventually
from tickmesh.v1 import store_pb2, store_pb2_grpc

Make = Callable[..., Service]
NEWEST = "/api/v3/trades"
ROWS = """
SELECT trade_id, (price * 100000000)::bigint, (extract(epoch FROM time) * 1000000)::bigint FROM trades ORDER BY 1
"""


async def until_right(database_url: str, last_id: int) -> None:
    """Wait until the database holds trades 1 to `last_id` as the venue issued them, each once, in one epoch."""
    wanted = [(id_, parse_e8(price(id_)), TIME_US + id_) for id_ in range(1, last_id + 1)]

    async def look() -> bool:
        found = await ask(database_url, ROWS)
        assert found == wanted, [pair for pair in zip(found, wanted, strict=False) if pair[0] != pair[1]][:3]
        return True

    await eventually(look, what="the trades as they were issued", timeout_s=30, not_yet=(psycopg.Error,))


async def dead_prices(mesh: Followed) -> list[str]:
    letter = msgspec.json.decode(await mesh.last(subjects.DEAD, subjects.dead("quarantine")))
    return [trade["price"] for trade in letter["trades"]]


async def until_published(mesh: Followed, last_id: int) -> None:
    async def look() -> bool:
        return max(await mesh.keys(), default=0) == last_id

    await eventually(look)


async def test_a_wrong_next_trade_is_replaced_when_the_real_one_comes(
    nats_server: NatsServer, make_service: Make, database_url: str
) -> None:
    async with followed(nats_server, make_service) as mesh:
        store = start_store(make_service, nats_server, database_url)
        await mesh.start()
        await mesh.venue.trade("btcusdt", *range(1, 51))
        await mesh.venue.say(frame("btcusdt", 51, T=TIME_US + 50, p="7.50000000"))
        await until_published(mesh, 51)
        await mesh.venue.trade("btcusdt", 51)
        await mesh.venue.trade("btcusdt", 52, 53)

        await until_right(database_url, 53)

        async def is_told() -> bool:
            return await dead_prices(mesh) == ["7.5"]

        await eventually(is_told, not_yet=(NotFoundError,))
        async with rpc.channel(store.address) as channel:
            stub: Any = store_pb2_grpc.StoreServiceStub(channel)
            coverage = await stub.GetCoverage(store_pb2.GetCoverageRequest(symbol="btcusdt", venue="binance"))
        assert (coverage.stored, coverage.complete, len(coverage.epochs)) == (53, True, 1)


async def test_a_wrong_trade_that_comes_together_with_the_real_one_is_replaced(
    nats_server: NatsServer, make_service: Make, database_url: str
) -> None:
    async with followed(nats_server, make_service) as mesh:
        start_store(make_service, nats_server, database_url)
        await mesh.start()
        mesh.venue.know("btcusdt", *range(1, 54))
        wrong = frame("btcusdt", 51, T=TIME_US + 50, p="7.50000000")
        await mesh.venue.say(*(frame("btcusdt", id_) for id_ in range(1, 51)), wrong)
        await mesh.venue.say(*(frame("btcusdt", id_) for id_ in range(51, 54)))

        await until_right(database_url, 53)


async def test_while_rest_is_away_trades_go_on_behind_a_wrong_one_which_is_replaced_when_it_answers(
    nats_server: NatsServer, make_service: Make, database_url: str
) -> None:
    async with followed(nats_server, make_service) as mesh:
        start_store(make_service, nats_server, database_url)
        await mesh.start()
        await mesh.venue.trade("btcusdt", *range(1, 51))
        await until_right(database_url, 50)
        mesh.venue.refuse_always = {NEWEST: Refusal(503), HISTORY: Refusal(503)}
        await mesh.venue.say(frame("btcusdt", 51, T=TIME_US + 50, p="7.50000000"))
        await until_published(mesh, 51)
        for trade_id in range(51, 70):  # the first of them is another one than was published
            await mesh.venue.trade("btcusdt", trade_id)
        await until_published(mesh, 69)

        mesh.venue.refuse_always = {}

        await until_right(database_url, 69)


async def test_a_wrong_last_trade_is_replaced_after_a_restart_and_begins_no_epoch(
    nats_server: NatsServer, make_service: Make, database_url: str
) -> None:
    async with followed(nats_server, make_service) as mesh:
        start_store(make_service, nats_server, database_url)
        await mesh.start()
        for trade_id in range(1, 51):
            await mesh.venue.trade("btcusdt", trade_id)
        await mesh.venue.say(frame("btcusdt", 51, T=TIME_US + 50, p="7.50000000"))
        await until_published(mesh, 51)
        mesh.service.process.kill()
        await eventually(lambda: not mesh.venue.clients)
        mesh.venue.know("btcusdt", 51, 52)
        await mesh.start()
        await mesh.venue.trade("btcusdt", 53)

        await until_right(database_url, 53)
        assert {epochs.epoch_of(key) for key in await mesh.keys()} == {0}


async def test_a_wrong_telling_of_a_published_trade_changes_nothing(
    nats_server: NatsServer, make_service: Make, database_url: str
) -> None:
    async with followed(nats_server, make_service) as mesh:
        start_store(make_service, nats_server, database_url)
        await mesh.start()
        await mesh.venue.trade("btcusdt", *range(1, 51))
        await until_right(database_url, 50)
        await mesh.venue.say(frame("btcusdt", 50, T=TIME_US + 50, p="7.50000000"))
        await mesh.venue.trade("btcusdt", 51, 52)
        await until_right(database_url, 52)
        await eventually(lambda: mesh.says("dropped another trade 50 than the published one"))
        await until_right(database_url, 52)
        await mesh.publishes([*range(1, 53)])
