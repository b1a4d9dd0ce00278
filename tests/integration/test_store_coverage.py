"""What GetCoverage and the comparison of minutes cost: bounded, however many ranges, holes and minutes there are."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import psycopg
import pytest

from libsignal import Periods
from mesh.service.health import Health
from store.database import Database
from store.database.times import time_of
from store.intake.trade_writer import TradeWriter
from store.ledger import rows as ledger_rows
from store.ledger import sql as ledger_sql
from store.ledger.minute_verifier import MinuteVerifier
from store.ledger.minutes import MinuteTotals, VenueMinute
from store.queries import sql
from store.queries.coverage import read_coverage
from tests.fixtures.store import ask
from tests.fixtures.trades import columns

NAME = ("binance", "btcusdt")
TIMES = {"from_time": "2020-01-05", "before_time": "2020-01-09"}
MINUTE_US = 60_000_000
SUMS = """
SELECT (SELECT coalesce(sum(last_trade_id - first_trade_id + 1), 0)::bigint FROM coverage),
    (SELECT coalesce(sum(last_trade_id - first_trade_id + 1), 0)::bigint FROM holes WHERE state = 'OPEN'),
    (SELECT coalesce(sum(last_trade_id - first_trade_id + 1), 0)::bigint FROM holes WHERE state = 'ABSENT'),
    (SELECT count(*) FROM holes WHERE state = 'OPEN'),
    (SELECT count(*) FROM minutes WHERE state = 'VERIFIED'), (SELECT count(*) FROM minutes WHERE state = 'MISMATCH')
"""
TOTALS = """
SELECT coalesce(sum(stored), 0)::bigint, coalesce(sum(open), 0)::bigint, coalesce(sum(absent), 0)::bigint,
    coalesce(sum(open_holes), 0)::bigint, (SELECT coalesce(sum(verified), 0)::bigint FROM minute_totals),
    (SELECT coalesce(sum(mismatched), 0)::bigint FROM minute_totals) FROM ledger_totals
"""
COVERAGE = """
INSERT INTO coverage (venue, symbol, first_trade_id, last_trade_id)
SELECT 'binance', 'btcusdt', n * 10, n * 10 + 4 FROM generate_series({first}, {last}) AS n ON CONFLICT DO NOTHING
"""
HOLES = """
INSERT INTO holes (venue, symbol, first_trade_id, last_trade_id, state, seen_time, closed_time)
SELECT 'binance', 'btcusdt', n * 10 + 5, n * 10 + 9, kind, now(), CASE WHEN kind <> 'OPEN' THEN now() END
FROM generate_series({first}, {last}) AS n,
    LATERAL (SELECT (ARRAY['OPEN', 'ABSENT', 'FILLED'])[n %% 3 + 1] AS kind) AS one
ON CONFLICT DO NOTHING
"""
MINUTES = """
INSERT INTO minutes (venue, symbol, time, first_trade_id, last_trade_id, trade_count, open, high, low, close, volume,
    state)
SELECT 'binance', 'btcusdt', timestamptz '2020-01-01' + n * interval '1 minute', n * 10, n * 10 + 4, 5, 1, 1, 1, 1, 1,
    (ARRAY['PENDING', 'VERIFIED', 'MISMATCH'])[n %% 3 + 1]
FROM generate_series({first}, {last}) AS n ON CONFLICT DO NOTHING
"""
CHANGES = (
    COVERAGE,
    HOLES,
    MINUTES,
    "DELETE FROM coverage WHERE first_trade_id BETWEEN {first} * 10 AND {last} * 10",
    "UPDATE coverage SET last_trade_id = first_trade_id + 2 WHERE first_trade_id BETWEEN {first} * 10 AND {last} * 10",
    "DELETE FROM holes WHERE first_trade_id BETWEEN {first} * 10 AND {last} * 10",
    "UPDATE holes SET state = 'FILLED', closed_time = now() WHERE first_trade_id BETWEEN {first} * 10 AND {last} * 10",
    "DELETE FROM minutes WHERE first_trade_id BETWEEN {first} * 10 AND {last} * 10",
    "UPDATE minutes SET state = 'VERIFIED' WHERE first_trade_id BETWEEN {first} * 10 AND {last} * 10",
    "UPDATE minutes SET state = 'PENDING' WHERE first_trade_id BETWEEN {first} * 10 AND {last} * 10",
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, health=Health("database")) as database:
        await database.write(nothing)
        yield database


def us_of(at: datetime) -> int:
    return round(at.timestamp()) * 10**6


async def nothing(_: object) -> None:
    """Only have the schema made."""


async def fill(database_url: str, count: int) -> None:
    for statement in (COVERAGE, HOLES, MINUTES):
        await ask(database_url, statement.format(first=1, last=count).replace("%%", "%"))
    await ask(database_url, "ANALYZE")


async def test_the_totals_are_the_sums_whoever_changes_what(database: Database, database_url: str) -> None:
    choice = random.Random(7)
    for _ in range(120):
        first = choice.randrange(200)
        statement = choice.choice(CHANGES).format(first=first, last=first + choice.randrange(40))
        await ask(database_url, statement.replace("%%", "%"))

        assert await ask(database_url, SUMS) == await ask(database_url, TOTALS)


async def test_a_question_about_coverage_reads_no_more_rows_than_it_answers(
    database: Database, database_url: str
) -> None:
    await fill(database_url, 30_000)
    asked: list[tuple[str, Any]] = [
        (sql.LEDGER_TOTALS, NAME),
        (sql.MINUTES_TOTAL, NAME),
        (sql.COVERAGE_RANGES, (*NAME, 1000)),
        (sql.HOLES, {"venue": NAME[0], "symbol": NAME[1], "limit": 1000}),
        (sql.MINUTES, {"venue": NAME[0], "symbol": NAME[1], "limit": 100}),
        (sql.FIRST_MINUTES, {"venue": NAME[0], "symbol": NAME[1], "limit": 1440} | TIMES),
        (sql.LAST_MINUTES, {"venue": NAME[0], "symbol": NAME[1], "limit": 1440} | TIMES),
        (ledger_sql.OPEN_TOTALS, None),
        (ledger_sql.OPEN_HOLES, None),
        (ledger_sql.LEDGER_WITHIN, {"venue": NAME[0], "symbol": NAME[1], "low": 200_000, "high": 200_050}),
        (ledger_sql.PENDING_MINUTES, {"limit": 250, "time": "2020-01-05", "venue": "", "symbol": ""}),
    ]
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        for statement, parameters in asked:
            cursor = await connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}".encode(), parameters)
            row = await cursor.fetchone()
            assert row is not None
            assert most_rows(row[0][0]["Plan"]) <= 2_000, statement


def most_rows(plan: dict[str, Any]) -> int:
    """Return how many rows a node of a plan has read at most, those it threw away included."""
    own = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    return int(max([own * plan["Actual Loops"], *map(most_rows, plan.get("Plans", []))]))


async def test_the_minutes_of_any_time_are_listed_page_by_page(database: Database, database_url: str) -> None:
    await fill(database_url, 4_000)
    first_us = us_of(datetime(2020, 1, 1, tzinfo=UTC)) + MINUTE_US
    found: list[int] = []
    start_us = first_us + 10 * MINUTE_US
    end_us = first_us + 3_500 * MINUTE_US
    pages = 0
    while True:
        page = (await read_coverage(database, *NAME, start_us=start_us, end_us=end_us)).minutes
        if not page:
            break
        pages += 1
        found += [us_of(minute.start_time.ToDatetime(UTC)) for minute in page]
        start_us = found[-1] + MINUTE_US
    assert found == list(range(first_us + 10 * MINUTE_US, end_us, MINUTE_US))
    assert pages == 3
    before = (await read_coverage(database, *NAME, end_us=end_us)).minutes
    assert [minute.first_trade_id for minute in before] == [n * 10 for n in range(3_501 - 1440, 3_501)]
    newest = (await read_coverage(database, *NAME)).minutes
    assert len(newest) == 100


async def test_minutes_that_wait_for_ever_keep_no_other_from_being_looked_at(
    database: Database, database_url: str
) -> None:
    await fill(database_url, 6_000)
    await ask(database_url, "UPDATE minutes SET state = 'PENDING'")
    looked_at: set[object] = set()
    unused: Any = None
    verifier = MinuteVerifier(database, unused, unused)

    async def look(minute: Any, **_: object) -> None:
        looked_at.add(minute.time)

    verifier._compare = look  # type: ignore[method-assign]  # what is looked at, not what comes of it
    for _ in range(6_000 // 250 + 1):
        await verifier._compare_some()

    assert len(looked_at) == 6_000


async def test_minutes_that_agree_are_settled_together_and_only_the_others_looked_at_one_by_one(
    database: Database,
) -> None:
    coins = [columns(1, 20, symbol=f"coin{n}usdt") for n in range(60)]
    begin = time_of(int(coins[0].time_us[0]) // MINUTE_US * MINUTE_US)
    minutes = []
    for trades in coins:
        await TradeWriter(database, Periods()).add(trades)
        prices = trades.price_e8
        ends = int(prices[0]), int(prices.max()), int(prices.min()), int(prices[-1])
        totals = MinuteTotals(20, *ends, int(trades.quantity_e8.sum()) + (trades is coins[7]))
        minutes.append(VenueMinute(trades.venue, trades.symbol, begin, 1, 20, totals))
    await database.write(partial(ledger_rows.add_minutes, minutes=minutes))
    looked_at: list[str] = []
    unused: Any = None
    verifier = MinuteVerifier(database, unused, unused)

    async def look(minute: VenueMinute, **_: object) -> None:
        looked_at.append(minute.symbol)

    verifier._compare = look  # type: ignore[method-assign]  # what is looked at, not what comes of it
    assert await verifier._compare_some()

    assert looked_at == ["coin7usdt"]
