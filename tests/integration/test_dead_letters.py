"""Dead letters against a real nats-server: each is kept once with its reason, and publishing one waits for the bus."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry, Counter

from mesh.bus.connection import DEAD_STREAM, connect
from mesh.bus.dead_letters import MAX_WAITING, REASON, SEQUENCE, SUBJECT, DeadLetterQueue
from mesh.bus.reader import Message
from mesh.service.errors import NotReady
from mesh.service.health import Health
from mesh.service.settings import BusSettings
from tests.fixtures.nats import NatsServer
from tests.fixtures.waiting import eventually


def message(sequence: int, payload: bytes = b"nonsense") -> Message:
    return Message(sequence, "trades.raw.binance.btcusdt", payload, reply="", taken_us=1_000_000 + sequence, pending=0)


def settings(server: NatsServer) -> BusSettings:
    return BusSettings.model_validate({"nats_url": server.url_of("store")})


async def test_a_letter_that_was_published_is_kept_once_with_its_reason(nats_server: NatsServer) -> None:
    registry = CollectorRegistry()
    published = Counter("letters_total", "Letters", registry=registry)
    async with connect(settings(nats_server), name="store", health=Health("bus")) as bus:
        dead = DeadLetterQueue(bus, published=published)

        await dead.publish("RAW", message(7), "no batch")
        await dead.publish("RAW", message(7), "no batch")  # as after a crash before the position moved

        kept = await bus.js.get_last_msg("DEAD", "trades.dead.RAW")
        assert (kept.seq, kept.data) == (1, b"nonsense")
        headers = kept.headers or {}
        assert (headers[REASON], headers[SUBJECT], headers[SEQUENCE]) == ("no batch", message(7).subject, "7")
        assert registry.get_sample_value("letters_total") == 2


async def test_publishing_tries_again_until_the_bus_takes_it_or_it_is_asked_to_give_up(nats_server: NatsServer) -> None:
    failures, patience = 0, 2

    def give_up() -> bool:
        nonlocal failures
        failures += 1
        return failures == patience

    admin = BusSettings.model_validate({"nats_url": nats_server.url_of("admin")})
    async with (
        connect(settings(nats_server), name="store", health=Health("bus")) as bus,
        connect(admin, name="admin", health=Health("bus")) as other,
    ):
        dead = DeadLetterQueue(bus, give_up=give_up)
        await other.js.add_stream(name="DEAD", subjects=["trades.dead.>"], max_msgs=5)  # not as the mesh declares it

        with pytest.raises(NotReady, match=r"does not take trades\.dead\.RAW"):
            await dead.publish("RAW", message(7), "no batch")
        assert failures == 2

        patience = 10**6
        publishing = asyncio.create_task(dead.publish("RAW", message(7), "no batch"))
        await eventually(lambda: failures > 2)
        await other.js.delete_stream("DEAD")
        await publishing
        assert (await bus.js.get_last_msg("DEAD", "trades.dead.RAW")).data == b"nonsense"


async def test_what_is_put_is_published_in_order_and_the_oldest_make_room(nats_server: NatsServer) -> None:
    async with connect(settings(nats_server), name="store", health=Health("bus")) as bus:
        await bus.declare(DEAD_STREAM)
        dead = DeadLetterQueue(bus)
        for sequence in range(MAX_WAITING + 2):
            dead.put("RAW", message(sequence), "no batch")

        running = asyncio.create_task(dead.run())

        async def all_there() -> bool:
            info = await bus.stream_info("DEAD")
            return info is not None and info.state.messages == MAX_WAITING

        await eventually(all_there)
        running.cancel()
        first = await bus.js.get_msg("DEAD", 1)
        assert (first.headers or {})[SEQUENCE] == "2"
