"""ingest put together: the bus, the venue, and the tasks between them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from ingest import metrics
from ingest.binance import BinanceAdapter
from ingest.catalog import Catalog
from ingest.feed_state import feed_of
from ingest.followed_symbols import FollowedSymbols
from ingest.network import Network
from ingest.publish.bad_frames import BadFrames
from ingest.publish.confirmations import Confirmations
from ingest.publish.gap_repair import GapRepair
from ingest.publish.quarantine import Bounds
from ingest.publish.repair_requests import RepairRequests
from ingest.publish.trade_publisher import TradePublisher
from ingest.settings import IngestSettings
from ingest.venue import Venue
from ingest.venue_choice import VenueChoice, count_followed
from ingest.websocket.connection import VenueConnection
from ingest.websocket.silence_watchdog import SilenceWatchdog
from ingest.websocket.stream import ReconnectingStream
from mesh.bus import control, subjects
from mesh.bus.connection import CANDLE_STREAM, CONTROL_STREAM, DEAD_STREAM, Bus, raw_stream
from mesh.bus.dead_letters import DeadLetterQueue
from mesh.bus.leases import MAX_INSTANCES
from mesh.bus.membership import joined
from mesh.bus.outgoing_queue import OutgoingQueue
from mesh.bus.partitions import Partition, partitions
from mesh.bus.publisher import Publisher
from mesh.bus.reader import SELDOM_HEARTBEAT_S, Reader
from mesh.bus.shares import work_in
from mesh.service.errors import BadMessage
from mesh.service.health import Health, State
from mesh.service.lifecycle import Stop
from mesh.service.metrics import served
from mesh.service.status import SymbolFeed
from tickmesh.v1 import status_pb2

log = logging.getLogger("ingest.service")

BAD_ROWS_REMEMBERED = 256
"""An unreadable row of REST comes again and again: so many of the last ones are not kept twice."""

MAX_OUTGOING = 10_000
"""So many closed minutes and new epochs wait for the bus at most; beyond that the oldest go."""

MAX_DEAD_LETTERS = 1_000
"""So many dead letters wait for the bus at most; beyond that the oldest go."""

REPAIRED_WITHIN_S = 2.0
"""So long a stopping ingest waits for what has arrived to be passed on, and for REST to bring what is missing."""
_LOOK_S = 0.5
_GATHER_S = 0.25
"""Partitions are taken one after the other: so long a change waits for more of them."""
SETTLE_S = 10.0
"""So long a stopping ingest waits for the bus to take what is on its way; what it does not take is fetched again."""


async def main(settings: IngestSettings, stop: Stop) -> None:
    """Follow the venue until asked to stop; then stop reading, pass on what has arrived, and return.

    Args:
        settings: of ingest.
        stop: says when to stop.

    """
    health = Health("bus", "lease", "venue")
    async with AsyncExitStack() as stack:
        stack.enter_context(served(settings, health))
        feed = FeedReport()
        within = partitions(settings.partitions)
        raw_streams = [raw_stream(settings.raw_max_bytes, partition) for partition in within]
        streams = (*raw_streams, CONTROL_STREAM, CANDLE_STREAM, DEAD_STREAM)
        bus = await stack.enter_async_context(
            joined(
                settings,
                "ingest",
                health=health,
                stop=stop,
                streams=streams,
                describe=feed.describe,
                is_shared=len(within) > 1,
            )
        )
        async with stop.interrupts():
            choice = VenueChoice(settings, health, Network.of(os.environ), adapter=BinanceAdapter())
            count_followed(None, choice=choice)
            venue = await choice.first(bus)
        following = Following(settings, stop, health, bus, choice, feed)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(following.run(venue), name="following")
            await work_in(within, following.work, bus=bus, service="ingest", stop=stop)


class Following:
    """Follows a venue with the symbols of the partitions in which this instance works; anew when these change.

    Args:
        settings: of ingest.
        stop: ends it.
        health: of the service.
        bus: the connection.
        choice: which venue is followed.
        feed: reports how that is.

    """

    def __init__(
        self, settings: IngestSettings, stop: Stop, health: Health, bus: Bus, choice: VenueChoice, feed: FeedReport
    ) -> None:
        self._settings = settings
        self._stop = stop
        self._health = health
        self._bus = bus
        self._choice = choice
        self._feed = feed
        self._held: dict[Partition, Publisher] = {}
        self._used: dict[Partition, Publisher] = {}
        self._changed = asyncio.Event()
        self._let_go = asyncio.Event()

    async def work(self, partition: Partition, bus: Bus, asked: Stop) -> None:
        """Have the trades of a partition's symbols published to it, until asked to stop.

        Args:
            partition: which.
            bus: the connection, which confirms the partition's lease.
            asked: ends it.

        """
        readers = (subjects.DURABLE_SIGNAL, subjects.DURABLE_STORE)
        publisher = Publisher(bus, partition.name(subjects.RAW), readers=readers)
        async with asyncio.TaskGroup() as tasks:
            async with asked.interrupts():
                await publisher.open()
            publishing = tasks.create_task(publisher.run(), name="publisher")
            self._held[partition] = publisher
            self._changed.set()
            try:
                await asked.wait()
            finally:
                del self._held[partition]
                self._changed.set()
            while publisher in self._used.values():
                self._let_go.clear()
                await self._let_go.wait()
            publishing.cancel()

    async def run(self, venue: Venue) -> None:
        """Follow a venue until asked to stop, and the next one where another one is to be followed.

        Args:
            venue: the first one.

        """
        while not self._stop.asked:
            if self._settings.partitions > 1:
                await asyncio.sleep(_GATHER_S)
            self._changed.clear()
            if self._held:
                self._used = dict(self._held)
                successor = await _follow(
                    *(self._settings, self._stop, self._health, self._bus, venue, self._used, self._choice),
                    *(self._feed, self._changed),
                )
                self._used = {}
                self._let_go.set()
                if successor not in (venue, None):
                    metrics.CHANGES_OF_VENUE.inc()
                venue = successor or venue
                continue
            if self._settings.partitions > 1:
                self._feed.rest()
                self._health.set("venue", True, "other instances work in all partitions")
            async with asyncio.TaskGroup() as tasks:
                waiting = [tasks.create_task(each.wait()) for each in (self._changed, self._stop)]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in waiting:
                    task.cancel()


async def _follow(
    settings: IngestSettings,
    stop: Stop,
    health: Health,
    bus: Bus,
    venue: Venue,
    publishers: Mapping[Partition, Publisher],
    choice: VenueChoice,
    feed: FeedReport,
    changed: asyncio.Event,
) -> Venue | None:
    """Follow a venue until asked to stop or another one is to be followed, and return that one.

    Where the partitions change in which this instance works, return the same one.

    When it returns, all of this venue's trades have left: what is said of the next one comes after them.
    """
    followed = _symbols_to_follow(settings, venue)
    log.info("following %s: %s", venue.name, ", ".join(followed.symbols))
    count_followed(venue, choice=choice)
    bounds = Bounds(
        max_id_jump=settings.max_id_jump,
        max_time_jump_s=settings.max_time_jump_s,
        max_time_ahead_s=settings.max_time_ahead_s,
    )
    outgoing = OutgoingQueue(bus, max_waiting=MAX_OUTGOING)
    dead = DeadLetterQueue(bus, max_waiting=MAX_DEAD_LETTERS)
    trade_publisher = TradePublisher(
        venue.name,
        bus,
        publishers,
        bounds=bounds,
        epoch_wait_s=settings.epoch_wait_s,
        health=health,
        outgoing=outgoing,
        dead=dead,
        max_unrepeated_bytes=settings.raw_max_bytes // 8,
    )
    _tell_left_out(followed.left_out_here(trade_publisher.holds), health)
    bad_rows = BadFrames("rows", dead, remembers=BAD_ROWS_REMEMBERED)
    async with venue.http_api(on_bad_row=bad_rows.take) as http_api, asyncio.TaskGroup() as tasks:
        gap_repair = GapRepair(http_api, trade_publisher, tasks)
        confirmations = Confirmations(http_api, trade_publisher)
        connect = partial(
            VenueConnection,
            venue,
            followed=followed,
            trade_publisher=trade_publisher,
            outgoing=outgoing,
            bad_frames=BadFrames("frames", dead),
            watchdog=SilenceWatchdog(trade_publisher.passed_trades),
            newest_id=http_api.newest_id,
            on_followed=gap_repair.catch_up,
        )
        stream = ReconnectingStream(
            venue.ws_urls,
            connect,
            max_age_s=settings.connection_max_age_s,
            health=health,
            on_away=http_api.stay_away,
        )
        feed.follow(stream, trade_publisher, list(publishers.values()))
        catalog = Catalog(
            venue.name,
            followed,
            http_api,
            bus,
            on_change=stream.wake,
            next_id=trade_publisher.next_id_if_known,
            health=health,
        )
        requested = RepairRequests(bus, http_api, trade_publisher, dead)
        loops = [
            tasks.create_task(_connect(stream, catalog, followed, trade_publisher), name="stream"),
            tasks.create_task(outgoing.run(), name="outgoing messages"),
            tasks.create_task(requested.run(), name="requested repairs"),
            tasks.create_task(trade_publisher.keep_bounds(), name="bounds"),
            tasks.create_task(confirmations.run(), name="confirmations"),
            tasks.create_task(trade_publisher.adopt_epochs(), name="epochs"),
            tasks.create_task(catalog.keep_learning(), name="learning"),
            tasks.create_task(_listen(bus, venue.name, followed, stream, catalog, dead), name="listening"),
            tasks.create_task(dead.run(), name="dead letters"),
        ]
        if any(partition.number == 0 for partition in publishers):  # what is said once for all partitions
            loops.append(tasks.create_task(catalog.keep_publishing(), name="catalog"))
            loops.append(tasks.create_task(catalog.keep_answering(), name="answering lookups"))
        else:
            catalog.published.set()
        stopping = tasks.create_task(stop.wait(), name="stopping")
        changing = tasks.create_task(choice.successor(venue), name="changing over")
        sharing = tasks.create_task(changed.wait(), name="sharing anew")
        await asyncio.wait((stopping, changing, sharing), return_when=asyncio.FIRST_COMPLETED)
        successor = None
        if not stop.asked:
            successor = changing.result() if changing.done() else venue
        await wind_down([*loops, stopping, changing, sharing], gap_repair)
    await _settle(trade_publisher, list(publishers.values()), gap_repair.brought)
    return successor


class FeedReport:
    """Adds to ingest's report how the feed is, whichever venue is followed now; nothing before one is."""

    def __init__(self) -> None:
        self._followed: tuple[ReconnectingStream, TradePublisher, Sequence[Publisher]] | None = None

    def follow(
        self, stream: ReconnectingStream, trade_publisher: TradePublisher, publishers: Sequence[Publisher]
    ) -> None:
        """Report of these from now on.

        Args:
            stream: of the venue.
            trade_publisher: of the same venue.
            publishers: the writers of RAW.

        """
        self._followed = stream, trade_publisher, publishers

    def rest(self) -> None:
        """Report of no feed until one is followed again."""
        self._followed = None

    def describe(self, report: status_pb2.ServiceReport) -> Sequence[SymbolFeed]:
        """Add the feed and what waits, and return the symbols of the feed."""
        if self._followed is None:
            return ()
        stream, trade_publisher, publishers = self._followed
        undelivered_s = max(publisher.unanswered_s for publisher in publishers)
        progress = trade_publisher.progress()
        venue, lag = trade_publisher.venue, trade_publisher.lag()
        feed = feed_of(venue, stream.connection, progress, undelivered_s=undelivered_s, lag=lag)
        feed.describe(report.feed)
        report.backlogs.add(name="held_trades", count=sum(one.held_trades for one in progress))
        report.backlogs.add(name="unacknowledged_messages", count=sum(publisher.pending for publisher in publishers))
        return feed.symbols


def _symbols_to_follow(settings: IngestSettings, venue: Venue) -> FollowedSymbols:
    instances = min(settings.partitions, MAX_INSTANCES)
    following = FollowedSymbols(settings.symbols, max_symbols=venue.adapter.max_symbols, instances=instances)
    if following.left_out:
        log.error(
            "SYMBOLS has %d symbols, expected at most %d: the last %d are not followed, %s",
            len(settings.symbols),
            len(following.symbols),
            len(following.left_out),
            ", ".join(following.left_out),
        )
    return following


def _tell_left_out(left_out: Sequence[str], health: Health) -> None:
    """Say which symbols of this instance's partitions it has no room for, as when others that shared them are gone."""
    if not left_out:
        health.clear("symbols")
        return
    words = f"{len(left_out)} symbols are not followed, for which one connection has no room"
    log.error("%s until another instance shares them: %s", words, ", ".join(left_out))
    health.condition("symbols", State.DEGRADED, f"{words}: start another instance of ingest")


async def wind_down(loops: Collection[asyncio.Task[Any]], gap_repair: GapRepair) -> None:
    """End the loops, and then the repairs: the stream passes on what has arrived, REST brings what it has.

    Each gets a moment only: where the bus takes nothing, the stream may wait behind a repair, which waits for the bus.

    Args:
        loops: the tasks to end first.
        gap_repair: which may go on a moment longer.

    """
    for task in loops:
        task.cancel()
    await asyncio.wait(loops, timeout=REPAIRED_WITHIN_S)
    await gap_repair.finish(within_s=REPAIRED_WITHIN_S)


async def _connect(
    stream: ReconnectingStream, catalog: Catalog, followed: FollowedSymbols, trade_publisher: TradePublisher
) -> None:
    """Let the mesh know whom it hears of before the first trade is on its way."""
    await catalog.published.wait()
    while not any(map(trade_publisher.holds, followed.symbols)):  # noqa: ASYNC110 - until somebody selects one
        await asyncio.sleep(_LOOK_S)
    await stream.run()


async def _listen(
    bus: Bus, venue: str, followed: FollowedSymbols, stream: ReconnectingStream, catalog: Catalog, dead: DeadLetterQueue
) -> None:
    """Follow the symbols that people select, for ever."""
    durable = bus.own("control-ingest")
    reader = Reader(
        *(bus, subjects.CONTROL, durable),
        after=None,
        subjects=[subjects.CONTROL_SYMBOL],
        heartbeat_s=SELDOM_HEARTBEAT_S,
    )
    async with reader:
        while True:
            for message in await reader.next():
                try:
                    symbol = control.decode_selection(message.payload)
                except BadMessage as exc:
                    dead.put(subjects.CONTROL, message, str(exc))
                else:
                    if symbol in followed.symbols:
                        log.debug("%s is followed already", symbol)
                    elif await catalog.offers(symbol) and followed.select(symbol):
                        log.info("%s was selected: following it too", symbol)
                        stream.wake()
                        catalog.changed()
                    else:
                        log.warning("ignored the selection of %s: %s does not trade it", symbol, venue)
                await reader.ack(message)


async def _settle(trade_publisher: TradePublisher, publishers: Sequence[Publisher], brought: set[str]) -> None:
    try:
        async with asyncio.timeout(SETTLE_S):
            # What waits behind a gap has arrived and may never come again; the ids before it stay open in the ledger.
            # Where REST has them, all of it comes again at the next start, in order: so the signals have them too.
            await trade_publisher.give_up_all("asked to stop while waiting for them", but=brought)
            await trade_publisher.flush()
            for publisher in publishers:
                await publisher.settle()
    except TimeoutError:
        log.warning(
            "the bus did not take the last %d messages within %g s: their trades are fetched again at the next start",
            sum(publisher.pending for publisher in publishers),
            SETTLE_S,
        )
