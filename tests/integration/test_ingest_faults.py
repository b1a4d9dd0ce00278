"""Ingest against a venue that misbehaves on purpose."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from nats.js.errors import NotFoundError

from mesh.bus import subjects
from tests.fixtures.following import HISTORY, followed, followed_to
from tests.fixtures.nats import NatsServer
from tests.fixtures.scripted_venue import Refusal, frame, scripted_venue
from tests.fixtures.services import Service
from tests.fixtures.waiting import eventually

NEWEST, AGGREGATES = "/api/v3/trades", "/api/v3/aggTrades"

Make = Callable[..., Service]


async def test_garbage_between_the_trades_is_counted_and_costs_none_of_them(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed(nats_server, make_service) as mesh:
        await mesh.start()
        mesh.venue.know("btcusdt", 1, 2, 3)
        await mesh.venue.say(
            frame("btcusdt", 1),
            "{",
            frame("btcusdt", 99, p="-5"),
            '{"e":"somethingNew"}',
            b"\x00\xff",
            frame("btcusdt", 2, unknown={"field": 1}),
            "[]",
            '{"code":9,"msg":"?"}',
            frame("btcusdt", 3),
        )
        await mesh.publishes([1, 2, 3])
        assert mesh.says("refused ")

        async def aside() -> bool:
            return await mesh.last_sequence(subjects.DEAD) == 4

        await eventually(aside)
        assert await mesh.last(subjects.DEAD, subjects.dead("frames")) == b"[]"


async def test_both_ways_in_ask_for_microseconds(nats_server: NatsServer, make_service: Make) -> None:
    async with followed(nats_server, make_service) as mesh:
        await mesh.start()
        await mesh.venue.trade("btcusdt", 5)
        mesh.venue.know("btcusdt", 6, 7)
        await mesh.venue.trade("btcusdt", 8)
        await mesh.publishes([5, 6, 7, 8])
        assert "timeUnit=MICROSECOND" in mesh.venue.opened[0]
        units = [
            headers.get("x-mbx-time-unit")
            for target, headers in zip(mesh.venue.asked, mesh.venue.headers, strict=True)
            if target.startswith(HISTORY)
        ]
        assert set(units) == {"MICROSECOND"}


@pytest.mark.parametrize("status", [400, 404])
async def test_a_server_that_knows_nothing_but_trades_is_asked_for_them_alone(
    nats_server: NatsServer, make_service: Make, status: int
) -> None:
    async with followed(nats_server, make_service) as mesh:
        mesh.venue.turns_away = lambda target: (
            None if re.fullmatch(r"/stream\?streams=[a-z@/]+", target) and "kline" not in target else Refusal(status)
        )
        await mesh.start()
        await mesh.venue.trade("btcusdt", 1, 2)
        await mesh.publishes([1, 2])
        assert len(mesh.venue.knocked) == 2
        assert mesh.venue.opened == ["/stream?streams=btcusdt@trade"]
        assert mesh.says(f"status {status}: asking it for the trades alone")


async def test_a_silent_drop_is_fetched_and_published_before_what_came_after_it(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed(nats_server, make_service) as mesh:
        await mesh.start()
        await mesh.venue.trade("btcusdt", *range(1, 11))
        mesh.venue.know("btcusdt", *range(11, 2511))
        await mesh.venue.trade("btcusdt", *range(2511, 2521))
        await mesh.publishes(list(range(1, 2521)))


async def test_duplicates_and_disorder_are_put_right_without_asking(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed(nats_server, make_service) as mesh:
        await mesh.start()
        await mesh.venue.trade("btcusdt", 1, 2, 4, 3, 3, 2, 5, 7, 6, 1, 8)
        await mesh.publishes([1, 2, 3, 4, 5, 6, 7, 8])
        assert mesh.history_asked() == []


async def test_ids_the_venue_proves_it_has_not_are_passed_over(nats_server: NatsServer, make_service: Make) -> None:
    async with followed(nats_server, make_service) as mesh:
        await mesh.start()
        await mesh.venue.trade("btcusdt", 1, 2)
        mesh.venue.know("btcusdt", 5)
        await mesh.venue.trade("btcusdt", 9, 10)
        await mesh.publishes([1, 2, 5, 9, 10])
        assert mesh.says("the venue has no trades 3 to 4")
        assert mesh.says("the venue has no trades 6 to 8")


async def test_what_was_traded_while_the_connection_was_away_is_fetched_first(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed_to(2, nats_server, make_service) as mesh:
        mesh.venue.know("btcusdt", 3, 4)
        await mesh.venue.hang_up()
        await eventually(lambda: len(mesh.venue.opened) == 2 and mesh.venue.clients)
        await mesh.publishes([1, 2, 3, 4])
        await mesh.venue.trade("btcusdt", 5)
        await mesh.publishes([1, 2, 3, 4, 5])


async def test_a_row_of_rest_that_cannot_be_read_is_left_open_and_costs_no_other(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed(nats_server, make_service) as mesh:
        await mesh.start()
        await mesh.venue.trade("btcusdt", 1, 2)
        mesh.venue.know("btcusdt", 3, 4, 6)
        mesh.venue.illegible = {4}
        await mesh.venue.trade("btcusdt", 7)
        await mesh.publishes([1, 2, 3, 6, 7])
        assert mesh.says("refused 1 rows, the last: '0.000000001' is finer than 8 decimals")
        assert mesh.says("going on without trades 4 to 4 (1)")
        assert mesh.says("the venue has no trades 5 to 5")
        assert b'"id": 4' in await eventually(lambda: mesh.last("DEAD", "trades.dead.frames"), not_yet=(NotFoundError,))


async def test_a_venue_without_history_leaves_a_hole_and_says_which(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed(nats_server, make_service) as mesh:
        mesh.venue.refuse_always = {path: Refusal(404) for path in (HISTORY, NEWEST, AGGREGATES)}
        await mesh.start()
        await mesh.venue.trade("btcusdt", 1, 5, 6)
        await mesh.publishes([1, 5, 6])
        assert mesh.says("going on without trades 2 to 4 (3)")


async def test_where_there_is_no_history_the_aggregates_tell_what_they_can_prove(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed(nats_server, make_service) as mesh:
        mesh.venue.refuse_always = {HISTORY: Refusal(404), NEWEST: Refusal(404)}
        mesh.venue.aggregates = [(1, 1), (2, 2), (3, 5), (6, 6), (9, 9), (10, 10)]
        await mesh.start()
        await mesh.venue.trade("btcusdt", 1)
        await mesh.venue.trade("btcusdt", 10)
        await mesh.publishes([1, 2, 6, 9, 10])
        assert mesh.says("going on without trades 3 to 5 (3)")
        assert mesh.says("the venue has no trades 7 to 8")


async def test_aggregates_are_searched_for_where_the_newest_trades_do_not_reach(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with scripted_venue() as elsewhere, followed(nats_server, make_service) as mesh:
        elsewhere.refuse_always = {path: Refusal(451) for path in (HISTORY, NEWEST, AGGREGATES, "/api/v3/exchangeInfo")}
        mesh.service.process.environment["BINANCE_REST_URL"] = f"{elsewhere.rest_url},{mesh.venue.rest_url}"
        mesh.venue.refuse_always[HISTORY] = Refusal(404)
        await mesh.start()
        await mesh.venue.trade("btcusdt", 1)
        mesh.venue.aggregates = [(trade_id, trade_id) for trade_id in range(1, 4002)]
        mesh.venue.know("btcusdt", *range(2, 4001))
        await mesh.venue.trade("btcusdt", 4001)
        await mesh.publishes(list(range(1, 4002)))
        assert not mesh.says("going on without")


async def test_answers_of_5xx_are_asked_again(nats_server: NatsServer, make_service: Make) -> None:
    async with followed(nats_server, make_service) as mesh:
        mesh.venue.refuse[HISTORY] = [Refusal(500), Refusal(503), Refusal(200, {}, b"<html>")]
        await mesh.start()
        await mesh.venue.trade("btcusdt", 1)
        mesh.venue.know("btcusdt", 2)
        await mesh.venue.trade("btcusdt", 3)
        await mesh.publishes([1, 2, 3])


@pytest.mark.parametrize(("status", "words"), [(429, "asks to slow down"), (418, "banned this address")])
async def test_retry_after_is_obeyed(nats_server: NatsServer, make_service: Make, status: int, words: str) -> None:
    async with followed(nats_server, make_service) as mesh:
        mesh.venue.refuse[HISTORY] = [Refusal(status, {"Retry-After": "2"})]
        await mesh.start()
        await eventually(lambda: mesh.says("instruments"))
        await mesh.venue.trade("btcusdt", 1)
        mesh.venue.know("btcusdt", 2)
        await mesh.venue.trade("btcusdt", 3)
        await eventually(lambda: mesh.says(words))
        await mesh.publishes([1, 2, 3])
        assert len(mesh.history_asked()) == 2
        assert mesh.says("asking nothing for 2 s")


async def test_a_refusal_for_the_location_is_said_in_plain_words_and_the_next_host_asked(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with scripted_venue() as elsewhere, followed(nats_server, make_service) as mesh:
        elsewhere.refuse_always = {
            path: Refusal(451, {}, b'{"code":0,"msg":"Service unavailable from a restricted location"}')
            for path in (HISTORY, "/api/v3/exchangeInfo")
        }
        mesh.service.process.environment["BINANCE_REST_URL"] = f"{elsewhere.rest_url},{mesh.venue.rest_url}"
        await mesh.start()
        await mesh.venue.trade("btcusdt", 1)
        mesh.venue.know("btcusdt", 2)
        await mesh.venue.trade("btcusdt", 3)
        await mesh.publishes([1, 2, 3])
        assert mesh.says("refuses this location (451 Service unavailable from a restricted location)")
        assert mesh.says(f"others to ask: {mesh.venue.rest_url.removeprefix('http://')}")


async def test_without_any_rest_the_symbols_are_followed_and_the_catalog_says_no_instruments(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed(nats_server, make_service, BINANCE_REST_URL="http://127.0.0.1:9") as mesh:
        await mesh.start()
        await mesh.venue.trade("btcusdt", 1, 2)
        await mesh.publishes([1, 2])
        assert mesh.says("what binance trades is not known yet")


@pytest.mark.slow
async def test_a_request_left_unanswered_makes_a_new_connection(nats_server: NatsServer, make_service: Make) -> None:
    async with followed(nats_server, make_service) as mesh:
        mesh.venue.answers = False
        await mesh.start()
        await eventually(lambda: mesh.says("instruments"))
        await mesh.tell(subjects.CONTROL_SYMBOL, b'{"symbol":"ethusdt"}')
        await eventually(lambda: mesh.venue.requests)
        await eventually(lambda: len(mesh.venue.opened) == 2, timeout_s=30)
        assert "ethusdt@trade" in mesh.venue.opened[1]
