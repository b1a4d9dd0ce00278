"""The indicators of stored candles, calculated again after candles that were made again.

The indicators of a candle follow from those of the candle before. So a change goes on through the candles after it
until these are what they were, to the last bit: with the default periods some 700 candles later, when the averages have
forgotten it, and at most up to the newest. A thousand candles are read at a time. The revision of every candle whose
indicators change rises by one.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import msgspec
import numpy as np

from libsignal import CandleSeries, Periods, close_each
from mesh.values.candles import Indicators
from store.candles import sql
from store.database import Connection, fetch_all
from store.database.arrays import text_array, time_array
from store.database.times import time_of

_BATCH = 1000
_SHORT = 64
"""Candles: with the default periods a series is warm after 34."""


class SeriesName(NamedTuple):
    """Which series of candles: of which venue and symbol, and of which interval, such as `1m`."""

    venue: str
    symbol: str
    interval: str


class NewCandles(NamedTuple):
    """Signal's new candles of a series.

    Attributes:
        first_us: when the first of them begins, in microseconds since 1970 UTC.
        indicators: what signal gives each of them, in the order of INDICATORS; they rise in time.
        is_warm: whether the first one has all its indicators.

    """

    first_us: int
    indicators: Sequence[Sequence[float]]
    is_warm: bool


async def follow(connection: Connection, new: Mapping[SeriesName, NewCandles], periods: Periods) -> None:
    """Calculate the indicators of signal's new candles again where the stored candles know more than signal did.

    They do after a candle that was made again; and where signal has forgotten what is stored: its state was lost, or
    started anew with other periods.

    Args:
        connection: inside a transaction.
        new: of each series; they are stored already.
        periods: of the indicators.

    """
    if not new:
        return
    columns = [*map(text_array, zip(*new, strict=True)), time_array([each.first_us for each in new.values()])]
    rows = await fetch_all(connection, sql.LAST_BEFORE, columns)
    names = list(new)
    not_warm: dict[SeriesName, NewCandles] = {}
    for n, revision, warm_before in rows:
        candles = new[names[n - 1]]
        if revision and warm_before:
            await _renew(connection, names[n - 1], time_of(candles.first_us), frozenset(), periods)
        elif not (warm_before and candles.is_warm):
            not_warm[names[n - 1]] = candles
    for name in await _differing(connection, not_warm, periods):
        await _renew(connection, name, time_of(not_warm[name].first_us), frozenset(), periods, anew=True)


async def renew(connection: Connection, name: SeriesName, made: Set[dt.datetime], periods: Periods) -> None:
    """Calculate the indicators of candles that have just been made again, and of those after them.

    Args:
        connection: inside a transaction.
        name: of the series.
        made: when the candles begin that were made again.
        periods: of the indicators.

    """
    if made:
        await _renew(connection, name, min(made), made, periods)


async def _differing(
    connection: Connection, new: Mapping[SeriesName, NewCandles], periods: Periods
) -> list[SeriesName]:
    """Return the series whose new candles may have other indicators than those before them give.

    One statement reads all of them, as far as they are short. A series that is not warm nearly always is, and then
    signal knew all of it: at the start of many symbols each has such candles every second.
    """
    if not new:
        return []
    names = list(new)
    rows = await fetch_all(connection, sql.NEWEST_PRICES, [*map(text_array, zip(*new, strict=True)), _SHORT])
    numbers, counts, prices = zip(*rows, strict=True)
    # The newest first; read from the end, everything is in the order of time.
    close_e8, low_e8, high_e8 = np.fromstring(",".join(prices[::-1]), np.int64, sep=",")[::-1].reshape(-1, 3).T
    now = close_each(periods, counts, high_e8, low_e8, close_e8)
    names = [names[n - 1] for n in numbers]
    lengths = [len(new[name].indicators) for name in names]
    differing = [count == _SHORT or length > count for length, count in zip(lengths, counts, strict=True)]
    # The last candles of each series are the new ones, all of them compared at once. What is not warm now stays as
    # signal made it, as in `_kept`.
    signals = np.array([values for name in names for values in new[name].indicators])
    rows_before = np.repeat(np.cumsum(counts) - np.cumsum(lengths), lengths)
    to_be = now[np.maximum(np.arange(len(signals)) + rows_before, 0)]
    for n in np.repeat(np.arange(len(names)), lengths)[((to_be != signals) & ~np.isnan(to_be)).any(axis=1)].tolist():
        differing[n] = True
    return [name for name, differs in zip(names, differing, strict=True) if differs]


async def _renew(
    connection: Connection,
    name: SeriesName,
    first: dt.datetime,
    made: Set[dt.datetime],
    periods: Periods,
    *,
    anew: bool = False,
) -> None:
    series = await _series_before(connection, name, first, periods, anew=anew)
    last = max(made, default=first)
    # So long that the moving average of an unchanged batch's last candle has seen no other candles.
    limit = max(_BATCH, periods.candle_sma_period)
    while True:
        asked = name._asdict() | {"time": first, "limit": limit}
        rows = await fetch_all(connection, sql.READ_FROM, asked)
        changed = []
        kept: list[float | None] = []
        for row, indicators in zip(rows, _close(series, rows), strict=True):
            time, _, _, _, *values = row
            kept = _kept(values, msgspec.structs.astuple(indicators))
            if kept != values:
                changed.append((time, int(time not in made), *kept))
        if changed:
            columns = map(list, zip(*changed, strict=True))
            which = (*name, changed[0][0], changed[-1][0])
            await connection.execute(sql.SET_INDICATORS, (*columns, *which))
        if len(rows) < limit or (not changed and None not in kept and rows[0][0] > last):
            return
        first = rows[-1][0] + dt.timedelta(microseconds=1)


async def _series_before(
    connection: Connection, name: SeriesName, first: dt.datetime, periods: Periods, *, anew: bool
) -> CandleSeries:
    """Return the series before `first`: resumed from a candle, or started so far back that it makes no difference."""
    series = CandleSeries(periods)
    if not anew:
        rows = await _read_before(connection, name, first, limit=periods.candle_sma_period)
        if rows and series.resume(_indicators(rows[-1][4:]), [close_e8 for _, _, _, close_e8, *_ in rows]):
            return series
    _close(series, await _read_before(connection, name, first, limit=periods.memory))
    return series


def _close(series: CandleSeries, rows: Sequence[Any]) -> list[Indicators]:
    """Take in candles as `sql.READ_FROM` gives them, and return the indicators after each."""
    _, high_e8, low_e8, close_e8, *_ = zip(*rows, strict=True) if rows else ((), (), (), ())
    return series.close(high_e8, low_e8, close_e8)


def _kept(stored: Sequence[float | None], now: Iterable[float]) -> list[float | None]:
    """Return what a candle's indicators are to be: where signal knew more candles than are stored, they stay."""
    return [old if math.isnan(new) else new for new, old in zip(now, stored, strict=True)]


async def _read_before(connection: Connection, name: SeriesName, first: dt.datetime, *, limit: int) -> list[Any]:
    asked = name._asdict() | {"time": first, "limit": limit}
    return (await fetch_all(connection, sql.READ_BEFORE, asked))[::-1]


def _indicators(values: Sequence[float | None]) -> Indicators:
    return Indicators(*(math.nan if value is None else value for value in values))
