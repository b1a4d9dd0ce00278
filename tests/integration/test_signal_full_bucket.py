"""Signal whose bucket takes no more states: trades go on, nothing unsaved is acknowledged, and health tells."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from nats.errors import Error as NatsError

from mesh.bus import subjects, wire
from mesh.bus.connection import Bus
from signalsvc.pipeline import READ_AHEAD_AFTER
from tests.fixtures.nats import NatsServer
from tests.fixtures.services import Service
from tests.fixtures.store import feeding
from tests.fixtures.trades import columns
from tests.fixtures.waiting import eventually

SUBJECT = subjects.raw_of_symbol("binance", "btcusdt")


async def limit_bucket(bus: Bus, max_bytes: int) -> None:
    info = await bus.js.stream_info("KV_engine")
    await bus.js.update_stream(info.config, max_bytes=max_bytes)


async def publish(bus: Bus, first_id: int, count: int) -> None:
    """Publish trades one by one, in order."""
    for trade_id in range(first_id, first_id + count):
        await bus.client.publish(SUBJECT, wire.encode_trades(columns(trade_id, 1)))
        if trade_id % 1000 == 0:
            await bus.client.flush()
    await bus.client.flush()


async def until_processed(bus: Bus, last_id: int) -> None:
    async def look() -> bool:
        found = await bus.js.get_last_msg(subjects.PROCESSED, subjects.processed("binance"))
        assert wire.decode_end(wire.batches_of(found.data or b"")[-1])[2] == last_id
        return True

    await eventually(look, timeout_s=40, not_yet=(NatsError, TimeoutError))


async def acknowledged(bus: Bus) -> int:
    floor: int = (await bus.js.consumer_info(subjects.RAW, subjects.DURABLE_SIGNAL)).ack_floor.stream_seq
    return floor


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_trades_go_on_while_no_state_can_be_saved(
    nats_server: NatsServer, make_service: Callable[..., Service]
) -> None:
    signal = make_service("signalsvc", NATS_URL=nats_server.url_of("signal"), SIGNAL_ADDR="127.0.0.1:0")
    async with feeding(nats_server) as feeder:
        bus = feeder.bus
        signal.start_grpc("SIGNAL_ADDR")
        await publish(bus, 1, 10)
        await until_processed(bus, 10)

        async def saved() -> bool:
            return await acknowledged(bus) == 10

        await eventually(saved, not_yet=(NatsError,))
        await limit_bucket(bus, 1)
        last_id = 10 + 2 * READ_AHEAD_AFTER
        await publish(bus, 11, last_id - 10)
        await until_processed(bus, last_id)

        assert await acknowledged(bus) == 10
        waiting = (await bus.js.consumer_info(subjects.RAW, subjects.DURABLE_SIGNAL)).num_ack_pending
        assert waiting < 1.5 * READ_AHEAD_AFTER  # so many more may come, the server never stops
        assert "trades go on without acknowledgements" in signal.output()

        async def told() -> bool:
            status = await bus.js.get_last_msg(subjects.CONTROL, "control.status.signal")
            return b"not saved" in (status.data or b"")

        await eventually(told, not_yet=(NatsError,))

        signal.process.kill()  # and what is not saved is gone through again
        signal.start()
        await publish(bus, last_id + 1, 10)
        await until_processed(bus, last_id + 10)
        assert await acknowledged(bus) <= 10

        await limit_bucket(bus, 2**28)

        async def all_saved() -> bool:
            return await acknowledged(bus) == last_id + 10

        await eventually(all_saved, timeout_s=60, not_yet=(NatsError,))
        await publish(bus, last_id + 11, 10)
        await until_processed(bus, last_id + 20)
