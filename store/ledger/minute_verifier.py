"""The venue's minutes, compared with the stored trades until they agree.

A minute is compared once all its ids are stored or known to be absent. One that does not agree has its trades requested
again, once: until they come, the ledger counts them as missing, while their rows stay where they are.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import psycopg

from mesh.service.errors import NotReady
from mesh.values import epochs
from mesh.values.id_ranges import NO_IDS, IdRanges
from store import metrics
from store.database import Connection, Database, fetch_all
from store.database.errors import ErrorReaction, first_line, reaction
from store.ledger import rows, sql
from store.ledger.minutes import MinuteTotals, VenueMinute, difference
from store.ledger.writer import LedgerWriter

log = logging.getLogger("store.ledger.minute_verifier")

_POLL_S = 0.5
_IDLE_POLL_S = 2.0
"""How often to look while no minute waits; the venue closes one a minute."""
_AGAIN_S = 30.0
_HALF = 250
"""Minutes compared in one go: so many of the newest, and so many of the others in turn."""
_TOGETHER = 50
"""Of so many minutes at most one statement asks whether they agree."""
_FIRST: dict[str, Any] = {"time": dt.datetime(1, 1, 1, tzinfo=dt.UTC), "venue": "", "symbol": ""}
_GRACE_S = 10.0
"""Trades that a minute counts and that have not been received are missing after this long."""


class MinuteVerifier:
    """Compares minutes with the stored trades.

    Args:
        database: where the minutes and the trades are.
        ledger: corrects the ledger.
        pending: returns how many messages of RAW are not stored yet.
        holds: tells whether this instance stores the trades of a venue's symbol; another one compares the others'.

    """

    def __init__(
        self,
        database: Database,
        ledger: LedgerWriter,
        pending: Callable[[], int],
        holds: Callable[[str, str], bool] = lambda *_: True,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._pending = pending
        self._holds = holds
        self._compared_to = _FIRST

    async def run(self) -> None:
        """Compare minutes with the stored trades, for ever."""
        while True:
            any_wait = True
            try:
                any_wait = await self._compare_some()
            except NotReady as exc:
                log.debug("not comparing minutes: %s", exc)
            except psycopg.Error as exc:  # no reason to stop storing: minutes are kept, and compared when they can be
                log.error("minutes are not compared, trying again in %g s: %s", _AGAIN_S, first_line(exc))
                await asyncio.sleep(_AGAIN_S)
            await asyncio.sleep(_POLL_S if any_wait else _IDLE_POLL_S)

    async def _compare_some(self) -> bool:
        """Compare the newest minutes, and some of the others in turn; return whether there were any."""
        async with self._database.reading(internal=True) as connection:
            pending = await fetch_all(connection, sql.PENDING_MINUTES, {"limit": _HALF, **self._compared_to})
        in_turn = [row for row in pending if row[0]]
        compared_to = _FIRST
        if len(in_turn) == _HALF:
            _, venue, symbol, time, *_ = in_turn[-1]
            compared_to = {"time": time, "venue": venue, "symbol": symbol}
        failed: psycopg.Error | None = None
        waiting = [
            (VenueMinute(venue, symbol, time, first, last, MinuteTotals(*map(int, totals))), repairs, age_s)
            for _, venue, symbol, time, first, last, *totals, repairs, age_s in {
                row[1:4]: row for row in pending
            }.values()
            if self._holds(venue, symbol)
        ]
        agreed = await self._settle_agreeing([minute for minute, *_ in waiting if minute.totals.trade_count])
        for minute, repairs, age_s in waiting:
            if (minute.venue, minute.symbol, minute.time) in agreed:
                continue
            try:
                await self._compare(minute, repairs=repairs, overdue=age_s > _GRACE_S)
            except psycopg.Error as exc:  # the others are compared all the same
                failed = exc
                if reaction(exc) is ErrorReaction.END:
                    break
        self._compared_to = compared_to
        if failed is not None:
            raise failed
        return bool(pending)

    async def _settle_agreeing(self, minutes: Sequence[VenueMinute]) -> set[tuple[str, str, dt.datetime]]:
        """Keep of minutes that they agree, as nearly all do, and return which; `_compare` looks at each other one.

        With 300 symbols, 300 minutes end together: one by one, each took eight questions of the database.
        """
        agreed: set[tuple[str, str, dt.datetime]] = set()
        for first in range(0, len(minutes), _TOGETHER):
            some = minutes[first : first + _TOGETHER]
            try:
                agreed |= await self._database.write(partial(rows.settle_agreeing, minutes=some))
            except psycopg.Error as exc:  # of which of them that is, `_compare` finds out
                if reaction(exc) is ErrorReaction.END:
                    raise
        metrics.MINUTES.labels("VERIFIED").inc(len(agreed))
        return agreed

    async def _compare(self, minute: VenueMinute, *, repairs: int, overdue: bool) -> None:
        name = {"venue": minute.venue, "symbol": minute.symbol}
        within = {"low": minute.first_trade_id, "high": minute.last_trade_id}
        whole, totals = NO_IDS, None
        if minute.totals.trade_count:
            whole = IdRanges.of(minute.first_trade_id, minute.last_trade_id)
        async with self._database.reading(internal=True) as connection, connection.transaction():
            ends = await rows.stored_ends(connection, minute.venue, minute.symbol)
            ledger = await fetch_all(connection, sql.LEDGER_WITHIN, name | within)
            settled, missing = (
                IdRanges.from_pairs((first, last) for kind, first, last in ledger if (kind == "OPEN") == is_open)
                & whole
                for is_open in (False, True)
            )
            unknown = whole - settled - missing
            if not unknown and not missing:
                # Of one that waits for some of its rows the others are not read each time it is looked at.
                asked = {"time": minute.time, "first": minute.first_trade_id, "last": minute.last_trade_id}
                [totals] = await fetch_all(connection, sql.MINUTE_TOTALS, name | asked)
        newest_epoch = epochs.epoch_of(ends.last_id) if ends else 0
        is_past = bool(whole) and epochs.epoch_of(minute.last_trade_id) < newest_epoch
        if ends is None or (whole and minute.first_trade_id < ends.first_id):
            if overdue:  # it began before the first trade of this symbol was stored: there is nothing to compare
                await self._database.write(partial(rows.remove_minute, minute=minute))
        elif totals is not None:
            # Trades of an epoch that is over cannot be requested from anybody: they stay as they are.
            again = NO_IDS if is_past else whole
            differs = difference(minute, MinuteTotals(*map(int, totals)))
            await self._settle(minute, differs, repairs=repairs, again=again)
        elif is_past and unknown and overdue:
            log.error(
                "%s %s %s is of an epoch that is over, holds ids that were never received, and is not compared: %s",
                *(minute.venue, minute.symbol, minute.time, list(map(tuple, unknown))),
            )
            metrics.MINUTES.labels("FORGOTTEN").inc()
            await self._database.write(partial(rows.remove_minute, minute=minute))
        elif unknown and overdue and not self._pending():
            log.error(
                "%s %s: the venue has traded ids that were never received: %s",
                *(minute.venue, minute.symbol, list(map(tuple, unknown))),
            )
            await self._ledger.correct(minute.venue, minute.symbol, issued=unknown)

    async def _settle(self, minute: VenueMinute, differs: str, *, repairs: int, again: IdRanges) -> None:
        state = "MISMATCH" if differs else "VERIFIED"
        metrics.MINUTES.labels(state).inc()
        if differs:
            log.error("%s %s %s does not agree: %s", minute.venue, minute.symbol, minute.time, differs)
            if again and not repairs:
                await self._ledger.correct(minute.venue, minute.symbol, lost=again)
            repairs = 1 if again and not repairs else 2

        async def work(connection: Connection) -> None:
            await rows.settle_minute(connection, minute, state, differs, repairs=repairs)

        await self._database.write(work)
