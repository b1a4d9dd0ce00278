"""The store against a real bus and a real database: every trade exactly once, whatever breaks."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from nats.errors import Error as NatsError

from mesh.bus import wire
from mesh.bus.connection import raw_stream
from mesh.values.trades import TradeColumns
from tests.fixtures.nats import NatsServer
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.services import Service
from tests.fixtures.store import Feeder, ask, exit_code, feeding, start_store, until_health, until_stored
from tests.fixtures.trades import START_US, columns
from tests.fixtures.waiting import eventually

MakeService = Callable[..., Service]


@pytest.fixture
async def feeder(nats_server: NatsServer) -> AsyncIterator[Feeder]:
    async with feeding(nats_server) as feeder:
        yield feeder


@pytest.fixture
def store(make_service: MakeService, nats_server: NatsServer, database_url: str, feeder: Feeder) -> Service:
    return start_store(make_service, nats_server, database_url)


async def test_prices_and_times_in_the_database_are_the_venues_own(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    trades = TradeColumns(
        "binance",
        "dogeusdt",
        START_US,
        trade_id=np.array([1, 2, 3]),
        price_e8=np.array([1, 638, 9_223_372_036_854_775_807]),
        quantity_e8=np.array([0, 10_000, 100_000_000]),
        time_us=np.array([0, START_US + 1, START_US + 2]),
        is_buyer_maker=np.array([True, False, True]),
    )

    await feeder.publish(trades)

    await until_stored(database_url, [1, 2, 3], symbol="dogeusdt")
    rows = await ask(
        database_url,
        "SELECT price::text, quantity::text, (time AT TIME ZONE 'UTC')::text, is_buyer_maker"
        " FROM trades ORDER BY trade_id",
    )
    assert rows == [
        ("0.00000001", "0.00000000", "1970-01-01 00:00:00", True),
        ("0.00000638", "0.00010000", "2024-08-08 23:54:15.342001", False),
        ("92233720368.54775807", "1.00000000", "2024-08-08 23:54:15.342002", True),
    ]


async def test_repeats_change_nothing_and_cost_no_neighbour(feeder: Feeder, store: Service, database_url: str) -> None:
    await feeder.publish(columns(1, 100))
    await feeder.publish(columns(1, 100))
    await feeder.publish(columns(51, 100))
    await feeder.publish(columns(10, 1))
    await feeder.publish(columns(151, 1))

    await until_stored(database_url, range(1, 152))


async def test_rows_put_there_by_hand_cost_no_neighbour(feeder: Feeder, store: Service, database_url: str) -> None:
    await feeder.publish(columns(1, 10))
    await until_stored(database_url, range(1, 11))
    await ask(database_url, "CREATE TABLE kept AS SELECT * FROM trades WHERE trade_id = 5")
    await ask(database_url, "UPDATE kept SET trade_id = 15, time = time + interval '2500 microseconds'")
    await ask(database_url, "INSERT INTO trades SELECT * FROM kept")

    await feeder.publish(columns(11, 10))

    await until_stored(database_url, range(1, 21))


async def test_an_id_twice_in_one_batch_with_two_times_is_one_trade(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    twice = columns(1, 2)
    await feeder.publish(twice)
    await until_stored(database_url, [1, 2])
    late = TradeColumns(
        "binance",
        "btcusdt",
        0,
        twice.trade_id,
        twice.price_e8,
        twice.quantity_e8,
        twice.time_us // 1000 * 1000,
        twice.is_buyer_maker,
    )

    await feeder.publish(late)
    await feeder.publish(columns(3, 1))

    await until_stored(database_url, [1, 2, 3])


async def test_symbols_of_one_transaction_keep_apart(feeder: Feeder, store: Service, database_url: str) -> None:
    for first_id in (1, 6):
        for symbol in ("btcusdt", "ethusdt"):
            await feeder.publish(columns(first_id, 5, symbol=symbol))
    await feeder.publish(columns(1, 5, venue="sim", symbol="solusdt"))

    for symbol, count in (("btcusdt", 10), ("ethusdt", 10), ("solusdt", 5)):
        await until_stored(database_url, range(1, count + 1), symbol=symbol)


async def test_a_killed_store_goes_on_where_it_was(
    feeder: Feeder, store: Service, make_service: MakeService, database_url: str
) -> None:
    await feeder.publish(columns(1, 100))
    await until_stored(database_url, range(1, 101))
    store.process.kill()
    await feeder.publish(columns(101, 100))

    store.start()

    await until_stored(database_url, range(1, 201))
    assert "taking in RAW after message 1" in store.output()


async def test_a_killed_database_loses_and_doubles_nothing(
    feeder: Feeder, nats_server: NatsServer, own_postgres: PostgresServer, make_service: MakeService
) -> None:
    store = start_store(make_service, nats_server, own_postgres.url, BATCH_MAX_TRADES="500")
    await feeder.publish(columns(1, 500))
    await until_stored(own_postgres.url, range(1, 501))

    for round_ in range(3):
        for step in range(40):
            await feeder.publish(columns(501 + round_ * 4000 + step * 100, 100))
            if step == 20:
                own_postgres.kill()
        own_postgres.start()

    await until_stored(own_postgres.url, range(1, 12_501))
    assert await ask(own_postgres.url, "SELECT first_trade_id, last_trade_id FROM coverage") == [(1, 12_500)]
    await until_health(store, health_pb2.HealthCheckResponse.SERVING)


async def test_a_store_without_its_database_waits_says_so_and_comes_by_itself(
    feeder: Feeder, nats_server: NatsServer, own_postgres: PostgresServer, make_service: MakeService
) -> None:
    own_postgres.stop()
    store = start_store(make_service, nats_server, own_postgres.url)
    await feeder.publish(columns(1, 100))
    await eventually(lambda: "waiting for the database" in store.output())
    await until_health(store, health_pb2.HealthCheckResponse.NOT_SERVING)

    own_postgres.start()

    await until_health(store, health_pb2.HealthCheckResponse.SERVING)
    await until_stored(own_postgres.url, range(1, 101))


async def test_a_store_without_its_bus_waits_says_so_and_comes_by_itself(
    nats_server: NatsServer, database_url: str, make_service: MakeService
) -> None:
    nats_server.kill()
    store = start_store(make_service, nats_server, database_url)
    await eventually(lambda: "waiting for NATS" in store.output())
    await until_health(store, health_pb2.HealthCheckResponse.NOT_SERVING)

    nats_server.start()

    await until_health(store, health_pb2.HealthCheckResponse.SERVING)
    async with feeding(nats_server) as feeder:
        await feeder.publish(columns(1, 100))
        await until_stored(database_url, range(1, 101))


async def test_a_restarted_bus_loses_and_doubles_nothing(
    nats_server: NatsServer, feeder: Feeder, store: Service, database_url: str
) -> None:
    await feeder.publish(columns(1, 100))
    await until_stored(database_url, range(1, 101))

    nats_server.restart()

    await feeder.publish(columns(101, 100))
    await until_stored(database_url, range(1, 201))


async def test_a_stream_made_anew_is_taken_in_from_its_start(feeder: Feeder, store: Service, database_url: str) -> None:
    await feeder.publish(columns(1, 50))
    await feeder.publish(columns(51, 50))
    await until_stored(database_url, range(1, 101))

    await feeder.bus.js.delete_stream("RAW")
    await feeder.bus.declare(raw_stream(2**30))
    await feeder.publish(columns(101, 50))

    await until_stored(database_url, range(1, 151))
    assert "made anew" in store.output()


async def test_what_is_no_batch_is_put_aside_with_the_reason(feeder: Feeder, store: Service, database_url: str) -> None:
    impossible = columns(1000, 2)
    impossible = TradeColumns(
        impossible.venue, impossible.symbol, 0, impossible.trade_id, impossible.price_e8, impossible.quantity_e8,
        np.array([START_US, 2**63 - 1]), impossible.is_buyer_maker,
    )  # fmt: skip
    await feeder.publish(columns(1, 10))
    await feeder.publish_bytes(b"\xff nonsense")
    await feeder.publish_bytes(b"")
    await feeder.publish(impossible)
    await feeder.publish(columns(11, 10))

    await until_stored(database_url, range(1, 21))
    dead = [await feeder.bus.js.get_msg("DEAD", sequence) for sequence in (1, 2, 3)]
    assert [message.data or b"" for message in dead][:2] == [b"\xff nonsense", b""]
    assert [(message.headers or {})["Tickmesh-Sequence"] for message in dead] == ["2", "3", "4"]
    assert "no TradeBatch" in (dead[0].headers or {})["Tickmesh-Reason"]
    assert "time_us is 9223372036854775807" in (dead[2].headers or {})["Tickmesh-Reason"]


async def test_what_is_wrong_is_put_aside_also_where_it_repeats_an_id_of_the_same_transaction(
    feeder: Feeder, nats_server: NatsServer, make_service: MakeService, database_url: str
) -> None:
    free = columns(3, 1)
    free.price_e8[:] = 0
    await feeder.publish(columns(1, 3))
    await feeder.publish(free)

    start_store(make_service, nats_server, database_url)

    await until_stored(database_url, [1, 2, 3])
    dead = await eventually(lambda: feeder.bus.js.get_msg("DEAD", 1), not_yet=(NatsError,))
    assert "price_e8 is 0" in (dead.headers or {})["Tickmesh-Reason"]


async def test_what_the_database_refuses_is_put_aside_alone(feeder: Feeder, store: Service, database_url: str) -> None:
    await feeder.publish(columns(1, 1))
    await until_stored(database_url, [1])
    await ask(database_url, "ALTER TABLE trades ADD CONSTRAINT no_thirteen CHECK (trade_id <> 13)")

    for trade_id in range(2, 31):
        await feeder.publish(columns(trade_id, 1))

    await until_stored(database_url, [*range(1, 13), *range(14, 31)])
    [dead] = [await feeder.bus.js.get_msg("DEAD", 1)]
    assert "no_thirteen" in (dead.headers or {})["Tickmesh-Reason"]


async def test_a_message_of_many_symbols_is_stored_but_for_the_batches_that_cannot_be(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    await feeder.publish(columns(1, 1))
    await until_stored(database_url, [1])
    await ask(database_url, "ALTER TABLE trades ADD CONSTRAINT no_thirteen CHECK (trade_id <> 13)")
    free = columns(50, 2, symbol="solusdt")
    free.price_e8[:] = 0
    batches = [columns(20, 20, symbol="ethusdt"), free, columns(2, 9), columns(13, 1), columns(14, 6)]

    first, *others = map(wire.encode_trades, batches)
    sequence = await feeder.publish_together(first, b"\xff nonsense", *others)
    await feeder.bus.js.publish("trades.raw.binance", b"\xff no batches")
    await feeder.bus.js.publish("trades.raw.binance.last-trades", b"".join(map(wire.one_of_many, others)))
    await feeder.publish_together(wire.encode_trades(columns(20, 5)))

    await until_stored(database_url, [*range(1, 11), *range(14, 25)])
    await until_stored(database_url, range(20, 40), symbol="ethusdt")
    dead = [await feeder.bus.js.get_msg("DEAD", letter) for letter in range(1, 5)]
    told = {(letter.data, (letter.headers or {})["Tickmesh-Sequence"]) for letter in dead}
    wrong = [b"\xff nonsense", wire.encode_trades(free), wire.encode_trades(columns(13, 1))]
    assert told == {
        *((batch, str(sequence)) for batch in wrong),
        (b"\xff no batches", str(sequence + 1)),
    }


async def test_sigterm_stores_what_was_taken_and_ends_well(
    feeder: Feeder, nats_server: NatsServer, make_service: MakeService, database_url: str
) -> None:
    store = make_service(
        "store",
        NATS_URL=nats_server.url_of("store"),
        DATABASE_URL=database_url,
        STORE_ADDR="127.0.0.1:0",
        BATCH_MAX_AGE_MS="10000",
    )
    store.start_grpc("STORE_ADDR")
    await feeder.publish(columns(1, 100))

    async def delivered() -> bool:
        info = await feeder.bus.js.consumer_info("RAW", "store")
        return info.delivered is not None and info.delivered.stream_seq == 1

    await eventually(delivered, not_yet=(Exception,))
    store.process.send(signal.SIGTERM)

    assert await exit_code(store) == 0
    await until_stored(database_url, range(1, 101))


async def test_sigterm_ends_a_store_whose_database_is_away(
    feeder: Feeder, nats_server: NatsServer, own_postgres: PostgresServer, make_service: MakeService
) -> None:
    own_postgres.stop()
    store = start_store(make_service, nats_server, own_postgres.url)
    await eventually(lambda: "waiting for the database" in store.output())

    store.process.send(signal.SIGTERM)

    assert await exit_code(store) == 0


async def test_a_role_that_owns_only_a_schema_is_enough(
    feeder: Feeder, nats_server: NatsServer, own_postgres: PostgresServer, make_service: MakeService
) -> None:
    await ask(own_postgres.superuser_url, "CREATE ROLE plain LOGIN PASSWORD 'plain-password'")
    await ask(
        own_postgres.superuser_url.removesuffix("/postgres") + "/tickmesh", "CREATE SCHEMA plain AUTHORIZATION plain"
    )

    plain_url = f"postgresql://plain:plain-password@127.0.0.1:{own_postgres.port}/tickmesh"
    start_store(make_service, nats_server, plain_url)

    await feeder.publish(columns(1, 10))

    await until_stored(plain_url, range(1, 11))
    assert await ask(plain_url, "SELECT count(*) FROM plain.trades") == [(10,)]


async def test_a_newer_database_is_refused_loudly(
    nats_server: NatsServer, database_url: str, make_service: MakeService, feeder: Feeder
) -> None:
    first = start_store(make_service, nats_server, database_url)
    await until_health(first, health_pb2.HealthCheckResponse.SERVING)
    first.process.kill()
    await ask(database_url, "INSERT INTO schema_migrations (name, checksum) VALUES ('9999_future', '')")

    first.start()

    assert await exit_code(first) == 1
    assert "9999_future" in first.output()
