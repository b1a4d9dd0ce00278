"""A venue that begins its ids again: ingest follows the new ones as a new epoch, and store keeps both apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mesh.bus import control, subjects
from mesh.values import epochs
from tests.fixtures.following import Followed, followed, followed_to
from tests.fixtures.nats import NatsServer
from tests.fixtures.scripted_venue import Refusal, frame
from tests.fixtures.services import Service
from tests.fixtures.waiting import eventually
from tickmesh.v1 import control_pb2, status_pb2

Make = Callable[..., Service]
LATER_US = 60_000_000


async def reset(mesh: Followed, *, shift_us: int) -> None:
    """Let the venue forget its trades: the ids begin again, with later times."""
    mesh.venue.has["btcusdt"].clear()
    mesh.venue.shift_us = shift_us


async def keys(mesh: Followed) -> list[tuple[int, int]]:
    """Return epoch and id of what RAW holds, in its order."""
    return [(epochs.epoch_of(key), epochs.venue_id(key)) for key in await mesh.keys()]


async def until(mesh: Followed, wanted: list[tuple[int, int]]) -> None:
    async def there() -> bool:
        found = await keys(mesh)
        assert found == wanted
        return True

    await eventually(there, timeout_s=30)


async def test_ids_that_begin_again_are_a_new_epoch_and_none_is_missing(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed_to(50, nats_server, make_service) as mesh:
        old = [(0, trade_id) for trade_id in range(1, 51)]

        await reset(mesh, shift_us=LATER_US)
        mesh.venue.know("btcusdt", 0, 1)  # traded while nobody listened
        await mesh.venue.trade("btcusdt", *range(2, 120))  # and it passes the old ones at once
        await until(mesh, [*old, *((1, trade_id) for trade_id in range(120))])

        await reset(mesh, shift_us=2 * LATER_US)
        for trade_id in range(5):
            await mesh.venue.trade("btcusdt", trade_id)
        wanted = [*old, *((1, trade_id) for trade_id in range(120)), *((2, trade_id) for trade_id in range(5))]
        await until(mesh, wanted)
        told = control.decode_epoch(await mesh.last(subjects.CONTROL, subjects.epoch("binance", "btcusdt")))
        assert told.epoch == 2

        mesh.service.process.kill()
        await eventually(lambda: not mesh.venue.clients)
        await mesh.start()
        await mesh.venue.trade("btcusdt", 5, 6)
        await until(mesh, [*wanted, (2, 5), (2, 6)])


@pytest.mark.parametrize(("new", "live"), [(5, 3), (200, 3), (5, 0), (200, 0)])
async def test_ids_that_began_again_while_ingest_was_down_are_a_new_epoch(
    nats_server: NatsServer, make_service: Make, new: int, live: int
) -> None:
    async with followed_to(50, nats_server, make_service) as mesh:
        mesh.service.process.kill()
        await eventually(lambda: not mesh.venue.clients)
        await reset(mesh, shift_us=LATER_US)
        mesh.venue.know("btcusdt", *range(new))
        await mesh.start()
        await mesh.venue.trade("btcusdt", *range(new, new + live))
        old = [(0, trade_id) for trade_id in range(1, 51)]
        await until(mesh, [*old, *((1, trade_id) for trade_id in range(new + live))])


async def test_an_epoch_that_the_bus_has_forgotten_is_taken_over(nats_server: NatsServer, make_service: Make) -> None:
    async with followed(nats_server, make_service) as mesh:
        message = control_pb2.Epoch(venue="binance", symbol="btcusdt", epoch=3)
        await mesh.start()
        await mesh.tell(subjects.epoch("binance", "btcusdt"), control.encode(message))
        await eventually(lambda: mesh.says("this is epoch 3"))
        await mesh.venue.trade("btcusdt", 7, 8)
        await until(mesh, [(3, 7), (3, 8)])


async def test_what_is_missing_of_a_past_epoch_is_answered_as_lost(nats_server: NatsServer, make_service: Make) -> None:
    async with followed_to(50, nats_server, make_service) as mesh:
        await reset(mesh, shift_us=LATER_US)
        await mesh.venue.trade("btcusdt", *range(5))
        await until(mesh, [*((0, trade_id) for trade_id in range(1, 51)), *((1, trade_id) for trade_id in range(5))])
        asked = len(mesh.history_asked())

        request = control_pb2.RepairRequest(venue="binance", symbol="btcusdt", first_trade_id=3, last_trade_id=9)
        await mesh.tell(subjects.repair("binance", "btcusdt"), control.encode(request))

        async def answered() -> bool:
            payload = await mesh.last(subjects.CONTROL, subjects.repaired("binance", "btcusdt"))
            result = control.decode(control_pb2.RepairResult, payload)
            return [(each.first_trade_id, each.last_trade_id) for each in result.lost] == [(3, 9)]

        await eventually(answered, not_yet=(Exception,))
        # It may have asked for what is newer than its newest trade meanwhile, which is 4.
        assert [target for target in mesh.history_asked()[asked:] if "fromId=3&" in target] == []


async def test_what_rest_tells_of_a_count_that_nobody_has_noticed_yet_replaces_no_trade_of_the_old_one(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed_to(50, nats_server, make_service) as mesh:
        await reset(mesh, shift_us=500_000)
        mesh.venue.know("btcusdt", *range(20))  # the socket is about to bring them

        request = control_pb2.RepairRequest(venue="binance", symbol="btcusdt", first_trade_id=3, last_trade_id=9)
        await mesh.tell(subjects.repair("binance", "btcusdt"), control.encode(request))

        async def answered() -> control_pb2.RepairResult:
            payload = await mesh.last(subjects.CONTROL, subjects.repaired("binance", "btcusdt"))
            return control.decode(control_pb2.RepairResult, payload)

        result = await eventually(answered, not_yet=(Exception,))
        assert (result.found, len(result.lost), len(result.absent)) == (0, 0, 0)
        assert "begun its ids again" in result.problem
        assert await keys(mesh) == [(0, trade_id) for trade_id in range(1, 51)]


async def test_what_rest_tells_of_a_count_that_nobody_has_noticed_yet_fills_no_gap_of_the_old_one(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed_to(50, nats_server, make_service) as mesh:
        await mesh.venue.say(*(frame("btcusdt", trade_id) for trade_id in (53, 54, 55)))
        await reset(mesh, shift_us=LATER_US)
        mesh.venue.know("btcusdt", *range(61))  # the socket is about to bring them
        await eventually(lambda: [target for target in mesh.history_asked() if "fromId=51&" in target])
        await mesh.venue.trade("btcusdt", *range(61))
        old = [(0, trade_id) for trade_id in (*range(1, 51), 53, 54, 55)]
        await until(mesh, [*old, *((1, trade_id) for trade_id in range(61))])


async def test_after_the_disk_of_the_bus_was_lost_ingest_waits_until_store_says_which_epoch_it_is(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed(nats_server, make_service, EPOCH_WAIT_S="60") as mesh:
        mesh.service.start()
        await eventually(lambda: mesh.says("following binance"), timeout_s=30)
        mesh.venue.know("btcusdt", 7)
        message = control_pb2.Epoch(venue="binance", symbol="btcusdt", epoch=3)
        assert not mesh.venue.clients
        await mesh.tell(subjects.epoch("binance", "btcusdt"), control.encode(message))
        await eventually(lambda: mesh.venue.clients, timeout_s=30)
        await mesh.venue.trade("btcusdt", 8, 9)
        await until(mesh, [(3, 8), (3, 9)])


async def test_a_symbol_that_store_does_not_know_begins_at_once_when_store_has_told_of_all(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed(nats_server, make_service, EPOCH_WAIT_S="60") as mesh:
        mesh.service.start()
        told = control.encode(control_pb2.EpochsTold(symbols=1))
        await eventually(lambda: mesh.says("following binance"), timeout_s=30)
        await mesh.tell(subjects.EPOCHS_TOLD, told)
        await eventually(lambda: mesh.venue.clients, timeout_s=30)
        await mesh.venue.trade("btcusdt", 7, 8)
        await until(mesh, [(0, 7), (0, 8)])


async def test_ingest_says_that_the_ids_may_have_begun_again_until_rest_confirms_it(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed_to(50, nats_server, make_service) as mesh:
        await reset(mesh, shift_us=LATER_US)
        mesh.venue.refuse_always["/api/v3/trades"] = Refusal(503)
        await mesh.venue.trade("btcusdt", *range(5))

        async def report() -> status_pb2.ServiceReport:
            payload = await mesh.last(subjects.CONTROL, subjects.status("ingest"))
            return control.decode(status_pb2.ServiceReport, payload)

        async def suspected() -> bool:
            told = await report()
            [condition] = [one for one in told.conditions if one.name == "epoch"]
            assert condition.state == status_pb2.Condition.STATE_DEGRADED
            assert "btcusdt" in condition.message
            assert told.feed.state == status_pb2.FEED_STATE_GAP
            assert "of the past" in told.feed.message
            return True

        await eventually(suspected, timeout_s=30, not_yet=(Exception,))
        assert await keys(mesh) == [(0, trade_id) for trade_id in range(1, 51)]
        mesh.venue.refuse_always.clear()
        await until(mesh, [*((0, trade_id) for trade_id in range(1, 51)), *((1, trade_id) for trade_id in range(5))])

        async def settled() -> bool:
            return not [one for one in (await report()).conditions if one.name == "epoch"]

        await eventually(settled, timeout_s=30)
