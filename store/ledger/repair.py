"""Holes are asked for over the bus until they end: found, or proved absent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

import psycopg
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from mesh.bus import control, subjects
from mesh.bus.connection import Bus
from mesh.bus.message import Message
from mesh.service.errors import BadMessage, NotReady
from mesh.values import epochs
from mesh.values.symbols import parse_symbol, parse_venue
from mesh.values.trades import MAX_TRADE_ID
from store import metrics
from store.database.connection import Database, fetch_all
from store.database.errors import Reaction, first_line, reaction
from store.intake.trades import Intake
from store.intake.writer import Writer
from store.ledger.ranges import Ids
from store.ledger.repair_schedule import ANSWER_S, MAX_IDS, Asking, Hole
from store.queries import sql
from tickmesh.v1 import control_pb2

log = logging.getLogger("store.repair")

_LOOK_EVERY_S = 0.5
_EPOCHS_EVERY_S = 1.0
_STORED_EVERY_S = 0.05


class Repair:
    """Asks ingest for what is missing and takes its results.

    Args:
        bus: where the requests go.
        database: where the holes are.
        writer: settles what is absent.
        intake: tells how far RAW is stored.
        venue: gives the venue now followed, empty while nobody has told.

    """

    def __init__(self, bus: Bus, database: Database, writer: Writer, intake: Intake, venue: Callable[[], str]) -> None:
        self._bus = bus
        self._database = database
        self._writer = writer
        self._intake = intake
        self._venue = venue
        self._asking = Asking()
        self._news = asyncio.Event()
        self._on_the_way: dict[tuple[str, str], tuple[int, float]] = {}
        self._results: asyncio.Queue[control_pb2.RepairResult] = asyncio.Queue(maxsize=256)

    async def run(self) -> None:
        """Ask for what is missing, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            self._hear()
            try:
                for hole in self._asking.due(await self._holes(), now_s=loop.time()):
                    await self._ask(hole)
            except (NotReady, NatsError, TimeoutError) as exc:
                log.debug("not asking for repairs: %s", exc)  # database or bus are away, which others say
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), _STORED_EVERY_S if self._on_the_way else _LOOK_EVERY_S)

    def take(self, message: Message) -> None:
        """Take in a result from `control.repaired.>`; raise `BadMessage` when it is none.

        When more of them wait than fit, the newest is forgotten: what it would have settled is asked for again.
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
        """Write down what results say, for ever."""
        while True:
            result = await self._results.get()
            asked = Ids.of_ranges([(result.first_trade_id, result.last_trade_id)])
            absent = Ids.of_ranges((each.first_trade_id, each.last_trade_id) for each in result.absent)
            settled = 0
            try:
                if absent:
                    settled = await self._writer.settle(result.venue, result.symbol, absent & asked, "ABSENT")
                for lost in result.lost:  # nor can anything else of that epoch be asked for
                    end = epochs.key_of(epochs.epoch_of(lost.last_trade_id) + 1, 0) - 1
                    count = await self._writer.settle(result.venue, result.symbol, Ids.of_ranges([(0, end)]), "LOST")
                    log.error("%s %s: %d ids of past epochs are lost", result.venue, result.symbol, count)
            except psycopg.Error as exc:  # what it would have settled is asked for again
                if reaction(exc) is Reaction.END:
                    raise
                log.error("a result for %s %s is not kept: %s", result.venue, result.symbol, first_line(exc))
            if result.found or settled or result.problem:
                log.info(
                    "repair of %s %s %d to %d: %d found, %d absent%s",
                    *(result.venue, result.symbol, result.first_trade_id, result.last_trade_id, result.found, settled),
                    f", {result.problem[:200]}" if result.problem else "",
                )
            until_s = asyncio.get_running_loop().time() + ANSWER_S
            self._on_the_way[result.venue, result.symbol] = result.raw_sequence, until_s
            self._news.set()

    async def tell_epochs(self) -> None:
        """Tell the bus the epochs of what is stored where it has forgotten them, for ever: a new disk knows nothing."""
        while True:
            try:
                async with self._database.reading() as connection:
                    rows = await fetch_all(connection, sql.NEWEST_EPOCHS)
                for venue, symbol, epoch in rows:
                    await self._tell_epoch(venue, symbol, epoch)
                await self._tell_that_all_are_told(len(rows))
            except (NotReady, NatsError, TimeoutError) as exc:
                log.debug("not telling epochs: %s", exc)
            except psycopg.Error as exc:
                if reaction(exc) is Reaction.END:
                    raise
                log.error("epochs are not told: %s", first_line(exc))
            await asyncio.sleep(_EPOCHS_EVERY_S)

    async def _tell_epoch(self, venue: str, symbol: str, epoch: int) -> None:
        subject = subjects.epoch(venue, symbol)
        try:
            told = control.decode_epoch((await self._bus.js.get_last_msg(subjects.CONTROL, subject)).data or b"")
        except (NotFoundError, BadMessage):
            told = control_pb2.Epoch()
        if told.epoch < epoch:
            message = control_pb2.Epoch(venue=venue, symbol=symbol, epoch=epoch)
            await self._bus.js.publish(subject, control.encode(message))
            log.info("told the bus that %s %s is in epoch %d", venue, symbol, epoch)

    async def _tell_that_all_are_told(self, count: int) -> None:
        """Say that whoever is not told of is in its first epoch, so that ingest need not wait for us any longer."""
        try:
            await self._bus.js.get_last_msg(subjects.CONTROL, subjects.EPOCHS_TOLD)
        except NotFoundError:
            await self._bus.js.publish(subjects.EPOCHS_TOLD, control.encode(control_pb2.EpochsTold(symbols=count)))

    def _hear(self) -> None:
        """A request is answered when what it found is stored; one whose answer never gets there is asked again."""
        position = self._intake.position
        now_s = asyncio.get_running_loop().time()
        for (venue, symbol), (raw_sequence, until_s) in list(self._on_the_way.items()):
            if position is not None and position.sequence >= raw_sequence:
                del self._on_the_way[venue, symbol]
                self._asking.answered(venue, symbol)
            elif now_s > until_s:
                del self._on_the_way[venue, symbol]

    async def _holes(self) -> list[Hole]:
        async with self._database.reading(own=True) as connection:
            holes = [Hole._make(row) for row in await fetch_all(connection, sql.OPEN_HOLES)]
            totals = await fetch_all(connection, sql.OPEN_TOTALS) if holes else []
        metrics.OPEN_HOLES.clear()
        metrics.OPEN_IDS.clear()
        for venue, symbol, count, ids in totals:
            metrics.OPEN_HOLES.labels(venue, symbol).set(count)
            metrics.OPEN_IDS.labels(venue, symbol).set(ids)
        followed = self._venue()
        return [hole for hole in holes if hole.venue == followed]

    async def _ask(self, hole: Hole) -> None:
        request = control_pb2.RepairRequest(**hole._asdict())
        await self._bus.js.publish(subjects.repair(hole.venue, hole.symbol), control.encode(request))
        metrics.REPAIRS.inc()
        log.info("asking for %s %s %d to %d", *hole)
