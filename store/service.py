"""The store service: trades and candles into the database, the ledger kept whole, and StoreService beside it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack

import grpc

from mesh.bus import subjects
from mesh.bus.connection import CANDLE_STREAM, CONTROL_STREAM, DEAD_STREAM, Bus
from mesh.bus.membership import joined
from mesh.bus.message import Message
from mesh.bus.reader import Reader
from mesh.bus.status_reports import STATUS_SERVICE, StatusBoard
from mesh.service import rpc
from mesh.service.errors import BadMessage, NotReady
from mesh.service.health import Health
from mesh.service.lifecycle import Stop
from mesh.service.metrics import served
from store.background_tasks import Beside
from store.candles.indicators import Periods
from store.catalog_view import Following
from store.database.connection import Database
from store.intake.batch import refused
from store.intake.candles import CandleIntake
from store.intake.dead_letters import DeadLetters
from store.intake.minutes import MinuteIntake
from store.intake.trades import Intake
from store.intake.writer import Writer
from store.ledger.audit import check_all
from store.ledger.minute_verifier import MinuteJudge
from store.ledger.repair import Repair
from store.retention.policy import Retention
from store.rpc import StoreServicer
from store.settings import StoreSettings
from tickmesh.v1 import status_pb2, store_pb2, store_pb2_grpc

log = logging.getLogger("store.service")

SERVICE = store_pb2.DESCRIPTOR.services_by_name["StoreService"].full_name
_CHECK_AGAIN_S = 5.0


async def main(settings: StoreSettings, stop: Stop) -> None:
    """Live as the store service until asked to stop; then commit what was taken, acknowledge it and drain."""
    health = Health("bus", "lease", "database")
    following, board = Following(), StatusBoard()

    def give_up() -> bool:
        return stop.asked

    def register(server: grpc.aio.Server) -> None:
        store_pb2_grpc.add_StoreServiceServicer_to_server(servicer, server)
        board.register(server)

    intake: Intake | None = None

    def describe(report: status_pb2.ServiceReport) -> None:
        if intake is not None:
            report.backlogs.add(name="raw_messages", count=intake.pending)

    async with AsyncExitStack() as stack:
        stack.enter_context(served(settings, health))
        database = await stack.enter_async_context(Database(settings.database_url.get_secret_value(), health=health))
        servicer = StoreServicer(database, following)
        await stack.enter_async_context(
            rpc.serving(
                settings.store_addr,
                services=[SERVICE, STATUS_SERVICE],
                register=register,
                health=health,
                access=settings.access(),
            )
        )
        beside = await stack.enter_async_context(Beside(stop))
        beside.begin(database.watch())
        streams = (CONTROL_STREAM, CANDLE_STREAM, DEAD_STREAM)
        bus = await stack.enter_async_context(
            joined(settings, "store", health=health, stop=stop, streams=streams, describe=describe, board=board)
        )
        if settings.retention_days is not None:
            beside.begin(Retention(database, settings.retention_days, give_up=give_up).run())
        writer = Writer(database, Periods(**settings.periods()), give_up=give_up)
        dead = DeadLetters(bus, give_up=give_up)
        intake = Intake(bus, writer, dead, settings, stop)
        repair = Repair(bus, database, writer, intake, lambda: following.venue)
        async with Beside(stop) as on_bus:
            on_bus.begin(_follow_control(bus, dead, following.take, repair.take))
            on_bus.begin(_check(database, writer))
            on_bus.begin(MinuteIntake(bus, writer, dead).run())
            on_bus.begin(MinuteJudge(database, writer, intake, give_up=give_up).run())
            on_bus.begin(CandleIntake(bus, writer, dead, intake).run())
            on_bus.begin(repair.run())
            on_bus.begin(repair.settle())
            on_bus.begin(repair.tell_epochs())
            try:
                await intake.run()
            except NotReady as exc:
                log.warning("stopping with trades on the way, they stay in the stream: %s", exc)


async def _follow_control(bus: Bus, dead: DeadLetters, *takers: Callable[[Message], None]) -> None:
    """Hand control messages to who understands them, for ever; what nobody can take in is put aside."""
    async with Reader(bus, subjects.CONTROL, "control-store", after=None) as reader:
        while True:
            for message in await reader.next():
                try:
                    for take in takers:
                        take(message)
                except BadMessage as exc:
                    await dead.put_aside(subjects.CONTROL, [refused(message, str(exc))])


async def _check(database: Database, writer: Writer) -> None:
    """Check once that the ledger tells the truth, as soon as the database is there."""
    while True:
        try:
            await check_all(database, writer)
            return
        except NotReady as exc:
            log.info("checking the ledger later: %s", exc)
            await asyncio.sleep(_CHECK_AGAIN_S)
