"""Retention: after so many whole days a trade is removed, and with it what is kept only because of it.

That are its second's candle, its minute, and its place in the ledger, where its id stays as EXPIRED: everything the
venue issued is still accounted for, and nobody asks for it again. Longer candles stay. A step is one transaction, small
enough that trades which come meanwhile hardly wait: ten minutes, or a day where TimescaleDB drops whole chunks.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import psycopg

from mesh.bus.partitions import partitions
from mesh.service.logs import LogThrottle
from mesh.values.trades import Int64s
from store import metrics
from store.database import Connection, Database, fetch_all
from store.database.errors import first_line
from store.database.times import UNIX_EPOCH
from store.ledger import rows
from store.retention import sql

log = logging.getLogger("store.retention.policy")

LOOK_EVERY_S = 600.0
_STEP, _DAY = dt.timedelta(minutes=10), dt.timedelta(days=1)


class Retention:
    """Removes what is too old.

    Args:
        database: where it is.
        days: how many whole days before the newest trade's, by UTC, are kept.

    """

    def __init__(self, database: Database, days: int) -> None:
        self._database = database
        self._days = days

    async def run(self) -> None:
        """Remove what has become too old, now and every LOOK_EVERY_S seconds, for ever."""
        while True:
            try:
                await self.remove(now=dt.datetime.now(dt.UTC))
            except psycopg.Error as exc:  # no reason to stop storing: what is too old is removed when it can be
                log.error("nothing is removed, trying again in %g s: %s", LOOK_EVERY_S, first_line(exc))
            await asyncio.sleep(LOOK_EVERY_S)

    async def remove(self, *, now: dt.datetime) -> None:
        """Remove what is too old by both this machine's clock and the newest trade: one of them may be far ahead.

        Args:
            now: the time by this machine's clock.

        Raises:
            psycopg.Error, NotReady: see `Database.write`.

        """
        newest = await self._database.write(_newest)
        if newest is not None:
            await self.remove_before(first_kept(min(now, newest), self._days))

    async def remove_before(self, end: dt.datetime) -> None:
        """Remove all that happened before a time, the oldest first, step by step.

        Args:
            end: the time.

        Raises:
            psycopg.Error, NotReady: see `Database.write`.

        """
        removed, clock, log_throttle = 0, asyncio.get_running_loop().time, LogThrottle()

        async def step(connection: Connection) -> tuple[dt.datetime, int] | None:
            await rows.lock(connection, partitions(self._database.partitions))
            return await _step(connection, end)

        log_throttle.due(clock())
        while (done := await self._database.write(step, lift_limits=True)) is not None:
            reached, expired = done
            removed += expired
            metrics.EXPIRED.inc(expired)
            if log_throttle.due(clock()):
                log.info("removing what is older than %s: %d trades, up to %s", end, removed, reached)
        if removed:
            log.info("removed %d trades older than %s", removed, end)


def first_kept(now: dt.datetime, days: int) -> dt.datetime:
    """Return when the first day begins that is kept: no candle of any interval lies on both sides of that time.

    Args:
        now: the time now.
        days: how many whole days before today, by UTC, are kept.

    """
    return _floor(now, _DAY) - days * _DAY


def step_end(oldest: dt.datetime, end: dt.datetime, length: dt.timedelta) -> dt.datetime:
    """Return up to when to remove in the step that begins with the oldest trade.

    Args:
        oldest: its time.
        end: nothing at this time or later is removed.
        length: of a step; steps begin at its multiples since 1970.

    """
    return min(_floor(oldest, length) + length, end)


def last_expired(old: Int64s, kept: Int64s) -> int | None:
    """Return up to which id to expire, None for no id: the cut that leaves the fewest ids on its wrong side.

    Ids and times rise together, so nearly always every old id lies below every kept one, and the highest old one is the
    cut. A few trades with an odd time, too early or too late, are outvoted by their neighbours.

    Args:
        old: ids of trades that are removed because of their time, shape (n,), in any order.
        kept: ids of trades that stay, and happened so much later that their ids should be higher, shape (m,).

    """
    old, kept = np.sort(old), np.sort(kept)
    wrong = np.arange(len(old))[::-1] + np.searchsorted(kept, old, side="right")
    if not len(old) or wrong.min() >= len(old):
        return None
    return int(old[wrong.argmin()])


def _floor(time: dt.datetime, length: dt.timedelta) -> dt.datetime:
    return time - (time - UNIX_EPOCH) % length


async def _newest(connection: Connection) -> dt.datetime | None:
    names = await rows.names(connection)
    return max(await _times(connection, sql.NEWEST, names), default=None)


async def _times(connection: Connection, statement: str, names: Sequence[Sequence[str]]) -> list[dt.datetime]:
    return [time for name in names for (time,) in await fetch_all(connection, statement, name)]


async def _step(connection: Connection, end: dt.datetime) -> tuple[dt.datetime, int] | None:
    """Remove the oldest trades before `end`; return up to when, and how many; None when there are none."""
    names = await rows.names(connection)
    oldest = await _times(connection, sql.OLDEST, names)
    if not oldest or min(oldest) >= end:
        return None
    in_chunks = await _in_chunks(connection)
    reached = step_end(min(oldest), end, _DAY if in_chunks else _STEP)
    cuts = [
        cut
        for venue, symbol in names
        if (cut := await _cut(connection, {"venue": venue, "symbol": symbol, "before": reached}))
    ]
    if in_chunks:
        await connection.execute(sql.DROP_CHUNKS, (reached,))
    return reached, sum([await _remove(connection, cut) for cut in cuts])


async def _cut(connection: Connection, asked: dict[str, Any]) -> dict[str, Any] | None:
    """Return what to remove of a symbol, None when nothing of it is older."""
    old = await _ids(connection, sql.OLD_IDS, asked)
    if not len(old):
        return None
    last = last_expired(old, await _ids(connection, sql.KEPT_IDS, asked))
    # What was removed and came again is removed up to where the removed ids end.
    [(expired,)] = await fetch_all(connection, sql.EXPIRED_UP_TO, asked)
    return asked | {"last": max((each for each in (last, expired) if each is not None), default=None)}


async def _ids(connection: Connection, statement: str, asked: dict[str, Any]) -> Int64s:
    return np.array([trade_id for (trade_id,) in await fetch_all(connection, statement, asked)], np.int64)


async def _in_chunks(connection: Connection) -> bool:
    [(has_timescale,)] = await fetch_all(connection, sql.HAS_TIMESCALE)
    return bool(has_timescale and (await fetch_all(connection, sql.IN_CHUNKS))[0][0])


async def _remove(connection: Connection, cut: dict[str, Any]) -> int:
    for statement in sql.REMOVE:
        await connection.execute(statement, cut)
    if cut["last"] is None:  # trades with odd times only: the next audit of the ledger finds them missing
        return 0
    stored = await fetch_all(connection, sql.EXPIRE_STORED, cut)
    ends = {"firsts": [first for first, _, _ in stored], "lasts": [last for _, last, _ in stored]}
    await connection.execute(sql.EXPIRE_HOLES, cut | ends)
    return sum(int(expired) for _, _, expired in stored)
