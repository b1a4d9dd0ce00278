"""Reports of the services over a real bus: told, received, kept for the next start."""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from mesh.bus.connection import CONTROL_STREAM, Bus, connect
from mesh.bus.status_reports import STATUS_SERVICE, StatusBoard, decode_report, reporting
from mesh.service import rpc
from mesh.service.health import Health, State
from mesh.service.lifecycle import Stopped
from mesh.service.settings import BusSettings
from mesh.service.status import UNREACHABLE_AFTER_S, Received, summarize
from tests.fixtures.waiting import eventually
from tickmesh.v1 import status_pb2
from tickmesh.v1.status_pb2_grpc import StatusServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fixtures.nats import NatsServer


@asynccontextmanager
async def on_bus(server: NatsServer, user: str) -> AsyncIterator[tuple[Bus, Health]]:
    health = Health("bus")
    async with connect(BusSettings(nats_url=server.url_of(user)), name=user, health=health) as bus:
        await bus.declare(CONTROL_STREAM)
        yield bus, health


@pytest.mark.parametrize("asked", ["signal", "store"])
async def test_a_change_of_condition_arrives_at_whoever_is_asked(nats_server: NatsServer, asked: str) -> None:
    async with on_bus(nats_server, "ingest") as (bus, health), on_bus(nats_server, asked) as (other, _):
        board = StatusBoard()
        async with board.receiving(other), reporting("ingest", bus, health):
            await eventually(lambda: "ingest" in board.reports())
            health.condition("quarantine", State.DEGRADED, "one is held")

            def told() -> bool:
                return any(one.message == "one is held" for one in board.reports()["ingest"].report.conditions)

            await eventually(told)


async def test_what_only_the_service_knows_is_in_its_report(nats_server: NatsServer) -> None:
    async with on_bus(nats_server, "store") as (bus, health):
        board = StatusBoard()

        def describe(report: status_pb2.ServiceReport) -> None:
            report.backlogs.add(name="raw_messages", count=7)

        async with board.receiving(bus), reporting("store", bus, health, describe):
            await eventually(lambda: "store" in board.reports())
            [backlog] = board.reports()["store"].report.backlogs
            assert (backlog.name, backlog.count) == ("raw_messages", 7)


@pytest.mark.parametrize(("error", "restarts"), [(RuntimeError, 1), (Stopped, 0), (None, 0)])
async def test_a_start_after_a_crash_is_a_restart_and_one_after_an_orderly_stop_is_none(
    nats_server: NatsServer, error: type[Exception] | None, restarts: int
) -> None:
    async with on_bus(nats_server, "ingest") as (bus, health):
        board = StatusBoard()
        async with board.receiving(bus):
            with contextlib.suppress(ExceptionGroup):
                async with reporting("ingest", bus, health):
                    await eventually(lambda: "ingest" in board.reports())
                    first = board.reports()["ingest"].report.started_time
                    if error is not None:
                        raise error
            async with reporting("ingest", bus, health):
                await eventually(lambda: board.reports()["ingest"].report.started_time != first)
                assert board.reports()["ingest"].report.restarts == restarts


async def test_what_was_reported_before_one_asks_counts_as_old_until_a_report_comes(nats_server: NatsServer) -> None:
    async with on_bus(nats_server, "ingest") as (bus, health), on_bus(nats_server, "store") as (other, _):
        first, late = StatusBoard(), StatusBoard()
        async with first.receiving(other), reporting("ingest", bus, health):
            await eventually(lambda: "ingest" in first.reports())
        async with late.receiving(other):
            received = late.reports()["ingest"]
            assert received.age_s > UNREACHABLE_AFTER_S
            assert received.report.stopped


@pytest.mark.parametrize("payload", [b"", b"{", b'{"service": 5}', b'{"service": "store"}', b"x" * 2_000_000])
async def test_nonsense_on_the_bus_is_ignored(nats_server: NatsServer, payload: bytes) -> None:
    async with on_bus(nats_server, "admin") as (bus, _):
        board = StatusBoard()
        async with board.receiving(bus):
            for part in (payload[:900_000], b'{"service": "ingest", "serving": true}'):
                await bus.client.publish("control.status.ingest", part)
            await bus.client.publish("control.status.nobody", b'{"service": "nobody"}')
            await eventually(lambda: "ingest" in board.reports())
            await bus.client.flush()
            assert set(board.reports()) == {"ingest"}
            assert summarize(board.reports(), now_us=1).services[0].report.serving


async def test_no_report_is_kept_for_a_bus_that_is_away(nats_server: NatsServer) -> None:
    async with on_bus(nats_server, "ingest") as (bus, health):
        told = asyncio.Event()
        async with reporting("ingest", bus, health, lambda report: told.set()):
            await asyncio.wait_for(told.wait(), 10)
            nats_server.kill()
            await eventually(lambda: not bus.connected)
            waiting_bytes = bus.client.pending_data_size
            for number in range(5):
                health.condition("quarantine", State.DEGRADED, f"{number} are held")
                await asyncio.sleep(0.15)  # longer than between two reports
            assert bus.client.pending_data_size == waiting_bytes
            nats_server.start()
            await eventually(lambda: bus.connected)


async def test_whoever_is_asked_knows_of_itself_at_once_that_the_bus_is_away(nats_server: NatsServer) -> None:
    well = {name: Received(status_pb2.ServiceReport(service=name, serving=True), 0.0) for name in ("ingest", "gateway")}
    async with on_bus(nats_server, "signal") as (bus, health):
        board = StatusBoard()
        async with board.receiving(bus), reporting("signal", bus, health, board=board):
            await eventually(lambda: summarize(board.reports() | well, now_us=1).services[1].report.serving)
            nats_server.kill()
            await eventually(lambda: summarize(board.reports() | well, now_us=1).state == status_pb2.FEED_STATE_BLOCKED)
            assert "no bus" in summarize(board.reports() | well, now_us=1).message
            nats_server.start()
            await eventually(lambda: bus.connected)


async def test_whoever_is_asked_leaves_out_the_symbols_where_that_is_wanted() -> None:
    board, feed = StatusBoard(), {"venue": "sim", "symbols": [{"symbol": "btcusdt", "state": "FEED_STATE_SIM"}]}
    board.take("control.status.ingest", json.dumps({"service": "ingest", "serving": True, "feed": feed}).encode())
    async with (
        rpc.serving("127.0.0.1:0", services=[STATUS_SERVICE], register=board.register, health=Health()) as port,
        rpc.channel(f"127.0.0.1:{port}") as channel,
    ):
        stub = StatusServiceStub(channel)
        whole = await stub.GetStatus(status_pb2.GetStatusRequest())
        short = await stub.GetStatus(status_pb2.GetStatusRequest(without_symbols=True))
    [of_ingest] = [one.report.feed for one in short.services if one.service == "ingest"]
    assert ([one.symbol for one in whole.symbols], list(short.symbols)) == (["btcusdt"], [])
    assert (of_ingest.venue, list(of_ingest.symbols)) == ("sim", [])


def test_symbols_are_read_only_where_they_are_wanted_and_a_report_counts_without_those_that_are_none() -> None:
    board = StatusBoard()
    for symbols, read in (([{"symbol": "btcusdt", "last_trade_id": "7"}], ["btcusdt"]), ([{"last_trade_id": "x"}], [])):
        feed = {"venue": "sim", "lag_p50_s": 0.5, "symbols": symbols}
        board.take("control.status.ingest", json.dumps({"service": "ingest", "feed": feed}).encode())
        short = board.reports(without_symbols=True)["ingest"].report
        whole = board.reports()["ingest"].report
        assert (short.feed.lag_p50_s, list(short.feed.symbols)) == (0.5, [])
        assert (whole.feed.lag_p50_s, [one.symbol for one in whole.feed.symbols]) == (0.5, read)


def test_a_report_without_a_feed_may_say_so() -> None:
    assert decode_report(b'{"service": "store", "feed": null}') == status_pb2.ServiceReport(service="store")
