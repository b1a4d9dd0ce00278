"""Candles in the store: what signal closed, what late trades change, and what ListCandles makes of them."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import math
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import grpc
import numpy as np
import psycopg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from nats.errors import Error as NatsError

from gateway.live.candles import CandleFeed
from gateway.live.feeds import ChannelFeeds
from gateway.live.history import StoredTrades
from gateway.live.ring import Rings
from gateway.transcode import json as transcode
from libsignal import Periods
from mesh.bus import control, subjects, wire
from mesh.bus.connection import CANDLE_STREAM, CONTROL_STREAM, processed_stream
from mesh.service import rpc
from mesh.service.health import Health
from mesh.values import epochs
from mesh.values.candles import INDICATORS, INTERVALS_US
from mesh.values.id_ranges import IdRanges
from mesh.values.trades import SignalColumns, TradeColumns
from signalsvc.engine import Engine
from store.database import Database, fetch_all
from store.database.times import time_of
from store.intake import sql as intake_sql
from store.intake.quiet_candles import GRACE, TOLD
from store.intake.trade_writer import TradeWriter
from store.ledger import rows as ledger_rows
from store.ledger.minutes import MinuteTotals, VenueMinute
from store.ledger.writer import LedgerWriter
from tests.fixtures.nats import NatsServer
from tests.fixtures.services import Service
from tests.fixtures.store import Feeder, ask, feeding, start_store, until_stored
from tests.fixtures.trades import START_US, columns
from tests.fixtures.waiting import eventually
from tickmesh.v1 import control_pb2, signal_pb2, store_pb2, store_pb2_grpc, trade_pb2

DAY_US = INTERVALS_US["1d"]
MIDNIGHT_US = START_US // DAY_US * DAY_US + DAY_US
HOUR_US = INTERVALS_US["1h"]

CANDLES = """
SELECT interval, time, open, high, low, close, volume, quote_volume, taker_buy_volume, count, first_trade_id,
    last_trade_id
FROM candles WHERE venue = 'binance' AND symbol = %s ORDER BY 1, 2
"""
# Not the store's own way: every interval straight from the trades.
FROM_TRADES = """
SELECT name, begins, (array_agg(price ORDER BY trade_id))[1], max(price), min(price),
    (array_agg(price ORDER BY trade_id DESC))[1], sum(quantity), sum(price * quantity),
    sum(CASE WHEN is_buyer_maker THEN 0 ELSE quantity END), count(*), min(trade_id), max(trade_id)
FROM trades
CROSS JOIN (VALUES ('1s', interval '1 second'), ('1m', '1 minute'), ('5m', '5 minutes'), ('15m', '15 minutes'),
    ('1h', '1 hour'), ('1d', '1 day')) AS intervals (name, length)
CROSS JOIN LATERAL date_bin(length, time, '1970-01-01 00:00:00+00') AS begins
WHERE venue = 'binance' AND symbol = %s AND begins + length <= (SELECT max(time) FROM trades WHERE symbol = %s)
GROUP BY name, begins
ORDER BY 1, 2
"""


class Signals:
    """Whoever publishes to RAW and PROCESSED in a test, as ingest and signal would."""

    def __init__(self, feeder: Feeder) -> None:
        self.feeder = feeder
        self.engine = Engine()

    async def publish(self, trades: TradeColumns) -> SignalColumns | None:
        """Publish trades to RAW and their signals to PROCESSED; return the signals."""
        sequence = await self.feeder.publish(trades)
        signals = self.engine.process(trades, raw_sequence=sequence)
        if signals is not None:
            await self.repeat(signals)
        return signals

    async def repeat(self, signals: SignalColumns) -> None:
        """Publish signals, again."""
        await self.bytes(wire.one_of_many(wire.encode_signals(signals)))

    async def bytes(self, payload: bytes) -> None:
        """Publish whatever it is to PROCESSED."""
        subject, headers = subjects.processed("binance"), {"Nats-Msg-Id": uuid.uuid4().hex}
        await self.feeder.bus.js.publish(subject, payload, headers=headers)


@pytest.fixture
async def signals(nats_server: NatsServer) -> AsyncIterator[Signals]:
    async with feeding(nats_server) as feeder:
        await feeder.bus.declare(CONTROL_STREAM)
        await feeder.bus.declare(processed_stream(2**30))
        yield Signals(feeder)


@pytest.fixture
def store(
    make_service: Callable[..., Service], nats_server: NatsServer, database_url: str, signals: Signals
) -> Service:
    return start_store(make_service, nats_server, database_url)


@asynccontextmanager
async def asking(store: Service) -> AsyncIterator[Any]:
    async with rpc.channel(store.address) as channel:
        yield store_pb2_grpc.StoreServiceStub(channel)


def spread(first_id: int, count: int, *, from_us: int, to_us: int) -> TradeColumns:
    """Return trades that are spread evenly over a time, with gaps between bursts."""
    trades = columns(first_id, count)
    steps = np.arange(count) // 3 * 3  # three at a time
    trades.time_us[:] = from_us + steps * ((to_us - from_us) // count) + np.arange(count) % 3 * 1000
    trades.price_e8[:] = 6_000_000_000_000 + (trades.trade_id * 7_919_000_003) % 90_000_000_001
    return trades


async def until_candles_agree(database_url: str, *, trades: int, symbol: str = "btcusdt") -> list[tuple[object, ...]]:
    """Wait until so many trades are stored, and the candles are exactly what SQL makes of them; return the candles."""

    async def look() -> list[tuple[object, ...]]:
        assert (await ask(database_url, "SELECT count(*) FROM trades"))[0][0] == trades
        found = await ask(database_url, CANDLES, symbol)
        expected = await ask(database_url, FROM_TRADES, symbol, symbol)
        assert len(found) == len(expected), f"{len(found)} candles, {len(expected)} wanted"
        differ = [(ours, theirs) for ours, theirs in zip(found, expected, strict=True) if ours != theirs]
        assert not differ, differ[:3]
        return found

    return await eventually(look, what="candles equal to what SQL makes of the trades", not_yet=(psycopg.Error,))


async def revisions(database_url: str) -> dict[int, int]:
    rows = await ask(database_url, "SELECT revision, count(*) FROM candles GROUP BY 1")
    return dict(rows)  # type: ignore[arg-type]


async def test_closed_candles_are_stored_and_equal_what_sql_makes_of_the_trades(
    signals: Signals, store: Service, database_url: str
) -> None:
    trades = spread(1, 3000, from_us=MIDNIGHT_US - 5 * HOUR_US, to_us=MIDNIGHT_US + HOUR_US)
    for first in range(0, 3000, 250):
        await signals.publish(trades.rows(slice(first, first + 250)))

    found = await until_candles_agree(database_url, trades=3000)

    assert {row[0] for row in found} == set(INTERVALS_US)
    assert await revisions(database_url) == {0: len(found)}
    indicators = await ask(
        database_url, "SELECT count(rsi), count(macd_signal), count(sma) FROM candles WHERE interval = '1m'"
    )
    assert indicators == [(345, 326, 340)]  # of 359, the first ones are not warm


async def test_trades_that_are_stored_beside_the_stream_are_in_the_candles_that_signal_closes_without_them(
    signals: Signals, store: Service, database_url: str
) -> None:
    trades = spread(1, 300, from_us=MIDNIGHT_US, to_us=MIDNIGHT_US + 100 * INTERVALS_US["1s"])
    for first in (0, 150):  # the second message has a second of its own that is open at its end
        await signals.publish(trades.rows(slice(first, min(first + 150, 200))))
        await until_stored(database_url, range(1, min(first + 150, 200) + 1))
    async with Database(database_url, health=Health()) as other:
        await TradeWriter(other, Periods()).add(trades.rows(slice(200, 202)))
    await signals.publish(trades.rows(slice(202, 300)))

    await until_candles_agree(database_url, trades=300)


async def test_repeats_change_nothing(signals: Signals, store: Service, database_url: str) -> None:
    trades = spread(1, 600, from_us=MIDNIGHT_US - HOUR_US, to_us=MIDNIGHT_US + HOUR_US)
    published = await signals.publish(trades)
    await until_candles_agree(database_url, trades=600)
    before = await ask(database_url, "SELECT xmin::text, * FROM candles ORDER BY interval, time")

    assert published is not None
    await signals.repeat(published)
    last = await signals.publish(spread(601, 3, from_us=MIDNIGHT_US + HOUR_US, to_us=MIDNIGHT_US + HOUR_US + 30))
    assert last is not None and last.candles
    await until_candles_agree(database_url, trades=603)

    after = await ask(database_url, "SELECT xmin::text, * FROM candles ORDER BY interval, time")
    assert [row for row in after if row in before] == before


async def test_candles_are_made_again_when_repaired_trades_arrive_late(
    signals: Signals, store: Service, database_url: str
) -> None:
    trades = spread(1, 3000, from_us=MIDNIGHT_US - 3 * HOUR_US, to_us=MIDNIGHT_US + HOUR_US)
    hole = slice(900, 1500)  # more than half an hour that signal never sees, with candles nobody made
    first, missing, rest = trades.rows(slice(0, 900)), trades.rows(hole), trades.rows(slice(1500, 3000))
    await signals.publish(first)
    await signals.publish(rest)
    before = await until_candles_agree(database_url, trades=2400)

    assert await signals.publish(missing.rows(slice(0, 300))) is None
    await until_candles_agree(database_url, trades=2700)
    assert await signals.publish(missing.rows(slice(300, 600))) is None
    after = await until_candles_agree(database_url, trades=3000)

    assert len(after) > len(before)
    found = await revisions(database_url)
    assert found[0] and found[1] and found[2]


async def test_candles_of_many_symbols_that_close_together_are_made_again_each_by_its_own_trades(
    signals: Signals, store: Service, database_url: str
) -> None:
    names = [f"coin{n}usdt" for n in range(12)]
    coins = {
        name: dataclasses.replace(
            spread(1, 240 + n, from_us=MIDNIGHT_US - HOUR_US, to_us=MIDNIGHT_US + HOUR_US), symbol=name
        )
        for n, name in enumerate(names)
    }
    late = slice(80, 160)  # of every third symbol: signal sees the trades behind them first
    early = [trades.rows(slice(0, 80)) for trades in coins.values()]
    rest = [trades.rows(slice(160 if n % 3 == 0 else 80, None)) for n, trades in enumerate(coins.values())]
    missing = [trades.rows(late) for n, trades in enumerate(coins.values()) if n % 3 == 0]

    await asyncio.gather(*map(signals.publish, early))
    await asyncio.gather(*map(signals.publish, rest))
    stored = sum(map(len, coins.values()))
    await until_candles_agree(database_url, trades=stored - sum(map(len, missing)), symbol=names[0])
    await asyncio.gather(*map(signals.publish, missing))

    for n, name in enumerate(names):
        await until_candles_agree(database_url, trades=stored, symbol=name)
        again = await ask(database_url, "SELECT count(*) FROM candles WHERE symbol = %s AND revision > 0", name)
        assert (again != [(0,)]) == (n % 3 == 0), name
    ranges = await ask(database_url, "SELECT symbol, first_trade_id, last_trade_id FROM coverage ORDER BY symbol")
    assert ranges == sorted((name, 1, len(trades)) for name, trades in coins.items())
    assert await ask(database_url, "SELECT DISTINCT state FROM holes") == [("FILLED",)]


async def test_summaries_tell_the_last_sixty_minutes_of_many_symbols_and_their_prices_a_day_ago(
    signals: Signals, store: Service, database_url: str
) -> None:
    now_us = time.time_ns() // 1000
    names = ["aaausdt", "bbbusdt", "cccusdt"]
    for n, name in enumerate(names):  # nothing is traded around the time a day ago
        old = spread(1, 300, from_us=now_us - 30 * HOUR_US, to_us=now_us - 25 * HOUR_US)
        recent = spread(301, 600 if n < 2 else 3, from_us=now_us - (2 + n) * HOUR_US, to_us=now_us - HOUR_US)
        await signals.publish(dataclasses.replace(old, symbol=name))
        await signals.publish(dataclasses.replace(recent, symbol=name))
    stored = 2 * 900 + 303
    async with asking(store) as stub:

        async def agree() -> bool:  # the last candles are closed by the clock, sooner or later
            assert await ask(database_url, "SELECT count(*) FROM trades") == [(stored,)]
            asked = store_pb2.ListSummariesRequest(venue="binance", symbols=["BBBUSDT,aaausdt", "cccusdt", "neverusdt"])
            found = (await stub.ListSummaries(asked)).summaries
            assert [each.symbol for each in found] == ["bbbusdt", "aaausdt", "cccusdt"]  # there is nothing of a fourth
            for each in found:
                minutes = await ask(
                    database_url,
                    "SELECT time, (open * 1e8)::bigint, (close * 1e8)::bigint FROM candles"
                    " WHERE symbol = %s AND interval = '1m' ORDER BY time",
                    each.symbol,
                )
                assert len(minutes) > 100
                assert list(each.close_e8) == [close for _, _, close in minutes[-60:]]
                a_day_ago: Any = time_of(now_us - 24 * HOUR_US)
                within = [begin for at, begin, _ in minutes if at >= a_day_ago]
                assert each.HasField("day_open_e8") == bool(within)
                assert each.day_open_e8 == (within[0] if within else 0)
            return True

        await eventually(agree, not_yet=(psycopg.Error,))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ListSummaries(store_pb2.ListSummariesRequest(venue="binance", symbols=["x," * 1001]))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "1001 symbols, expected at most 1000" in str(refused.value.details())


async def test_candles_that_span_the_seam_of_two_epochs_equal_what_sql_makes_of_the_trades(
    signals: Signals, store: Service, database_url: str
) -> None:
    trades = spread(1, 1200, from_us=MIDNIGHT_US - HOUR_US, to_us=MIDNIGHT_US + HOUR_US)
    trades.trade_id[700:] = epochs.IDS + np.arange(500)
    for first in range(0, 1200, 200):
        await signals.publish(trades.rows(slice(first, first + 200)))

    found = await until_candles_agree(database_url, trades=1200)

    assert any(row[-2] < epochs.IDS <= row[-1] for row in found)  # type: ignore[operator]
    assert await revisions(database_url) == {0: len(found)}
    async with asking(store) as stub:
        answer = await stub.ListCandles(
            store_pb2.ListCandlesRequest(symbol="btcusdt", venue="binance", interval="1m", limit=5)
        )
    assert [candle.epoch for candle in answer.candles][-1] == 1
    assert all(0 <= candle.last_trade_id < 1200 for candle in answer.candles)


@pytest.mark.parametrize("hours", [-30, -2, 2])
async def test_candles_are_made_again_where_a_trade_was_and_where_it_is_when_it_is_told_with_another_time(
    signals: Signals, store: Service, database_url: str, hours: int
) -> None:
    trades = spread(1, 3000, from_us=MIDNIGHT_US - 40 * HOUR_US, to_us=MIDNIGHT_US + 8 * HOUR_US)
    wrong = dataclasses.replace(trades, time_us=trades.time_us + (trades.trade_id == 2000) * hours * HOUR_US)
    for first in range(0, 3000, 250):
        await signals.publish(wrong.rows(slice(first, first + 250)))
    await until_candles_agree(database_url, trades=3000)
    async with Database(database_url, health=Health("database")) as database:
        periods = Periods(14, 14, 12, 26, 9, 20, 20)
        doubted = IdRanges.of(1901, 2100)
        await LedgerWriter(database, periods).correct("binance", "btcusdt", lost=doubted)

    await signals.publish(trades.rows(slice(1900, 2100)))

    async def moved() -> bool:
        rows = await ask(database_url, "SELECT time FROM trades WHERE trade_id = 2000")
        return rows == [(time_of(int(trades.time_us[1999])),)]

    await eventually(moved)
    await until_candles_agree(database_url, trades=3000)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("away_us", [0, 7_000_000, 400_000_000])
async def test_a_repair_replaces_the_trade_that_is_stored_and_corrects_its_candles_closed_or_not(
    signals: Signals, store: Service, database_url: str, away_us: int, at_once: bool
) -> None:
    trades = spread(1, 600, from_us=MIDNIGHT_US - 30 * 60_000_000, to_us=MIDNIGHT_US + 30 * 60_000_000)
    wrong = trades.rows(np.arange(600))  # a copy
    ids = [100, 299, 300]  # of closed candles, and of those that are not closed yet when they are repaired
    for trade_id in ids:
        wrong.price_e8[trade_id - 1] = 9_000_000_000_000
        wrong.time_us[trade_id - 1] -= away_us
    await signals.publish(wrong.rows(slice(0, 300)))
    if not at_once:
        await until_stored(database_url, range(1, 301))
    await signals.feeder.repair(trades.rows(np.array([trade_id - 1 for trade_id in ids])))
    await signals.publish(wrong.rows(slice(300, None)))

    await until_candles_agree(database_url, trades=600)
    prices = await ask(database_url, "SELECT (price * 100000000)::bigint FROM trades ORDER BY trade_id")
    assert [price for (price,) in prices] == trades.price_e8.tolist()
    assert await ask(database_url, "SELECT * FROM candles_to_make WHERE interval <> '1d'") == []


async def until_indicators_are(expected: SignalColumns, database_url: str) -> None:
    """Wait until the stored candles have the very indicators of these, and no others are stored."""
    wanted = {
        (candle.interval, time_of(candle.time_us)): tuple(
            None if np.isnan(getattr(candle, name)) else getattr(candle, name) for name in INDICATORS
        )
        for candle in expected.candles
    }

    async def look() -> bool:
        rows = await ask(database_url, f"SELECT interval, time, {', '.join(INDICATORS)} FROM candles")
        found = {(interval, time): tuple(values) for interval, time, *values in rows}
        others = found.keys() ^ wanted.keys()  # comparing within the assert, pytest would word the difference for 20 s
        assert not others, f"{len(found)} candles, {len(wanted)} wanted"
        differ = [(key, found[key], values) for key, values in wanted.items() if found[key] != values]
        assert not differ, f"{len(differ)} of {len(wanted)} differ, such as {min(differ)}"
        return True

    await eventually(look, what="indicators as if no trade had been missing", not_yet=(psycopg.Error,))


@pytest.mark.parametrize("missing", [slice(900, 901), slice(900, 1500), slice(1, 40), slice(2_980, 2_990)], ids=str)
async def test_indicators_are_as_if_repaired_trades_had_never_been_missing(
    signals: Signals, store: Service, database_url: str, missing: slice
) -> None:
    trades = spread(1, 3200, from_us=MIDNIGHT_US - 3 * HOUR_US, to_us=MIDNIGHT_US + HOUR_US)
    expected = Engine().process(trades, raw_sequence=1)
    assert expected is not None

    await signals.publish(trades.rows(slice(0, missing.start)))
    await signals.publish(trades.rows(slice(missing.stop, 3000)))
    await until_candles_agree(database_url, trades=3000 - (missing.stop - missing.start))
    assert await signals.publish(trades.rows(missing)) is None
    await until_candles_agree(database_url, trades=3000)
    for first in range(3000, 3200, 20):  # signal never learns of them
        await signals.publish(trades.rows(slice(first, first + 20)))

    await until_indicators_are(expected, database_url)


async def test_indicators_go_on_where_signal_has_lost_its_state(
    signals: Signals, store: Service, database_url: str
) -> None:
    trades = spread(1, 3000, from_us=MIDNIGHT_US - 3 * HOUR_US, to_us=MIDNIGHT_US + HOUR_US)
    expected = Engine().process(trades, raw_sequence=1)
    assert expected is not None
    await signals.publish(trades.rows(slice(0, 1500)))

    signals.engine = Engine()
    for first in range(1500, 3000, 100):
        await signals.publish(trades.rows(slice(first, first + 100)))

    await until_candles_agree(database_url, trades=3000)
    await until_indicators_are(expected, database_url)


async def test_indicators_of_other_periods_are_made_again_with_those(
    signals: Signals, make_service: Callable[..., Service], nats_server: NatsServer, database_url: str, store: Service
) -> None:
    periods = {"rsi_period": 5, "atr_period": 7, "macd_fast_period": 3, "macd_slow_period": 8, "macd_signal_period": 4}
    periods |= {"candle_ema_period": 50, "candle_sma_period": 30}
    signals.engine = Engine(**periods)
    store.process.stop()
    store.process.environment |= {name.upper(): str(period) for name, period in periods.items()}
    store.start_grpc("STORE_ADDR")
    trades = spread(1, 1500, from_us=MIDNIGHT_US - HOUR_US, to_us=MIDNIGHT_US + HOUR_US)
    expected = Engine(**periods).process(trades, raw_sequence=1)
    assert expected is not None

    await signals.publish(trades.rows(slice(0, 500)))
    await signals.publish(trades.rows(slice(510, 1500)))
    await until_candles_agree(database_url, trades=1490)
    await signals.publish(trades.rows(slice(500, 510)))

    await until_candles_agree(database_url, trades=1500)
    await until_indicators_are(expected, database_url)


async def test_a_trade_that_is_late_by_its_own_time_counts_where_it_belongs(
    signals: Signals, store: Service, database_url: str
) -> None:
    trades = spread(1, 300, from_us=MIDNIGHT_US - HOUR_US, to_us=MIDNIGHT_US + HOUR_US)
    trades.time_us[150] -= 3 * INTERVALS_US["1m"]  # back over several seconds and minutes
    await signals.publish(trades.rows(slice(0, 151)))
    await signals.publish(trades.rows(slice(151, 300)))

    await until_candles_agree(database_url, trades=300)

    assert (await revisions(database_url))[1] >= 2


async def test_trades_that_signal_has_not_seen_count_where_store_itself_knows_how_many_there_are(
    signals: Signals, store: Service, database_url: str
) -> None:
    trades = spread(1, 300, from_us=MIDNIGHT_US, to_us=MIDNIGHT_US + 100 * 1_000_000)
    await signals.publish(trades.rows(slice(0, 150)))
    await until_stored(database_url, range(1, 151))
    await signals.publish(trades.rows(slice(150, 200)))
    await signals.feeder.publish(trades.rows(slice(200, 202)))
    await signals.publish(trades.rows(slice(202, 300)))

    await until_candles_agree(database_url, trades=300)

    assert (await revisions(database_url))[1] >= 1


async def test_candles_agree_when_signals_were_there_long_before_the_trades(
    signals: Signals, make_service: Callable[..., Service], nats_server: NatsServer, database_url: str, store: Service
) -> None:
    store.process.kill()
    trades = spread(1, 2000, from_us=MIDNIGHT_US - HOUR_US, to_us=MIDNIGHT_US + HOUR_US)
    for first in range(0, 2000, 10):
        await signals.publish(trades.rows(slice(first, first + 10)))
    store.start()

    found = await until_candles_agree(database_url, trades=2000)

    assert await revisions(database_url) == {0: len(found)}


async def test_a_quiet_symbols_last_minute_closes_by_the_venues_own_and_is_what_signal_makes_of_it_later(
    signals: Signals, store: Service, database_url: str
) -> None:
    await signals.feeder.bus.declare(CANDLE_STREAM)
    trades = spread(1, 300, from_us=MIDNIGHT_US, to_us=MIDNIGHT_US + 100 * 60_000_000)
    await signals.publish(trades.rows(slice(0, 297)))
    last = trades.rows(slice(297, 300))
    minute_us = int(last.time_us[0]) // 60_000_000 * 60_000_000
    await signals.publish(last)
    await until_stored(database_url, range(1, 301))
    async with asking(store) as stub:

        async def newest(begin_us: int) -> trade_pb2.Candle:
            asked = store_pb2.ListCandlesRequest(symbol="btcusdt", venue="binance", order="desc", limit=1)
            candle: trade_pb2.Candle
            [candle] = (await stub.ListCandles(asked)).candles
            assert candle.time.seconds == begin_us // 10**6
            return candle

        await eventually(lambda: newest(minute_us - 60_000_000), not_yet=(ValueError,))
        await publish_minute(signals, last, minute_us)
        candle = await eventually(lambda: newest(minute_us), what="the last minute closed")
    whole = await ask(database_url, "SELECT xmin::text, * FROM candles ORDER BY interval, time")
    later = spread(301, 3, from_us=MIDNIGHT_US + 200 * 60_000_000, to_us=MIDNIGHT_US + 200 * 60_000_000 + 30)
    await signals.publish(later)
    await until_candles_agree(database_url, trades=303)

    assert values(candle) == summed(last, 60_000_000)[minute_us // 10**6]
    assert (candle.revision, candle.closed, math.isnan(candle.sma)) == (0, True, False)
    after = await ask(database_url, "SELECT xmin::text, * FROM candles ORDER BY interval, time")
    assert [row for row in after if row in whole] == whole, "signal's candles are the same to the last bit"
    assert await revisions(database_url) == {0: len(after)}


async def test_a_minute_that_the_venue_has_only_just_told_is_left_to_signal_to_close(
    signals: Signals, store: Service, database_url: str
) -> None:
    await signals.feeder.bus.declare(CANDLE_STREAM)
    trades = spread(1, 3, from_us=MIDNIGHT_US, to_us=MIDNIGHT_US + 50_000_000)
    await signals.publish(trades)
    await until_stored(database_url, range(1, 4))
    store.process.kill()
    minute = VenueMinute("binance", "btcusdt", time_of(MIDNIGHT_US), 1, 3, MinuteTotals(3, 1, 1, 1, 1, 3 * 10**20))
    ended: Any = {"grace": GRACE, "told": TOLD}
    async with Database(database_url, health=Health("database")) as database:
        await database.write(functools.partial(ledger_rows.add_minutes, minutes=[minute, minute]))
        await database.write(
            functools.partial(ledger_rows.settle_minute, minute=minute, state="VERIFIED", difference="", repairs=0)
        )
        for told, closed in (("now() + interval '1 hour'", []), ("now() - interval '1 hour'", ["btcusdt"])):
            await ask(database_url, f"UPDATE minutes SET received_time = {told}")
            found = await database.write(functools.partial(fetch_all, statement=intake_sql.ENDED, parameters=ended))
            assert [symbol for _, symbol, ended_us in found if ended_us == MIDNIGHT_US + 60_000_000] == closed
    [row] = await ask(database_url, "SELECT trade_count, low, volume FROM minutes")
    assert row == (3, Decimal("0.00000001"), Decimal("3000000000000"))


async def test_a_trade_that_comes_after_its_quiet_minute_was_closed_makes_the_candle_again(
    signals: Signals, store: Service, database_url: str
) -> None:
    await signals.feeder.bus.declare(CANDLE_STREAM)
    trades = spread(1, 300, from_us=MIDNIGHT_US, to_us=MIDNIGHT_US + 100 * 60_000_000)
    minute_us = int(trades.time_us[-1]) // 60_000_000 * 60_000_000
    await signals.publish(trades.rows(slice(0, 299)))
    await until_stored(database_url, range(1, 300))
    await publish_minute(signals, trades.rows(slice(297, 299)), minute_us)
    minute = "SELECT count, revision FROM candles WHERE interval = '1m' AND time = to_timestamp(%s)"

    async def counted(*wanted: object) -> bool:
        return await ask(database_url, minute, minute_us // 10**6) == [wanted]

    await eventually(lambda: counted(2, 0), what="the minute closed")
    await signals.publish(trades.rows(slice(299, 300)))
    await eventually(lambda: counted(3, 1), what="the late trade counted")
    await signals.publish(spread(301, 3, from_us=MIDNIGHT_US + 3 * HOUR_US, to_us=MIDNIGHT_US + 3 * HOUR_US + 30))

    await until_candles_agree(database_url, trades=303)
    assert await counted(3, 1)


async def test_a_trade_corrected_before_its_quiet_minute_was_closed_stays_so_when_signal_closes_it_uncorrected(
    signals: Signals, store: Service, database_url: str
) -> None:
    await signals.feeder.bus.declare(CANDLE_STREAM)
    trades = spread(1, 300, from_us=MIDNIGHT_US, to_us=MIDNIGHT_US + 100 * 60_000_000)
    minute_us = int(trades.time_us[-1]) // 60_000_000 * 60_000_000
    wrong = trades.rows(np.arange(300))  # a copy
    wrong.price_e8[298] = 9_000_000_000_000
    await signals.publish(wrong)
    await until_stored(database_url, range(1, 301))
    await signals.feeder.repair(trades.rows(np.array([298])))

    async def corrected() -> bool:
        rows = await ask(database_url, "SELECT (price * 100000000)::bigint FROM trades WHERE trade_id = 299")
        return rows == [(int(trades.price_e8[298]),)]

    async def closed() -> bool:
        return bool(await ask(database_url, "SELECT 1 FROM candles WHERE time = to_timestamp(%s)", minute_us // 10**6))

    await eventually(corrected)
    await publish_minute(signals, trades.rows(slice(297, 300)), minute_us)
    await eventually(closed, what="the minute closed")
    await signals.publish(spread(301, 3, from_us=MIDNIGHT_US + 3 * HOUR_US, to_us=MIDNIGHT_US + 3 * HOUR_US + 30))

    await until_candles_agree(database_url, trades=303)


async def test_without_the_venues_minute_a_quiet_one_closes_by_the_clock(
    signals: Signals, store: Service, database_url: str
) -> None:
    begin_us = time.time_ns() // 1000 // 60_000_000 * 60_000_000 - 120_000_000
    await signals.publish(spread(1, 30, from_us=begin_us, to_us=begin_us + 59_000_000))

    async def look() -> list[tuple[object, ...]]:
        found = await ask(database_url, "SELECT count, revision FROM candles WHERE interval = '1m'")
        assert found
        return found

    assert await eventually(look, what="the minute closed", not_yet=(psycopg.Error,)) == [(30, 0)]


async def publish_minute(signals: Signals, trades: TradeColumns, minute_us: int) -> None:
    """Publish the venue's own minute of trades."""
    candle = control_pb2.VenueCandle(
        venue=trades.venue,
        symbol=trades.symbol,
        open_time_us=minute_us,
        first_trade_id=int(trades.trade_id[0]),
        last_trade_id=int(trades.trade_id[-1]),
        trade_count=len(trades),
        open_e8=int(trades.price_e8[0]),
        high_e8=int(trades.price_e8.max()),
        low_e8=int(trades.price_e8.min()),
        close_e8=int(trades.price_e8[-1]),
        volume_e8=sum(trades.quantity_e8.tolist()),
    )
    await signals.feeder.bus.js.publish(subjects.candle(trades.venue, trades.symbol), control.encode(candle))


async def test_a_killed_store_goes_on_where_it_was(signals: Signals, store: Service, database_url: str) -> None:
    trades = spread(1, 2000, from_us=MIDNIGHT_US - HOUR_US, to_us=MIDNIGHT_US + HOUR_US)

    async def has_stored_some() -> object:
        return (await ask(database_url, "SELECT count(*) FROM trades"))[0][0]

    for first in range(0, 2000, 100):
        await signals.publish(trades.rows(slice(first, first + 100)))
        if first == 1000:
            await eventually(has_stored_some, not_yet=(psycopg.Error,))
            store.process.kill()
            store.start()

    await until_candles_agree(database_url, trades=2000)


async def test_trades_stored_before_there_were_candles_get_theirs(
    signals: Signals, store: Service, database_url: str
) -> None:
    old = spread(1, 300, from_us=MIDNIGHT_US - 3 * HOUR_US, to_us=MIDNIGHT_US - 2 * HOUR_US)
    await signals.feeder.publish(old)  # signal never told of them

    await signals.publish(spread(301, 300, from_us=MIDNIGHT_US - HOUR_US, to_us=MIDNIGHT_US + HOUR_US))

    await until_candles_agree(database_url, trades=600)


async def test_bytes_that_are_no_signals_are_put_aside_and_cost_no_neighbour(
    signals: Signals, store: Service, database_url: str
) -> None:
    await signals.bytes(b"\xff\xff")
    await signals.publish(spread(1, 30, from_us=MIDNIGHT_US - HOUR_US, to_us=MIDNIGHT_US + HOUR_US))
    await until_candles_agree(database_url, trades=30)

    async def look() -> bool:
        info = await signals.feeder.bus.stream_info(subjects.DEAD)
        return info is not None and info.state.messages == 1

    assert await eventually(look)


async def test_candles_whose_trades_no_sum_can_hold_are_put_aside_and_cost_no_neighbour_in_their_message(
    signals: Signals, store: Service, database_url: str
) -> None:
    some = Engine().process(spread(1, 9, from_us=MIDNIGHT_US, to_us=MIDNIGHT_US + 3_000_000), raw_sequence=0)
    assert some is not None
    batch = signal_pb2.SignalBatch.FromString(wire.encode_signals(some))
    for candle in batch.candles:
        candle.count = 2**63 - 1
    bad = batch.SerializeToString()
    trades = spread(1, 30, from_us=MIDNIGHT_US - HOUR_US, to_us=MIDNIGHT_US + HOUR_US)
    good = signals.engine.process(trades, raw_sequence=await signals.feeder.publish(trades))
    assert good is not None
    await signals.bytes(b"".join(map(wire.one_of_many, (bad, wire.encode_signals(good), bad))))

    await until_candles_agree(database_url, trades=30)
    for letter in (1, 2):
        dead = await eventually(functools.partial(signals.feeder.bus.js.get_msg, "DEAD", letter), not_yet=(NatsError,))
        assert "a candle of 1s of 9223372036854775807 trades" in (dead.headers or {})["Tickmesh-Reason"]
        assert dead.data == bad


async def test_candles_that_the_database_refuses_cost_no_other_symbol_in_their_message(
    signals: Signals, store: Service, database_url: str
) -> None:
    await ask(
        database_url,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$",
    )
    trigger = (
        "CREATE TRIGGER refuse BEFORE INSERT ON candles FOR EACH ROW WHEN (NEW.symbol = 'ethusdt') "
        "EXECUTE FUNCTION refuse()"
    )

    async def refusing() -> bool:
        await ask(database_url, trigger)
        return True

    await eventually(refusing, not_yet=(psycopg.errors.UndefinedTable,))
    batches = []
    for symbol in ("btcusdt", "ethusdt", "solusdt"):
        trades = spread(1, 30, from_us=MIDNIGHT_US - HOUR_US, to_us=MIDNIGHT_US + HOUR_US)
        trades = dataclasses.replace(trades, symbol=symbol)
        made = signals.engine.process(trades, raw_sequence=await signals.feeder.publish(trades))
        assert made is not None
        batches.append(wire.encode_signals(made))
    await signals.bytes(b"".join(map(wire.one_of_many, batches)))

    for symbol in ("btcusdt", "solusdt"):
        await until_candles_agree(database_url, trades=90, symbol=symbol)
    dead = await eventually(lambda: signals.feeder.bus.js.get_msg("DEAD", 1), not_yet=(NatsError,))
    assert "not this one" in (dead.headers or {})["Tickmesh-Reason"]
    assert dead.data == batches[1]


async def test_candles_of_an_older_signal_which_gave_each_symbol_messages_of_its_own_are_stored(
    signals: Signals, store: Service, database_url: str
) -> None:
    trades = spread(1, 30, from_us=MIDNIGHT_US - HOUR_US, to_us=MIDNIGHT_US + HOUR_US)
    made = signals.engine.process(trades, raw_sequence=await signals.feeder.publish(trades))
    assert made is not None
    await signals.feeder.bus.js.publish("trades.processed.binance.btcusdt", wire.encode_signals(made))
    await signals.publish(spread(31, 30, from_us=MIDNIGHT_US + HOUR_US, to_us=MIDNIGHT_US + 2 * HOUR_US))

    await until_candles_agree(database_url, trades=60)
    assert "dead letter" not in store.output()


def at(time_us: int) -> Timestamp:
    return Timestamp(seconds=time_us // 10**6, nanos=time_us % 10**6 * 1000)


async def test_pages_of_the_newest_candles_go_back_in_time_each_rising(
    signals: Signals, store: Service, database_url: str
) -> None:
    await signals.publish(spread(1, 600, from_us=MIDNIGHT_US - HOUR_US, to_us=MIDNIGHT_US + HOUR_US))
    await until_candles_agree(database_url, trades=600)
    pages, token = [], ""
    async with asking(store) as stub:
        for _ in range(3):
            request = store_pb2.ListCandlesRequest(symbol="BTCUSDT", venue="binance", limit=50, page_token=token)
            page = await stub.ListCandles(request)
            pages.append([candle.time.seconds for candle in page.candles])
            token = page.next_page_token

    first = MIDNIGHT_US // 10**6 - 3600
    whole = [first + 60 * minute for minute in range(119)]
    assert pages == [whole[69:], whole[19:69], whole[:19]]
    assert token == ""


async def test_pages_from_a_start_go_on_in_time(signals: Signals, store: Service, database_url: str) -> None:
    await signals.publish(spread(1, 600, from_us=MIDNIGHT_US - HOUR_US, to_us=MIDNIGHT_US + HOUR_US))
    await until_candles_agree(database_url, trades=600)
    found, token = [], ""
    async with asking(store) as stub:
        for _ in range(3):
            page = await stub.ListCandles(
                store_pb2.ListCandlesRequest(
                    symbol="btcusdt",
                    venue="binance",
                    interval="5m",
                    start=at(MIDNIGHT_US - HOUR_US + 1),
                    end=at(MIDNIGHT_US),
                    page_size=5,
                    page_token=token,
                )
            )
            found += [candle.time.seconds for candle in page.candles]
            token = page.next_page_token

    assert (found, token) == ([MIDNIGHT_US // 10**6 - 3600 + 300 * n for n in range(1, 12)], "")


def summed(trades: TradeColumns, length_us: int, *, origin_us: int = 0) -> dict[int, tuple[int | str, ...]]:
    """Return by their begin, in seconds, what candles of any length hold: not the store's own way."""
    found: dict[int, tuple[int | str, ...]] = {}
    begins = trades.time_us - (trades.time_us - origin_us) % length_us
    for begin in np.unique(begins).tolist():
        rows = begins == begin
        price, quantity = trades.price_e8[rows].tolist(), trades.quantity_e8[rows].tolist()
        quote_e16 = sum(each * many for each, many in zip(price, quantity, strict=True))
        ids = trades.trade_id[rows].tolist()
        volumes = f"{Decimal(sum(quantity)).scaleb(-8):f}", f"{Decimal(quote_e16).scaleb(-16):f}"
        ends = len(ids), ids[0], ids[-1]
        found[begin // 10**6] = (price[0], max(price), min(price), price[-1], *map(plain, volumes), *ends)
    return found


def plain(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


async def listed(stub: Any, **fields: Any) -> list[trade_pb2.Candle]:
    """Return the candles of all pages, in their order."""
    found: list[trade_pb2.Candle] = []
    token = ""
    while not found or token:
        request = store_pb2.ListCandlesRequest(symbol="btcusdt", venue="binance", page_token=token, **fields)
        page = await stub.ListCandles(request)
        found += page.candles
        token = page.next_page_token
        assert page.candles or not token
        if not found:
            break
    return found


def values(candle: trade_pb2.Candle) -> tuple[int | str, ...]:
    prices = (candle.open_e8, candle.high_e8, candle.low_e8, candle.close_e8)
    volumes = (candle.volume_decimal, candle.quote_volume_decimal)
    return (*prices, *volumes, candle.count, candle.first_trade_id, candle.last_trade_id)


async def test_multiples_of_the_stored_intervals_are_exact_sums_and_the_open_candle_holds_the_rest(
    signals: Signals, store: Service, database_url: str
) -> None:
    trades = spread(1, 2000, from_us=MIDNIGHT_US - 16 * DAY_US, to_us=MIDNIGHT_US + 5 * HOUR_US)
    for first in range(0, 2000, 500):
        await signals.publish(trades.rows(slice(first, first + 500)))
    await until_candles_agree(database_url, trades=2000)
    lengths_us = {"1m": 60 * 10**6, "3m": 180 * 10**6, "90m": 5400 * 10**6, "2h": 2 * HOUR_US, "7h": 7 * HOUR_US}
    lengths_us |= {"3d": 3 * DAY_US, "1w": 7 * DAY_US}
    async with asking(store) as stub:
        for name, length_us in lengths_us.items():
            expected = summed(trades, length_us, origin_us=-3 * DAY_US if name == "1w" else 0)
            *closed, newest = sorted(expected)
            since = at(min(closed) * 10**6 + 1)

            rising = await listed(stub, interval=name, order="asc", page_size=97, open=True)
            falling = await listed(stub, interval=name, order="desc", page_size=2 if len(closed) < 9 else 113)
            later = await listed(stub, interval=name, start_time=since, end_time=at(newest * 10**6))

            assert {candle.time.seconds: values(candle) for candle in rising} == expected
            assert [candle.time.seconds for candle in rising] == [*closed, newest]
            assert [candle.closed for candle in rising] == [True] * len(closed) + [False]
            assert falling == rising[-2::-1]
            assert [candle.time.seconds for candle in later] == closed[1:]
            assert {(candle.interval, candle.revision) for candle in rising} == {(name, 0)}


@pytest.mark.parametrize(("interval", "length_us"), [("1m", 60_000_000), ("2m", 120_000_000)])
async def test_what_clients_of_ws_are_told_of_candles_is_what_the_trades_make_and_late_ones_change(
    signals: Signals, store: Service, database_url: str, interval: str, length_us: int
) -> None:
    trades = spread(1, 700, from_us=MIDNIGHT_US - 7 * 60 * 10**6, to_us=MIDNIGHT_US)
    late = np.isin(trades.trade_id, [680, 681])
    told: list[dict[str, Any]] = []
    async with rpc.channel(store.address) as channel:
        feeds = ChannelFeeds({"candles": functools.partial(CandleFeed, stored=StoredTrades(channel), rings=Rings())})
        number = 0

        def wake() -> None:
            nonlocal number
            changes = feed.since(number)
            assert changes is not None
            told.extend(json.loads(changes.body))
            number = feed.number

        feed = feeds.watch(("candles", "btcusdt", interval), wake)
        for first in range(0, 700, 100):
            some = slice(first, first + 100)
            await signals.publish(trades.rows(some).rows(~late[some]))
            await eventually(lambda: bool(told))
        await eventually(lambda: bool(told) and told[-1]["last_trade_id"] == 700)
        await signals.publish(trades.rows(late))
        await eventually(lambda: {one["time"]: one["count"] for one in told} == counts(trades, length_us))
        await until_candles_agree(database_url, trades=700)
        listed_now = await listed(store_pb2_grpc.StoreServiceStub(channel), interval=interval, open=True)
        encode = transcode.encoder(trade_pb2.Candle.DESCRIPTOR)
        expected = [json.loads(transcode.to_bytes(encode(candle))) for candle in listed_now]
        await eventually(lambda: list({one["time"]: one for one in told}.values()) == expected)
        feeds.unwatch(feed, wake)
    assert {one["closed"] for one in told} == {True, False}


def counts(trades: TradeColumns, length_us: int) -> dict[str, int | str]:
    return {
        f"{time_of(seconds * 10**6):%Y-%m-%dT%H:%M:%SZ}": values[6]
        for seconds, values in summed(trades, length_us).items()
    }


async def test_a_late_trade_changes_a_multiple_and_its_revision(
    signals: Signals, store: Service, database_url: str
) -> None:
    trades = spread(1, 600, from_us=MIDNIGHT_US - HOUR_US, to_us=MIDNIGHT_US + HOUR_US)
    missing = np.isin(trades.trade_id, [100, 101, 102])
    await signals.publish(trades.rows(~missing))
    await until_candles_agree(database_url, trades=597)
    asked: dict[str, Any] = {"interval": "3m", "open": True}
    async with asking(store) as stub:
        before = {candle.time.seconds: candle.revision for candle in await listed(stub, **asked)}
        await signals.publish(trades.rows(missing))
        await until_candles_agree(database_url, trades=600)
        after = await listed(stub, **asked)

    expected = summed(trades, 180 * 10**6)
    late = int(trades.time_us[99]) // 180_000_000 * 180
    assert {candle.time.seconds: values(candle) for candle in after} == expected
    assert {candle.time.seconds for candle in after if candle.revision > before.get(candle.time.seconds, 0)} >= {late}


async def test_a_candle_comes_back_exact_with_nan_where_it_is_not_warm(
    signals: Signals, store: Service, database_url: str
) -> None:
    trades = columns(1, 3)
    trades.time_us[:] = MIDNIGHT_US - 1, MIDNIGHT_US - 1, MIDNIGHT_US
    trades.price_e8[:] = 9_000_000_000_000_000_000, 1, 5
    trades.quantity_e8[:] = 9_000_000_000_000_000_000, 150_000_000, 1
    await signals.publish(trades)
    await until_candles_agree(database_url, trades=3)
    async with asking(store) as stub:
        request = store_pb2.ListCandlesRequest(symbol="btcusdt", venue="binance", interval="1d")
        [candle] = (await stub.ListCandles(request)).candles

    assert (candle.open_e8, candle.high_e8, candle.low_e8, candle.close_e8) == (9 * 10**18, 9 * 10**18, 1, 1)
    assert candle.volume_decimal == "90000000001.5"
    assert candle.quote_volume_decimal == "8100000000000000000000.000000015"
    assert candle.taker_buy_volume_decimal == "90000000001.5"
    assert (candle.count, candle.first_trade_id, candle.last_trade_id, candle.revision) == (2, 1, 2, 0)
    assert (candle.interval, candle.time) == ("1d", at(MIDNIGHT_US - DAY_US))
    assert np.isnan(candle.rsi) and np.isnan(candle.sma)


@pytest.mark.parametrize(
    "fields",
    [
        {"interval": "1M"},
        {"limit": -1},
        {"page_size": -1},
        {"page_token": "made up"},
        {"start": Timestamp(seconds=2), "end": Timestamp(seconds=1)},
        {"symbol": "no/symbol"},
    ],
)
async def test_nonsense_is_refused(store: Service, fields: dict[str, Any]) -> None:
    async with asking(store) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListCandles(store_pb2.ListCandlesRequest(**({"symbol": "btcusdt", "venue": "sim"} | fields)))

    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_symbol_without_candles_is_an_empty_list(store: Service) -> None:
    async with asking(store) as stub:
        answer = await eventually(
            lambda: stub.ListCandles(store_pb2.ListCandlesRequest(symbol="xrpusdt", venue="sim")),
            not_yet=(grpc.aio.AioRpcError,),
        )

    assert answer == store_pb2.ListCandlesResponse()
