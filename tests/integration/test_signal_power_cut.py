"""The signal service after a power cut: streams that end earlier than they did, and than each other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from nats.errors import Error as NatsError

from mesh.bus import control, subjects, wire
from mesh.bus.connection import CONTROL_STREAM, Bus
from mesh.values.trades import SignalColumns
from signalsvc.engine import Engine
from signalsvc.settings import SignalSettings
from tests.fixtures.nats import NatsServer
from tests.fixtures.services import Service
from tests.fixtures.store import feeding
from tests.fixtures.trades import columns
from tests.fixtures.waiting import eventually
from tickmesh.v1 import control_pb2


def streams_of(server: NatsServer) -> Path:
    return server.directory / "store" / "jetstream" / "$G" / "streams"


async def processed(bus: Bus, last_id: int) -> list[SignalColumns]:
    """Return all of PROCESSED as soon as it holds the trade."""

    async def look() -> list[SignalColumns]:
        info = await bus.js.stream_info(subjects.PROCESSED)
        messages = [await bus.js.get_msg(subjects.PROCESSED, n) for n in range(1, info.state.last_seq + 1)]
        found = [wire.decode_signals(batch) for message in messages for batch in wire.batches_of(message.data or b"")]
        assert found
        assert found[-1].trades.trade_id[-1] == last_id
        return found

    return await eventually(look, not_yet=(NatsError, TimeoutError))


@pytest.mark.parametrize("lost", [[subjects.RAW], [subjects.PROCESSED], [subjects.RAW, subjects.PROCESSED]])
async def test_every_trade_has_its_signals_once_whatever_end_was_lost(
    nats_server: NatsServer, make_service: Callable[..., Service], lost: list[str]
) -> None:
    signal = make_service("signalsvc", NATS_URL=nats_server.url_of("signal"), SIGNAL_ADDR="127.0.0.1:0")
    kept = nats_server.directory / "kept"
    async with feeding(nats_server) as feeder:
        signal.start_grpc("SIGNAL_ADDR")
        for first_id in range(1, 101, 10):
            await feeder.publish(columns(first_id, 10))
        await processed(feeder.bus, 100)
        nats_server.stop()
        for stream in lost:
            shutil.copytree(streams_of(nats_server) / stream, kept / stream)
        nats_server.start()
        await eventually(lambda: feeder.bus.connected)
        for first_id in range(101, 201, 10):
            await feeder.publish(columns(first_id, 10))
        await processed(feeder.bus, 200)
        signal.process.stop()
        nats_server.stop()
        for stream in lost:
            shutil.rmtree(streams_of(nats_server) / stream)
            shutil.copytree(kept / stream, streams_of(nats_server) / stream)
        nats_server.start()
        await eventually(lambda: feeder.bus.connected)
        if subjects.RAW in lost:  # as ingest fetches it again: other batches, and soon more of them than there were
            await feeder.publish(columns(101, 95))
            for first_id in range(196, 251, 5):
                await feeder.publish(columns(first_id, 5))
        else:
            await feeder.publish(columns(201, 50))
        signal.start()
        found = await processed(feeder.bus, 250)
    engine = Engine(**SignalSettings().of_signals())
    uninterrupted = [engine.process(signals.trades, raw_sequence=signals.raw_sequence) for signals in found]
    assert [id_ for signals in found for id_ in signals.trades.trade_id] == list(range(1, 251))
    assert [wire.encode_signals(one) for one in found] == [wire.encode_signals(one) for one in uninterrupted if one]


@pytest.mark.slow
@pytest.mark.parametrize(("symbol", "known"), [("ethusdt", True), ("币安人生usdt", False)])
async def test_the_signals_of_a_coin_that_had_left_memory_are_made_again_as_well(
    nats_server: NatsServer, make_service: Callable[..., Service], symbol: str, known: bool
) -> None:
    settings = {"NATS_URL": nats_server.url_of("signal"), "SIGNAL_ADDR": "127.0.0.1:0", "MAX_STATES": "1"}
    signal = make_service("signalsvc", **settings)
    kept = nats_server.directory / "kept"
    async with feeding(nats_server) as feeder:
        await feeder.bus.declare(CONTROL_STREAM)
        catalog = control_pb2.Catalog(venue="binance", followed=["btcusdt"])
        await feeder.bus.js.publish(subjects.CONTROL_CATALOG, control.encode(catalog))
        signal.start_grpc("SIGNAL_ADDR")
        if known:  # else PROCESSED loses all of its signals
            await feeder.publish(columns(1, 20, symbol=symbol))
        await feeder.publish(columns(1, 10))
        await processed(feeder.bus, 10)
        nats_server.stop()
        shutil.copytree(streams_of(nats_server) / subjects.PROCESSED, kept)
        nats_server.start()
        await eventually(lambda: feeder.bus.connected)
        await feeder.publish(columns(21, 20, symbol=symbol))
        await feeder.publish(columns(11, 10))
        await processed(feeder.bus, 20)
        await eventually(lambda: "that nobody follows leave memory" in signal.output(), timeout_s=30)
        await feeder.publish(columns(21, 10))  # the next state says who has left
        await processed(feeder.bus, 30)
        signal.process.stop()
        nats_server.stop()
        shutil.rmtree(streams_of(nats_server) / subjects.PROCESSED)
        shutil.copytree(kept, streams_of(nats_server) / subjects.PROCESSED)
        nats_server.start()
        await eventually(lambda: feeder.bus.connected)
        await feeder.publish(columns(41, 5, symbol=symbol))
        await feeder.publish(columns(31, 5))
        signal.start()
        found = await processed(feeder.bus, 35)
    ids: dict[str, list[int]] = {"btcusdt": [], symbol: []}
    for signals in found:
        ids[signals.trades.symbol] += signals.trades.trade_id.tolist()
    assert ids == {"btcusdt": list(range(1, 36)), symbol: list(range(1 if known else 21, 46))}
    engine = Engine(**SignalSettings().of_signals())
    uninterrupted = [engine.process(signals.trades, raw_sequence=signals.raw_sequence) for signals in found]
    assert [wire.encode_signals(one) for one in found] == [wire.encode_signals(one) for one in uninterrupted if one]
