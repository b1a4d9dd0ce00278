"""The venue's minutes, held against the stored trades until they agree.

A minute is compared once all its ids are stored or known to be absent. One that does not agree has its trades asked for
again, once: until they come, the ledger counts them as missing, while their rows stay where they are.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import psycopg

from mesh.service.errors import NotReady
from mesh.values import epochs
from store import metrics
from store.database.connection import Connection, Database, fetch_all
from store.database.errors import Reaction, first_line, reaction
from store.intake.trades import Intake
from store.intake.writer import Writer
from store.ledger import minute_rows
from store.ledger.minutes import Minute, Sums, difference
from store.ledger.ranges import NOTHING, Ids
from store.queries import sql

log = logging.getLogger("store.minute_judge")

_POLL_S = 0.5
_AGAIN_S = 30.0
_HALF = 250
"""Minutes compared in one go: so many of the newest, and so many of the others in turn."""
_FIRST: dict[str, Any] = {"time": dt.datetime(1, 1, 1, tzinfo=dt.UTC), "venue": "", "symbol": ""}
_GRACE_S = 10.0
"""Trades that a minute knows and nobody has brought are missing after this long."""


class MinuteJudge:
    """Compares minutes with the stored trades.

    Args:
        database: where the minutes and the trades are.
        writer: corrects the ledger.
        intake: tells whether RAW is stored to its end.
        give_up: see `Database.write`.

    """

    def __init__(self, database: Database, writer: Writer, intake: Intake, *, give_up: Callable[[], bool]) -> None:
        self._database = database
        self._writer = writer
        self._intake = intake
        self._give_up = give_up
        self._looked_at = _FIRST

    async def run(self) -> None:
        """Compare minutes with the stored trades, for ever."""
        while True:
            try:
                await self._look()
            except NotReady as exc:
                log.debug("not comparing minutes: %s", exc)
            except psycopg.Error as exc:  # no reason to stop storing: minutes are kept, and compared when they can be
                log.error("minutes are not compared, trying again in %g s: %s", _AGAIN_S, first_line(exc))
                await asyncio.sleep(_AGAIN_S)
            await asyncio.sleep(_POLL_S)

    async def _look(self) -> None:
        """Compare the newest minutes, and some of the others in turn."""
        async with self._database.reading(own=True) as connection:
            rows = await fetch_all(connection, sql.PENDING_MINUTES, {"limit": _HALF, **self._looked_at})
        in_turn = [row for row in rows if row[0]]
        looked_at = _FIRST
        if len(in_turn) == _HALF:
            _, venue, symbol, time, *_ = in_turn[-1]
            looked_at = {"time": time, "venue": venue, "symbol": symbol}
        failed: psycopg.Error | None = None
        for _, venue, symbol, time, first, last, *sums, repairs, age_s in {row[1:4]: row for row in rows}.values():
            minute = Minute(venue, symbol, time, first, last, Sums(*map(int, sums)))
            try:
                await self._judge(minute, repairs=repairs, overdue=age_s > _GRACE_S)
            except psycopg.Error as exc:  # the others are compared all the same
                failed = exc
                if reaction(exc) is Reaction.END:
                    break
        self._looked_at = looked_at
        if failed is not None:
            raise failed

    async def _judge(self, minute: Minute, *, repairs: int, overdue: bool) -> None:
        name = {"venue": minute.venue, "symbol": minute.symbol}
        span = {"low": minute.first_trade_id, "high": minute.last_trade_id}
        async with self._database.reading(own=True) as connection, connection.transaction():
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            [(first_stored, last_stored)] = await fetch_all(connection, sql.STORED_ENDS, name)
            ledger = await fetch_all(connection, sql.LEDGER_WITHIN, name | span)
            asked = {"time": minute.time, "first": minute.first_trade_id, "last": minute.last_trade_id}
            [sums] = await fetch_all(connection, sql.MINUTE_SUMS, name | asked)
        whole = Ids.of_ranges([(minute.first_trade_id, minute.last_trade_id)]) if minute.sums.trade_count else NOTHING
        settled, missing = (
            Ids.of_ranges((first, last) for kind, first, last in ledger if (kind == "OPEN") == is_open) & whole
            for is_open in (False, True)
        )
        unheard = whole - settled - missing
        is_past = bool(whole) and epochs.epoch_of(minute.last_trade_id) < epochs.epoch_of(last_stored or 0)
        if first_stored is None or (whole and minute.first_trade_id < first_stored):
            if overdue:  # it began before the first trade of this symbol was stored: there is nothing to compare
                await self._write(partial(minute_rows.forget, minute=minute))
        elif not unheard and not missing:
            # Nobody can be asked for trades of an epoch that is over: they stay as they are.
            again = NOTHING if is_past else whole
            await self._settle(minute, difference(minute, Sums(*map(int, sums))), repairs=repairs, again=again)
        elif is_past and unheard and overdue:
            words = "%s %s %s is told in an epoch that is over, with ids nobody brought, and not compared: %s"
            log.error(words, minute.venue, minute.symbol, minute.time, list(unheard))
            await self._write(partial(minute_rows.forget, minute=minute))
        elif unheard and overdue and not self._intake.pending:
            log.error("%s %s: the venue has traded ids nobody brought: %s", minute.venue, minute.symbol, list(unheard))
            await self._writer.correct(minute.venue, minute.symbol, unheard=unheard)

    async def _settle(self, minute: Minute, differs: str, *, repairs: int, again: Ids) -> None:
        state = "MISMATCH" if differs else "VERIFIED"
        metrics.MINUTES.labels(state).inc()
        if differs:
            log.error("%s %s %s does not agree: %s", minute.venue, minute.symbol, minute.time, differs)
            if again and not repairs:
                await self._writer.correct(minute.venue, minute.symbol, lost=again)
            repairs = 1 if again and not repairs else 2
        await self._write(partial(minute_rows.settle, minute=minute, state=state, difference=differs, repairs=repairs))

    async def _write(self, work: Callable[[Connection], Awaitable[None]]) -> None:
        await self._database.write(work, give_up=self._give_up)
