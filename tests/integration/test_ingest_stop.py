"""An ingest that is asked to stop: what has arrived is published, and what had not come by then is said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.fixtures.following import followed_to
from tests.fixtures.nats import NatsServer
from tests.fixtures.scripted_venue import frame
from tests.fixtures.services import Service
from tests.fixtures.waiting import eventually

Make = Callable[..., Service]


async def test_asked_to_stop_it_still_fetches_what_the_venue_has_so_that_all_stays_in_order(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed_to(2, nats_server, make_service) as mesh:
        mesh.venue.know("btcusdt", 3, 4)
        await mesh.venue.trade("btcusdt", 5)
        await (await mesh.venue.clients[0].ping())  # whose answer shows that the trade has arrived
        await asyncio.to_thread(mesh.service.process.stop)  # meanwhile the venue answers

        assert await mesh.ids() == [1, 2, 3, 4, 5]
        assert mesh.service.process.returncode == 0


async def test_asked_to_stop_it_publishes_what_waited_behind_a_gap_and_names_the_gap(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed_to(2, nats_server, make_service) as mesh:
        await mesh.venue.say(
            *(frame("btcusdt", trade_id) for trade_id in (5, 6, 7, 9, 10, 11))
        )  # which REST does not know
        await eventually(lambda: any("fromId=3&" in f"{asked}&" for asked in mesh.history_asked()))

        mesh.service.process.stop()

        assert await mesh.ids() == [1, 2, 5, 6, 7, 9, 10, 11]
        assert mesh.says("going on without trades 3 to 4 (2): asked to stop while waiting for them")
        assert mesh.says("going on without trades 8 to 8 (1): asked to stop while waiting for them")
        assert mesh.service.process.returncode == 0
        await mesh.start()
        await eventually(lambda: mesh.says("goes on after trade 11"))
