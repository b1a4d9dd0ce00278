"""The store after a power cut: a stream that lost its end and has grown again past the old position meanwhile."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from nats.errors import Error as NatsError

from mesh.bus import control, subjects
from mesh.bus.connection import CANDLE_STREAM
from tests.fixtures.nats import NatsServer
from tests.fixtures.services import Service
from tests.fixtures.store import Feeder, ask, feeding, start_store, until_stored
from tests.fixtures.trades import START_US, columns
from tests.fixtures.waiting import eventually
from tickmesh.v1 import control_pb2

MINUTE_US = 60_000_000


def streams_of(server: NatsServer) -> Path:
    return server.directory / "store" / "jetstream" / "$G" / "streams"


async def publish_minutes(feeder: Feeder, first: int, count: int) -> None:
    """Publish minutes without trades, the n-th before the first trade."""
    for number in range(first, first + count):
        empty = control_pb2.VenueCandle(
            venue="binance",
            symbol="btcusdt",
            open_time_us=(START_US // MINUTE_US - number) * MINUTE_US,
            first_trade_id=-1,
            last_trade_id=-1,
        )
        payload = control.encode(empty)

        async def publish(payload: bytes = payload) -> int:
            subject = subjects.candle("binance", "btcusdt")
            return (await feeder.bus.js.publish(subject, payload, headers={"Nats-Msg-Id": uuid.uuid4().hex})).seq

        await eventually(publish, not_yet=(NatsError, TimeoutError))


async def until_minutes(database_url: str, wanted: int) -> None:
    async def look() -> bool:
        return await ask(database_url, "SELECT count(*) FROM minutes") == [(wanted,)]

    await eventually(look, what=f"{wanted} minutes")


@pytest.mark.parametrize("stream", [subjects.RAW, subjects.CANDLES])
async def test_what_has_grown_again_in_place_of_a_lost_end_is_stored(
    nats_server: NatsServer, make_service: Callable[..., Service], database_url: str, stream: str
) -> None:
    kept = nats_server.directory / "kept"
    async with feeding(nats_server) as feeder:
        await feeder.bus.declare(CANDLE_STREAM)
        store = start_store(make_service, nats_server, database_url)
        await feeder.publish(columns(1, 10))
        await publish_minutes(feeder, 1, 2)
        await until_stored(database_url, range(1, 11))
        await until_minutes(database_url, 2)
        nats_server.stop()
        shutil.copytree(streams_of(nats_server) / stream, kept)
        nats_server.start()
        await eventually(lambda: feeder.bus.connected)
        for first_id in range(11, 61, 10):
            await feeder.publish(columns(first_id, 10))
        await publish_minutes(feeder, 3, 5)
        await until_stored(database_url, range(1, 61))
        await until_minutes(database_url, 7)
        store.process.stop()
        nats_server.stop()
        shutil.rmtree(streams_of(nats_server) / stream)
        shutil.copytree(kept, streams_of(nats_server) / stream)
        nats_server.start()
        await eventually(lambda: feeder.bus.connected)
        # As ingest fetches it again: in other batches, newer ones too, and more of them than there were.
        if stream == subjects.RAW:
            await feeder.publish(columns(11, 100))
            for first_id in range(111, 161, 5):
                await feeder.publish(columns(first_id, 5))
        else:
            await publish_minutes(feeder, 8, 8)

        store.start()

        await until_stored(database_url, range(1, 161 if stream == subjects.RAW else 61))
        await until_minutes(database_url, 7 if stream == subjects.RAW else 15)
    assert "has grown again since" in store.output()
