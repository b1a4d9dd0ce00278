"""Missing trades are requested over the bus until each hole ends: found, or proved absent or lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

import psycopg
from nats.errors import Error as NatsError

from mesh.bus import control, subjects
from mesh.bus.connection import Bus
from mesh.bus.partitions import Partition, partition_of
from mesh.bus.position import Position
from mesh.bus.reader import Message
from mesh.service.errors import BadMessage, NotReady
from mesh.values import epochs
from mesh.values.id_ranges import IdRange, IdRanges
from mesh.values.symbols import parse_symbol, parse_venue
from mesh.values.trades import MAX_TRADE_ID
from store import metrics
from store.database import Database, fetch_all
from store.database.errors import ErrorReaction, first_line, reaction
from store.ledger import sql
from store.ledger.repair_schedule import ANSWER_S, MAX_IDS, MissingTrades, RepairSchedule
from store.ledger.writer import LedgerWriter
from tickmesh.v1 import control_pb2

log = logging.getLogger("store.ledger.repair")

_POLL_S = 0.5
_IDLE_POLL_S = 2.0
"""So often where nothing was missing: what this process stores says at once that it has opened a hole, so only those
are found by this that another one has opened, or whose venue is followed again."""
_STORED_EVERY_S = 0.05


class HoleRepair:
    """Requests what is missing from ingest, and takes in its results.

    Run `run` and `settle` as tasks, and hand every control message to `take`.

    Args:
        bus: where the requests go.
        database: where the holes are.
        ledger: settles what is absent or lost.
        stored: returns how far a partition's RAW is stored, None while that is not known.
        venue: returns the venue now followed, empty while that is not known.
        holds: tells whether this instance stores the trades of a venue's symbol; another one requests the others'.

    """

    def __init__(
        self,
        bus: Bus,
        database: Database,
        ledger: LedgerWriter,
        *,
        stored: Callable[[Partition], Position | None],
        venue: Callable[[], str],
        holds: Callable[[str, str], bool] = lambda *_: True,
    ) -> None:
        self._bus = bus
        self._database = database
        self._ledger = ledger
        self._stored = stored
        self._venue = venue
        self._holds = holds
        self._schedule = RepairSchedule()
        # The answers whose trades are not stored yet: by venue and symbol the message of RAW with the last of them, and
        # when to stop waiting for it.
        self._being_stored: dict[tuple[str, str], tuple[int, float]] = {}
        self._results: asyncio.Queue[control_pb2.RepairResult] = asyncio.Queue(maxsize=256)

    async def run(self) -> None:
        """Request what is missing, for ever."""
        loop, news = asyncio.get_running_loop(), self._database.holes_opened
        while True:
            news.clear()
            self._note_answers()
            wait_s = _POLL_S
            try:
                if not (missing := await self._missing()):
                    wait_s = _IDLE_POLL_S
                for each in self._schedule.due(missing, now_s=loop.time()):
                    await self._request(each)
            except (NotReady, NatsError, TimeoutError) as exc:
                log.debug("not requesting repairs: %s", exc)  # database or bus are unavailable, which others log
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), _STORED_EVERY_S if self._being_stored else wait_s)

    def take(self, message: Message) -> None:
        """Take in a result from `control.repaired.>`; messages on other subjects are left alone.

        When more results wait than fit, the newest is dropped: what it would have settled is requested again.

        Raises:
            BadMessage: it is no result, or one that no request of ours can have.

        """
        if not message.subject.startswith(subjects.REPAIRED_ALL.removesuffix(">")):
            return
        result = control.decode(control_pb2.RepairResult, message.payload)
        try:
            parse_venue(result.venue), parse_symbol(result.symbol)
        except ValueError as exc:
            raise BadMessage(f"a repair result whose {exc}") from exc
        first, last = result.first_trade_id, result.last_trade_id
        if not 0 <= first <= last < min(first + MAX_IDS, MAX_TRADE_ID + 1) or len(result.absent) > MAX_IDS:
            raise BadMessage(f"a repair result for {first} to {last} with {len(result.absent)} ranges")
        for absent in result.absent:
            if not 0 <= absent.first_trade_id <= absent.last_trade_id <= MAX_TRADE_ID:
                raise BadMessage(f"a repair result that finds {absent.first_trade_id} to {absent.last_trade_id} absent")
        if len(result.lost) > 1 or any(not first <= lost.last_trade_id <= last for lost in result.lost):
            raise BadMessage(f"a repair result for {first} to {last} with {len(result.lost)} ranges lost")
        if result.found < 0 or result.raw_sequence < 0:
            raise BadMessage(f"a repair result with {result.found} trades found, the last in {result.raw_sequence}")
        if not self._results.full():
            self._results.put_nowait(result)

    async def settle(self) -> None:
        """Write what results say to the ledger, for ever.

        Raises:
            psycopg.Error: what only a person can mend.

        """
        while True:
            result = await self._results.get()
            requested = IdRanges.of(result.first_trade_id, result.last_trade_id)
            absent = IdRanges.from_pairs((each.first_trade_id, each.last_trade_id) for each in result.absent)
            settled = 0
            try:
                if absent:
                    settled = await self._ledger.settle(result.venue, result.symbol, absent & requested, "ABSENT")
                for lost in result.lost:  # nor can anything else of that epoch be requested
                    end_id = epochs.key_of(epochs.epoch_of(lost.last_trade_id) + 1, 0) - 1
                    if count := await self._ledger.lose(result.venue, result.symbol, end_id):
                        log.error("%s %s: %d ids of past epochs are lost", result.venue, result.symbol, count)
            except psycopg.Error as exc:  # what it would have settled is requested again
                if reaction(exc) is ErrorReaction.END:
                    raise
                log.error("a result for %s %s is not kept: %s", result.venue, result.symbol, first_line(exc))
            if result.found or settled or result.problem:
                log.info(
                    "repair of %s %s %d to %d: %d found, %d absent%s",
                    *(result.venue, result.symbol, result.first_trade_id, result.last_trade_id, result.found, settled),
                    f", {result.problem[:200]}" if result.problem else "",
                )
            until_s = asyncio.get_running_loop().time() + ANSWER_S
            self._being_stored[result.venue, result.symbol] = result.raw_sequence, until_s
            self._database.holes_opened.set()  # `run` looks at what it was requested for

    def _note_answers(self) -> None:
        """A request is answered when what it found is stored; one whose answer never gets there is made again."""
        now_s = asyncio.get_running_loop().time()
        for (venue, symbol), (raw_sequence, until_s) in list(self._being_stored.items()):
            position = self._stored(partition_of(venue, symbol, self._database.partitions))
            if position is not None and position.sequence >= raw_sequence:
                del self._being_stored[venue, symbol]
                self._schedule.answered(venue, symbol)
            elif now_s > until_s:
                del self._being_stored[venue, symbol]

    async def _missing(self) -> list[MissingTrades]:
        async with self._database.reading(internal=True) as connection:
            holes = await fetch_all(connection, sql.OPEN_HOLES)
            totals = await fetch_all(connection, sql.OPEN_TOTALS) if holes else []
        metrics.OPEN_HOLES.clear()
        metrics.OPEN_IDS.clear()
        for venue, symbol, count, ids in totals:
            metrics.OPEN_HOLES.labels(venue, symbol).set(count)
            metrics.OPEN_IDS.labels(venue, symbol).set(ids)
        followed = self._venue()
        return [
            MissingTrades(venue, symbol, IdRange(first, last))
            for venue, symbol, first, last in holes
            if venue == followed and self._holds(venue, symbol)
        ]

    async def _request(self, missing: MissingTrades) -> None:
        venue, symbol, (first, last) = missing
        request = control_pb2.RepairRequest(venue=venue, symbol=symbol, first_trade_id=first, last_trade_id=last)
        await self._bus.js.publish(subjects.repair(venue, symbol), control.encode(request))
        metrics.REPAIRS.inc()
        log.info("requesting %s %s %d to %d", venue, symbol, first, last)
