"""Who may do what on the bus: each service what it makes and reads, and nothing else (deploy/nats/nats.conf)."""

from __future__ import annotations

import asyncio
import json

import nats
import pytest
from nats.js.api import ConsumerConfig, StreamConfig

from tests.fixtures.nats import PASSWORDS, NatsServer

MAKES = {
    "ingest": [
        "trades.raw.sim.btcusdt",
        "trades.raw.3.sim.btcusdt",
        "trades.dead.frames",
        "trades.dead.CONTROL",
        "trades.dead.quarantine",
        "candles.sim.btcusdt",
        "control.catalog",
        "control.looked-up",
        "control.repaired.sim.btcusdt",
        "control.partitions",
        "control.status.ingest",
        "control.status.ingest-15",
        "$KV.leases.ingest",
        "$KV.leases.ingest.3",
        "$KV.leases.ingest.instance.3",
        "instance.ingest.1f",
        "_INBOX_ingest.1f",
    ],
    "signal": [
        "trades.processed.sim",
        "trades.processed.15.sim",
        "trades.dead.RAW",
        "trades.dead.RAW_15",
        "trades.dead.CONTROL",
        "control.symbol",
        "control.lookup",
        "$KV.engine.position",
        "control.partitions",
        "control.status.signal",
        "control.status.signal-15",
        "$KV.leases.signal",
        "$KV.leases.signal.3",
        "$KV.leases.signal.instance.3",
        "instance.signal.1f",
        "_INBOX_signal.1f",
    ],
    "store": [
        "control.repair.sim.btcusdt",
        "trades.dead.RAW",
        "trades.dead.RAW_15",
        "trades.dead.PROCESSED",
        "trades.dead.PROCESSED_15",
        "trades.dead.CANDLES",
        "control.partitions",
        "control.status.store",
        "control.status.store-15",
        "trades.dead.CONTROL",
        "$KV.leases.store",
        "$KV.leases.store.3",
        "$KV.leases.store.instance.3",
        "instance.store.1f",
        "_INBOX_store.1f",
    ],
}
SERVICES = list(MAKES)
SUBJECTS = sorted({subject for subjects in MAKES.values() for subject in subjects} | {"anything", "control.else"})
DECLARES = {
    "ingest": {"RAW", "RAW_0", "RAW_15", "CONTROL", "CANDLES", "DEAD", "KV_leases"},
    "signal": {"PROCESSED", "PROCESSED_0", "PROCESSED_15", "CONTROL", "KV_engine", "KV_leases"},
    "store": {"CONTROL", "CANDLES", "DEAD", "KV_leases"},
}
STREAMS = sorted(set().union(*DECLARES.values()) | {"OTHER", "RAW_16"})
READS_BY = {
    "ingest": {
        ("CONTROL", "control-ingest"),
        ("CONTROL", "control-ingest-repair"),
        ("CONTROL", "control-ingest-repair-15"),
    },
    "signal": {
        ("RAW", "signal"),
        ("RAW", "signal-ahead"),
        ("RAW_15", "signal"),
        ("RAW_15", "signal-ahead"),
        ("CONTROL", "control-signal"),
        ("CONTROL", "control-signal-15"),
    },
    "store": {
        ("RAW", "store"),
        ("RAW_15", "store"),
        ("PROCESSED", "store-signals"),
        ("PROCESSED_15", "store-signals"),
        ("CANDLES", "store-candles"),
        ("CONTROL", "control-store"),
        ("CONTROL", "control-store-15"),
    },
}


async def refused(server: NatsServer, user: str, *subjects: str, verb: str = "PUB") -> set[str]:
    """Publish nothing to each subject as the user, or subscribe to it; return what is refused.

    In the protocol's own words: a client library may keep a refusal to itself.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    login = {"user": user, "pass": PASSWORDS[user], "verbose": False, "pedantic": False}
    lines = [f"CONNECT {json.dumps(login)}"]
    for number, subject in enumerate(subjects):
        lines += [f"PUB {subject} 0", ""] if verb == "PUB" else [f"SUB {subject} {number}"]
    writer.write("".join(f"{line}\r\n" for line in [*lines, "PING"]).encode())
    found = set()
    async with asyncio.timeout(20):
        while (line := await reader.readline()) and not line.startswith(b"PONG"):
            if line.startswith(b"-ERR"):
                found.add(line.decode().split('"')[1])
    writer.close()
    return found


@pytest.mark.parametrize("user", SERVICES)
async def test_a_service_may_publish_what_it_makes_and_nothing_else(nats_server: NatsServer, user: str) -> None:
    assert await refused(nats_server, user, *SUBJECTS) == set(SUBJECTS) - set(MAKES[user])


@pytest.mark.parametrize("user", SERVICES)
async def test_a_service_may_declare_the_streams_it_writes_and_delete_none(nats_server: NatsServer, user: str) -> None:
    makes = {f"$JS.API.STREAM.{verb}.{stream}" for verb in ("CREATE", "UPDATE", "DELETE") for stream in STREAMS}
    may = {f"$JS.API.STREAM.{verb}.{stream}" for verb in ("CREATE", "UPDATE") for stream in DECLARES[user]}

    assert await refused(nats_server, user, *sorted(makes)) == makes - may


@pytest.mark.parametrize("user", SERVICES)
async def test_only_ingest_may_purge_and_only_raw_and_only_store_may_take_dead_letters_away(
    nats_server: NatsServer, user: str
) -> None:
    asked = {f"$JS.API.STREAM.{verb}.{stream}" for verb in ("PURGE", "MSG.DELETE") for stream in STREAMS}
    raw = ("RAW", "RAW_0", "RAW_15")
    may = {
        "ingest": {f"$JS.API.STREAM.PURGE.{stream}" for stream in raw},
        "store": {"$JS.API.STREAM.MSG.DELETE.DEAD"},
    }

    assert await refused(nats_server, user, *sorted(asked)) == asked - may.get(user, set())


@pytest.mark.parametrize("user", SERVICES)
async def test_a_service_touches_no_durable_but_its_own(nats_server: NatsServer, user: str) -> None:
    everybodys = set().union(*READS_BY.values()) | {("RAW", "other")}
    verbs = ("CONSUMER.CREATE", "CONSUMER.DURABLE.CREATE", "CONSUMER.DELETE", "CONSUMER.MSG.NEXT")
    asked = {f"$JS.API.{verb}.{stream}.{durable}" for verb in verbs for stream, durable in everybodys}
    asked |= {f"$JS.ACK.{stream}.{durable}.1.1.1.1.0" for stream, durable in everybodys}
    own = {subject for subject in asked if any(f".{s}.{d}." in f"{subject}." for s, d in READS_BY[user])}

    assert await refused(nats_server, user, *sorted(asked)) == asked - own


@pytest.mark.parametrize(
    ("user", "stream", "durable"), [(user, *one) for user in SERVICES for one in sorted(READS_BY[user])]
)
async def test_a_service_reads_by_its_durables_whatever_their_filter(
    nats_server: NatsServer, user: str, stream: str, durable: str
) -> None:
    admin = await nats.connect(nats_server.url)
    await admin.jetstream().add_stream(StreamConfig(name=stream, subjects=["some.>"]))
    await admin.jetstream().publish("some.thing", b"one")
    connection = await nats.connect(nats_server.url_of(user), inbox_prefix=f"_INBOX_{user}".encode())
    jetstream = connection.jetstream(timeout=5)

    for subject in ("some.>", "some.thing"):
        await jetstream.add_consumer(stream, ConsumerConfig(durable_name=durable, filter_subject=subject))
        subscription = await jetstream.pull_subscribe_bind(durable, stream)
        [message] = await subscription.fetch(1, timeout=5)
        await message.ack_sync()
        await jetstream.delete_consumer(stream, durable)
        assert message.data == b"one"

    await connection.close()
    await admin.close()


@pytest.mark.parametrize("user", SERVICES)
async def test_nobody_hears_the_answers_to_another(nats_server: NatsServer, user: str) -> None:
    inboxes = {f"_INBOX_{other}.>" for other in SERVICES}

    assert await refused(nats_server, user, *sorted(inboxes), verb="SUB") == inboxes - {f"_INBOX_{user}.>"}
