"""Rows whose ids are told again: found wherever their old time has put them, and removed.

Rows are found by time, as the index of `trades` is, and an id says nothing of its time when that was told wrong. The
candles know: each has the first and the last id of its trades. So the days of which an id may be are looked up, then
their hours, then their minutes; what is not closed, and has no candle yet, is searched itself.
"""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import numpy as np

from mesh.values.candles import INTERVALS_US
from mesh.values.trades import Int64s, TradeColumns
from store.candles import sql as candle_statements
from store.database.connection import Connection, fetch_all
from store.ledger import sql as statements
from store.ledger.ranges import Ids
from store.queries import sql as queries
from store.queries.sql import time_of

_NEAR = dt.timedelta(hours=1)
"""A trade's time hardly differs between two tellings of it: here it is looked for first."""
_LEVELS = ("1d", "1h", "1m")
_FIRST, _END = dt.datetime(1, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)


async def give_way(connection: Connection, trades: TradeColumns) -> Int64s:
    """Remove all rows that have the ids of these trades, at any time.

    Args:
        connection: inside a transaction.
        trades: of one symbol, their ids rising, none of them twice.

    Returns:
        the times (us) of those rows that had another time than the trade has now.

    """
    removed = await _remove(connection, trades, _near(trades))
    for span in await _spans_with(connection, trades):
        removed += await _remove(connection, trades, span)
    if not removed:
        return np.empty(0, np.int64)
    ids, times = np.array(removed, np.int64).T
    moved: Int64s = times[trades.time_us[np.searchsorted(trades.trade_id, ids)] != times]
    return moved


async def keep_one_row(connection: Connection, venue: str, symbol: str, twice: Ids) -> Int64s:
    """Of rows with the same id leave the one whose time is nearest to those of the ids around it.

    Args:
        connection: inside a transaction.
        venue: the venue.
        symbol: the symbol.
        twice: ids of which several rows may be there.

    Returns:
        the times (us) of the rows removed.

    """
    rows: dict[int, list[int]] = {}
    around: list[tuple[int, int]] = []
    for first, last in twice:
        found = await fetch_all(
            connection, queries.ROWS_BY_ID, {"venue": venue, "symbol": symbol, "first": first - 1, "last": last + 1}
        )
        for trade_id, time_us in found:
            if first <= trade_id <= last:
                rows.setdefault(trade_id, []).append(time_us)
            around.append((trade_id, time_us))
    if not around:
        return np.empty(0, np.int64)
    ids, times = np.array(around, np.int64).T
    removed: list[int] = []
    for trade_id, candidates in rows.items():
        if len(candidates) < 2:
            continue
        others = times[(ids != trade_id) & (np.abs(ids - trade_id) <= 1000)]
        middle = float(np.median(others)) if len(others) else min(candidates)
        kept = min(candidates, key=lambda time_us: abs(time_us - middle))
        for time_us in candidates:
            if time_us != kept:
                name = (venue, symbol, trade_id, time_of(time_us))
                removed += [us for (us,) in await fetch_all(connection, statements.REMOVE_ROW, name)]
    return np.array(removed, np.int64)


def _near(trades: TradeColumns) -> tuple[dt.datetime, dt.datetime]:
    low, high = time_of(int(trades.time_us.min())), time_of(int(trades.time_us.max()))
    return (low - _NEAR if low - _FIRST > _NEAR else _FIRST), (high + _NEAR if _END - high > _NEAR else _END)


async def _remove(
    connection: Connection, trades: TradeColumns, span: tuple[dt.datetime, dt.datetime]
) -> list[tuple[int, int]]:
    asked = (trades.venue, trades.symbol, *span, trades.trade_id.tolist())
    return await fetch_all(connection, statements.GIVE_WAY, asked)


async def _spans_with(connection: Connection, trades: TradeColumns) -> list[tuple[dt.datetime, dt.datetime]]:
    """Return the spans of time in which rows with these ids may lie, but for those near the trades' own times."""
    closed = await fetch_all(connection, candle_statements.READ_CLOSED)
    reached_us = {(venue, symbol): time_us for venue, symbol, time_us in closed}.get((trades.venue, trades.symbol))
    if reached_us is None:  # no candle has ever been made
        return [(_FIRST, _END)]
    ids = Ids.of_ids(trades.trade_id)
    asked = {"venue": trades.venue, "symbol": trades.symbol, "first": ids.first.tolist(), "last": ids.last.tolist()}
    spans: list[tuple[dt.datetime, dt.datetime]] = [(_FIRST, _END)]
    for interval in _LEVELS:
        length = dt.timedelta(microseconds=INTERVALS_US[interval])
        unclosed = time_of(reached_us // INTERVALS_US[interval] * INTERVALS_US[interval])
        narrower = []
        for begin, end in spans:
            if begin < unclosed:
                span = {"interval": interval, "begin": begin, "end": min(end, unclosed)}
                found = await fetch_all(connection, statements.CANDLES_WITH_IDS, asked | span)
                narrower += [(time, time + length) for (time,) in found]
            if end > unclosed:
                narrower.append((max(begin, unclosed), end))
        spans = _joined(narrower)
    near = _near(trades)
    return [
        (begin, end)
        for low, high in spans
        for begin, end in ((low, min(high, near[0])), (max(low, near[1]), high))
        if begin < end
    ]


def _joined(spans: list[tuple[dt.datetime, dt.datetime]]) -> list[tuple[dt.datetime, dt.datetime]]:
    """Put spans together that touch; they rise already."""
    if not spans:
        return []
    cuts = [0, *(n + 1 for n, (left, right) in enumerate(pairwise(spans)) if left[1] < right[0]), len(spans)]
    return [(spans[first][0], spans[end - 1][1]) for first, end in pairwise(cuts)]
