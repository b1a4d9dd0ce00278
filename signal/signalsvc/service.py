"""The signal service: engine, selection and watchers, tied to the bus and served by gRPC."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import grpc

from mesh.bus.connection import CONTROL_STREAM, processed_stream
from mesh.bus.dead_letters import DeadLetterQueue
from mesh.bus.membership import joined
from mesh.bus.partitions import partition_of, partitions
from mesh.bus.status_reports import STATUS_SERVICE, StatusBoard
from mesh.service import metrics, rpc
from mesh.service.health import Health
from mesh.service.lifecycle import Stop
from signalsvc.engine import Engine
from signalsvc.pipeline import Pipeline, show
from signalsvc.rpc import SignalServicer, TokenBucket
from signalsvc.selection import Selection
from signalsvc.selection_sync import SelectionSync
from signalsvc.settings import SignalSettings
from signalsvc.watchers import Watchers
from tickmesh.v1 import signal_pb2_grpc, status_pb2

SERVICE = "tickmesh.v1.SignalService"


async def main(settings: SignalSettings, stop: Stop) -> None:
    """Live as the signal service until asked to stop; then publish what was taken, and drain.

    Args:
        settings: of signal.
        stop: ends it.

    """
    within = partitions(settings.partitions)
    health = Health("bus", "lease", *(partition.name("stream") for partition in within))
    selection, watchers = Selection(settings.symbol), Watchers()
    sync = SelectionSync(selection, watchers)
    pipelines = [
        Pipeline(
            Engine(**settings.of_signals()),
            *(selection, watchers, health),
            max_states=settings.max_states,
            partition=partition,
        )
        for partition in within
    ]
    show(pipelines, watchers)
    board = StatusBoard()

    def pipeline_of(venue: str, symbol: str) -> Pipeline:
        return pipelines[partition_of(venue, symbol, settings.partitions).number]

    servicer = SignalServicer(
        lambda venue, symbol: pipeline_of(venue, symbol).engine.latest(venue, symbol),
        selection,
        watchers,
        select=sync.select,
        reset=lambda venue, symbol: pipeline_of(venue, symbol).reset_session(venue, symbol),
        changes=TokenBucket(per_minute=settings.changes_per_minute),
    )

    def register(server: grpc.aio.Server) -> None:
        signal_pb2_grpc.add_SignalServiceServicer_to_server(servicer, server)
        board.register(server)

    def describe(report: status_pb2.ServiceReport) -> None:
        report.backlogs.add(name="raw_messages", count=sum(pipeline.pending for pipeline in pipelines))

    async with AsyncExitStack() as stack:
        stack.enter_context(metrics.served(settings, health))
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
            joined(settings, "signal", health=health, stop=stop, streams=streams, describe=describe, board=board)
        )
        async with stop.interrupts():
            await sync.begin(bus)
        async with asyncio.TaskGroup() as tasks:
            dead = DeadLetterQueue(bus)
            endless = [tasks.create_task(sync.follow(dead)), tasks.create_task(dead.run())]
            for pipeline in pipelines:
                async with stop.interrupts():
                    await pipeline.begin(bus, dead)
                endless.append(tasks.create_task(pipeline.publisher.run()))
            async with asyncio.TaskGroup() as running:
                for pipeline in pipelines:
                    running.create_task(pipeline.run(stop))
            for task in endless:
                task.cancel()
