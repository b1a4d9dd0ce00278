"""Where trades leave: through their symbol's sequencer to the stream RAW, whoever brings them."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import msgspec
import numpy as np
from prometheus_client import Counter, Gauge

from ingest import metrics
from ingest.feed_state import Progress
from ingest.messages import ClosedCandle
from ingest.publish.partition_publisher import MAX_BATCH, PartitionPublisher
from ingest.publish.published_symbol import PassedTrades, PublishedSymbol
from ingest.publish.quarantine import (
    Bounds,
    QuarantinedTrades,
    Verdict,
    extremes,
    implausible_past,
    is_same_count,
    may_be_another_count,
)
from ingest.publish.resume import published_epoch, repair_id
from ingest.publish.sequencer import Counts, Sequencer, WaitingLimits
from ingest.recent_lag import Lag, RecentLag
from mesh.bus import control, subjects, wire
from mesh.bus.connection import Bus
from mesh.bus.dead_letters import DeadLetterQueue, letter_about
from mesh.bus.outgoing_queue import OutgoingMessage, OutgoingQueue
from mesh.bus.partitions import Partition, partition_of
from mesh.bus.publisher import Publisher
from mesh.service.health import Health, State
from mesh.service.logs import LogThrottle
from mesh.values import epochs
from mesh.values.fixed import format_e8
from mesh.values.id_ranges import IdRange
from mesh.values.trades import Bools, TradeColumns
from tickcodec.frames import ReadBatches, ReadTrades
from tickcodec.passing import PassedMessage, PassedSymbol, PassedSymbols
from tickmesh.v1 import control_pb2

log = logging.getLogger("ingest.publish.trade_publisher")

_NOTHING = Counts()
MAX_COPIED = 50
"""So many of the trades that are held together are kept as a dead letter."""

_MINUTE_US = 60_000_000
_ADOPT_EVERY_S = 1.0
_LOOK_EVERY_S = 0.5
_COUNTED_EVERY_LOOKS = 4  # trades by symbol: those of 300 take 3 ms of CPU to tell
_ASK_EVERY_S = 0.1
_LAGS_KEPT = 128  # so many delays wait at most to be told: that takes 0.2 ms
_LOOKED_AT_ONCE = 50  # symbols; then trades may pass


class TradePublisher:
    """Publishes the trades of every followed symbol in id order, whoever brings them.

    One at a time passes: what `publish` makes wait (a full or slow stream) makes everybody wait, and that is how the
    sockets come to be read no faster than the bus takes.

    Args:
        venue: whose trades these are.
        bus: to read how far RAW is.
        publishers: the writers of RAW, by partition: those in which this instance works.
        limits: of waiting for what is missing.
        bounds: of what a trade's id and time may be.
        epoch_wait_s: how long after the first symbol to wait for store's word in which epoch symbols are of which RAW
            holds nothing: the disk of the bus may have been lost.
        health: where it is told that trades are held and why.
        outgoing: publishes that a new epoch has begun; nobody is told without it.
        dead: keeps a copy of trades that are held; without it they are only counted and logged.
        max_unrepeated_bytes: after so many bytes in RAW the last trade of each symbol is told again: a part of what RAW
            holds, as what stands behind that stays there.

    """

    def __init__(
        self,
        venue: str,
        bus: Bus,
        publishers: Mapping[Partition, Publisher],
        *,
        limits: WaitingLimits | None = None,
        bounds: Bounds | None = None,
        epoch_wait_s: float = 0.0,
        health: Health | None = None,
        outgoing: OutgoingQueue | None = None,
        dead: DeadLetterQueue | None = None,
        max_unrepeated_bytes: int = 2**24,
    ) -> None:
        self.venue = venue
        self._bus = bus
        self._count_of_partitions = next(iter(publishers)).count
        share = max_unrepeated_bytes // self._count_of_partitions
        self._partitions = {
            partition: PartitionPublisher(venue, bus, publisher, partition, max_unrepeated_bytes=share)
            for partition, publisher in publishers.items()
        }
        self._raw_of = {partition.number: raw for partition, raw in self._partitions.items()}
        self._call_on_gap: list[Callable[[str], None]] = []
        self._limits = limits or WaitingLimits()
        self._lags_us: list[int] = []  # that came, and are not told yet
        self._recent_lag = RecentLag()
        self._bounds = bounds or Bounds()
        self._followed: dict[str, PublishedSymbol] = {}
        self._passed = PassedSymbols(max_rows=min(MAX_BATCH, self._bounds.max_id_jump))
        self._passed_times, self._passed_s = 0, 0.0  # how often any passed since `passed_trades`, and when
        self._call_on_doubt: list[Callable[[str], None]] = []
        self._call_on_epoch: list[Callable[[str], None]] = []
        self._outgoing = outgoing
        self._dead = dead
        self._venue_time_us = 0
        self._lock = asyncio.Lock()
        self._changed: set[PublishedSymbol] = set()  # symbols that may have become usual or unusual
        self._told_held: dict[str, tuple[int, int]] = {}  # by symbol: how many are held, as metrics have it
        self._log_throttle: dict[tuple[str, str], LogThrottle] = {}
        self._epoch_wait_s = epoch_wait_s
        self._health = health
        self._waits_for_epochs_until_s: float | None = None

    def on_gap(self, call: Callable[[str], None]) -> None:
        """Call a function with the symbol whenever trades wait for ids before them."""
        self._call_on_gap.append(call)

    def on_doubt(self, call: Callable[[str], None]) -> None:
        """Call a function with the symbol whenever trades of it are held because they cannot be right."""
        self._call_on_doubt.append(call)

    def on_epoch(self, call: Callable[[str], None]) -> None:
        """Call a function with the symbol whenever a new epoch of it has begun."""
        self._call_on_epoch.append(call)

    def holds(self, symbol: str) -> bool:
        """Return whether a symbol is in one of the partitions in which this instance works."""
        return partition_of(self.venue, symbol, self._count_of_partitions) in self._partitions

    async def follow(self, symbol: str) -> None:
        """Let a symbol's trades pass from now on, after the last one that RAW holds; waits for the bus.

        Args:
            symbol: one of a partition in which this instance works.

        """
        if symbol in self._followed:
            return
        partition = partition_of(self.venue, symbol, self._count_of_partitions)
        last = await self._partitions[partition].last_published(symbol)
        if symbol in self._followed:
            return
        if last is not None:
            last_id, epoch = epochs.venue_id(last.key), epochs.epoch_of(last.key)
            log.info("%s: goes on after trade %d%s", symbol, last_id, f" of epoch {epoch}" if epoch else "")
            followed = self._add(symbol, partition, epoch, last_id=last_id, last_time_us=last.time_us)
            followed.accepted_up_to(last_id)
            if last.trades is not None and len(last.trades):
                followed.recent.add(_shifted(last.trades, -epoch * epochs.IDS))
            return
        reported = await self._published_epoch(symbol)
        if symbol in self._followed:
            return
        epoch = reported or 0
        log.info("%s: begins with its first trade%s", symbol, f" of epoch {epoch}" if epoch else "")
        self._add(symbol, partition, epoch, last_id=None).is_blind = reported is None

    def _add(
        self, symbol: str, partition: Partition, epoch: int, *, last_id: int | None, last_time_us: int = 0
    ) -> PublishedSymbol:
        passed = PassedSymbol(symbol, partition=partition.number)
        raw = self._partitions[partition]
        sequencer = Sequencer(last_id=last_id, last_time_us=last_time_us, limits=self._limits, passed=passed)
        followed = PublishedSymbol(
            raw, passed, sequencer=sequencer, bounds=self._bounds, epoch=epoch, changed=self._changed
        )
        self._followed[symbol] = followed
        self._passed.add(passed)
        raw.tell_again(passed)
        metrics.EPOCH.labels(self.venue, symbol).set(epoch)
        return followed

    async def _published_epoch(self, symbol: str) -> int | None:
        """Return in which epoch a symbol is, None when store has not said so within its time."""
        if self._waits_for_epochs_until_s is None:
            self._waits_for_epochs_until_s = _now_s() + self._epoch_wait_s
        while (reported := await published_epoch(self._bus, self.venue, symbol)) is None:
            if _now_s() >= self._waits_for_epochs_until_s:
                log.log(
                    logging.WARNING if self._epoch_wait_s else logging.DEBUG,
                    "%s: store has not said which epoch it is in, so it begins in the first one until it does",
                    symbol,
                )
                return None
            await asyncio.sleep(_ASK_EVERY_S)
        return reported

    def epoch(self, symbol: str) -> int:
        """Return how often the venue has begun a symbol's ids again; 0 also of one that is not followed."""
        followed = self._followed.get(symbol)
        return 0 if followed is None else followed.epoch

    def begins_after_id(self, symbol: str) -> int:
        """Return up to which id trades are of the epoch before, though they have ids of this count; -1 as a rule."""
        return self._followed[symbol].begins_after_id

    def last_trade(self, symbol: str) -> tuple[int, int] | None:
        """Return time and price of the last trade passed on; None where they are not known."""
        recent = self._followed[symbol].recent
        if not recent:
            return None
        ids, time_us, price_e8 = recent.columns
        return (int(time_us[-1]), int(price_e8[-1])) if ids[-1] == self._followed[symbol].last_id else None

    def first_recent_id(self, symbol: str) -> int | None:
        """Return the lowest id of the trades passed on last, None where none is known."""
        recent = self._followed[symbol].recent
        return int(recent.columns[0][0]) if recent else None

    def is_same_count(self, symbol: str, reported: TradeColumns) -> bool:
        """Return whether one of the trades that REST tells is the same as one passed on lately.

        Args:
            symbol: in lower case.
            reported: trades that REST tells.

        """
        return is_same_count(reported, self._followed[symbol].recent)

    def may_be_another_count(self, reported: TradeColumns) -> bool:
        """Return whether REST may be telling trades of a count that the venue has only just begun.

        Args:
            reported: trades that REST tells, their ids rising: of the past, or before others that wait for them.

        """
        followed = self._followed[reported.symbol]
        return may_be_another_count(reported, followed.recent, followed.waiting)

    async def adopt_epochs(self) -> None:
        """Take over epochs that store tells of symbols of which RAW held nothing at their start, for ever."""
        while True:
            await asyncio.sleep(_ADOPT_EVERY_S)
            for symbol, followed in list(self._followed.items()):
                if not followed.is_blind:
                    continue
                epoch = await published_epoch(self._bus, self.venue, symbol)
                if epoch is None:
                    break  # store has not told yet, of the others neither
                if epoch > followed.epoch:
                    await self.begin_epoch(symbol, epoch, after_id=None)
                followed.is_blind = False

    async def begin_epoch(
        self,
        symbol: str,
        epoch: int,
        *,
        after_id: int | None,
        held_since_s: float | None = None,
        why: str = "the venue has begun its ids again",
    ) -> None:
        """Follow the ids of a new epoch; what waits for ids of the old one is published, and those stay a hole.

        Args:
            symbol: which.
            epoch: the new one, above the one that is followed.
            after_id: the trades of the epoch after this id are wanted and fetched, all of them after -1; None begins
                with the next trade that comes.
            held_since_s: trades that wait for others and came since then (steady clock) have ids of the new epoch.
            why: for the log.

        """
        followed = self._followed[symbol]
        anew: list[TradeColumns] = []
        if held_since_s is not None:
            anew += filter(None, [followed.sequencer.take_held(held_since_s), followed.quarantine.take_all()])
        while followed.gap is not None and not followed.raw.closed:
            await self.unreachable(symbol, followed.gap, why)
        async with self._lock:
            if epoch <= followed.epoch:
                return
            log.warning("%s: %s: this is epoch %d", symbol, why.replace("the venue", self.venue, 1), epoch)
            for doubted in followed.doubted:  # of the old count, and nobody can be asked about them any more
                self._report_quarantined(symbol, doubted)
                metrics.QUARANTINE_ENDED.labels(self.venue, symbol, "dropped").inc(len(doubted.trades))
            self._count(symbol, followed)
            followed.begin_epoch(epoch, after_id=after_id, limits=self._limits)
            metrics.EPOCH.labels(self.venue, symbol).set(epoch)
            if self._outgoing is not None:
                begun = control_pb2.Epoch(venue=self.venue, symbol=symbol, epoch=epoch)
                self._outgoing.put(OutgoingMessage(subjects.epoch(self.venue, symbol), control.encode(begun)))
        for trades in anew:  # REST has told none of them: a wrong one is doubted in the new count as in the old one
            await self.take(trades)
        for call in self._call_on_epoch:
            call(symbol)

    def next_id(self, symbol: str) -> int | None:
        """Return the id a symbol waits for; None while any would do."""
        last_id = self._followed[symbol].last_id
        return None if last_id is None else last_id + 1

    def next_id_if_known(self, symbol: str) -> int | None:
        """Return the same also of a symbol whose trades do not pass yet: None."""
        return self.next_id(symbol) if symbol in self._followed else None

    def gap(self, symbol: str) -> IdRange | None:
        """Return the ids that a symbol's trades wait for."""
        return self._followed[symbol].gap

    def progress(self) -> list[Progress]:
        """Return how far each followed symbol's trades are."""
        now_s = _now_s()
        return [followed.progress(now_s) for followed in self._followed.values()]

    def lag(self) -> Lag | None:
        """Return how long trades took from the venue to here in the last minute; None when none came."""
        self._tell_lags()
        return self._recent_lag.quantiles(now_s=_now_s())

    async def take(self, trades: TradeColumns | ReadTrades, *, live: bool = True) -> None:
        """Take trades from anywhere, in any order; those of a symbol not followed are passed over, and counted.

        Args:
            trades: of one symbol.
            live: whether they come as they happen, so that their delay says something of the way here.

        """
        followed = self._followed.get(trades.symbol)
        if followed is None:
            metrics.PASSED_OVER.labels(self.venue).inc(len(trades))
            return
        if not len(trades):
            return
        if isinstance(trades, ReadTrades):
            trades = wire.decode_one_of_many(trades.batch)
        now_s, behind_us = _now_s(), followed.last_time_us
        async with self._lock:
            if live:
                self._observe_lag(max(0, trades.received_time_us - int(trades.time_us[-1])))
                followed.came(trades, behind_us=behind_us, now_s=now_s)
            known = followed.known(self._venue_time_us)
            verdict = followed.quarantine.examine(trades, known, now_s=now_s, live=live)
            await self._pass(trades.symbol, followed, verdict, live=live)
        if not live:
            await self.settle(trades.symbol, trades)
        if followed.gap is not None:
            for call in self._call_on_gap:
                call(trades.symbol)
        if followed.doubts:
            for call in self._call_on_doubt:
                call(trades.symbol)

    def take_at_once(self, read: ReadBatches) -> Sequence[ReadTrades] | None:
        """Take live trades that came together, as `take` does, where nothing has to be waited for.

        Nearly always nothing is to be done but to gather them, in C++, and their columns are not looked at. Where 300
        symbols trade, nearly each has one, and a turn of Python for each was half of ingest's work.

        Args:
            read: trades of some symbols.

        Returns:
            those that `take` has to be awaited with, the others wait for `flush`; None where `take_together` has to be.

        """
        if self._lock.locked() or any(raw.has_gathered or raw.closed for raw in self._partitions.values()):
            return None
        return self._let_pass(read)

    async def take_together(self, read: ReadBatches) -> Sequence[ReadTrades]:
        """Take live trades that came together as soon as may be; return those that `take` has to be awaited with.

        Args:
            read: trades of some symbols.

        """
        async with self._lock:
            for raw in self._partitions.values():
                await raw.flush()
            if any(raw.closed for raw in self._partitions.values()):
                return list(read)
            return self._let_pass(read)

    def passed_trades(self) -> PassedTrades:
        """Return what passed in C++ since this was asked last."""
        passed = [symbol for symbol in self._passed if symbol.batches]
        symbols = {symbol.name: (symbol.batches, symbol.last_id, symbol.came_s) for symbol in passed}
        for symbol in passed:
            symbol.batches = 0
        times, self._passed_times = self._passed_times, 0
        return PassedTrades(symbols, times, self._passed_s)

    def _observe_lag(self, lag_us: int) -> None:
        self._lags_us.append(lag_us)
        if len(self._lags_us) >= _LAGS_KEPT:
            self._tell_lags()

    def _tell_lags(self) -> None:
        """Tell metrics and status the delays that came; all together that is a tenth of telling each for itself."""
        now_s = _now_s()
        for lag_us in self._lags_us:
            metrics.LAG.observe(lag_us / 1e6)
            self._recent_lag.observe(lag_us / 1e6, now_s=now_s)
        self._lags_us.clear()

    def _let_pass(self, read: ReadBatches) -> Sequence[ReadTrades]:
        """Gather what may pass as it is, nothing being gathered yet; return the others."""
        for followed in self._changed:
            followed.let_pass()
        self._changed.clear()
        now_s = _now_s()
        earliest_us, latest_us = self._bounds.around_us(read.received_time_us)
        passed = self._passed.pass_on(read, earliest_us=earliest_us, latest_us=latest_us, now_s=now_s)
        for message in passed.messages:
            self._raw_of[message.partition].gather(message)
        if passed.messages:
            self._passed_times += 1
            self._passed_s = now_s
            self._venue_time_us = passed.newest_us
            self._observe_lag(max(0, read.received_time_us - passed.oldest_us))
        return passed.left

    def doubts(self, symbol: str) -> bool:
        """Return whether trades of a symbol are held because they cannot be right."""
        return self._followed[symbol].doubts

    async def judge(self, symbol: str, newest: TradeColumns | None) -> None:
        """Take REST's word about the trades of a symbol that are doubted: its newest ones, None when it has none.

        Args:
            symbol: in lower case; one that is followed.
            newest: what REST tells, their ids rising; None when it could not be asked.

        """
        followed = self._followed[symbol]
        anew = followed.quarantine.counts_anew(newest, followed.known(self._venue_time_us))
        if newest is not None and anew is False:
            await self._leave_wrong_ids(symbol, followed, newest)
        if anew is not None and (behind := followed.quarantine.take_behind()) is not None:
            await self._end_doubt(symbol, followed, behind, anew=anew)
        if newest is not None and not anew:
            await self.settle(symbol, newest)
        doubted_ids = [doubted.trades.trade_id for doubted in followed.doubted]
        async with self._lock:
            verdict = followed.quarantine.judge(newest, followed.known(self._venue_time_us), now_s=_now_s())
            await self._pass(symbol, followed, verdict, live=False)
        if newest is not None and doubted_ids and followed.last_id is not None:
            # What the socket told wrong REST may have told right.
            rows = newest.rows(np.isin(newest.trade_id, np.concatenate(doubted_ids)))
            if len(rows):
                await self.take(rows, live=False)
        if followed.gap is not None:
            for call in self._call_on_gap:
                call(symbol)

    async def _leave_wrong_ids(self, symbol: str, followed: PublishedSymbol, newest: TradeColumns) -> None:
        """Go on after the last right trade where ids far too high were published, which hold up all others.

        As a new epoch, whose keys are above those: what reads RAW in order takes it in.
        """
        right_id = followed.quarantine.last_right_id(newest, followed.known(self._venue_time_us))
        behind = None if right_id is None else followed.quarantine.take_behind()
        if right_id is None or behind is None:
            return
        metrics.QUARANTINE_ENDED.labels(self.venue, symbol, "released").inc(len(behind))
        why = f"the ids published after trade {right_id} are none of the venue's, which goes on after it"
        await self.begin_epoch(symbol, followed.epoch + 1, after_id=right_id, why=why)
        await self.take(behind)

    async def _end_doubt(self, symbol: str, followed: PublishedSymbol, behind: TradeColumns, *, anew: bool) -> None:
        """Go on after REST has said whether trades with ids of the past are a new count of the venue's."""
        last_id = followed.last_id
        assert last_id is not None
        if anew:
            metrics.QUARANTINE_ENDED.labels(self.venue, symbol, "released").inc(len(behind))
            lowest_id = int(behind.trade_id.min())
            after_id = -1 if lowest_id <= self._limits.max_gap_ids else None
            await self.begin_epoch(symbol, followed.epoch + 1, after_id=after_id)
            await self.take(behind)  # REST has proved the new count, but not each of these
            return
        past = behind.trade_id <= last_id
        # What is told beside a published trade REST decides next.
        followed.quarantine.dispute(behind.rows(past), followed.known(self._venue_time_us), now_s=_now_s())
        metrics.QUARANTINE_ENDED.labels(self.venue, symbol, "dropped").inc(int(past.sum()))
        log.warning("%s: dropped %d trades with ids of the past: REST still has the others", symbol, int(past.sum()))
        if not past.all():
            await self.take(behind.rows(~past))

    def disputed_ids(self, symbol: str) -> list[int]:
        """Return the ids of published trades that REST shall say once more, rising."""
        return self._followed[symbol].disputed_ids

    async def settle(self, symbol: str, reported: TradeColumns) -> None:
        """Take REST's word about published trades; what replaces one is published as a repair, and takes its place.

        Args:
            symbol: which.
            reported: trades that REST tells, their ids rising.

        """
        followed = self._followed[symbol]
        reported = reported.rows(~self._implausible(reported))
        settled = followed.quarantine.settle(reported, followed.known(self._venue_time_us))
        for doubted, why in settled.upheld:
            words = f"another trade {doubted.trades.trade_id[0]} than the published one: {why}"
            log.warning("%s: dropped %s", symbol, words)
            self._keep_copy(replace(doubted, why=words))
        for wrong, right in zip(settled.wrong, settled.right, strict=True):
            await self._correct(symbol, followed, wrong, right)

    async def _correct(self, symbol: str, followed: PublishedSymbol, wrong: TradeColumns, right: TradeColumns) -> None:
        trade_id = int(right.trade_id[0])
        words = f"trade {trade_id} was published, and REST and other trades say that it was another one: corrected"
        log.error("%s: %s", symbol, words)
        self._keep_copy(QuarantinedTrades(wrong, "disputed", _now_s(), words))
        metrics.CORRECTED.labels(self.venue, symbol).inc()
        followed.recent.correct(right)
        if trade_id == followed.sequencer.last_id:
            followed.sequencer.last_time_us = int(right.time_us[0])
        if await self.publish_again(right):
            followed.recent.keep_corrected(right)

    def let_go(self, symbol: str, trade_id: int, why: str) -> None:
        """Leave a published trade as it is, of which REST cannot say whether it is the right one.

        Args:
            symbol: in lower case.
            trade_id: the venue's id, without the epoch.
            why: for the log.

        """
        for doubted in self._followed[symbol].quarantine.let_go(trade_id):
            metrics.QUARANTINE_ENDED.labels(self.venue, symbol, "dropped").inc(len(doubted.trades))
            log.error("%s: trade %d stays as it was published: %s; %s", symbol, trade_id, doubted.why, why)
            if doubted.kind == "disputed":
                self._keep_copy(doubted)

    def is_far(self, symbol: str, gap: IdRange) -> bool:
        """Return whether ids that REST goes past are so many that its word alone is not enough.

        Args:
            symbol: in lower case.
            gap: the ids.

        """
        head_id = max(self._followed[symbol].head_id, 0)
        return gap.last_id > head_id + self._bounds.max_id_jump

    def why_no_candle(self, candle: ClosedCandle) -> str:
        """Return why a minute cannot be one of the venue's, empty when it can: found, expected."""
        followed = self._followed.get(candle.symbol)
        last_us = 0 if followed is None else followed.last_time_us
        latest_us = self._bounds.latest_us(time.time_ns() // 1000, max(self._venue_time_us, last_us))
        if candle.open_time_us + _MINUTE_US > latest_us:
            ends_us = candle.open_time_us + _MINUTE_US
            return f"a minute that was over at {ends_us} us, expected no later than {latest_us}"
        last_id = None if followed is None else followed.last_id
        if followed is None or last_id is None or candle.last_trade_id < 0:
            return ""
        # Of the same count it would end with that trade or a later one, had that happened in it.
        since_us = candle.open_time_us + (_MINUTE_US if candle.last_trade_id < last_id else 0)
        past = candle.last_trade_id <= last_id and 0 < last_us < since_us
        if past or any(doubted.kind == "id_behind" for doubted in followed.doubted):
            return f"a minute up to trade {candle.last_trade_id}, which is of the past: are these ids of a new count?"
        limit = followed.head_id + self._bounds.max_id_jump
        if candle.last_trade_id > limit:
            return f"a minute up to trade {candle.last_trade_id}, expected at most {limit}"
        return ""

    async def absent(self, symbol: str, gap: IdRange) -> None:
        """Take the venue's word that it has none of these ids, and go on without them.

        Args:
            symbol: in lower case.
            gap: the ids.

        """
        log.warning("%s: the venue has no trades %d to %d", symbol, gap.first_id, gap.last_id)
        metrics.ABSENT.labels(self.venue, symbol).inc(gap.size)
        await self._skip(symbol, gap)

    async def unreachable(self, symbol: str, gap: IdRange, why: str, *, level: int = logging.ERROR) -> None:
        """Go on without ids that can no longer be asked for; they stay a hole for the ledger.

        Args:
            symbol: in lower case.
            gap: the ids.
            why: for the log.
            level: at which it is logged.

        """
        words = "%s: going on without trades %d to %d (%d): %s"
        log.log(level, words, symbol, gap.first_id, gap.last_id, gap.size, why)
        metrics.HOLES.labels(self.venue, symbol).inc(gap.size)
        await self._skip(symbol, gap)

    async def give_up(self, symbol: str, why: str) -> None:
        """Go on without the ids that are waited for; they stay a hole for the ledger.

        Args:
            symbol: in lower case.
            why: for the log.

        """
        followed = self._followed[symbol]
        if (dropped := followed.sequencer.drop_contradicted()) is not None:
            words = f"trades {dropped.trade_id[0]} to {dropped.trade_id[-1]} came before lower ids that go on"
            self._report_quarantined(symbol, QuarantinedTrades(dropped, "id_ahead", _now_s(), words))
            log.warning("%s: dropped %d trades: %s", symbol, len(dropped), words)
            followed.contradicted()
            return
        if (gap := followed.gap) is not None:
            await self.unreachable(symbol, gap, why)

    async def nothing_since(self, symbol: str, since_s: float) -> float:
        """Take note that the venue has answered since then with nothing from the ids on that are waited for.

        What it has had time enough for is given up: later trades have come, and these may never.

        Args:
            symbol: in lower case.
            since_s: when the first of its empty answers came, in seconds of the loop's clock.

        Returns:
            how long its next answer may take.

        """
        followed = self._followed[symbol]
        while (left_s := followed.sequencer.patience_s(since_s, _now_s())) == 0 and followed.gap is not None:
            if await self._doubt_lone(symbol):
                continue
            await self.give_up(symbol, "the venue answers, but has nothing of them, though later ones have come")
        return left_s

    async def _doubt_lone(self, symbol: str) -> bool:
        """Hold the trades behind a gap where they are so few that their ids may be wrong; return whether they are."""
        followed = self._followed[symbol]
        if (lone := followed.sequencer.take_lone()) is None:
            return False
        verdict = followed.quarantine.doubt(lone, "unconfirmed", followed.known(self._venue_time_us), now_s=_now_s())
        followed.contradicted()
        async with self._lock:
            await self._pass(symbol, followed, verdict, live=False)
        for call in self._call_on_doubt:
            call(symbol)
        return True

    async def give_up_all(self, why: str, *, but: Collection[str] = ()) -> None:
        """Go on without everything that is waited for; what has arrived behind it is published.

        Args:
            why: for the log.
            but: symbols of which nothing is given up, as all of it can be had again in order.

        """
        for symbol, followed in self._followed.items():
            if symbol in but and (gap := followed.gap) is not None:
                held, _ = followed.held_trades
                log.info(
                    "%s: left %d trades behind %d to %d to the next start: %s",
                    symbol,
                    held,
                    gap.first_id,
                    gap.last_id,
                    why,
                )
                continue
            while followed.gap is not None and not followed.raw.closed:
                if (lone := followed.sequencer.take_lone()) is not None:
                    words = "%s: left %d trades from %d on to the next start: nothing confirms their ids"
                    log.warning(words, symbol, len(lone), lone.trade_id[0])
                    continue
                await self.give_up(symbol, why)

    async def publish_again(self, trades: TradeColumns) -> int:
        """Publish trades of the past, past the order of ids; return the sequence in RAW of the last message.

        0 where a new epoch has begun meanwhile, and nothing is published.
        """
        raw, last_id = self._followed[trades.symbol].raw, self._followed[trades.symbol].last_id
        epoch = self.epoch(trades.symbol)
        assert last_id is not None
        assert int(trades.trade_id[-1]) <= last_id
        stored: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        async with self._lock:
            if epoch != self.epoch(trades.symbol):  # begun meanwhile: these ids mean other trades now
                return 0
            for start in range(0, len(trades), MAX_BATCH):
                part = trades.rows(slice(start, start + MAX_BATCH))
                is_last = start + MAX_BATCH >= len(trades)
                part = _shifted(part, epoch * epochs.IDS)
                newest_key = epochs.key_of(epoch, last_id)
                await raw.flush()
                subject = subjects.raw_of_symbol(self.venue, trades.symbol, raw.partition)
                message_id, payload = repair_id(part, newest_key), wire.encode_trades(part)
                await raw.send(subject, payload, message_id, stored.set_result if is_last else None)
        return await stored

    def implausible(self, trades: TradeColumns) -> Bools:
        """Return which trades of the past, as REST tells them, cannot be right; what they are is kept aside."""
        wrong = self._implausible(trades)
        if wrong.any():
            rows = trades.rows(wrong)
            why = f"REST tells trade {rows.trade_id[0]} with the time {rows.time_us[0]} us, far from all others"
            self._report_quarantined(trades.symbol, QuarantinedTrades(rows, "time", _now_s(), why, live=False))
        return wrong

    def _implausible(self, trades: TradeColumns) -> Bools:
        followed = self._followed.get(trades.symbol)
        venue_us = max(self._venue_time_us, 0 if followed is None else followed.last_time_us)
        return implausible_past(trades, clock_us=trades.received_time_us, venue_us=venue_us, bounds=self._bounds)

    async def keep_bounds(self) -> None:
        """Give up the gaps that are past a bound, for ever; a task of the service's own."""
        for look in itertools.count(1):
            await asyncio.sleep(_LOOK_EVERY_S)
            self._tell_lags()
            for raw in self._partitions.values():
                raw.count_messages()
            is_counted = look % _COUNTED_EVERY_LOOKS == 0
            for number, (symbol, followed) in enumerate(list(self._followed.items()), 1):
                if number % _LOOKED_AT_ONCE == 0:
                    await asyncio.sleep(0)
                if is_counted:
                    self._count(symbol, followed)
                while followed.gap is not None and followed.sequencer.overdue(
                    _now_s()
                ):  # another one once a new epoch has begun
                    if not await self._doubt_lone(symbol):
                        await self.give_up(symbol, "past the bounds of waiting")
            self._report_health()

    async def _publish(self, symbol: str, due: TradeColumns | None) -> None:
        followed = self._followed[symbol]
        if due is None or followed.raw.closed:
            return
        for start in range(0, len(due), MAX_BATCH):
            part = due if len(due) <= MAX_BATCH else due.rows(slice(start, start + MAX_BATCH))
            await followed.raw.make_room(len(part))
            # Only now: what is published meanwhile tells the last ones again, and these are not published yet.
            followed.recent.add(part)
            followed.passed.turn = self._passed.next_turn()
            batch = _shifted(part, followed.epoch * epochs.IDS)
            first, last = int(batch.trade_id[0]), int(batch.trade_id[-1])
            encoded = wire.one_of_many(wire.encode_trades(batch))
            partition = followed.passed.partition
            followed.raw.gather(PassedMessage(partition, (symbol, first), (symbol, last), len(part), encoded))
        await followed.raw.flush()

    def flush_at_once(self) -> bool:
        """Publish what is gathered where nothing has to be waited for; return whether nothing is left for `flush`."""
        is_done = not self._lock.locked()
        for raw in self._partitions.values() if is_done else ():
            is_done &= raw.flush_at_once()
        return is_done

    async def flush(self) -> None:
        """Publish what is gathered."""
        for raw in self._partitions.values():
            if raw.has_gathered:
                async with self._lock:
                    await raw.flush()

    def _report_health(self) -> None:
        """Say which trades are held because of their ids or times, and of which symbols the epoch is not known."""
        if self._health is None:
            return
        held = [(symbol, doubted) for symbol, one in self._followed.items() for doubted in one.doubted]
        held = [(symbol, doubted) for symbol, doubted in held if doubted.kind not in ("first", "early")]
        behind = [f"{symbol}: {doubted.why}" for symbol, doubted in held if doubted.kind == "id_behind"]
        words = {
            "epoch": f"has {self.venue} begun its ids again? REST is asked: {'; '.join(behind)}" if behind else "",
            "quarantine": "; ".join(f"{symbol}: {each.why}" for symbol, each in held if each.kind != "id_behind"),
        }
        blind = [symbol for symbol, one in self._followed.items() if one.is_blind] if self._epoch_wait_s else []
        if blind and not behind:
            words["epoch"] = f"store has not said yet in which epoch {', '.join(blind)} is: taken for the first one"
        for name, message in words.items():
            if message:
                self._health.condition(name, State.DEGRADED, message)
            else:
                self._health.clear(name)

    def _count(self, symbol: str, followed: PublishedSymbol) -> None:
        """Tell the metrics of a symbol what has changed; of 300 symbols hardly any has."""
        counts, held = followed.take_counts(), followed.held_trades
        is_told = held == self._told_held.get(symbol)
        if counts == _NOTHING and is_told:
            return
        *counters, waiting, doubted = _metrics_of(self.venue, symbol)
        for counter, count in zip(counters, (counts.released, counts.duplicates, counts.gaps), strict=True):
            if count:
                counter.inc(count)
        if not is_told:
            self._told_held[symbol] = held
            waiting.set(held[0])
            doubted.set(held[1])

    async def _skip(self, symbol: str, gap: IdRange) -> None:
        followed = self._followed[symbol]
        async with self._lock:
            await self._publish(symbol, followed.sequencer.skip(gap))
            await self._hold_early(symbol, followed)

    async def _pass(self, symbol: str, followed: PublishedSymbol, verdict: Verdict, *, live: bool) -> None:
        """Let go on what may, and tell what is held and dropped."""
        for doubted in verdict.held:
            if doubted.kind not in ("first", "early"):  # right ones are held each time: a wrong one is worth a word
                self._report_quarantined(symbol, doubted)
        for doubted, why in verdict.dropped:
            if doubted.kind in ("first", "early"):
                self._report_quarantined(symbol, doubted)
            metrics.QUARANTINE_ENDED.labels(self.venue, symbol, "dropped").inc(len(doubted.trades))
            log.warning(
                "%s: dropped %d doubted trades from %d on: %s",
                *(symbol, len(doubted.trades), doubted.trades.trade_id[0], why),
            )
        if verdict.released:
            metrics.QUARANTINE_ENDED.labels(self.venue, symbol, "released").inc(verdict.released)
            log.info("%s: released %d doubted trades, which are confirmed", symbol, verdict.released)
        passed = verdict.passed
        if passed is None:
            return
        followed.accepted_up_to(extremes(passed.trade_id)[1])
        if live:
            self._venue_time_us = int(passed.time_us[-1])
        due = followed.sequencer.push(passed, _now_s(), live=live)
        await self._publish(symbol, due)
        if (otherwise := followed.sequencer.take_reported_otherwise()) is not None:
            followed.quarantine.dispute(otherwise, followed.known(self._venue_time_us), now_s=_now_s())
        await self._hold_early(symbol, followed)

    async def _hold_early(self, symbol: str, followed: PublishedSymbol) -> None:
        """Hold what came before lower ids until it is known to be right."""
        if (early := followed.sequencer.take_unconfirmed()) is not None:
            known = followed.known(self._venue_time_us)
            assert known.last_id is not None
            published = early.trade_id <= known.last_id
            if published.any():  # the next one with that id came in the same batch: REST says which is right
                followed.quarantine.dispute(early.rows(published), known, now_s=_now_s())
            if not published.all():
                verdict = followed.quarantine.doubt(early.rows(~published), "early", known, now_s=_now_s())
                await self._pass(symbol, followed, verdict, live=False)
            for call in self._call_on_doubt:
                call(symbol)

    def _report_quarantined(self, symbol: str, doubted: QuarantinedTrades) -> None:
        metrics.QUARANTINED.labels(self.venue, symbol, doubted.kind).inc(len(doubted.trades))
        self._keep_copy(doubted)
        self._report_health()
        if self._log_throttle.setdefault((symbol, doubted.kind), LogThrottle(every_s=10)).due(_now_s()):
            log.warning("%s: held %d trades back: %s", symbol, len(doubted.trades), doubted.why)

    def _keep_copy(self, doubted: QuarantinedTrades) -> None:
        if self._dead is not None:
            self._dead.put_letter(letter_about("quarantine", _as_json(doubted.trades), doubted.why))


@lru_cache(maxsize=4096)  # 300 symbols' took 20 ms a second to find
def _metrics_of(venue: str, symbol: str) -> tuple[Counter, Counter, Counter, Gauge, Gauge]:
    return (
        metrics.TRADES.labels(venue, symbol),
        metrics.DUPLICATES.labels(venue, symbol),
        metrics.GAPS.labels(venue, symbol),
        metrics.HELD.labels(venue, symbol),
        metrics.QUARANTINE.labels(venue, symbol),
    )


def _as_json(trades: TradeColumns) -> bytes:
    """Return trades for a person to look at, the first MAX_COPIED of them."""
    copied = trades.rows(slice(0, MAX_COPIED))
    rows = zip(
        copied.trade_id.tolist(),
        map(format_e8, copied.price_e8.tolist()),
        map(format_e8, copied.quantity_e8.tolist()),
        copied.time_us.tolist(),
        copied.is_buyer_maker.tolist(),
        strict=True,
    )
    names = ("trade_id", "price", "quantity", "time_us", "is_buyer_maker")
    content = {
        "venue": copied.venue,
        "symbol": copied.symbol,
        "received_time_us": copied.received_time_us,
        "trades": [dict(zip(names, row, strict=True)) for row in rows],
    }
    return msgspec.json.encode(content)


def _shifted(trades: TradeColumns, by: int) -> TradeColumns:
    """Return trades whose ids are of another epoch."""
    return replace(trades, trade_id=trades.trade_id + by) if by else trades


def _now_s() -> float:
    return time.monotonic()
