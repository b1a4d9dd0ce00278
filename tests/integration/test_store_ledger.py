"""The ledger on a real database and bus: every hole is seen, asked for and ends; every minute is checked."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from itertools import chain
from typing import Any

import grpc
import httpx
import numpy as np
import psycopg
import pytest
from nats.js.errors import NotFoundError

from libsignal import Periods
from mesh.bus import control, subjects, wire
from mesh.bus.connection import CANDLE_STREAM, CONTROL_STREAM
from mesh.bus.reader import Reader
from mesh.service import rpc
from mesh.service.health import Health
from mesh.values import epochs
from mesh.values.fixed import format_e8
from mesh.values.id_ranges import IdRanges
from mesh.values.trades import TradeColumns
from store.database import Database
from store.database.times import time_of
from store.ledger import sql as ledger_sql
from store.ledger.repair_schedule import ANSWER_S
from store.ledger.writer import LedgerWriter
from store.queries import sql
from tests.fixtures.nats import NatsServer
from tests.fixtures.services import Service
from tests.fixtures.store import Feeder, ask, feeding, start_store, until_stored
from tests.fixtures.trades import columns
from tests.fixtures.waiting import eventually
from tickmesh.v1 import control_pb2, store_pb2, store_pb2_grpc

OPEN, FILLED, ABSENT = store_pb2.Hole.STATE_OPEN, store_pb2.Hole.STATE_FILLED, store_pb2.Hole.STATE_ABSENT
VERIFIED, MISMATCH = store_pb2.Minute.STATE_VERIFIED, store_pb2.Minute.STATE_MISMATCH
MINUTE_US = 1_723_161_240_000_000  # the minute in which the made up trades begin, and all of a test's end


@pytest.fixture
async def feeder(nats_server: NatsServer) -> AsyncIterator[Feeder]:
    async with feeding(nats_server) as feeder:
        await feeder.bus.declare(CONTROL_STREAM)
        await feeder.bus.declare(CANDLE_STREAM)
        await feeder.bus.js.publish(
            subjects.CONTROL_CATALOG, control.encode(control_pb2.Catalog(venue="binance", followed=["btcusdt"]))
        )
        yield feeder


@pytest.fixture
def store(make_service: Callable[..., Service], nats_server: NatsServer, database_url: str, feeder: Feeder) -> Service:
    return start_store(make_service, nats_server, database_url)


async def until_coverage(
    store: Service, look: Callable[[store_pb2.GetCoverageResponse], bool], *, what: str = "", symbol: str = "btcusdt"
) -> store_pb2.GetCoverageResponse:
    async with rpc.channel(store.address) as channel:
        stub: Any = store_pb2_grpc.StoreServiceStub(channel)
        seen: list[store_pb2.GetCoverageResponse] = []

        async def there() -> bool:
            seen[:] = [await stub.GetCoverage(store_pb2.GetCoverageRequest(symbol=symbol, venue="binance"))]
            assert look(seen[0]), str(seen[0])
            return True

        await eventually(there, what=what, timeout_s=30, not_yet=(grpc.aio.AioRpcError,))
        return seen[0]


async def trade_or_why(store: Service, trade_id: int, *, epoch: int | None = None) -> str:
    async with rpc.channel(store.address) as channel:
        stub: Any = store_pb2_grpc.StoreServiceStub(channel)
        request = store_pb2.GetTradeRequest(symbol="btcusdt", venue="binance", trade_id=trade_id, epoch=epoch)
        try:
            trade = (await stub.GetTrade(request)).trade
        except grpc.aio.AioRpcError as exc:
            assert exc.code() is grpc.StatusCode.NOT_FOUND
            return exc.details() or ""
        return f"{trade.epoch}/{trade.trade_id}"


async def following_ids(store: Service, trade_id: int, *, epoch: int = 0, page_size: int = 100) -> list[list[str]]:
    """Walk from an id to the end as a client does, and return the ids of each page."""
    pages: list[list[str]] = []
    async with rpc.channel(store.address) as channel:
        stub: Any = store_pb2_grpc.StoreServiceStub(channel)
        while True:
            request = store_pb2.ListNextTradesRequest(
                symbol="btcusdt", venue="binance", trade_id=trade_id, epoch=epoch, page_size=page_size
            )
            response = await stub.ListNextTrades(request)
            if not response.trades:
                return pages
            pages.append([f"{trade.epoch}/{trade.trade_id}" for trade in response.trades])
            last = response.trades[-1]
            trade_id, epoch = last.trade_id, last.epoch
            at_the_end = (epoch, trade_id) == (response.newest_epoch, response.newest_trade_id)
            assert at_the_end or len(response.trades) == page_size


def ranges(coverage: store_pb2.GetCoverageResponse) -> list[tuple[int, int]]:
    return [(each.first_trade_id, each.last_trade_id) for each in coverage.ranges]


def holes(coverage: store_pb2.GetCoverageResponse) -> set[tuple[int, int, int]]:
    return {(hole.first_trade_id, hole.last_trade_id, hole.state) for hole in coverage.holes}


async def until_asked(feeder: Feeder, first_id: int, last_id: int) -> None:
    async with Reader(feeder.bus, "CONTROL", "test-asked", after=0, subjects=[subjects.REPAIR_ALL]) as reader:
        asked: list[tuple[int, int]] = []
        while (first_id, last_id) not in asked:
            messages = await reader.next(timeout_s=ANSWER_S + 20)  # another request may be unanswered before it
            assert messages, f"asked for {asked}, not for {first_id} to {last_id}"
            for message in messages:
                request = control.decode(control_pb2.RepairRequest, message.payload)
                asked.append((request.first_trade_id, request.last_trade_id))


async def answer(feeder: Feeder, first_id: int, last_id: int, *absent: tuple[int, int], **fields: Any) -> None:
    result = control_pb2.RepairResult(
        venue="binance", symbol="btcusdt", first_trade_id=first_id, last_trade_id=last_id, **fields
    )
    for first, last in absent:
        result.absent.add(first_trade_id=first, last_trade_id=last)
    await feeder.bus.js.publish(subjects.repaired("binance", "btcusdt"), control.encode(result))


def candle(trades: TradeColumns, **changes: int | str) -> control_pb2.VenueCandle:
    values: dict[str, Any] = {
        "open_time_us": MINUTE_US,
        "first_trade_id": int(trades.trade_id[0]),
        "last_trade_id": int(trades.trade_id[-1]),
        "trade_count": len(trades),
        "open_e8": int(trades.price_e8[0]),
        "high_e8": int(trades.price_e8.max()),
        "low_e8": int(trades.price_e8.min()),
        "close_e8": int(trades.price_e8[-1]),
        "volume_decimal": format_e8(sum(trades.quantity_e8.tolist())),
    } | changes
    return control_pb2.VenueCandle(venue=trades.venue, symbol=trades.symbol, **values)


async def publish_candle(feeder: Feeder, message: control_pb2.VenueCandle) -> None:
    await feeder.bus.js.publish(subjects.candle(message.venue, message.symbol), control.encode(message))


async def test_a_jump_of_ids_is_a_hole_that_is_asked_for_until_it_is_filled(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    await feeder.publish(columns(1, 10))
    await feeder.publish(columns(21, 10))

    await until_asked(feeder, 11, 20)
    seen = await until_coverage(store, lambda coverage: coverage.open == 10)
    await feeder.publish(columns(11, 4))
    await feeder.publish(columns(15, 6))
    await until_stored(database_url, range(1, 31))
    whole = await until_coverage(store, lambda coverage: coverage.complete)

    assert (ranges(seen), holes(seen)) == ([(1, 10), (21, 30)], {(11, 20, OPEN)})
    assert (ranges(whole), whole.stored) == ([(1, 30)], 30)
    assert holes(whole) in ({(11, 20, FILLED)}, {(11, 14, FILLED), (15, 20, FILLED)})
    assert all(hole.closed_time.seconds >= hole.seen_time.seconds > 0 for hole in whole.holes)


async def test_ids_the_venue_does_not_have_end_as_absent(feeder: Feeder, store: Service, database_url: str) -> None:
    await feeder.publish(columns(1, 10))
    await feeder.publish(columns(21, 10))
    await until_asked(feeder, 11, 20)

    sequence = await feeder.publish(columns(14, 2))
    await answer(feeder, 11, 20, (11, 13), (16, 20), (500, 600), found=2, raw_sequence=sequence)

    coverage = await until_coverage(store, lambda coverage: coverage.absent == 8 and coverage.complete)
    assert ranges(coverage) == [(1, 10), (14, 15), (21, 30)]
    assert holes(coverage) == {(11, 13, ABSENT), (14, 15, FILLED), (16, 20, ABSENT)}
    why = "ABSENT: it was asked for, and the venue does not have it"
    assert await trade_or_why(store, 12) == f"trade 12 of btcusdt of binance is not stored: {why}"


async def test_an_absent_trade_that_comes_after_all_is_stored(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    await feeder.publish(columns(1, 1))
    await feeder.publish(columns(3, 1))
    await until_asked(feeder, 2, 2)
    await answer(feeder, 2, 2, (2, 2))
    await until_coverage(store, lambda coverage: coverage.absent == 1)

    await feeder.publish(columns(2, 1))

    coverage = await until_coverage(store, lambda coverage: coverage.absent == 0)
    assert (ranges(coverage), holes(coverage)) == ([(1, 3)], {(2, 2, FILLED)})


@pytest.mark.slow
async def test_an_unanswered_hole_is_asked_for_again(feeder: Feeder, store: Service, database_url: str) -> None:
    await feeder.publish(columns(1, 1))
    await feeder.publish(columns(3, 1))
    await until_asked(feeder, 2, 2)
    asked = await feeder.bus.js.get_last_msg("CONTROL", subjects.repair("binance", "btcusdt"))
    await answer(feeder, 2, 2, problem="the venue is away")

    async def again() -> bool:
        last = await feeder.bus.js.get_last_msg("CONTROL", subjects.repair("binance", "btcusdt"))
        return last.seq != asked.seq

    await eventually(again, timeout_s=30)


async def test_rows_deleted_by_hand_are_holes_after_the_next_start(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    await feeder.publish(columns(1, 1000))
    await until_stored(database_url, range(1, 1001))
    store.process.kill()
    await ask(database_url, "DELETE FROM trades WHERE trade_id IN (1, 500, 501, 502, 1000)")

    store.start()

    coverage = await until_coverage(store, lambda coverage: coverage.open == 5)
    assert holes(coverage) == {(1, 1, OPEN), (500, 502, OPEN), (1000, 1000, OPEN)}
    for first_id, last_id in ((1000, 1000), (500, 502), (1, 1)):
        await until_asked(feeder, first_id, last_id)
        sequence = await feeder.publish(columns(first_id, last_id - first_id + 1))
        await answer(feeder, first_id, last_id, found=last_id - first_id + 1, raw_sequence=sequence)
    await until_stored(database_url, range(1, 1001))
    await until_coverage(store, lambda coverage: coverage.complete and ranges(coverage) == [(1, 1000)])


async def test_trades_that_follow_the_newest_fill_a_hole_that_was_known_before_them(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    await feeder.publish(columns(1, 10))
    await until_stored(database_url, range(1, 11))
    await ask(
        database_url,
        """INSERT INTO holes (venue, symbol, first_trade_id, last_trade_id, state, seen_time)
        VALUES ('binance', 'btcusdt', 14, 20, 'OPEN', now())""",
    )
    await feeder.publish(columns(11, 5))
    await feeder.publish(columns(16, 10))

    coverage = await until_coverage(store, lambda coverage: coverage.stored == 25)
    assert (coverage.open, ranges(coverage)) == (0, [(1, 25)])


async def test_rows_the_ledger_does_not_know_are_in_it_after_the_next_start(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    await feeder.publish(columns(1, 10))
    await until_stored(database_url, range(1, 11))
    store.process.kill()
    await ask(database_url, "DELETE FROM coverage")
    await ask(database_url, "DELETE FROM trades WHERE trade_id = 5")

    store.start()

    coverage = await until_coverage(store, lambda coverage: coverage.stored == 9)
    assert (ranges(coverage), holes(coverage)) == ([(1, 4), (6, 10)], {(5, 5, OPEN)})


async def test_a_minute_that_agrees_is_verified(feeder: Feeder, store: Service, database_url: str) -> None:
    await publish_candle(feeder, candle(columns(1, 300)))
    await feeder.publish(columns(1, 301))

    coverage = await until_coverage(store, lambda coverage: coverage.minutes_verified == 1)
    [minute] = coverage.minutes
    assert (minute.state, minute.start_time.ToMicroseconds(), minute.trade_count) == (VERIFIED, MINUTE_US, 300)


async def test_minutes_of_many_symbols_that_end_together_are_each_compared_with_their_own_trades(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    coins = [columns(1, 20, symbol=f"coin{n}usdt") for n in range(60)]
    wrong, missing, huge = coins[7], coins[21], coins[52]
    for trades in coins:
        await feeder.publish(trades.rows(slice(0, 10)) if trades is missing else trades)
        changes: dict[str, Any] = {"volume_decimal": "1"} if trades is wrong else {}
        await publish_candle(feeder, candle(trades, **changes | ({"high_e8": 2**63 - 1} if trades is huge else {})))

    async def settled() -> bool:
        rows = await ask(database_url, "SELECT symbol, state FROM minutes WHERE state <> 'VERIFIED' ORDER BY symbol")
        assert rows == [(missing.symbol, "PENDING"), (huge.symbol, "MISMATCH"), (wrong.symbol, "MISMATCH")]
        return await ask(database_url, "SELECT count(*) FROM minutes") == [(60,)]

    await eventually(settled, not_yet=(psycopg.errors.UndefinedTable,))
    assert await ask(database_url, "SELECT sum(verified), sum(mismatched) FROM minute_totals") == [(57, 2)]


async def test_a_minute_without_trades_is_verified(feeder: Feeder, store: Service, database_url: str) -> None:
    await feeder.publish(columns(1, 10))
    empty = candle(
        columns(1, 1), open_time_us=MINUTE_US + 600_000_000, first_trade_id=-1, last_trade_id=-1, trade_count=0
    )
    await publish_candle(feeder, empty)

    await until_coverage(store, lambda coverage: coverage.minutes_verified == 1)


async def test_the_trades_of_a_minute_are_not_read_while_some_of_them_have_not_come(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    await feeder.publish(columns(1, 300))
    await publish_candle(feeder, candle(columns(1, 301)))

    # The minute was looked at twice a second until it was overdue.
    await until_coverage(store, lambda coverage: holes(coverage) == {(301, 301, OPEN)})
    reads = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'trades'"
    [(rows_read,)] = await ask(database_url, reads)
    assert isinstance(rows_read, int)
    assert rows_read < 10 * 300


async def test_no_row_of_a_minute_is_kept_in_memory_to_be_compared(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    trades = columns(1, 20_000)
    for first in range(0, 20_000, 5_000):
        await feeder.publish(trades.rows(slice(first, first + 5_000)))
    await publish_candle(feeder, candle(trades))
    await until_coverage(store, lambda coverage: coverage.minutes_verified == 1)
    store.process.kill()
    await ask(database_url, "UPDATE minutes SET state = 'PENDING'")
    time = time_of(MINUTE_US)
    one = {"venue": "binance", "symbol": "btcusdt", "time": time, "first": 1, "last": 20_000}
    several = {"venues": ["binance"], "symbols": ["btcusdt"], "times": [time], "low": time, "high": time}

    client = psycopg.AsyncClientCursor
    async with await psycopg.AsyncConnection.connect(database_url, cursor_factory=client) as database:
        await database.execute("SET work_mem = '64kB'")  # what needs more goes to a file
        for statement, asked in ((ledger_sql.MINUTE_TOTALS, one), (ledger_sql.SETTLE_AGREEING, several)):
            explained = await database.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", asked)
            [([explanation],)] = await explained.fetchall()
            assert explanation["Plan"]["Temp Written Blocks"] == 0
    assert await ask(database_url, "SELECT state FROM minutes") == [("VERIFIED",)]


async def test_a_minute_that_differs_says_in_what_and_is_asked_for_again(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    right = columns(1, 100)
    wrong = TradeColumns(
        right.venue, right.symbol, 0, right.trade_id, right.price_e8, right.quantity_e8 + (right.trade_id == 50),
        right.time_us, right.is_buyer_maker,
    )  # fmt: skip
    await feeder.publish(wrong)
    await feeder.publish(columns(101, 1))
    await publish_candle(feeder, candle(right))
    await until_asked(feeder, 1, 100)
    doubted = await until_coverage(store, lambda coverage: coverage.minutes_mismatched == 1)
    assert doubted.minutes[0].difference.startswith("volume ")

    await feeder.publish(right)

    await until_coverage(store, lambda coverage: coverage.minutes_verified == 1 and coverage.complete)
    await until_stored(database_url, range(1, 102))
    [(quantity,)] = await ask(database_url, "SELECT (quantity * 100000000)::bigint FROM trades WHERE trade_id = 50")
    assert quantity == int(right.quantity_e8[49])


async def test_a_trade_stored_twice_with_two_times_is_found_and_mended(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    right = columns(1, 100)
    await feeder.publish(right)
    await until_stored(database_url, range(1, 101))
    await ask(database_url, "CREATE TABLE twice AS SELECT * FROM trades WHERE trade_id = 7")
    await ask(database_url, "UPDATE twice SET time = date_trunc('second', time)")
    await ask(database_url, "INSERT INTO trades SELECT * FROM twice")

    await publish_candle(feeder, candle(right))
    await until_asked(feeder, 1, 100)
    await feeder.publish(right)

    await until_stored(database_url, range(1, 101))
    await until_coverage(store, lambda coverage: coverage.minutes_verified == 1)


async def test_a_trade_is_found_by_its_id_in_open_and_closed_minutes_and_a_missing_one_is_explained(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    spread = columns(1, 400)
    # Six hours, so that days, hours and minutes of candles narrow the search; the newest minute is open.
    spread = dataclasses.replace(spread, time_us=MINUTE_US + np.arange(400, dtype=np.int64) * 54_000_000)
    await feeder.publish(spread.rows(slice(0, 200)))
    await feeder.publish(spread.rows(slice(202, 400)))
    await until_coverage(store, lambda coverage: coverage.stored == 398 and coverage.open == 2)
    await ask(
        database_url,
        """INSERT INTO candles (venue, symbol, interval, time, open, high, low, close, volume, quote_volume,
            taker_buy_volume, count, first_trade_id, last_trade_id, revision)
        SELECT venue, symbol, name, date_bin(length, time, timestamptz '1970-01-01 00:00:00+00') AS begins, 1, 1, 1, 1,
            1, 1, 1, count(*), min(trade_id), max(trade_id), 0
        FROM trades, (VALUES ('1m', interval '1 minute'), ('1h', interval '1 hour')) AS kinds (name, length)
        WHERE trade_id < 390 GROUP BY 1, 2, 3, 4 ON CONFLICT DO NOTHING""",
    )
    for trade_id in (1, 2, 77, 200, 203, 389, 390, 399, 400):
        assert await trade_or_why(store, trade_id) == f"0/{trade_id}"
        asked = {"venue": "binance", "symbol": "btcusdt", "id": trade_id, "epoch": None}
        with psycopg.connect(database_url) as connection:
            [(key, *_, found_id, _, _, _, _)] = connection.execute(sql.TRADE_BY_ID, asked).fetchall()
        assert key == found_id, "more than one second was read for it"
    assert (await trade_or_why(store, 201)).endswith(
        "not stored: OPEN: it is missing, and the mesh asks the venue for it"
    )
    assert (await trade_or_why(store, 401)).endswith("not stored: was never received; stored are ids up to 400")


async def test_a_trade_whose_time_is_far_from_its_neighbours_is_found_by_its_id(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    spread = columns(1, 200)
    time_us = MINUTE_US + np.arange(200, dtype=np.int64) * 60_000_000
    time_us[50] = time_us[180] + 1_000_000
    await feeder.publish(dataclasses.replace(spread, time_us=time_us))
    await until_coverage(store, lambda coverage: coverage.stored == 200)
    assert await trade_or_why(store, 51) == "0/51"  # no candle says where
    await ask(database_url, "INSERT INTO candles_closed SELECT venue, symbol, max(time) FROM trades GROUP BY 1, 2")
    await ask(
        database_url,
        """INSERT INTO candles (venue, symbol, interval, time, open, high, low, close, volume, quote_volume,
            taker_buy_volume, count, first_trade_id, last_trade_id, revision)
        SELECT venue, symbol, name, date_bin(length, time, timestamptz '1970-01-01 00:00:00+00') AS begins, 1, 1, 1, 1,
            1, 1, 1, count(*), min(trade_id), max(trade_id), 0
        FROM trades, (VALUES ('1m', interval '1 minute'), ('1h', interval '1 hour')) AS kinds (name, length)
        GROUP BY 1, 2, 3, 4 ON CONFLICT DO NOTHING""",
    )
    assert await trade_or_why(store, 51) == "0/51"
    await ask(database_url, "DELETE FROM trades WHERE trade_id = 51")
    assert (await trade_or_why(store, 51)).endswith("counts as stored, but no row has it")


async def test_the_trades_after_an_id_come_in_the_order_of_ids_across_holes_and_epochs(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    old, new = columns(1, 100), columns(0, 30)
    new = dataclasses.replace(new, trade_id=new.trade_id + epochs.IDS, time_us=new.time_us + 60_000_000)
    await feeder.publish(old.rows(slice(0, 40)))
    await feeder.publish(old.rows(slice(45, 100)))
    await feeder.publish(new)
    await until_coverage(store, lambda coverage: coverage.stored == 95 + 30)
    first, second = [f"0/{n}" for n in range(1, 101) if not 41 <= n <= 45], [f"1/{n}" for n in range(30)]
    for page_size in (7, 40, 1000):
        pages = await following_ids(store, -1, page_size=page_size)
        assert list(chain(*pages)) == first + second
    assert await following_ids(store, 43, page_size=1000) == [first[40:] + second]  # an id that is not stored
    assert await following_ids(store, 99) == [["0/100", *second]]
    assert await following_ids(store, -1, epoch=1) == [second]
    assert await following_ids(store, 29, epoch=1) == []

    await feeder.repair(old.rows(slice(40, 45)))
    await until_coverage(store, lambda coverage: coverage.stored == 130)
    assert (await following_ids(store, 39, page_size=6))[0] == [f"0/{n}" for n in range(40, 46)]


async def test_the_trades_after_an_id_are_each_there_once_whatever_their_times(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    spread = columns(1, 120)
    time_us = MINUTE_US + np.arange(120, dtype=np.int64) * 6_000_000
    time_us[50] = MINUTE_US + 11 * 3_600_000_000  # far from its neighbours'
    await feeder.publish(dataclasses.replace(spread, time_us=time_us))
    await until_coverage(store, lambda coverage: coverage.stored == 120)
    await ask(database_url, "CREATE TABLE twice AS SELECT * FROM trades WHERE trade_id = 70")
    await ask(database_url, "UPDATE twice SET time = time + interval '1 second'")
    await ask(database_url, "INSERT INTO trades SELECT * FROM twice")
    await ask(
        database_url,
        """INSERT INTO candles (venue, symbol, interval, time, open, high, low, close, volume, quote_volume,
            taker_buy_volume, count, first_trade_id, last_trade_id, revision)
        SELECT venue, symbol, '1m', date_bin('1 minute', time, timestamptz '1970-01-01 00:00:00+00'), 1, 1, 1, 1, 1, 1,
            1, count(*), min(trade_id), max(trade_id), 0
        FROM trades WHERE trade_id <> 51 GROUP BY 1, 2, 4 ON CONFLICT DO NOTHING""",
    )
    pages = await following_ids(store, 0, page_size=33)
    assert list(chain(*pages)) == [f"0/{n}" for n in range(1, 121)]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"trade_id": -2}, f"trade_id is -2, expected -1 to {epochs.IDS - 1}"),
        ({"trade_id": epochs.IDS}, f"trade_id is {epochs.IDS}, expected -1 to {epochs.IDS - 1}"),
        ({"epoch": 256}, "epoch is 256, expected 0 to 255"),
        ({"page_size": -1}, "page_size is -1, expected 0 or more"),
    ],
)
async def test_an_id_that_is_none_is_refused_by_name(store: Service, fields: dict[str, int], why: str) -> None:
    async with rpc.channel(store.address) as channel:
        stub: Any = store_pb2_grpc.StoreServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListNextTrades(store_pb2.ListNextTradesRequest(symbol="btcusdt", venue="binance", **fields))
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, why)


async def test_coverage_says_what_is_followed_and_when_the_last_trade_was(feeder: Feeder, store: Service) -> None:
    await feeder.publish(columns(1, 50))
    coverage = await until_coverage(store, lambda coverage: coverage.followed and coverage.stored == 50)
    newest_us = int(columns(1, 50).time_us[-1])
    assert coverage.last_trade_time.ToMicroseconds() == newest_us
    unknown = await until_coverage(store, lambda coverage: True, symbol="ethusdt")
    assert (unknown.followed, unknown.HasField("last_trade_time")) == (False, False)


async def test_of_an_epoch_that_is_over_only_what_has_no_row_is_lost(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    old, new = columns(1, 100), columns(0, 60)
    new = dataclasses.replace(new, trade_id=new.trade_id + epochs.IDS, time_us=new.time_us + 60_000_000)
    await feeder.publish(old.rows(slice(0, 50)))
    await feeder.publish(old.rows(slice(52, 100)))
    await until_coverage(store, lambda coverage: coverage.stored == 98)
    async with Database(database_url, health=Health("database")) as database:
        writer = LedgerWriter(database, Periods(14, 14, 12, 26, 9, 20, 20))
        await writer.correct("binance", "btcusdt", lost=IdRanges.of(11, 30))  # as for a minute that does not agree
    await feeder.publish(new)
    await until_coverage(store, lambda coverage: coverage.stored == 98 + 60 - 20 and coverage.open == 22)
    result = control_pb2.RepairResult(venue="binance", symbol="btcusdt", first_trade_id=11, last_trade_id=30)
    result.lost.add(first_trade_id=11, last_trade_id=30)
    await feeder.bus.js.publish(subjects.repaired("binance", "btcusdt"), control.encode(result))

    coverage = await until_coverage(store, lambda coverage: not coverage.open)
    assert (coverage.stored, coverage.lost) == (98 + 60, 2)
    assert await trade_or_why(store, 20, epoch=0) == "0/20"


async def test_both_epochs_are_told_apart_and_what_is_missing_of_the_first_one_is_lost(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    old, new = columns(1, 100), columns(0, 60)
    new = dataclasses.replace(new, trade_id=new.trade_id + epochs.IDS, time_us=new.time_us + 60_000_000)
    await feeder.publish(old.rows(slice(0, 50)))
    await feeder.publish(old.rows(slice(52, 100)))
    await feeder.publish(new.rows(slice(3, 60)))

    coverage = await until_coverage(store, lambda coverage: coverage.stored == 98 + 57)
    assert [(each.epoch, each.first_trade_id, each.last_trade_id, each.stored) for each in coverage.epochs] == [
        (0, 1, 100, 98),
        (1, 3, 59, 57),
    ]
    assert {(hole.epoch, hole.first_trade_id, hole.last_trade_id, hole.state) for hole in coverage.holes} == {
        (0, 51, 52, OPEN),
        (1, 0, 2, OPEN),
    }
    assert [(each.open, each.absent, each.lost, each.end_unknown) for each in coverage.epochs] == [
        (2, 0, 0, True),
        (3, 0, 0, False),
    ]
    await until_asked(feeder, epochs.IDS, epochs.IDS + 2)
    sequence = await feeder.publish(new.rows(slice(0, 3)))
    await answer(feeder, epochs.IDS, epochs.IDS + 2, found=3, raw_sequence=sequence)
    await until_asked(feeder, 51, 52)
    result = control_pb2.RepairResult(venue="binance", symbol="btcusdt", first_trade_id=51, last_trade_id=52)
    result.lost.add(first_trade_id=51, last_trade_id=52)
    await feeder.bus.js.publish(subjects.repaired("binance", "btcusdt"), control.encode(result))

    coverage = await until_coverage(store, lambda coverage: coverage.lost == 2 and coverage.stored == 158)
    assert await trade_or_why(store, 7) == "1/7"
    assert await trade_or_why(store, 7, epoch=0) == "0/7"
    assert await trade_or_why(store, 90) == "0/90"
    assert await trade_or_why(store, 51, epoch=0) == (
        "trade 51 of btcusdt of binance is not stored: LOST: it is missing forever, "
        "because the venue has restarted its ids since"
    )
    assert await trade_or_why(store, 101) == (
        "trade 101 of btcusdt of binance is not stored: "
        "epoch 1: was never received; stored are ids up to 59 of epoch 1; "
        "epoch 0: was never received; stored are ids up to 59 of epoch 1"
    )
    assert not coverage.open
    assert not coverage.complete, "nobody knows what the venue issued after the last stored id of epoch 0"
    assert [(each.open, each.absent, each.lost) for each in coverage.epochs] == [(0, 0, 2), (0, 0, 0)]

    assert await ask(
        database_url, "SELECT epoch, min(trade_id), max(trade_id), count(*) FROM trades_by_epoch GROUP BY 1 ORDER BY 1"
    ) == [(0, 1, 100, 98), (1, 0, 59, 60)]

    async def told() -> bool:
        await feeder.bus.js.get_last_msg(subjects.CONTROL, subjects.EPOCHS_TOLD)
        message = await feeder.bus.js.get_last_msg(subjects.CONTROL, subjects.epoch("binance", "btcusdt"))
        return control.decode_epoch(message.data or b"").epoch == 1

    await eventually(told, not_yet=(NotFoundError,))
    async with rpc.channel(store.address) as channel:
        stub: Any = store_pb2_grpc.StoreServiceStub(channel)
        found: list[tuple[int, int]] = []
        token = ""
        while not found or token:
            page = await stub.ListTrades(
                store_pb2.ListTradesRequest(symbol="btcusdt", venue="binance", page_size=7, page_token=token)
            )
            found += [(trade.epoch, trade.trade_id) for trade in page.trades]
            token = page.next_page_token
    assert found == [*((1, n) for n in range(59, -1, -1)), *((0, n) for n in range(100, 0, -1) if n not in (51, 52))]


@pytest.mark.slow
async def test_a_minute_of_an_epoch_that_is_over_changes_nothing_in_the_ledger(
    feeder: Feeder, make_service: Callable[..., Service], nats_server: NatsServer, database_url: str
) -> None:
    store = start_store(make_service, nats_server, database_url, METRICS_PORT="0")
    new = columns(0, 60)
    await feeder.publish(columns(1, 50))
    await feeder.publish(dataclasses.replace(new, trade_id=new.trade_id + epochs.IDS, time_us=new.time_us + 60_000_000))
    await until_stored(database_url, [*range(1, 51), *range(epochs.IDS, epochs.IDS + 60)])

    # As from an ingest that knows no better: the one differs from what has those ids, the other has ids nobody brought.
    await publish_candle(feeder, candle(columns(1, 50), open_time_us=MINUTE_US + 60_000_000, high_e8=1))
    await publish_candle(feeder, candle(columns(45, 20), open_time_us=MINUTE_US + 120_000_000))

    coverage = await until_coverage(store, lambda coverage: coverage.minutes_mismatched == 1)
    await until_coverage(store, lambda coverage: len(coverage.minutes) == 1)
    coverage = await until_coverage(store, lambda coverage: coverage.stored == 110)
    assert list(coverage.holes) == []

    url = store.process.wait_for_line(r"metrics on (http://[0-9.:]+/metrics)", timeout_s=1)[1]
    async with httpx.AsyncClient() as client:
        told = (await client.get(url)).text
    assert 'tickmesh_store_minutes_total{state="FORGOTTEN"} 1.0' in told


async def test_trades_told_in_an_epoch_that_is_over_are_put_aside_unless_they_were_asked_for(
    feeder: Feeder, store: Service, database_url: str, nats_server: NatsServer, make_service: Callable[..., Service]
) -> None:
    await feeder.publish(columns(1, 50).rows(slice(0, 40)))
    await feeder.publish(columns(46, 5))
    new = columns(0, 60)
    new = dataclasses.replace(new, trade_id=new.trade_id + epochs.IDS, time_us=new.time_us + 60_000_000)
    await feeder.publish(new)
    await until_stored(database_url, [*range(1, 41), *range(46, 51), *range(epochs.IDS, epochs.IDS + 60)])

    await feeder.publish(columns(41, 2))  # in a hole of the past, and nobody asked for them
    await feeder.publish(columns(51, 20))  # and some that go on
    await feeder.publish(columns(46, 5))  # but these are stored: a repeat
    headers = {"Nats-Msg-Id": f"binance.btcusdt.43-45.repair.{epochs.IDS + 59}.1"}
    await feeder.bus.js.publish(
        subjects.raw_of_symbol("binance", "btcusdt"), wire.encode_trades(columns(43, 3)), headers=headers
    )

    wanted = [*range(1, 41), *range(43, 51), *range(epochs.IDS, epochs.IDS + 60)]
    await until_stored(database_url, wanted)
    store.process.kill()  # it knows the epoch after a restart too
    store.start()
    await feeder.publish(columns(51, 20))
    await feeder.publish(dataclasses.replace(columns(1, 1), trade_id=np.array([epochs.IDS + 60])))
    await until_stored(database_url, [*wanted, epochs.IDS + 60])
    dead = await feeder.bus.js.stream_info(subjects.DEAD)
    assert dead.state.messages == 3

    settings = {"NATS_URL": nats_server.url_of("store"), "DATABASE_URL": database_url}
    replay = make_service("store", **settings)
    replay.process.argv.append("replay-dead")
    replay.start()
    await eventually(lambda: "0 messages replayed, 3 stay" in replay.output(), timeout_s=30)
    assert (await feeder.bus.js.stream_info(subjects.DEAD)).state.messages == 3
    await until_stored(database_url, [*wanted, epochs.IDS + 60])


@pytest.mark.parametrize("hours", [-30, -2, 2, 30])
async def test_a_trade_told_again_replaces_the_row_that_has_its_id_however_far_off_its_time_was(
    feeder: Feeder, store: Service, database_url: str, hours: int
) -> None:
    right = columns(1, 100)
    off_us = (right.trade_id == 50) * hours * 3_600_000_000
    await feeder.publish(dataclasses.replace(right, time_us=right.time_us + off_us))
    await feeder.publish(columns(101, 1))
    await publish_candle(feeder, candle(right))
    await until_asked(feeder, 1, 100)

    await feeder.publish(right)

    await until_coverage(store, lambda coverage: coverage.minutes_verified == 1 and coverage.complete)
    await until_stored(database_url, range(1, 102))
    [(time_us,)] = await ask(
        database_url, "SELECT (extract(epoch FROM time) * 1000000)::bigint FROM trades WHERE trade_id = 50"
    )
    assert time_us == int(right.time_us[49])


async def test_a_row_that_is_there_twice_is_found_at_the_next_start_and_asked_for_again(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    await feeder.publish(columns(1, 100))
    await until_stored(database_url, range(1, 101))
    await ask(database_url, "CREATE TABLE twice AS SELECT * FROM trades WHERE trade_id IN (7, 8)")
    await ask(database_url, "UPDATE twice SET time = time - interval '3 hours'")
    await ask(database_url, "INSERT INTO trades SELECT * FROM twice")

    store.process.kill()
    store.start()
    await until_asked(feeder, 7, 8)

    await until_stored(database_url, range(1, 101))
    [(times,)] = await ask(database_url, "SELECT count(DISTINCT date_trunc('hour', time)) FROM trades")
    assert times == 1
    await feeder.publish(columns(1, 100))
    await until_coverage(store, lambda coverage: coverage.complete)


async def test_a_minute_of_more_than_64_bits_hold_is_verified_too(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    """A tiny coin: a trade of nine billion of it is nothing special."""
    trades = dataclasses.replace(columns(1, 20), quantity_e8=np.full(20, 9 * 10**17, np.int64))
    await feeder.publish(trades)
    await until_stored(database_url, range(1, 21))

    await publish_candle(feeder, candle(trades))

    assert candle(trades).volume_decimal == "180000000000"  # 1.8e19 in units of 1e-8
    await until_coverage(store, lambda coverage: coverage.minutes_verified == 1)


@pytest.mark.slow
async def test_trades_that_only_the_candle_knows_are_asked_for(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    await feeder.publish(columns(1, 90))
    await publish_candle(feeder, candle(columns(1, 100)))

    await until_asked(feeder, 91, 100)
    await feeder.publish(columns(91, 10))

    await until_coverage(store, lambda coverage: coverage.minutes_verified == 1 and coverage.complete)


async def test_what_is_no_candle_is_put_aside(feeder: Feeder, store: Service, database_url: str) -> None:
    await feeder.publish(columns(1, 10))
    await feeder.bus.js.publish(subjects.candle("binance", "btcusdt"), b"nonsense")
    await publish_candle(feeder, candle(columns(1, 10), trade_count=11))
    await publish_candle(feeder, candle(columns(1, 10)))

    await until_coverage(store, lambda coverage: coverage.minutes_verified == 1)
    dead = [await feeder.bus.js.get_msg("DEAD", sequence) for sequence in (1, 2)]
    assert {message.subject for message in dead} == {"trades.dead.CANDLES"}
    assert "a candle of 11 trades" in (dead[1].headers or {})["Tickmesh-Reason"]


async def test_nonsense_on_the_control_subjects_is_ignored(feeder: Feeder, store: Service, database_url: str) -> None:
    for payload in (b"", b"{", json.dumps({"venue": "binance", "symbol": "btcusdt", "firstTradeId": -5}).encode()):
        await feeder.bus.js.publish(subjects.repaired("binance", "btcusdt"), payload)
        await feeder.bus.js.publish(subjects.CONTROL_SYMBOL, payload)

    await feeder.publish(columns(1, 10))

    await until_stored(database_url, range(1, 11))
    await eventually(lambda: "of CONTROL is a dead letter" in store.output())


async def test_dead_messages_are_stored_once_the_reason_is_gone(
    feeder: Feeder, store: Service, make_service: Callable[..., Service], database_url: str
) -> None:
    await feeder.publish(columns(1, 1))
    await until_stored(database_url, [1])
    await ask(database_url, "ALTER TABLE trades ADD CONSTRAINT no_thirteen CHECK (trade_id <> 13)")
    await feeder.publish_bytes(b"nonsense")
    await feeder.publish(columns(13, 1))
    await feeder.publish(columns(14, 1))
    await until_stored(database_url, [1, 14])
    await ask(database_url, "ALTER TABLE trades DROP CONSTRAINT no_thirteen")

    replay = make_service(
        "store", **{name: store.process.environment[name] for name in ("NATS_URL", "DATABASE_URL", "STORE_ADDR")}
    )
    replay.process.argv.append("replay-dead")
    replay.start()

    await eventually(lambda: not replay.process.running)
    assert replay.process.returncode == 0
    assert "1 messages replayed, 1 stay" in replay.output()
    await until_stored(database_url, [1, 13, 14])
    left = await feeder.bus.stream_info("DEAD")
    assert left is not None
    assert left.state.messages == 1


async def test_stored_and_missing_are_everything_after_batches_in_any_order(
    feeder: Feeder, store: Service, database_url: str
) -> None:
    random = np.random.default_rng(11)
    batches = [columns(int(first_id), int(random.integers(1, 30))) for first_id in random.integers(1, 2000, 60)]
    wanted = sorted({int(trade_id) for batch in batches for trade_id in batch.trade_id})

    for batch in batches:
        await feeder.publish(batch)

    await until_stored(database_url, wanted)
    coverage = await until_coverage(store, lambda coverage: coverage.stored == len(wanted))
    missing = sorted(
        trade_id
        for hole in coverage.holes
        if hole.state == OPEN
        for trade_id in range(hole.first_trade_id, hole.last_trade_id + 1)
    )
    assert missing == sorted(set(range(wanted[0], wanted[-1] + 1)) - set(wanted))
