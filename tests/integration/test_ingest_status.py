"""What ingest, as a process, reports of the feed: between a real simulated exchange and a real nats-server."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from mesh.bus.status_reports import StatusBoard
from mesh.service.status import Received, summarize
from tests.fixtures.nats import NatsServer
from tests.fixtures.services import Service
from tests.fixtures.sim import running_sim
from tests.fixtures.sim_to_raw import admin, follow, ingest_of
from tests.fixtures.waiting import eventually
from tickmesh.v1 import status_pb2

Make = Callable[..., Service]


@asynccontextmanager
async def status_of(server: NatsServer) -> AsyncIterator[Callable[[], status_pb2.GetStatusResponse]]:
    """Give a function that returns the status of the mesh as it is reported, signal and gateway taken for well."""
    board = StatusBoard()
    well = {name: Received(status_pb2.ServiceReport(service=name, serving=True), 0.0) for name in ("signal", "gateway")}
    async with admin(server) as bus, board.receiving(bus):
        yield lambda: summarize(board.reports() | well, now_us=1)


async def test_a_feed_is_live_and_of_its_venue_and_goes_stale_when_the_exchange_goes(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with status_of(nats_server) as status:
        with running_sim("--rate", "0") as sim:
            hosts = {"BINANCE_WS_URL": sim.ws, "BINANCE_REST_URL": sim.rest}
            follow(make_service("ingest", NATS_URL=nats_server.url_of("ingest"), VENUE="binance", **hosts))
            await eventually(lambda: status().state == status_pb2.FEED_STATE_QUIET)
            sim.issue(3)
            await eventually(lambda: status().state == status_pb2.FEED_STATE_LIVE)
            await eventually(lambda: any(one.last_trade_id > 0 for one in status().symbols))
            assert status().venue == "binance"
            await eventually(lambda: status().services[0].report.feed.HasField("lag_p50_s"))
            feed = status().services[0].report.feed
            assert 0 <= feed.lag_p50_s <= feed.lag_p99_s < 60
        await eventually(lambda: status().state == status_pb2.FEED_STATE_STALE)
        assert status().message.startswith("no connection to binance: ")


async def test_a_feed_is_live_no_more_while_the_bus_stands_still(nats_server: NatsServer, make_service: Make) -> None:
    async with status_of(nats_server) as status:
        with running_sim("--rate", "50") as sim:
            hosts = {"BINANCE_WS_URL": sim.ws, "BINANCE_REST_URL": sim.rest}
            follow(make_service("ingest", NATS_URL=nats_server.url_of("ingest"), VENUE="binance", **hosts))
            await eventually(lambda: status().state == status_pb2.FEED_STATE_LIVE)
            nats_server.process.send(signal.SIGSTOP)
            try:
                await eventually(lambda: status().state != status_pb2.FEED_STATE_LIVE)
                assert status().state == status_pb2.FEED_STATE_STALE  # and not OFFLINE, which comes much later
                assert "nobody knows whether trades still come" in status().message
            finally:
                nats_server.process.send(signal.SIGCONT)
            await eventually(lambda: status().state == status_pb2.FEED_STATE_LIVE)


async def test_simulated_trades_are_never_called_live(nats_server: NatsServer, make_service: Make) -> None:
    async with status_of(nats_server) as status:
        with running_sim("--rate", "0") as sim:
            follow(ingest_of(make_service, nats_server, sim))
            sim.issue(3)
            await eventually(lambda: status().state == status_pb2.FEED_STATE_SIM)
            assert status_pb2.FEED_STATE_LIVE not in {one.state for one in status().symbols}


@pytest.mark.slow
async def test_an_ingest_that_was_killed_is_offline_and_then_counts_a_restart(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with status_of(nats_server) as status:
        with running_sim("--rate", "0") as sim:
            service = ingest_of(make_service, nats_server, sim)
            follow(service)
            await eventually(lambda: status().services[0].state == status_pb2.ServiceStatus.STATE_SERVING)
            service.process.kill()
            await eventually(lambda: status().state == status_pb2.FEED_STATE_OFFLINE)
            follow(service)
            await eventually(lambda: status().services[0].report.restarts == 1)
