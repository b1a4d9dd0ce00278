"""The store service: trades and candles into the database, the ledger kept whole, and StoreService."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import grpc

from libsignal import Periods
from mesh.bus import subjects
from mesh.bus.connection import CANDLE_STREAM, CONTROL_STREAM, DEAD_STREAM, Bus
from mesh.bus.dead_letters import DeadLetterQueue
from mesh.bus.membership import joined
from mesh.bus.partitions import Partition, partition_of, partitions
from mesh.bus.position import Position
from mesh.bus.reader import SELDOM_HEARTBEAT_S, Message, Reader
from mesh.bus.shares import work_in
from mesh.bus.status_reports import STATUS_SERVICE, StatusBoard
from mesh.service import rpc
from mesh.service.errors import BadMessage, NotReady
from mesh.service.health import Health
from mesh.service.lifecycle import Stop
from mesh.service.metrics import served
from store import metrics
from store.catalog_view import CatalogView
from store.database import Database
from store.export.jobs import ExportJobs
from store.intake.candles import CandleIntake
from store.intake.minutes import MinuteIntake
from store.intake.position import Positions
from store.intake.quiet_candles import QuietCandles
from store.intake.trade_writer import TradeWriter
from store.intake.trades import TradeIntake
from store.ledger.audit import audit_ledger
from store.ledger.epochs import EpochAnnouncer
from store.ledger.minute_verifier import MinuteVerifier
from store.ledger.repair import HoleRepair
from store.ledger.writer import LedgerWriter
from store.retention.policy import Retention
from store.rpc import StoreServicer
from store.settings import StoreSettings
from tickmesh.v1 import status_pb2, store_pb2, store_pb2_grpc

log = logging.getLogger("store.service")

SERVICE = store_pb2.DESCRIPTOR.services_by_name["StoreService"].full_name
_AUDIT_AGAIN_S = 5.0
_CANCEL_AGAIN_S = 0.25


async def main(settings: StoreSettings, stop: Stop) -> None:
    """Run the store service until asked to stop; then commit what was read, acknowledge it, and return.

    Args:
        settings: of store.
        stop: ends it.

    """
    health = Health("bus", "lease", "database")
    catalog, board = CatalogView(), StatusBoard()

    def give_up() -> bool:
        return stop.asked

    def register(server: grpc.aio.Server) -> None:
        store_pb2_grpc.add_StoreServiceServicer_to_server(servicer, server)
        board.register(server)

    intakes: dict[Partition, TradeIntake] = {}

    def pending() -> int:
        return sum(intake.pending for intake in list(intakes.values()))

    def stored(partition: Partition) -> Position | None:
        return intakes[partition].position if partition in intakes else None

    def holds(venue: str, symbol: str) -> bool:
        return partition_of(venue, symbol, settings.partitions) in intakes

    def describe(report: status_pb2.ServiceReport) -> None:
        if intakes:
            report.backlogs.add(name="raw_messages", count=pending())

    async with AsyncExitStack() as stack:
        stack.enter_context(served(settings, health))
        database = await stack.enter_async_context(
            Database(
                settings.write_url(),
                read_url=settings.read_url(),
                health=health,
                give_up=give_up,
                partitions=settings.partitions,
            )
        )
        servicer = StoreServicer(database, catalog, ExportJobs(settings.read_url()))
        await stack.enter_async_context(
            rpc.serving(
                settings.store_addr,
                services=[SERVICE, STATUS_SERVICE],
                register=register,
                health=health,
                access=settings.access(),
                tls=settings.tls(),
            )
        )
        background = await stack.enter_async_context(BackgroundTasks(stop))
        background.start(database.watch())
        if settings.database_read_url is not None:
            background.start(database.watch_reads())
        streams = (CONTROL_STREAM, CANDLE_STREAM, DEAD_STREAM)
        bus = await stack.enter_async_context(
            joined(
                settings,
                "store",
                health=health,
                stop=stop,
                streams=streams,
                describe=describe,
                board=board,
                is_shared=settings.partitions > 1,
            )
        )
        periods, positions = Periods(**settings.periods()), Positions(database)
        dead = DeadLetterQueue(bus, give_up=give_up, published=metrics.DEAD)
        ledger = LedgerWriter(database, periods)
        writer = TradeWriter(database, periods)
        metrics.PENDING.set_function(pending)
        metrics.SEQUENCE.set_function(lambda: sum(at.sequence for at in map(stored, list(intakes)) if at is not None))
        repair = HoleRepair(bus, database, ledger, stored=stored, venue=lambda: catalog.venue, holds=holds)

        async def work(partition: Partition, bus: Bus, asked: Stop) -> None:
            intake = TradeIntake(bus, positions, writer, dead, settings, asked, partition=partition)
            intakes[partition] = intake
            try:
                async with BackgroundTasks(asked) as tasks:
                    tasks.start(CandleIntake(bus, positions, dead, periods, intake, settings).run())
                    if partition.number == 0:  # what is done once for all partitions
                        tasks.start(_audit(database, ledger))
                        tasks.start(MinuteIntake(bus, positions, dead).run())
                        tasks.start(EpochAnnouncer(bus, database).run())
                        if settings.retention_days is not None:
                            tasks.start(Retention(database, settings.retention_days).run())
                    await intake.run()
            except NotReady as exc:
                log.warning("stopping with trades on the way, they stay in the stream: %s", exc)
            finally:
                del intakes[partition]

        async with BackgroundTasks(stop) as on_bus:
            on_bus.start(_follow_control(bus, dead, catalog.take, repair.take))
            on_bus.start(MinuteVerifier(database, ledger, pending, holds).run())
            on_bus.start(QuietCandles(bus, database, periods, stored=stored).run())
            on_bus.start(repair.run())
            on_bus.start(repair.settle())
            await work_in(partitions(settings.partitions), work, bus=bus, service="store", stop=stop)


async def _follow_control(bus: Bus, dead: DeadLetterQueue, *takers: Callable[[Message], None]) -> None:
    """Hand control messages to all takers, for ever; one that cannot be read becomes a dead letter."""
    reader = Reader(
        *(bus, subjects.CONTROL, bus.own("control-store")),
        after=None,
        subjects=[subjects.CONTROL_CATALOG, subjects.CONTROL_SYMBOL, subjects.REPAIRED_ALL],
        heartbeat_s=SELDOM_HEARTBEAT_S,
    )
    async with reader:
        while True:
            for message in await reader.next():
                try:
                    for take in takers:
                        take(message)
                except BadMessage as exc:
                    await dead.publish(subjects.CONTROL, message, str(exc))


async def _audit(database: Database, ledger: LedgerWriter) -> None:
    """Audit the ledger once, as soon as the database is available."""
    while True:
        try:
            await audit_ledger(database, ledger)
            return
        except NotReady as exc:
            log.info("auditing the ledger later: %s", exc)
            await asyncio.sleep(_AUDIT_AGAIN_S)


class BackgroundTasks:
    """Tasks that live until their work is done or the block is left.

    >>> async with BackgroundTasks(stop) as background:
    ...     background.start(database.watch())

    An error in one of them asks the service to stop, and is raised on leaving the block: so the main work drains first.
    A task group would cancel the main work instead, once; and Python 3.11's `wait_for` can lose a cancellation that
    comes together with what it waits for. For the same reason tasks are cancelled here until they have ended.

    Args:
        stop: asked when a task fails.

    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: list[Exception] = []

    async def __aenter__(self) -> BackgroundTasks:
        return self

    async def __aexit__(self, *raised: object) -> None:
        pending = {task for task in self._tasks if not task.done()}
        while pending:
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)
        if self._failed:
            raise self._failed[0]

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task."""
        self._tasks.add(asyncio.create_task(self._run(work)))

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except NotReady as exc:  # only ever when stopping: until then everything waits
            log.info("not finished: %s", exc)
        except Exception as exc:
            log.error("stopping, because %s: %s", type(exc).__name__, exc)
            self._failed.append(exc)
            self._stop.ask()
