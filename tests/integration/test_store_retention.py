"""Retention on a real database: what is too old goes, what is kept stays whole, and the ledger accounts for both."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import time
from collections.abc import AsyncIterator, Callable

import numpy as np
import psycopg
import pytest

from libsignal import Periods
from mesh.service.errors import NotFound
from mesh.service.health import Health
from mesh.values import epochs
from mesh.values.id_ranges import IdRanges
from mesh.values.trades import TradeColumns, concatenate
from store.database import Database
from store.intake.trade_writer import TradeWriter
from store.ledger.audit import compare
from store.ledger.writer import LedgerWriter
from store.queries.trade_by_id import read_trade
from store.retention.policy import Retention, first_kept
from tests.fixtures.nats import NatsServer
from tests.fixtures.services import Service
from tests.fixtures.store import ask, feeding, until_stored
from tests.fixtures.trades import columns
from tests.fixtures.waiting import eventually

DAY_US = 86_400_000_000
MIDNIGHT_US = 1_767_225_600_000_000  # 2026-01-01
MIDNIGHT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
PERIODS = Periods(14, 14, 12, 26, 9, 20, 20)


def trades(first_id: int, count: int, *, since_us: int, step_us: int = 1000, symbol: str = "btcusdt") -> TradeColumns:
    whole = columns(first_id, count, symbol=symbol)
    return dataclasses.replace(whole, time_us=since_us + np.arange(count, dtype=np.int64) * step_us)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, health=Health("database")) as database:
        yield database


@pytest.fixture
def writer(database: Database) -> TradeWriter:
    return TradeWriter(database, PERIODS)


@pytest.fixture
def retention(database: Database) -> Retention:
    return Retention(database, 1)


async def ledger(database_url: str, symbol: str = "btcusdt") -> list[tuple[object, ...]]:
    return await ask(
        database_url,
        "SELECT first_trade_id, last_trade_id, 'STORED' FROM coverage WHERE symbol = %s UNION ALL"
        " SELECT first_trade_id, last_trade_id, state FROM holes WHERE symbol = %s ORDER BY 1",
        *(symbol, symbol),
    )


async def stored(database_url: str, symbol: str = "btcusdt") -> list[object]:
    return [
        row[0] for row in await ask(database_url, "SELECT trade_id FROM trades WHERE symbol = %s ORDER BY 1", symbol)
    ]


async def test_older_trades_go_and_their_ids_stay_in_the_ledger_as_expired(
    database: Database, writer: TradeWriter, retention: Retention, database_url: str
) -> None:
    await writer.add(trades(1, 200, since_us=MIDNIGHT_US - 100_000))

    await retention.remove_before(MIDNIGHT)

    assert await stored(database_url) == list(range(101, 201))
    assert await ledger(database_url) == [(1, 100, "EXPIRED"), (101, 200, "STORED")]
    with pytest.raises(NotFound) as refused:
        await read_trade(database, "binance", "btcusdt", 100)
    why = "EXPIRED: it was removed, because it is older than RETENTION_DAYS"
    assert str(refused.value) == f"trade 100 of btcusdt of binance is not stored: {why}"


async def test_the_ledger_agrees_with_the_rows_afterwards(
    database: Database, writer: TradeWriter, retention: Retention
) -> None:
    await writer.add(trades(1, 50, since_us=MIDNIGHT_US - 3 * DAY_US))
    await writer.add(trades(61, 100, since_us=MIDNIGHT_US - 50_000))

    await retention.remove_before(MIDNIGHT)

    lost, found, twice = await compare(database, "binance", "btcusdt")
    assert (list(lost), list(found), list(twice)) == ([], [], [])


async def test_days_that_are_removed_one_after_the_other_make_one_range(
    writer: TradeWriter, retention: Retention, database_url: str
) -> None:
    for day in range(4):
        await writer.add(trades(1 + day * 10, 10, since_us=MIDNIGHT_US + day * DAY_US))

    for day in (1, 2, 3):
        await retention.remove_before(MIDNIGHT + dt.timedelta(days=day))

    assert await ledger(database_url) == [(1, 30, "EXPIRED"), (31, 40, "STORED")]


async def test_what_goes_of_two_epochs_is_expired_in_each_and_nothing_between_them(
    database: Database, writer: TradeWriter, retention: Retention, database_url: str
) -> None:
    begun = epochs.IDS
    await writer.add(trades(5, 10, since_us=MIDNIGHT_US - 3 * DAY_US))
    await writer.add(trades(21, 10, since_us=MIDNIGHT_US - 2 * DAY_US))
    new = trades(2, 30, since_us=MIDNIGHT_US - DAY_US, step_us=DAY_US // 10)
    await writer.add(dataclasses.replace(new, trade_id=new.trade_id + begun))

    await retention.remove_before(MIDNIGHT - dt.timedelta(days=2))
    assert (await ledger(database_url))[:3] == [(5, 14, "EXPIRED"), (15, 20, "OPEN"), (21, 30, "STORED")]
    await retention.remove_before(MIDNIGHT)

    assert await stored(database_url) == list(range(begun + 12, begun + 32))
    assert await ledger(database_url) == [
        (5, 30, "EXPIRED"),
        (begun, begun + 11, "EXPIRED"),
        (begun + 12, begun + 31, "STORED"),
    ]
    lost, found, twice = await compare(database, "binance", "btcusdt")
    assert (list(lost), list(found), list(twice)) == ([], [], [])


async def test_holes_among_what_goes_are_no_longer_asked_for_and_others_stay(
    database: Database, writer: TradeWriter, retention: Retention, database_url: str
) -> None:
    await writer.add(trades(1, 10, since_us=MIDNIGHT_US - DAY_US))
    await writer.add(trades(21, 10, since_us=MIDNIGHT_US - 3600_000_000))
    await writer.add(trades(41, 10, since_us=MIDNIGHT_US))
    await writer.add(trades(61, 10, since_us=MIDNIGHT_US + 1))
    await LedgerWriter(database, PERIODS).settle("binance", "btcusdt", IdRanges.of(51, 60), "ABSENT")

    await retention.remove_before(MIDNIGHT)

    assert await ledger(database_url) == [
        (1, 30, "EXPIRED"),
        (31, 40, "OPEN"),
        (41, 50, "STORED"),
        (51, 60, "ABSENT"),
        (61, 70, "STORED"),
    ]


async def test_a_lower_id_with_a_later_time_goes_too_so_that_ids_are_cut_in_one_place(
    database: Database, writer: TradeWriter, retention: Retention, database_url: str
) -> None:
    whole = trades(1, 6, since_us=MIDNIGHT_US - 3, step_us=1)
    shuffled = dataclasses.replace(whole, time_us=whole.time_us[[0, 1, 4, 2, 3, 5]])  # id 3 happened after ids 4 and 5

    await writer.add(shuffled)
    await retention.remove_before(MIDNIGHT)

    assert await stored(database_url) == [5, 6]
    assert await ledger(database_url) == [(1, 4, "EXPIRED"), (5, 6, "STORED")]


async def test_a_trade_with_an_odd_time_goes_alone(
    database: Database, writer: TradeWriter, retention: Retention, database_url: str
) -> None:
    await writer.add(trades(1, 499, since_us=MIDNIGHT_US + DAY_US))
    await writer.add(trades(600, 400, since_us=MIDNIGHT_US + DAY_US + 599_000))
    await writer.add(trades(2000, 1, since_us=0))

    await retention.remove_before(MIDNIGHT)

    assert await stored(database_url) == [*range(1, 500), *range(600, 1000)]
    assert await ledger(database_url) == [
        (1, 499, "STORED"),
        (500, 599, "OPEN"),
        (600, 999, "STORED"),
        (1000, 1999, "OPEN"),
        (2000, 2000, "STORED"),
    ]
    lost, found, twice = await compare(database, "binance", "btcusdt")
    assert (list(lost), list(found), list(twice)) == ([(2000, 2000)], [], [])


async def test_a_clock_far_ahead_removes_nothing_that_the_newest_trade_keeps(
    writer: TradeWriter, retention: Retention, database_url: str
) -> None:
    await writer.add(trades(1, 10, since_us=MIDNIGHT_US - 1_000_000))
    await writer.add(trades(11, 10, since_us=MIDNIGHT_US + DAY_US))

    await retention.remove(now=MIDNIGHT + dt.timedelta(days=365))

    assert await ledger(database_url) == [(1, 10, "EXPIRED"), (11, 20, "STORED")]


async def test_a_trade_far_ahead_removes_nothing_that_the_clock_keeps(
    writer: TradeWriter, retention: Retention, database_url: str
) -> None:
    await writer.add(trades(1, 10, since_us=MIDNIGHT_US))
    await writer.add(trades(11, 1, since_us=MIDNIGHT_US + 365 * DAY_US))

    await retention.remove(now=MIDNIGHT + dt.timedelta(hours=1))

    assert await ledger(database_url) == [(1, 11, "STORED")]


@pytest.mark.timescale
@pytest.mark.skipif(not os.environ.get("TIMESCALE_URL"), reason="no TIMESCALE_URL")
async def test_with_timescaledb_whole_chunks_are_dropped(
    writer: TradeWriter, retention: Retention, database_url: str
) -> None:
    for day in range(-2, 1):
        await writer.add(trades(31 + day * 10, 10, since_us=MIDNIGHT_US + day * DAY_US))

    await retention.remove_before(MIDNIGHT)

    chunks = "SELECT range_start FROM timescaledb_information.chunks WHERE hypertable_name = 'trades'"
    assert await ask(database_url, chunks) == [(MIDNIGHT,)]


async def test_each_symbol_is_cut_at_its_own_id(writer: TradeWriter, retention: Retention, database_url: str) -> None:
    await writer.add(trades(1, 20, since_us=MIDNIGHT_US - 10_000))
    await writer.add(trades(901, 20, since_us=MIDNIGHT_US - 5_000, symbol="ethusdt"))
    await writer.add(trades(5, 5, since_us=MIDNIGHT_US, symbol="solusdt"))

    await retention.remove_before(MIDNIGHT)

    assert await ledger(database_url) == [(1, 10, "EXPIRED"), (11, 20, "STORED")]
    assert await ledger(database_url, "ethusdt") == [(901, 905, "EXPIRED"), (906, 920, "STORED")]
    assert await ledger(database_url, "solusdt") == [(5, 9, "STORED")]


async def test_seconds_and_minutes_go_with_their_trades_and_longer_candles_stay(
    writer: TradeWriter, retention: Retention, database_url: str
) -> None:
    await writer.add(trades(1, 2, since_us=MIDNIGHT_US - 1, step_us=1))
    for interval in ("1s", "1m", "1d"):
        for begins in (MIDNIGHT - dt.timedelta(days=1), MIDNIGHT):
            await ask(
                database_url,
                "INSERT INTO candles (venue, symbol, interval, time, open, high, low, close, volume, quote_volume,"
                " taker_buy_volume, count, first_trade_id, last_trade_id, revision)"
                " VALUES ('binance', 'btcusdt', %s, %s, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0)",
                *(interval, begins),
            )
    for begins in (MIDNIGHT - dt.timedelta(minutes=1), MIDNIGHT):
        await ask(
            database_url,
            "INSERT INTO minutes (venue, symbol, time, first_trade_id, last_trade_id, trade_count, open, high, low,"
            " close, volume, state) VALUES ('binance', 'btcusdt', %s, 1, 1, 1, 1, 1, 1, 1, 1, 'VERIFIED')",
            begins,
        )

    await retention.remove_before(MIDNIGHT)

    before = MIDNIGHT - dt.timedelta(days=1)
    assert await ask(database_url, "SELECT interval, time FROM candles ORDER BY 1, 2") == [
        ("1d", before),
        ("1d", MIDNIGHT),
        ("1m", before),
        ("1m", MIDNIGHT),
        ("1s", MIDNIGHT),
    ]
    assert await ask(database_url, "SELECT time FROM minutes") == [(MIDNIGHT,)]


async def test_an_expired_trade_that_comes_again_opens_no_hole_and_expires_again(
    writer: TradeWriter, retention: Retention, database_url: str
) -> None:
    await writer.add(trades(1, 200, since_us=MIDNIGHT_US - 100_000))
    await retention.remove_before(MIDNIGHT)

    await writer.add(trades(50, 1, since_us=MIDNIGHT_US - 51_000))
    meanwhile = await ledger(database_url)
    await retention.remove_before(MIDNIGHT)

    assert [row for row in meanwhile if row[2] == "OPEN"] == []
    assert (50, 50, "STORED") in meanwhile
    assert await ledger(database_url) == [(1, 100, "EXPIRED"), (101, 200, "STORED")]


async def test_trades_go_on_being_stored_between_the_steps(
    writer: TradeWriter, retention: Retention, database_url: str
) -> None:
    hours = [trades(1 + hour, 1, since_us=MIDNIGHT_US + hour * 3_600_000_000) for hour in range(48)]
    await writer.add(concatenate(hours))

    await retention.remove_before(MIDNIGHT + dt.timedelta(hours=47))
    await writer.add(trades(49, 1, since_us=MIDNIGHT_US + 48 * 3_600_000_000))

    assert await ledger(database_url) == [(1, 47, "EXPIRED"), (48, 49, "STORED")]


async def test_with_nothing_too_old_nothing_changes(
    writer: TradeWriter, retention: Retention, database_url: str
) -> None:
    await retention.remove_before(MIDNIGHT)
    await writer.add(trades(1, 10, since_us=MIDNIGHT_US))
    await retention.remove_before(MIDNIGHT)

    assert await ledger(database_url) == [(1, 10, "STORED")]


async def test_the_service_removes_what_is_too_old_and_tells_it(
    make_service: Callable[..., Service], nats_server: NatsServer, database_url: str
) -> None:
    kept_from_us = int(first_kept(dt.datetime.now(dt.UTC), 2).timestamp()) * 1_000_000
    store = make_service(
        "store",
        NATS_URL=nats_server.url_of("store"),
        DATABASE_URL=database_url,
        STORE_ADDR="127.0.0.1:0",
        RETENTION_DAYS="1",
    )
    async with feeding(nats_server) as feeder:
        await feeder.publish(trades(1, 10, since_us=kept_from_us))  # two days ago: one more than is kept
        await feeder.publish(trades(11, 10, since_us=time.time_ns() // 1000 - 20_000))
        store.start_grpc("STORE_ADDR")
        await until_stored(database_url, range(1, 21))
        # The next look is minutes away; each start looks at once.
        store.process.stop()
        store.start_grpc("STORE_ADDR")

        await until_stored(database_url, range(11, 21))

    async def told() -> bool:
        return await ledger(database_url) == [(1, 10, "EXPIRED"), (11, 20, "STORED")]

    await eventually(told, not_yet=(psycopg.Error,))
