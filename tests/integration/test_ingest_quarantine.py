"""A venue that says one wrong word: an id or a time that cannot be. What is right is published, all of it, in order."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import pytest
from nats.js.errors import NotFoundError

from mesh.bus import control, subjects
from tests.fixtures.following import Followed, followed, followed_to
from tests.fixtures.nats import NatsServer
from tests.fixtures.scripted_venue import TIME_US, frame, price
from tests.fixtures.services import Service
from tests.fixtures.waiting import eventually
from tickmesh.v1 import status_pb2

Make = Callable[..., Service]
YEAR_2200_US = 7_258_118_400_000_000


async def doubted(mesh: Followed) -> list[int]:
    """Return the ids in the last letter that tells of doubted trades."""
    letter = msgspec.json.decode(await mesh.last(subjects.DEAD, subjects.dead("quarantine")))
    return [trade["trade_id"] for trade in letter["trades"]]


async def restart(mesh: Followed) -> None:
    """Kill ingest and start it again."""
    mesh.service.process.kill()
    await eventually(lambda: not mesh.venue.clients)
    await mesh.start()


@pytest.mark.parametrize("far_id", [2**54 - 1, 2**47, 300_000])
async def test_an_id_far_ahead_is_put_aside_and_the_trades_go_on(
    nats_server: NatsServer, make_service: Make, far_id: int
) -> None:
    async with followed_to(50, nats_server, make_service) as mesh:
        await mesh.venue.say(frame("btcusdt", far_id, T=TIME_US + 51))
        await eventually(lambda: mesh.says("ids ahead of all others"))
        await mesh.venue.trade("btcusdt", *range(51, 60))

        await mesh.publishes([*range(1, 60)])
        assert await doubted(mesh) == [far_id]
        await restart(mesh)
        await mesh.venue.trade("btcusdt", 60, 61)
        await mesh.publishes([*range(1, 62)])


@pytest.mark.slow
async def test_a_near_wrong_id_on_a_coin_that_rests_is_held_and_the_trades_go_on(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed_to(50, nats_server, make_service) as mesh:
        await mesh.venue.say(frame("btcusdt", 1050, T=TIME_US + 51, p=price(51)))
        await eventually(lambda: mesh.says("REST has told neither it nor trades 51 to 1049"))
        await mesh.venue.trade("btcusdt", *range(51, 54))

        await mesh.publishes([*range(1, 54)])
        assert await doubted(mesh) == [1050]
        assert not mesh.says("going on without")


async def test_a_wrong_id_two_ahead_does_not_take_the_place_of_the_real_trade(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed_to(50, nats_server, make_service) as mesh:
        await mesh.venue.say(frame("btcusdt", 53, T=TIME_US + 51, p=price(51)))
        for trade_id in range(51, 56):
            await mesh.venue.trade("btcusdt", trade_id)

        await mesh.publishes([*range(1, 56)])  # each with its own time

        async def is_in_dead() -> bool:
            return await doubted(mesh) == [53]

        await eventually(is_in_dead, not_yet=(NotFoundError,))


async def test_a_wrong_trade_is_in_dead_also_where_rest_is_quicker_with_the_right_one_than_the_socket(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed_to(50, nats_server, make_service) as mesh:
        mesh.venue.know("btcusdt", *range(51, 56))

        await mesh.venue.say(frame("btcusdt", 53, T=TIME_US + 51, p=price(51)))

        await mesh.publishes([*range(1, 56)])  # each with its own time

        async def is_in_dead() -> bool:
            return await doubted(mesh) == [53]

        await eventually(is_in_dead, not_yet=(NotFoundError,))


async def test_a_wrong_id_one_ahead_is_not_published_when_rest_has_what_lies_before_it(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed_to(50, nats_server, make_service) as mesh:
        mesh.venue.know("btcusdt", 51)

        await mesh.venue.say(frame("btcusdt", 52, T=TIME_US + 51, p=price(51)))
        await mesh.publishes([*range(1, 52)])
        await mesh.venue.trade("btcusdt", 52)

        await mesh.publishes([*range(1, 53)])

        async def is_in_dead() -> bool:
            return await doubted(mesh) == [52]

        await eventually(is_in_dead, not_yet=(NotFoundError,))


async def test_an_id_far_ahead_as_the_first_word_after_a_restart_does_no_harm(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed_to(50, nats_server, make_service) as mesh:
        await restart(mesh)
        await mesh.venue.say(frame("btcusdt", 2**53, T=TIME_US + 51))
        await mesh.venue.trade("btcusdt", 51, 52)
        await mesh.publishes([*range(1, 53)])


async def test_an_id_far_ahead_as_the_first_word_of_all_does_no_harm(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed(nats_server, make_service) as mesh:
        await mesh.start()
        await mesh.venue.say(frame("btcusdt", 2**53, T=TIME_US + 51))
        await mesh.venue.trade("btcusdt", 51)
        await mesh.venue.trade("btcusdt", 52)
        await mesh.publishes([51, 52])


async def test_single_ids_of_the_past_cost_nothing_and_begin_nothing(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed_to(50, nats_server, make_service) as mesh:
        await mesh.venue.say(*(frame("btcusdt", old_id, T=TIME_US + 5_000_000) for old_id in (3, 50, 7, 8)))
        await mesh.venue.trade("btcusdt", 51, 52)
        await mesh.publishes([*range(1, 53)])


@pytest.mark.slow
async def test_a_price_that_stands_still_while_trades_come_is_reported_as_stale(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed(nats_server, make_service) as mesh:

        async def state() -> str:
            report = control.decode(
                status_pb2.ServiceReport, await mesh.last(subjects.CONTROL, subjects.status("ingest"))
            )
            return status_pb2.FeedState.Name(report.feed.state)

        async def is_live() -> bool:
            return await state() == "FEED_STATE_LIVE"

        async def is_stale() -> bool:
            return await state() == "FEED_STATE_STALE"

        await mesh.start()
        await mesh.venue.trade("btcusdt", *range(1, 51))
        await eventually(is_live)
        await mesh.venue.say(*(frame("btcusdt", 3, T=TIME_US + later_us) for later_us in (2 * 10**6, 3 * 10**6)))
        await mesh.venue.say(frame("btcusdt", 3, T=TIME_US + 4 * 10**6))
        await eventually(is_stale)
        await mesh.venue.trade("btcusdt", 51)
        await eventually(is_live)


async def test_a_jump_that_rest_confirms_is_followed(nats_server: NatsServer, make_service: Make) -> None:
    async with followed_to(2, nats_server, make_service) as mesh:
        await mesh.venue.trade("btcusdt", 1_000_000)
        await mesh.publishes([1, 2, 1_000_000])


@pytest.mark.parametrize("time_us", [YEAR_2200_US, 1_723_161_255, 1])
async def test_a_time_that_cannot_be_is_put_aside_and_the_trade_is_fetched(
    nats_server: NatsServer, make_service: Make, time_us: int
) -> None:
    async with followed_to(10, nats_server, make_service) as mesh:
        mesh.venue.know("btcusdt", 11)

        await mesh.venue.say(frame("btcusdt", 11, T=time_us))
        await eventually(lambda: mesh.says("from the other trades"))

        await mesh.publishes([*range(1, 12)])  # REST told it right, before another trade has come
        await mesh.venue.trade("btcusdt", 12)
        await mesh.publishes([*range(1, 13)])
        assert await doubted(mesh) == [11]


async def test_a_minute_of_a_count_that_nobody_has_noticed_yet_is_none_of_the_old_one(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed_to(50, nats_server, make_service) as mesh:

        async def say(last_id: int) -> None:
            candle = dict.fromkeys("ochlv", "1") | {"f": 1, "L": last_id, "n": last_id, "x": True}
            candle |= {"t": TIME_US // 60_000_000 * 60_000}
            said = {"e": "kline", "E": TIME_US // 1000, "s": "BTCUSDT", "k": candle}
            await mesh.venue.say(msgspec.json.encode({"stream": "btcusdt@kline_1m", "data": said}))

        await say(9)  # trade 50 happened in this minute, too

        async def aside() -> bytes:
            return await mesh.last(subjects.DEAD, subjects.dead("frames"))

        assert b"ClosedCandle" in await eventually(aside, not_yet=(NotFoundError,))
        assert await mesh.last_sequence(subjects.CANDLES) == 0
        await say(50)

        async def passed_on() -> bool:
            return await mesh.last_sequence(subjects.CANDLES) == 1

        await eventually(passed_on)


async def test_a_minute_that_cannot_be_is_put_aside(nats_server: NatsServer, make_service: Make) -> None:
    async with followed_to(2, nats_server, make_service) as mesh:
        minute_ms = time.time_ns() // 10**6 // 60_000 * 60_000 - 60_000
        for changes in ({"L": 2**40}, {"t": YEAR_2200_US // 1000}, {"t": minute_ms + 5 * 60_000}):
            ids = {"f": 1, "L": 2, "n": 2}
            candle = dict.fromkeys("ochlv", "1") | ids | {"t": minute_ms, "x": True}
            said = {"e": "kline", "E": minute_ms, "s": "BTCUSDT", "k": candle | changes}
            await mesh.venue.say(msgspec.json.encode({"stream": "btcusdt@kline_1m", "data": said}))

        async def aside() -> bool:
            try:
                return b"ClosedCandle" in await mesh.last(subjects.DEAD, subjects.dead("frames"))
            except NotFoundError:  # none yet
                return False

        await eventually(aside)

        async def are_all_aside() -> bool:
            return await mesh.last_sequence(subjects.DEAD) == 3

        await eventually(are_all_aside)
        assert await mesh.last_sequence(subjects.CANDLES) == 0
