"""The venue's candles: taken in from the stream CANDLES, and held against the stored trades until they agree.

A minute is compared once all its ids are stored or known to be absent. One that does not agree has its trades asked for
again, once: until they come, the ledger counts them as missing, while their rows stay where they are.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

import psycopg

from mesh import control, subjects
from mesh.bus import Bus
from mesh.errors import BadMessage, NotReady
from mesh.message import Message
from mesh.reader import Reader, StreamReplacedError
from store import metrics, queries
from store.batch import Taken
from store.db import Database, fetch_all
from store.dead import DeadLetters
from store.intake import Intake
from store.ledger import NOTHING, Ids
from store.minute_rows import MinuteRows
from store.minutes import Minute, Sums, difference, read
from store.outage import first_line
from store.position import Position, begin
from store.streams import existing
from store.writer import PositionMovedError, Writer
from tickmesh.v1 import control_pb2

log = logging.getLogger("store.candles")

_POLL_S = 0.5
_AGAIN_S = 30.0
_GRACE_S = 10.0
"""Trades that a candle knows and nobody has brought are missing after this long."""


class Candles:
    """Takes in the venue's minutes and judges them.

    Args:
        bus: where CANDLES is.
        database: where the minutes and the trades are.
        writer: corrects the ledger.
        rows: keeps the minutes.
        dead: where messages go that are no candles.
        intake: tells whether RAW is stored to its end.

    """

    def __init__(
        self, bus: Bus, database: Database, writer: Writer, rows: MinuteRows, dead: DeadLetters, intake: Intake
    ) -> None:
        self._bus = bus
        self._database = database
        self._writer = writer
        self._rows = rows
        self._dead = dead
        self._intake = intake

    async def run(self) -> None:
        """Take in candles, for ever."""
        while True:
            try:
                extent = await existing(self._bus, subjects.CANDLES)
                position, warning = begin(await self._writer.position(subjects.CANDLES), extent)
                if warning:
                    log.warning("%s", warning)
                await self._writer.set_position(position)
                await self._take_in(position)
            except (StreamReplacedError, PositionMovedError) as exc:
                log.warning("reading %s anew: %s", subjects.CANDLES, exc)

    async def judge(self) -> None:
        """Compare minutes with the stored trades, for ever."""
        while True:
            try:
                async with self._database.reading() as connection:
                    rows = await fetch_all(connection, queries.PENDING_MINUTES)
                for venue, symbol, time, first, last, *sums, repairs, age_s in rows:
                    minute = Minute(venue, symbol, time, first, last, Sums(*sums))
                    await self._judge(minute, repairs=repairs, overdue=age_s > _GRACE_S)
            except NotReady as exc:
                log.debug("not comparing minutes: %s", exc)
            except psycopg.Error as exc:  # no reason to stop storing: minutes are kept, and compared when they can be
                log.error("minutes are not compared, trying again in %g s: %s", _AGAIN_S, first_line(exc))
                await asyncio.sleep(_AGAIN_S)
            await asyncio.sleep(_POLL_S)

    async def _take_in(self, position: Position) -> None:
        async with AsyncExitStack() as stack:
            reader = await stack.enter_async_context(
                Reader(self._bus, subjects.CANDLES, subjects.DURABLE_STORE_CANDLES, after=position.sequence)
            )
            while True:
                messages = await reader.next()
                minutes = await self._read(position, messages)
                await self._rows.add(position, position.moved(messages[-1].sequence), minutes)
                position = position.moved(messages[-1].sequence)
                await reader.ack(messages[-1])

    async def _read(self, position: Position, messages: list[Message]) -> list[Minute]:
        minutes = []
        for message in messages:
            try:
                minutes.append(read(control.decode(control_pb2.VenueCandle, message.payload)))
            except BadMessage as exc:
                await self._dead.put_aside(
                    position, [Taken(message.sequence, message.subject, message.payload, None, str(exc))]
                )
        return minutes

    async def _judge(self, minute: Minute, *, repairs: int, overdue: bool) -> None:
        name = {"venue": minute.venue, "symbol": minute.symbol}
        span = {"low": minute.first_trade_id, "high": minute.last_trade_id}
        async with self._database.reading() as connection, connection.transaction():
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            [(first_stored,)] = await fetch_all(connection, queries.FIRST_ID, tuple(name.values()))
            ledger = await fetch_all(connection, queries.LEDGER_WITHIN, name | span)
            asked = {"time": minute.time, "first": minute.first_trade_id, "last": minute.last_trade_id}
            [sums] = await fetch_all(connection, queries.MINUTE_SUMS, name | asked)
        whole = Ids.of_ranges([(minute.first_trade_id, minute.last_trade_id)]) if minute.sums.trade_count else NOTHING
        settled, missing = (
            Ids.of_ranges((first, last) for kind, first, last in ledger if (kind == "OPEN") == is_open) & whole
            for is_open in (False, True)
        )
        unheard = whole - settled - missing
        if first_stored is None or (whole and minute.first_trade_id < first_stored):
            if overdue:  # it began before the first trade of this symbol was stored: there is nothing to compare
                await self._rows.forget(minute)
        elif not unheard and not missing:
            await self._settle(minute, difference(minute, Sums(*sums)), repairs=repairs, whole=whole)
        elif unheard and overdue and not self._intake.pending:
            log.error("%s %s: the venue has traded ids nobody brought: %s", minute.venue, minute.symbol, list(unheard))
            await self._writer.correct(minute.venue, minute.symbol, unheard=unheard)

    async def _settle(self, minute: Minute, differs: str, *, repairs: int, whole: Ids) -> None:
        state = "MISMATCH" if differs else "VERIFIED"
        metrics.MINUTES.labels(state).inc()
        if differs:
            log.error("%s %s %s does not agree: %s", minute.venue, minute.symbol, minute.time, differs)
            if whole and not repairs:
                await self._writer.correct(minute.venue, minute.symbol, lost=whole)
            repairs = 1 if whole and not repairs else 2
        await self._rows.settle(minute, state, differs, repairs=repairs)
