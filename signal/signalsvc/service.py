"""The signal service: engine, selection and watchers, tied to the bus and served by gRPC."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import grpc

from mesh.bus.connection import CONTROL_STREAM, Bus, processed_stream
from mesh.bus.dead_letters import DeadLetterQueue
from mesh.bus.membership import joined
from mesh.bus.partitions import Partition, partition_of, partitions
from mesh.bus.shares import work_in
from mesh.bus.status_reports import STATUS_SERVICE, StatusBoard
from mesh.service import metrics, rpc
from mesh.service.direct import listening
from mesh.service.errors import NotOwner
from mesh.service.health import Health
from mesh.service.lifecycle import Stop
from signalsvc.engine import Engine, Latest
from signalsvc.pipeline import Pipeline, show
from signalsvc.rpc import SignalServicer, TokenBucket
from signalsvc.selection import Selection
from signalsvc.selection_sync import SelectionSync
from signalsvc.settings import SignalSettings
from signalsvc.watchers import Watchers
from tickmesh.v1 import signal_pb2, signal_pb2_grpc, status_pb2

SERVICE = "tickmesh.v1.SignalService"
TELL_EVERY_S = 1.0
"""How often watchers are told the partitions: a gateway knows by it that this instance does not stand still."""


async def main(settings: SignalSettings, stop: Stop) -> None:
    """Live as the signal service until asked to stop; then publish what was taken, and drain.

    Args:
        settings: of signal.
        stop: ends it.

    """
    within = partitions(settings.partitions)
    health = Health("bus", "lease", "stream")
    selection, watchers = Selection(settings.symbol), Watchers(partitions=len(within))
    sync = SelectionSync(selection, watchers)
    pipelines: dict[Partition, Pipeline] = {}
    show(pipelines, watchers)
    board = StatusBoard()

    def pipeline_of(venue: str, symbol: str) -> Pipeline | None:
        partition = partition_of(venue, symbol, settings.partitions)
        if partition not in pipelines and len(within) > 1:
            raise NotOwner(f"another instance of signal works in partition {partition.number}, where {symbol} is")
        return pipelines.get(partition)

    def latest(venue: str, symbol: str) -> Latest | None:
        pipeline = pipeline_of(venue, symbol)
        return None if pipeline is None else pipeline.engine.latest(venue, symbol)

    async def reset(venue: str, symbol: str) -> bool:
        pipeline = pipeline_of(venue, symbol)
        return pipeline is not None and await pipeline.reset_session(venue, symbol)

    def describe(report: status_pb2.ServiceReport) -> None:
        report.backlogs.add(name="raw_messages", count=sum(pipeline.pending for pipeline in pipelines.values()))

    def note_live() -> None:
        health.set("stream", all(pipeline.is_live for pipeline in pipelines.values()))
        live = sorted(partition.number for partition, pipeline in pipelines.items() if pipeline.is_live)
        watchers.tell_partitions(signal_pb2.OwnedPartitions(numbers=live, count=len(within)))

    async def keep_telling() -> None:
        while True:
            watchers.tell_partitions()
            await asyncio.sleep(TELL_EVERY_S)

    async with AsyncExitStack() as stack:
        stack.enter_context(metrics.served(settings, health))
        host = settings.signal_addr.rpartition(":")[0]
        direct = await stack.enter_async_context(listening(host, settings.signal_direct_port, tls=settings.tls()))
        servicer = SignalServicer(
            latest,
            selection,
            watchers,
            select=sync.select,
            reset=reset,
            changes=TokenBucket(per_minute=settings.changes_per_minute),
            last_trades=lambda: [batch for one in pipelines.values() for batch, _ in one.last_trades()],
            direct=direct,
        )

        def register(server: grpc.aio.Server) -> None:
            signal_pb2_grpc.add_SignalServiceServicer_to_server(servicer, server)
            board.register(server)

        await stack.enter_async_context(
            rpc.serving(
                settings.signal_addr,
                services=[SERVICE, STATUS_SERVICE],
                register=register,
                health=health,
                access=settings.access(),
                tls=settings.tls(),
            )
        )
        stack.callback(watchers.end)
        streams = [processed_stream(settings.processed_max_bytes, partition) for partition in within]
        streams.insert(0, CONTROL_STREAM)
        bus = await stack.enter_async_context(
            joined(
                settings,
                "signal",
                health=health,
                stop=stop,
                streams=streams,
                describe=describe,
                board=board,
                is_shared=len(within) > 1,
            )
        )
        async with stop.interrupts():
            await sync.begin(bus)
        async with asyncio.TaskGroup() as tasks:
            dead = DeadLetterQueue(bus)
            endless = [tasks.create_task(each) for each in (sync.follow(dead), dead.run(), keep_telling())]

            async def work(partition: Partition, bus: Bus, asked: Stop) -> None:
                pipeline = Pipeline(
                    Engine(**settings.of_signals()),
                    *(selection, watchers, health),
                    max_states=settings.max_states,
                    partition=partition,
                    on_live=note_live,
                )
                pipelines[partition] = pipeline
                try:
                    async with asyncio.TaskGroup() as publishing:
                        async with asked.interrupts():
                            await pipeline.begin(bus, dead)
                        task = publishing.create_task(pipeline.publisher.run())
                        await pipeline.run(asked)
                        task.cancel()
                finally:
                    del pipelines[partition]
                    if len(within) > 1:
                        health.clear(partition.name("state"))
                        note_live()

            if len(within) > 1:
                note_live()  # it serves, too, while the others hold all partitions
            await work_in(within, work, bus=bus, service="signal", stop=stop)
            for task in endless:
                task.cancel()
