"""What the store asks of ingest over the bus: trades it misses; and what ingest tells it: the venue's minutes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from nats.js.errors import NotFoundError

from mesh.bus import control, subjects
from tests.fixtures.following import HISTORY, Followed, followed, followed_to
from tests.fixtures.nats import NatsServer
from tests.fixtures.scripted_venue import Refusal
from tests.fixtures.services import Service
from tests.fixtures.waiting import eventually
from tickmesh.v1 import control_pb2

Make = Callable[..., Service]


async def ask(mesh: Followed, first_id: int, last_id: int, *, venue: str = "binance", symbol: str = "btcusdt") -> None:
    request = control_pb2.RepairRequest(venue=venue, symbol=symbol, first_trade_id=first_id, last_trade_id=last_id)
    await mesh.tell(subjects.repair(venue, symbol), control.encode(request))


async def answer(mesh: Followed, first_id: int) -> control_pb2.RepairResult:
    async def look() -> control_pb2.RepairResult:
        payload = await mesh.last(subjects.CONTROL, subjects.repaired("binance", "btcusdt"))
        result = control.decode(control_pb2.RepairResult, payload)
        assert result.first_trade_id == first_id
        return result

    return await eventually(look, not_yet=(NotFoundError,))


async def test_trades_asked_for_are_published_once_more_and_the_answer_names_the_last_message(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed_to(10, nats_server, make_service) as mesh:
        await ask(mesh, 3, 6)
        result = await answer(mesh, 3)
        await mesh.publishes([*range(1, 11), 3, 4, 5, 6])
        assert (result.found, list(result.absent), result.problem) == (4, [], "")
        assert result.raw_sequence == await mesh.last_sequence()


async def test_more_than_a_page_is_fetched_in_pages(nats_server: NatsServer, make_service: Make) -> None:
    async with followed(nats_server, make_service) as mesh:
        mesh.venue.know("btcusdt", *range(1, 3001))
        await mesh.start()
        await mesh.venue.trade("btcusdt", 3001)
        await mesh.publishes([3001])
        await ask(mesh, 1, 2500)
        assert (await answer(mesh, 1)).found == 2500
        await mesh.publishes([3001, *range(1, 2501)])


async def test_ids_the_venue_has_not_are_told_as_absent(nats_server: NatsServer, make_service: Make) -> None:
    async with followed(nats_server, make_service) as mesh:
        await mesh.start()
        mesh.venue.know("btcusdt", 4, 5)
        await mesh.venue.trade("btcusdt", 20)
        await mesh.publishes([20])
        await ask(mesh, 1, 10)
        result = await answer(mesh, 1)
        assert [(gap.first_trade_id, gap.last_trade_id) for gap in result.absent] == [(1, 3), (6, 10)]
        assert (result.found, result.problem) == (2, "")
        await mesh.publishes([20, 4, 5])


async def test_what_can_be_neither_found_nor_proved_absent_is_a_problem(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed(nats_server, make_service) as mesh:
        await mesh.start()
        await mesh.venue.trade("btcusdt", 20)
        await mesh.publishes([20])
        mesh.venue.refuse[HISTORY] = [Refusal(500)]
        await ask(mesh, 1, 10)
        result = await answer(mesh, 1)
        assert (result.found, result.raw_sequence, list(result.absent)) == (0, 0, [])
        assert "is in trouble (500" in result.problem


async def test_after_a_repair_a_restarted_ingest_still_knows_how_far_it_had_come(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed_to(10, nats_server, make_service) as mesh:
        await ask(mesh, 3, 4)
        await answer(mesh, 3)
        mesh.service.process.kill()
        mesh.venue.know("btcusdt", 11)
        await eventually(lambda: not mesh.venue.clients)
        await mesh.start()
        await mesh.venue.trade("btcusdt", 12)
        await mesh.publishes([*range(1, 11), 3, 4, 11, 12])
        assert mesh.says("goes on after trade 10")


@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", b"[]", b'{"venue":"binance","symbol":"btcusdt","first_trade_id":"5","last_trade_id":"4"}', b"\xff"],
)
async def test_a_request_that_is_none_is_ignored_aloud(
    nats_server: NatsServer, make_service: Make, payload: bytes
) -> None:
    async with followed_to(1, nats_server, make_service) as mesh:
        await mesh.tell(subjects.repair("binance", "ethusdt"), payload)
        await eventually(lambda: mesh.says("on control.repair.binance.ethusdt: "))
        await ask(mesh, 1, 1)
        assert (await answer(mesh, 1)).found == 1


async def test_a_request_for_another_venue_is_not_ours(nats_server: NatsServer, make_service: Make) -> None:
    async with followed_to(2, nats_server, make_service) as mesh:
        await ask(mesh, 2, 2, venue="sim")
        await ask(mesh, 1, 1)
        await answer(mesh, 1)
        await mesh.publishes([1, 2, 1])


async def test_a_closed_minute_is_passed_on_once(nats_server: NatsServer, make_service: Make) -> None:
    async with followed(nats_server, make_service) as mesh:
        await mesh.start()
        state = {
            "t": 1770123600000,
            "f": 100,
            "L": 200,
            "o": "1.0",
            "c": "2.0",
            "h": "3.5",
            "l": "0.5",
            "v": "10.25",
            "n": 101,
            "x": True,
        }
        text = json.dumps({"stream": "btcusdt@kline_1m", "data": {"e": "kline", "s": "BTCUSDT", "k": state}})
        await mesh.venue.say(text, text)

        async def look() -> control_pb2.VenueCandle:
            payload = await mesh.last(subjects.CANDLES, subjects.candle("binance", "btcusdt"))
            return control.decode(control_pb2.VenueCandle, payload)

        candle = await eventually(look, not_yet=(NotFoundError,))
        assert candle == control_pb2.VenueCandle(
            venue="binance",
            symbol="btcusdt",
            open_time_us=1770123600000000,
            first_trade_id=100,
            last_trade_id=200,
            trade_count=101,
            open_e8=10**8,
            high_e8=350000000,
            low_e8=50000000,
            close_e8=2 * 10**8,
            volume_decimal="10.25",
        )
        assert await mesh.last_sequence(subjects.CANDLES) == 1
