"""The table of candles, written inside the transactions that store candles or trades.

Signal closes intervals. Where no trade comes that would make it, the venue's closed minute or the clock does (`close`).
A closed candle stays as it is until a trade of it is stored that was not seen in time: repaired, or late by its own
time. Then it is made again, seconds from the trades, each longer interval from the one below, so that they agree. A
candle never loses trades: the rows of those that signal saw may not be stored yet.

Its indicators, and those of the candles after it, are then calculated again too (`rebuild.py`).
"""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, pairwise, repeat
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np

from libsignal import CandleColumns, Periods
from mesh.values.candles import INDICATORS, INTERVALS_US, Candle, ClosedCandles
from mesh.values.id_ranges import IdRanges
from mesh.values.trades import Int64s, TradeColumns, TradeGroups
from store.candles import rebuild, sql
from store.candles.rebuild import NewCandles, SeriesName
from store.database import Connection, fetch_all
from store.database.arrays import text_array, time_array
from store.database.copy_rows import COPY_HEADER, COPY_TRAILER
from store.database.times import time_of

Remade: TypeAlias = dict[SeriesName, set[dt.datetime]]
"""When the candles that have been made again begin, by series."""
TimeRange: TypeAlias = tuple[dt.datetime, dt.datetime]
"""From when on, and before when."""
Counts: TypeAlias = Mapping[int, int]
"""How many trades each second has, by when it begins (us)."""
FIRST, END = dt.datetime(1, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)
_SECOND_US = INTERVALS_US["1s"]
_INTERVALS = {length_us: interval for interval, length_us in INTERVALS_US.items()}
_NEAR_US = 60 * _SECOND_US
"""Late trades that lie no further apart share a range."""


class ClosedColumns(NamedTuple):
    """What batches of one message have closed, as `add_new` takes it.

    Attributes:
        names: venue and symbol of each batch.
        batch_candles: how many candles each batch has.
        reached_us: up to when the intervals of its symbol are closed, of each batch.
        raw_sequences: of the messages in RAW that carried their trades.
        candles: of all batches, in their order.
        rows: the same as rows of a binary COPY, the fields of each as in `sql.ADDED_COLUMNS`.

    """

    names: Sequence[tuple[str, str]]
    batch_candles: Sequence[int]
    reached_us: Sequence[int]
    raw_sequences: Sequence[int]
    candles: CandleColumns
    rows: bytes


class _Added(NamedTuple):
    """A candle that signal has closed: what is looked at once it is stored."""

    symbol: tuple[str, str]
    """Its venue, too."""
    interval: str
    time_us: int
    trades: int
    indicators: Sequence[float]
    is_warm: bool


def _not_known(_name: tuple[str, str], _begin_us: int, _end_us: int) -> None:
    return None


async def add(
    connection: Connection,
    batches: Sequence[ClosedCandles],
    periods: Periods,
    *,
    stored: Callable[[tuple[str, str], int, int], Counts | None] = _not_known,
) -> None:
    """Keep candles as signal made them, and make again those of which more trades are stored than signal saw.

    When a symbol has candles for the first time, they are also made of all its trades that are stored already.

    Args:
        connection: inside a transaction that holds the ledger's lock.
        batches: of consecutive messages.
        periods: of the indicators.
        stored: tells how many trades of a venue and symbol are stored, from one second on and before another one (us);
            None where it does not know, so that they are counted.

    """
    if not batches:
        return
    rows = [_row(batch.venue, batch.symbol, candle) for batch in batches for candle in batch.candles]
    for some in _each_once(rows):
        objects = [dict(zip(sql.ADDED_COLUMNS, row, strict=True)) for row in some]
        await connection.execute(sql.ADD, (msgspec.json.encode(objects).decode(),))
    added = []
    for batch in batches:
        for candle in batch.candles:
            indicators = msgspec.structs.astuple(candle)[: len(INDICATORS)]
            is_warm = not any(map(math.isnan, indicators))
            name = batch.venue, batch.symbol
            added.append(_Added(name, candle.interval, candle.time_us, candle.count, indicators, is_warm))
    reached = [((batch.venue, batch.symbol), batch.reached_us) for batch in batches]
    await _close_added(connection, added, reached, periods, stored)


async def add_new(
    connection: Connection,
    messages: Sequence[ClosedColumns],
    periods: Periods,
    *,
    stored: Callable[[tuple[str, str], int, int], Counts | None] = _not_known,
) -> None:
    """Keep candles none of which is there, as nearly always, and else do what `add` does, in a third of the time.

    Args:
        connection: as for `add`.
        messages: consecutive ones.
        periods: as for `add`.
        stored: as for `add`.

    Raises:
        psycopg.errors.UniqueViolation: one of them is there, or comes twice: `add` them.

    """
    async with connection.cursor().copy(sql.COPY_CANDLES) as copy:
        await copy.write(b"".join((COPY_HEADER, *(each.rows for each in messages), COPY_TRAILER)))
    added: list[_Added] = []
    for each in messages:
        candles = each.candles
        owners = chain.from_iterable(map(repeat, each.names, each.batch_candles))
        intervals = map(_INTERVALS.__getitem__, candles.interval_us)
        is_warm = np.logical_not(np.isnan(candles.indicators).any(axis=1)).tolist()
        columns = candles.start_us, candles.count, candles.indicators.tolist(), is_warm
        added += [_Added(*row) for row in zip(owners, intervals, *columns, strict=True)]
    reached = [(name, us) for each in messages for name, us in zip(each.names, each.reached_us, strict=True)]
    await _close_added(connection, added, reached, periods, stored)


async def _close_added(
    connection: Connection,
    added: Sequence[_Added],
    reached: Iterable[tuple[tuple[str, str], int]],
    periods: Periods,
    stored: Callable[[tuple[str, str], int, int], Counts | None],
) -> None:
    """Close the intervals that signal has closed, once its candles are stored."""
    latest_us: dict[tuple[str, str], int] = {}
    for name, us in reached:
        latest_us[name] = max(latest_us.get(name, 0), us)
    seen: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for candle in added:
        if candle.interval == "1s":
            seen[candle.symbol][candle.time_us] = candle.trades

    def may_lack(name: tuple[str, str], begin_us: int, end_us: int) -> bool:
        counts = stored(name, begin_us, end_us)
        if counts is None:
            return True
        known = seen[name]
        return counts != known and any(known.get(us, 0) < count for us, count in counts.items())

    await _close(connection, latest_us, periods, may_lack, revision=1)
    await rebuild.follow(connection, _new_candles(added), periods)


async def close(connection: Connection, reached: Mapping[tuple[str, str], int], periods: Periods) -> None:
    """Close the intervals that end by a time, and make their candles of the trades where these hold more.

    Args:
        connection: inside a transaction that holds the ledger's lock.
        reached: until when, in microseconds since 1970 UTC, by venue and symbol.
        periods: of the indicators.

    """
    await _close(connection, reached, periods, lambda *_: True, revision=0)


async def _close(
    connection: Connection,
    reached: Mapping[tuple[str, str], int],
    periods: Periods,
    may_lack: Callable[[tuple[str, str], int, int], bool],
    *,
    revision: int,
) -> None:
    """Close intervals as `close` does; in seconds that may not `may_lack` trades none are counted.

    `revision` is that of the candles that are new: 0 where nobody has closed them before.
    """
    known = await closed_until(connection)
    if new := reached.keys() - known.keys():
        venues, symbols = zip(*new, strict=True)
        # In one statement: at a start all symbols close their first candles in one transaction.
        firsts = await fetch_all(connection, sql.FIRST_TIMES, (text_array(venues), text_array(symbols)))
        known |= {(venue, symbol): time_us for venue, symbol, time_us in firsts}
    remade: Remade = defaultdict(set)
    closing: list[_Range] = []
    for name, reached_us in reached.items():
        from_us = known.get(name, reached_us)
        if from_us < reached_us or name not in known:
            closing.append(_Range(*name, from_us, reached_us, reached_us))
    if not closing:
        return
    await _make_lacking(connection, closing, remade, may_lack, revision=revision)
    names_and_times = (
        *(text_array(each.venue for each in closing), text_array(each.symbol for each in closing)),
        time_array([each.reached_us for each in closing]),
    )
    for n, interval, begin_us, removed in await fetch_all(connection, sql.SET_CLOSED, names_and_times):
        due = closing[n - 1]._replace(begin_us=begin_us, end_us=begin_us + INTERVALS_US[interval])
        await _make(connection, due, remade, removed=removed, only=interval)
        await connection.execute(sql.MARK_MADE, (due.venue, due.symbol, interval, time_of(begin_us)))
    await _renew_indicators(connection, remade, periods)


async def renew(
    connection: Connection,
    groups: Sequence[TradeColumns],
    periods: Periods,
    *,
    removed: Mapping[tuple[str, str], Int64s] | None = None,
    unseen: bool = False,
) -> None:
    """Make again the candles that trades just stored belong to: those that are closed now, the others when they are.

    Those that signal closes later it makes of what it saw: of trades that were removed or replaced, and not of those
    that are stored beside the stream.

    Args:
        connection: inside a transaction.
        groups: the trades just stored.
        periods: of the indicators.
        removed: the times (us) of rows just removed, by venue and symbol: their candles are made again too.
        unseen: whether signal has seen others in the place of these trades, or may have seen none.

    """
    remade: Remade = defaultdict(set)
    closed: dict[tuple[str, str], int] | None = None
    if not removed and not unseen and not await _may_be_late(connection, groups):
        return
    for (venue, symbol), time_us in (removed or {}).items():
        closed = closed or await closed_until(connection)
        reached_us = closed.get((venue, symbol), 0)
        for begin_us, end_us in late_ranges(time_us, reached_us):
            count = int(((time_us >= begin_us) & (time_us < end_us)).sum())
            late = _Range(venue, symbol, begin_us, end_us, reached_us)
            await _make(connection, late, remade, removed=count)
        await _make_when_closed(connection, venue, symbol, time_us, reached_us, removed=1)
    for trades in groups:
        if closed is None:
            closed = await closed_until(connection)
        reached_us = closed.get((trades.venue, trades.symbol), 0)
        for begin_us, end_us in late_ranges(trades.time_us, reached_us):
            late = _Range(trades.venue, trades.symbol, begin_us, end_us, reached_us)
            await _make(connection, late, remade)
        if unseen:
            await _make_when_closed(connection, trades.venue, trades.symbol, trades.time_us, reached_us, removed=0)
    await _renew_indicators(connection, remade, periods)


async def _may_be_late(connection: Connection, groups: Sequence[TradeColumns]) -> bool:
    """Return whether candles of any symbol are closed beyond some trades; nearly always none are."""
    [(latest_us,)] = await fetch_all(connection, sql.LATEST_CLOSED)
    if latest_us is None or not groups:
        return False
    return bool(TradeGroups.of(groups).trades.time_us.min() < latest_us // _SECOND_US * _SECOND_US)


def late_ranges(time_us: Int64s, reached_us: int) -> list[tuple[int, int]]:
    """Return the ranges of whole seconds that hold the late ones of some trades; nearly always none.

    Args:
        time_us: the trades' times, microseconds since 1970 UTC, shape (n,).
        reached_us: until when candles are closed: trades of earlier seconds are late.

    Returns:
        From which time on and before which, in microseconds.

    """
    closed_us = reached_us // _SECOND_US * _SECOND_US
    if not len(time_us) or time_us.min() >= closed_us:
        return []
    late = np.unique(time_us[time_us < closed_us] // _SECOND_US) * _SECOND_US
    cuts = np.flatnonzero(np.diff(late) > _NEAR_US) + 1
    return [(int(part[0]), int(part[-1]) + _SECOND_US) for part in np.split(late, cuts)]


async def _make_when_closed(
    connection: Connection, venue: str, symbol: str, time_us: Int64s, reached_us: int, *, removed: int
) -> None:
    """Write down which candles hold these times and are not closed yet; `removed` trades are gone at each time."""
    for interval, length_us in INTERVALS_US.items():
        begins, counts = np.unique(time_us // length_us, return_counts=True)
        later = (begins + 1) * length_us > reached_us
        rows = zip(begins[later].tolist(), counts[later].tolist(), strict=True)
        asked = [
            (venue, symbol, interval, time_of(begin * length_us), time_of((begin + 1) * length_us), count * removed)
            for begin, count in rows
        ]
        if asked:
            await connection.cursor().executemany(sql.MAKE_WHEN_CLOSED, asked)


async def closed_until(connection: Connection) -> dict[tuple[str, str], int]:
    """Return by (venue, symbol) until when its candles are closed, in microseconds since 1970 UTC."""
    return {(venue, symbol): time_us for venue, symbol, time_us in await fetch_all(connection, sql.READ_CLOSED)}


# Rows by their ids
#
# Rows are found by time, as the index of `trades` is, and an id says nothing of its time when that is wrong. The
# candles know: each has the first and the last id of its trades. So the days in which an id may be are looked up, then
# their hours, then their minutes; what is not closed, and has no candle yet, may hold any.


async def times_of(connection: Connection, venue: str, symbol: str, ids: IdRanges) -> list[TimeRange]:
    """Return when trades with some ids may have happened, as far as the candles tell; the ranges rise.

    Args:
        connection: any.
        venue: the venue.
        symbol: the symbol.
        ids: the ids looked for, as keys (`mesh/values/epochs.py`).

    """
    closed_us = (await closed_until(connection)).get((venue, symbol))
    ranges = [(FIRST, END)]
    if closed_us is None:  # no candle has ever been made
        return ranges
    asked: dict[str, Any] = {"venue": venue, "symbol": symbol}
    asked |= {"first": ids.first.tolist(), "last": ids.last.tolist()}
    for interval in ("1d", "1h", "1m"):
        length = dt.timedelta(microseconds=INTERVALS_US[interval])
        unclosed = time_of(closed_us // INTERVALS_US[interval] * INTERVALS_US[interval])
        narrower = []
        for begin, end in ranges:
            if begin < unclosed:
                within = {"interval": interval, "begin": begin, "end": min(end, unclosed)}
                times = await fetch_all(connection, sql.WITH_IDS, asked | within)
                narrower += [(time, time + length) for (time,) in times]
            if end > unclosed:
                narrower.append((max(begin, unclosed), end))
        ranges = _joined(narrower)
    return ranges


def _joined(ranges: list[TimeRange]) -> list[TimeRange]:
    """Put ranges together that touch; they rise already."""
    if not ranges:
        return []
    cuts = [0, *(n + 1 for n, (left, right) in enumerate(pairwise(ranges)) if left[1] < right[0]), len(ranges)]
    return [(ranges[first][0], ranges[end - 1][1]) for first, end in pairwise(cuts)]


class _Range(NamedTuple):
    """Which candles of a symbol to make again: the closed ones that overlap a time range. Times in microseconds."""

    venue: str
    symbol: str
    begin_us: int
    end_us: int
    reached_us: int
    """Until when its candles are closed."""

    def of(self, length_us: int) -> _Range | None:
        """Return the whole candles of some length that overlap it, None when no closed one does."""
        begin_us = self.begin_us // length_us * length_us
        end_us = min(-(-self.end_us // length_us), self.reached_us // length_us) * length_us
        return self._replace(begin_us=begin_us, end_us=end_us) if begin_us < end_us else None


async def _make_lacking(
    connection: Connection,
    ranges: Sequence[_Range],
    remade: Remade,
    may_lack: Callable[[tuple[str, str], int, int], bool],
    *,
    revision: int,
) -> None:
    """Make again the closed candles of ranges where these hold fewer trades than are stored; add them to `remade`.

    However many ranges there are, it nearly always takes one statement an interval, and none for seconds.
    """
    for lower, interval in pairwise(["", *INTERVALS_US]):
        length_us = INTERVALS_US[interval]
        # Looked at before one is made: nearly always all of seconds are known, and none of the other intervals ends.
        closing = [each for each in ranges if each.begin_us // length_us < each.reached_us // length_us]
        if not lower:
            closing = [
                each
                for each in closing
                if may_lack(each[:2], each.begin_us // length_us * length_us, each.reached_us // length_us * length_us)
            ]
        whole = [each for each in (one.of(length_us) for one in closing) if each is not None]
        if not whole:
            continue
        asked = _asked(whole, interval, lower) | {"revision": revision}
        if lower:
            await _from_candles(connection, asked, remade)
            continue
        wanted: dict[int, list[dt.datetime]] = defaultdict(list)
        for n, begins in await fetch_all(connection, sql.LACKING, asked):
            wanted[n - 1].append(begins)
        for n, begins in wanted.items():
            await _from_trades(connection, whole[n], interval, remade, wanted=begins, revision=revision)


async def _make(
    connection: Connection, time_range: _Range, remade: Remade, *, removed: int = 0, only: str = ""
) -> None:
    """Make again the closed candles that overlap a time range, shorter intervals first; add what changes to `remade`.

    `only` names one interval to make; the ones below are as they should be.

    The rows of `removed` trades are gone: a candle may hold so many fewer, and one that holds none is removed.
    """
    for lower, interval in pairwise(["", *INTERVALS_US]):
        whole = time_range.of(INTERVALS_US[interval])
        if only not in ("", interval) or whole is None:
            continue
        if removed:
            empty = await fetch_all(connection, sql.FORGET_EMPTY, _one(whole, interval, lower, removed))
            remade[SeriesName(whole.venue, whole.symbol, interval)].update(time for (time,) in empty)
        if lower:
            await _from_candles(connection, _asked([whole], interval, lower, removed), remade)
        else:
            await _from_trades(connection, whole, interval, remade, removed=removed)


async def _from_trades(
    connection: Connection,
    whole: _Range,
    interval: str,
    remade: Remade,
    *,
    wanted: list[dt.datetime] | None = None,
    removed: int = 0,
    revision: int = 1,
) -> None:
    asked = _one(whole, interval, "", removed) | {"wanted": wanted, "revision": revision}
    _note(remade, interval, await fetch_all(connection, sql.FROM_TRADES, asked))


async def _from_candles(connection: Connection, asked: dict[str, Any], remade: Remade) -> None:
    _note(remade, asked["interval"], await fetch_all(connection, sql.FROM_CANDLES, asked))


def _note(remade: Remade, interval: str, changed: Iterable[tuple[str, str, dt.datetime]]) -> None:
    for venue, symbol, time in changed:
        remade[SeriesName(venue, symbol, interval)].add(time)


def _one(whole: _Range, interval: str, lower: str, removed: int) -> dict[str, Any]:
    """Return what a statement about one range asks for."""
    asked = _of_interval(interval, lower, removed) | {"venue": whole.venue, "symbol": whole.symbol}
    return asked | {"begin": time_of(whole.begin_us), "end": time_of(whole.end_us)}


def _asked(ranges: Sequence[_Range], interval: str, lower: str, removed: int = 0) -> dict[str, Any]:
    """Return what a statement about many ranges asks for."""
    begins, ends = [each.begin_us for each in ranges], [each.end_us for each in ranges]
    asked = _of_interval(interval, lower, removed) | {"begins": time_array(begins), "ends": time_array(ends)}
    asked |= {
        "venues": text_array(each.venue for each in ranges),
        "symbols": text_array(each.symbol for each in ranges),
    }
    return asked | {"low": time_of(min(begins)), "high": time_of(max(ends)), "revision": 1}


def _of_interval(interval: str, lower: str, removed: int) -> dict[str, Any]:
    length = dt.timedelta(microseconds=INTERVALS_US[interval])
    return {"interval": interval, "lower": lower, "length": length, "removed": removed}


async def _renew_indicators(connection: Connection, remade: Remade, periods: Periods) -> None:
    for name, times in remade.items():
        await rebuild.renew(connection, name, times, periods)


def _new_candles(added: Sequence[_Added]) -> dict[SeriesName, NewCandles]:
    by_series: dict[tuple[tuple[str, str], str], list[_Added]] = defaultdict(list)
    for candle in added:
        by_series[candle.symbol, candle.interval].append(candle)
    new = {}
    for (symbol, interval), candles in by_series.items():
        rising = candles
        if len(candles) > 1:  # of one that comes twice the last counts
            by_time = {candle.time_us: candle for candle in candles}
            rising = [by_time[time_us] for time_us in sorted(by_time)]
        first, indicators = rising[0], [candle.indicators for candle in rising]
        new[SeriesName(*symbol, interval)] = NewCandles(first.time_us, indicators, first.is_warm)
    return new


def _each_once(rows: Iterable[tuple[Any, ...]]) -> list[list[tuple[Any, ...]]]:
    """Return rows in groups that hold each candle once, those of one candle in their order; nearly always one group."""
    seen: dict[tuple[Any, ...], int] = defaultdict(int)
    groups: list[list[tuple[Any, ...]]] = []
    for row in rows:
        name = row[:4]
        if seen[name] == len(groups):
            groups.append([])
        groups[seen[name]].append(row)
        seen[name] += 1
    return groups


def _row(venue: str, symbol: str, candle: Candle) -> tuple[object, ...]:
    prices = (candle.open_e8, candle.high_e8, candle.low_e8, candle.close_e8)
    return (
        *(venue, symbol, candle.interval, time_of(candle.time_us)),
        *(_numeric(price, 8) for price in prices),
        *(_numeric(candle.volume_e8, 8), _numeric(candle.quote_volume_e16, 16)),
        *(_numeric(candle.taker_buy_volume_e8, 8), candle.count, candle.first_trade_id, candle.last_trade_id),
        candle.revision,
        *(getattr(candle, name) for name in INDICATORS),  # NaN is null in JSON
    )


def _numeric(value: int, decimals: int) -> str:
    """Write all decimals, as a numeric made of the trades' own has them."""
    sign, digits = "-" if value < 0 else "", str(abs(value)).rjust(decimals + 1, "0")
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"
