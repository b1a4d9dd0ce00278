"""Indicators of candles that signal closes before its series is warm."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import psycopg
import pytest

from libsignal import CandleSeries, Periods
from mesh.values.candles import INDICATORS, Indicators
from store.candles import rebuild
from store.candles.rebuild import NewCandles, SeriesName
from store.database.migrations import migrate
from store.database.times import us_of
from tests.fixtures.store import ask

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
E8 = 10**8
INSERT = f"""
INSERT INTO candles (venue, symbol, interval, time, open, high, low, close, volume, quote_volume, taker_buy_volume,
    count, first_trade_id, last_trade_id, revision, {", ".join(INDICATORS)})
VALUES (%s, %s, %s, %s, 1, %s, %s, %s, 1, 1, 1, 1, 1, 1, 0, {", ".join(["%s"] * len(INDICATORS))})
"""


class Counting(psycopg.AsyncCursor[Any]):
    """Counts the statements of all cursors."""

    statements = 0

    async def execute(self, *arguments: Any, **options: Any) -> Any:
        Counting.statements += 1
        return await super().execute(*arguments, **options)


@dataclass
class Market:
    """One symbol: prices as they come, and signal's series of them, which may forget."""

    name: SeriesName
    candles: int = 0
    signal: CandleSeries = field(default_factory=lambda: CandleSeries(Periods()))

    def close(self) -> tuple[dt.datetime, tuple[int, int, int], Indicators]:
        """Return the next candle: when it begins, high, low and close, and the indicators that signal gives it."""
        middle = 100 + self.candles * self.candles % 17
        prices = (middle + 2) * E8, (middle - 1) * E8, middle * E8
        [indicators] = self.signal.close(*([price] for price in prices))
        self.candles += 1
        return START + dt.timedelta(seconds=self.candles), prices, indicators


def markets(count: int) -> list[Market]:
    return [Market(SeriesName("sim", f"coin{n}usdt", "1s")) for n in range(count)]


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(
        database_url, autocommit=True, client_encoding="UTF8", cursor_factory=Counting
    ) as connection:
        await migrate(connection)
        yield connection


async def close_all(connection: psycopg.AsyncConnection[Any], some: list[Market]) -> int:
    """Store the next candle of each; return how many statements it took to look after their indicators."""
    new = {}
    for market in some:
        time, prices, indicators = market.close()
        values = [None if math.isnan(value) else value for value in msgspec.structs.astuple(indicators)]
        await connection.execute(INSERT, (*market.name, time, *(price // E8 for price in prices), *values))
        new[market.name] = NewCandles(us_of(time), [msgspec.structs.astuple(indicators)], None not in values)
    before = Counting.statements
    async with connection.transaction():
        await rebuild.follow(connection, new, Periods())
    return Counting.statements - before


@pytest.mark.parametrize("forgets_after", [3, 14, 20, 33, 34, 60, 70])
async def test_indicators_are_those_of_all_stored_candles_whenever_signal_forgets(
    connection: psycopg.AsyncConnection[Any], database_url: str, forgets_after: int
) -> None:
    [market], [untouched] = markets(1), markets(1)
    for _ in range(forgets_after):
        await close_all(connection, [market])
    market.signal = CandleSeries(Periods())
    for _ in range(50):
        await close_all(connection, [market])

    expected = [
        tuple(None if math.isnan(value) else value for value in msgspec.structs.astuple(untouched.close()[2]))
        for _ in range(market.candles)
    ]
    assert await ask(database_url, f"SELECT {', '.join(INDICATORS)} FROM candles ORDER BY time") == expected


async def test_many_series_that_are_not_warm_take_no_more_statements_than_one(
    connection: psycopg.AsyncConnection[Any],
) -> None:
    few, many = markets(1), [Market(SeriesName("sim", f"more{n}usdt", "1s")) for n in range(20)]
    for _ in range(3):
        of_few, of_many = await close_all(connection, few), await close_all(connection, many)

    assert of_many == of_few
