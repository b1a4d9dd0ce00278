"""Ingest against a venue that misbehaves on purpose."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from mesh import subjects, wire
from mesh.bus import connect
from mesh.fixed import parse_e8
from mesh.health import Health
from mesh.reader import Reader
from mesh.settings import BusSettings
from tests.fixtures.nats import NatsServer
from tests.fixtures.scripted_venue import TIME_US, Refusal, ScriptedVenue, frame, price, scripted_venue
from tests.fixtures.services import Service
from tests.fixtures.waiting import eventually

Make = Callable[..., Service]
HISTORY = "/api/v3/historicalTrades"


class Followed:
    """A scripted venue, an ingest that follows it, and what it publishes."""

    def __init__(self, venue: ScriptedVenue, service: Service, server: NatsServer) -> None:
        self.venue = venue
        self.service = service
        self._server = server

    async def start(self) -> None:
        self.service.start()
        await eventually(lambda: self.venue.clients, timeout_s=30)

    async def ids(self, symbol: str = "btcusdt") -> list[int]:
        """Return the ids RAW holds, in its order; each trade's price and time are checked on the way."""
        found: list[int] = []
        settings = BusSettings(nats_url=self._server.url)
        async with connect(settings, name="test", health=Health("bus")) as bus:
            info = await bus.js.stream_info(subjects.RAW)
            if not info.state.messages:
                return []
            async with Reader(bus, subjects.RAW, "test", after=0) as reader:
                last = 0
                while last < info.state.last_seq:
                    for message in await reader.next(timeout_s=10):
                        last = message.sequence
                        trades = wire.decode_trades(message.payload)
                        ids = trades.trade_id.tolist()
                        assert trades.price_e8.tolist() == [parse_e8(price(trade_id)) for trade_id in ids]
                        assert trades.time_us.tolist() == [TIME_US + trade_id for trade_id in ids]
                        found += ids if trades.symbol == symbol else []
        return found

    async def publishes(self, ids: list[int], *, timeout_s: float = 20) -> None:
        async def there() -> bool:
            found = await self.ids()
            assert found == ids
            return True

        await eventually(there, timeout_s=timeout_s)

    def says(self, words: str) -> bool:
        return words in self.service.output()


@asynccontextmanager
async def followed(server: NatsServer, make_service: Make, **settings: str) -> AsyncIterator[Followed]:
    async with scripted_venue() as venue:
        service = make_service(
            "ingest",
            NATS_URL=server.url_of("ingest"),
            VENUE="binance",
            SYMBOLS="btcusdt",
            BINANCE_WS_URL=venue.ws_url,
            **{"BINANCE_REST_URL": venue.rest_url} | settings,
        )
        try:
            yield Followed(venue, service, server)
        finally:
            service.process.kill()


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
        assert not [target for target in mesh.venue.asked if target.startswith(HISTORY)]


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
    async with followed(nats_server, make_service) as mesh:
        await mesh.start()
        await mesh.venue.trade("btcusdt", 1, 2)
        await mesh.publishes([1, 2])
        mesh.venue.know("btcusdt", 3, 4)
        await mesh.venue.hang_up()
        await eventually(lambda: len(mesh.venue.opened) == 2 and mesh.venue.clients)
        await mesh.publishes([1, 2, 3, 4])
        await mesh.venue.trade("btcusdt", 5)
        await mesh.publishes([1, 2, 3, 4, 5])


async def test_a_venue_without_history_leaves_a_hole_and_says_which(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed(nats_server, make_service) as mesh:
        mesh.venue.refuse_always[HISTORY] = Refusal(404)
        await mesh.start()
        await mesh.venue.trade("btcusdt", 1, 5, 6)
        await mesh.publishes([1, 5, 6])
        assert mesh.says("going on without trades 2 to 4 (3)")


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
        assert len([target for target in mesh.venue.asked if target.startswith(HISTORY)]) == 2
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
        assert mesh.says("refuses this location (451: Service unavailable from a restricted location)")
        assert mesh.says(f"others to ask: {mesh.venue.rest_url.removeprefix('http://')}")


async def test_without_any_rest_the_symbols_are_followed_and_the_catalog_says_no_instruments(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed(nats_server, make_service, BINANCE_REST_URL="http://127.0.0.1:9") as mesh:
        await mesh.start()
        await mesh.venue.trade("btcusdt", 1, 2)
        await mesh.publishes([1, 2])
        assert mesh.says("what binance trades is not known yet")


async def test_a_request_left_unanswered_makes_a_new_connection(nats_server: NatsServer, make_service: Make) -> None:
    async with followed(nats_server, make_service) as mesh:
        mesh.venue.answers = False
        await mesh.start()
        await eventually(lambda: mesh.says("instruments"))
        settings = BusSettings(nats_url=nats_server.url)
        async with connect(settings, name="test", health=Health("bus")) as bus:
            await bus.js.publish(subjects.CONTROL_SYMBOL, b'{"symbol":"ethusdt"}')
        await eventually(lambda: mesh.venue.requests)
        await eventually(lambda: len(mesh.venue.opened) == 2, timeout_s=30)
        assert "ethusdt@trade" in mesh.venue.opened[1]
