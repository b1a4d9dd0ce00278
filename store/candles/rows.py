"""The table of candles, written inside the transactions that store candles or trades.

A closed candle is what signal made of it, until a trade of it is stored that signal did not see in time: repaired, or
late by its own time. Then it is made again, seconds from the trades, each longer interval from the one below, so that
they agree. A candle never loses trades: the rows of those that signal saw may still be on their way.

Its indicators, and those of the candles after it, are then worked out again too: `store.candle_indicators`.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from mesh.values.candles import INTERVALS_US, Candle, ClosedCandles
from mesh.values.trades import Int64s, TradeColumns
from store.candles import rebuild, sql
from store.candles.indicators import Indicators, Periods
from store.candles.rebuild import Name
from store.database.connection import Connection, fetch_all
from store.queries.sql import time_of

Made: TypeAlias = dict[Name, set[dt.datetime]]
"""Candles that have been made again, by when they begin."""
_SECOND_US = INTERVALS_US["1s"]
_NEAR_US = 60 * _SECOND_US
"""Late trades that lie no further apart are looked at together."""


async def add(connection: Connection, batches: Sequence[ClosedCandles], periods: Periods) -> None:
    """Keep candles as signal made them, and make again those of which more trades are stored than signal saw.

    The first time a symbol comes, candles are also made of all the trades that are stored before.
    """
    if not batches:
        return
    rows = [_row(batch.venue, batch.symbol, candle) for batch in batches for candle in batch.candles]
    await connection.cursor().executemany(sql.ADD, rows)
    known = await _closed(connection)
    reached: dict[tuple[str, str], int] = {}
    for batch in batches:
        name = batch.venue, batch.symbol
        reached[name] = max(reached.get(name, 0), batch.reached_us)
    made: Made = defaultdict(set)
    for (venue, symbol), reached_us in reached.items():
        from_us = known.get((venue, symbol))
        if from_us is None:
            [(from_us,)] = await fetch_all(connection, sql.FIRST_TIME, (venue, symbol))
        if from_us is None or from_us < reached_us:
            if from_us is not None:
                await _make(connection, venue, symbol, (from_us, reached_us), reached_us, made, thorough=False)
            await connection.execute(sql.SET_CLOSED, (venue, symbol, time_of(reached_us)))
    await _renew_indicators(connection, made, periods)
    for series, candle in _firsts(batches).items():
        warm = not any(math.isnan(getattr(candle, name)) for name in Indicators._fields)
        await rebuild.follow(connection, series, time_of(candle.time_us), periods, warm=warm)


async def renew(
    connection: Connection,
    groups: Iterable[TradeColumns],
    periods: Periods,
    *,
    removed: Mapping[tuple[str, str], Int64s] | None = None,
) -> None:
    """Make again the candles that trades just stored belong to, as far as those are closed.

    Args:
        connection: inside a transaction.
        groups: the trades just stored.
        periods: of the indicators.
        removed: the times of rows just removed, by venue and symbol; where they were the candles are made again too.

    """
    made: Made = defaultdict(set)
    closed: dict[tuple[str, str], int] | None = None
    for (venue, symbol), time_us in (removed or {}).items():
        closed = closed or await _closed(connection)
        reached_us = closed.get((venue, symbol), 0)
        for span in late_spans(time_us, reached_us):
            count = int(((time_us >= span[0]) & (time_us < span[1])).sum())
            await _make(connection, venue, symbol, span, reached_us, made, thorough=True, removed=count)
    for trades in groups:
        if closed is None:
            closed = await _closed(connection)
        reached_us = closed.get((trades.venue, trades.symbol), 0)
        for span in late_spans(trades.time_us, reached_us):
            await _make(connection, trades.venue, trades.symbol, span, reached_us, made, thorough=True)
    await _renew_indicators(connection, made, periods)


def late_spans(time_us: Int64s, reached_us: int) -> list[tuple[int, int]]:
    """Return the spans of whole seconds, ends excluded, that hold the times of closed seconds; nearly always none."""
    seconds = time_us // _SECOND_US
    late = np.unique(seconds[seconds < reached_us // _SECOND_US]) * _SECOND_US
    if not len(late):
        return []
    cuts = np.flatnonzero(np.diff(late) > _NEAR_US) + 1
    return [(int(part[0]), int(part[-1]) + _SECOND_US) for part in np.split(late, cuts)]


async def _closed(connection: Connection) -> dict[tuple[str, str], int]:
    cursor = await connection.execute(sql.READ_CLOSED)
    return {(venue, symbol): time_us for venue, symbol, time_us in await cursor.fetchall()}


async def _make(
    connection: Connection,
    venue: str,
    symbol: str,
    span: tuple[int, int],
    reached_us: int,
    made: Made,
    *,
    thorough: bool,
    removed: int = 0,
) -> None:
    """Make again the closed candles that overlap a span, shorter intervals first; add those that change to `made`.

    Of `removed` trades the rows are no more: so many fewer a candle may hold, and one that holds none goes.
    """
    for lower, interval in pairwise(["", *INTERVALS_US]):
        length_us = INTERVALS_US[interval]
        begin_us = span[0] // length_us * length_us
        end_us = min(-(-span[1] // length_us), reached_us // length_us) * length_us
        if begin_us >= end_us:
            continue
        asked: dict[str, Any] = {"venue": venue, "symbol": symbol, "interval": interval, "lower": lower}
        asked["removed"] = removed
        asked |= {"begin": time_of(begin_us), "end": time_of(end_us), "length": dt.timedelta(microseconds=length_us)}
        if removed:
            empty = await fetch_all(connection, sql.FORGET_EMPTY, asked)
            made[Name(venue, symbol, interval)].update(time for (time,) in empty)
        if lower:
            cursor = await connection.execute(sql.FROM_CANDLES, asked)
        elif thorough:
            cursor = await connection.execute(sql.FROM_TRADES, asked | {"wanted": None})
        elif lacking := await fetch_all(connection, sql.LACKING, asked):
            wanted = [begins for (begins,) in lacking]
            cursor = await connection.execute(sql.FROM_TRADES, asked | {"wanted": wanted})
        else:
            continue
        made[Name(venue, symbol, interval)].update(time for (time,) in await cursor.fetchall())


async def _renew_indicators(connection: Connection, made: Made, periods: Periods) -> None:
    for name, times in made.items():
        await rebuild.renew(connection, name, times, periods)


def _firsts(batches: Sequence[ClosedCandles]) -> dict[Name, Candle]:
    """Return the first candle of each interval."""
    firsts: dict[Name, Candle] = {}
    for batch in batches:
        for candle in batch.candles:
            first = firsts.setdefault(Name(batch.venue, batch.symbol, candle.interval), candle)
            if candle.time_us < first.time_us:
                firsts[Name(batch.venue, batch.symbol, candle.interval)] = candle
    return firsts


def _row(venue: str, symbol: str, candle: Candle) -> tuple[object, ...]:
    prices = (candle.open_e8, candle.high_e8, candle.low_e8, candle.close_e8)
    indicators = (getattr(candle, name) for name in Indicators._fields)
    return (
        *(venue, symbol, candle.interval, time_of(candle.time_us)),
        *(_numeric(price, 8) for price in prices),
        *(_numeric(candle.volume_e8, 8), _numeric(candle.quote_volume_e16, 16)),
        *(_numeric(candle.taker_buy_volume_e8, 8), candle.count, candle.first_trade_id, candle.last_trade_id),
        candle.revision,
        *(None if math.isnan(value) else value for value in indicators),
    )


def _numeric(value: int, decimals: int) -> str:
    """Write all decimals, as a numeric made of the trades' own has them."""
    sign, digits = "-" if value < 0 else "", str(abs(value)).rjust(decimals + 1, "0")
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"
