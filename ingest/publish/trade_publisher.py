"""Where trades leave: through their symbol's sequencer to the stream RAW, whoever brings them."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from operator import attrgetter

import msgspec
import numpy as np
from prometheus_client import Counter, Gauge

from ingest import metrics
from ingest.feed_state import Progress
from ingest.messages import ClosedCandle
from ingest.publish.quarantine import (
    Bounds,
    KnownTrades,
    Quarantine,
    QuarantinedTrades,
    RecentTrades,
    Verdict,
    extremes,
    implausible_past,
    is_same_count,
    may_be_another_count,
)
from ingest.publish.resume import LastPublished, last_of_all, last_published, published_epoch, repair_id
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
from tickcodec.frames import ReadTrades
from tickmesh.v1 import control_pb2

log = logging.getLogger("ingest.publish.trade_publisher")

MAX_BATCH = 4096
"""Trades in one message at most: about 0.14 MB."""

MAX_LAST_TRADES_BYTES = 900_000
"""Of the message that tells the last trades again, some 200 bytes a symbol; of too many symbols it has the newest."""
_LAST_TRADES = 16
"""So many of each symbol, where they are few: a wrong one does not look as if the venue had begun its ids again."""
_LAST_BATCHES = 1_000  # so many of all symbols together, or one of each
_LONG = 64  # trades of a batch that is told again as it is
_LAST_TRADES_EVERY = 1_000
"""Messages: they are read at the next start, in some 0.4 ms each."""
_MESSAGE_BYTES = 256  # that RAW keeps beside a payload, at most

_NOTHING = Counts()
MAX_COPIED = 50
"""So many of the trades that are held together are kept as a dead letter."""

_MINUTE_US = 60_000_000
LATER_US = 1_000_000
"""So much later than the last trade one must have happened to be new: a repeat, told by a second connection, is not."""
_ADOPT_EVERY_S = 1.0
_LOOK_EVERY_S = 0.5
_COUNTED_EVERY_LOOKS = 4  # trades by symbol: those of 300 take 3 ms of CPU to tell
_ASK_EVERY_S = 0.1
_NEVER_US = 2**63
_LAGS_KEPT = 1024  # so many delays wait at most to be told


class GatheredTrades:
    """Batches that go to RAW in one message, in order, those of all symbols together. Pure."""

    def __init__(self) -> None:
        self.batches: list[bytes] = []
        self._first = self._last = ("", 0)
        self._rows = 0

    def fits(self, rows: int) -> bool:
        """Return whether so many trades have room in one message with what is here."""
        return not self.batches or self._rows + rows <= MAX_BATCH

    def add(self, symbol: str, first_key: int, last_key: int, rows: int, batch: bytes) -> None:
        """Take a batch behind the others; ask `fits` first.

        Args:
            symbol: in lower case.
            first_key: of its first trade.
            last_key: of its last trade.
            rows: how many trades it has.
            batch: a `TradeBatch` as `wire.one_of_many` has it.

        """
        if not self.batches:
            self._first = symbol, first_key
        self._last = symbol, last_key
        self._rows += rows
        self.batches.append(batch)

    @property
    def name(self) -> str:
        """A name that no other message has: none begins with that trade."""
        (first, first_key), (last, last_key) = self._first, self._last
        return f"{subjects.token(first)}.{first_key}-{subjects.token(last)}.{last_key}"


class _LastTrades:
    """The last trades of a symbol, as they are told again."""

    __slots__ = ("batches", "message")

    def __init__(self, batches: Iterable[tuple[int, bytes]] = ()) -> None:
        self.batches = deque(batches, maxlen=_LAST_TRADES)  # how many trades each has, and those
        self.message = 0  # the number of the one with the last of them


class PartitionPublisher:
    """Brings the trades of one partition to its RAW: gathered for messages, the last ones told again now and then.

    Args:
        venue: whose trades these are.
        bus: to read how far RAW is.
        publisher: the writer of that stream.
        partition: which.
        max_unrepeated_bytes: after so many bytes the last trades of each symbol are told again.

    Attributes:
        partition: the same.
        closed: whether a message was left out, as its sending was cancelled: nothing may pass after that.

    """

    def __init__(
        self, venue: str, bus: Bus, publisher: Publisher, partition: Partition, *, max_unrepeated_bytes: int
    ) -> None:
        self.partition = partition
        self.closed = False
        self._venue = venue
        self._subject = subjects.raw(venue, partition)
        self._bus = bus
        self._publisher = publisher
        self._gathered = GatheredTrades()
        self._found: dict[str, LastPublished] | None = None  # by symbol, as RAW told; None before that is read
        self._last: dict[str, _LastTrades] = {}  # by symbol
        self._messages = self._counted_messages = 0  # that were published, and how many of them metrics know
        self._resuming = asyncio.Lock()
        self._unrepeated = _LAST_TRADES_EVERY  # messages of trades since they were told again
        self._unrepeated_bytes = 0
        self._max_unrepeated_bytes = max_unrepeated_bytes

    async def last_published(self, symbol: str) -> LastPublished | None:
        """Return the newest trade that RAW holds of a symbol, None when it holds none; waits for the bus."""
        async with self._resuming:
            if self._found is None:
                self._found = await last_of_all(self._bus, self._venue, self.partition)
                for name, found in self._found.items():
                    assert found.trades is not None
                    batch = wire.one_of_many(wire.encode_trades(found.trades.rows(slice(-_LAST_TRADES, None))))
                    self._last[name] = _LastTrades([(_LAST_TRADES, batch)])
        return await last_published(self._bus, self._venue, symbol, self._found.get(symbol), partition=self.partition)

    def has_room(self, rows: int) -> bool:
        """Return whether so many trades have room in one message with those that are gathered."""
        return self._gathered.fits(rows)

    async def make_room(self, rows: int) -> None:
        """Publish what is gathered where so many trades have no room with it."""
        if not self.has_room(rows):
            await self.flush()

    def gather(self, symbol: str, first_key: int, last_key: int, rows: int, batch: bytes) -> None:
        """Take a batch behind the others, to be published by `flush`; there must be room for it.

        Args:
            symbol: in lower case.
            first_key: of its first trade.
            last_key: of its last trade.
            rows: how many trades it has.
            batch: a `TradeBatch` as `wire.one_of_many` has it.

        """
        self._gathered.add(symbol, first_key, last_key, rows, batch)
        if (last := self._last.get(symbol)) is None:
            last = self._last[symbol] = _LastTrades()
        if rows >= _LAST_TRADES:
            last.batches.clear()
        last.batches.append((rows, batch))
        last.message = self._messages

    @property
    def has_gathered(self) -> bool:
        """Whether trades wait for `flush`."""
        return bool(self._gathered.batches)

    def flush_at_once(self) -> bool:
        """Publish what is gathered where the bus has room for it; return whether nothing is left to be published."""
        gathered = self._gathered
        if not gathered.batches or self.closed:
            return True
        payload = b"".join(gathered.batches)
        if not self._publisher.offer(self._subject, payload, message_id=f"{self._venue}.{gathered.name}"):
            return False
        self._gathered = GatheredTrades()
        self._messages += 1
        self._unrepeated += 1
        self._unrepeated_bytes += len(payload) + _MESSAGE_BYTES
        if self._unrepeated >= _LAST_TRADES_EVERY or self._unrepeated_bytes >= self._max_unrepeated_bytes:
            self._repeat_last_trades(gathered.name)
        return True

    async def flush(self) -> None:
        """Publish what is gathered."""
        with self._closed_when_cancelled():
            while not self.flush_at_once():
                await self._publisher.wait_for_room()

    def _repeat_last_trades(self, behind: str) -> None:
        """Publish the last trades of each symbol once more, all in one message: the next ingest goes on after them.

        Where the bus has no room it is done behind the next message.
        """
        most = min(MAX_LAST_TRADES_BYTES, self._max_unrepeated_bytes // 2)
        most_of_one = max(1, min(_LAST_TRADES, _LAST_BATCHES // max(1, len(self._last))))
        found: list[bytes] = []
        size = 0
        for last in sorted(self._last.values(), key=attrgetter("message"), reverse=True):
            batches = [batch if rows <= _LONG else _end_of(batch) for rows, batch in list(last.batches)[-most_of_one:]]
            size += sum(map(len, batches))
            if size > most:
                break
            found += batches
        if found:
            subject = subjects.last_trades(self._subject)
            if not self._publisher.offer(subject, b"".join(found), message_id=f"{self._venue}.last-trades.{behind}"):
                return
            self._messages += 1
        self._unrepeated = self._unrepeated_bytes = 0

    def correct_last(self, right: TradeColumns) -> None:
        """Tell a trade as it is now where the last trades are told again."""
        if right.symbol in self._last:
            self._last[right.symbol].batches.append((1, wire.one_of_many(wire.encode_trades(right))))

    async def send(
        self, subject: str, payload: bytes, message_id: str, on_stored: Callable[[int], None] | None = None
    ) -> None:
        """Publish a message.

        Args:
            subject: of the partition.
            payload: the message.
            message_id: names it.
            on_stored: see `Publisher.publish`.

        """
        self._messages += 1
        with self._closed_when_cancelled():
            await self._publisher.publish(subject, payload, message_id=message_id, on_stored=on_stored)

    def count_messages(self) -> None:
        """Tell the metrics how many messages were published since they were told last."""
        metrics.BATCHES.inc(self._messages - self._counted_messages)
        self._counted_messages = self._messages

    @contextmanager
    def _closed_when_cancelled(self) -> Iterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            # Stopped while the bus made us wait: nothing may pass after what was left out.
            self.closed = True
            raise


@dataclass(slots=True)
class _Followed:
    """What is known of a symbol that is followed."""

    raw: PartitionPublisher
    sequencer: Sequencer
    quarantine: Quarantine
    head_id: int = -1
    recent: RecentTrades = field(default_factory=RecentTrades)
    received_s: float | None = None  # when trades came as they happen
    standing_still: int = 0  # live trades in a row that happened after the last one passed on, and were not
    epoch: int = 0
    begins_after_id: int = -1  # the epoch, where what lies below was published in the one before
    told_held: tuple[int, int] | None = None  # how many trades wait and how many are doubted, as metrics have it
    is_blind: bool = False  # whether RAW held nothing of it, so that the bus may have forgotten its epoch


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
        self._call_on_gap: list[Callable[[str], None]] = []
        self._limits = limits or WaitingLimits()
        self._lags_us: list[int] = []  # that came, and are not told yet
        self._recent_lag = RecentLag()
        self._bounds = bounds or Bounds()
        self._most_at_once = min(MAX_BATCH, self._bounds.max_id_jump)
        self._followed: dict[str, _Followed] = {}
        self._call_on_doubt: list[Callable[[str], None]] = []
        self._call_on_epoch: list[Callable[[str], None]] = []
        self._outgoing = outgoing
        self._dead = dead
        self._venue_time_us = 0
        self._lock = asyncio.Lock()
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
        if symbol not in self._followed:
            raw = self._partitions[partition_of(self.venue, symbol, self._count_of_partitions)]
            last = await raw.last_published(symbol)
            if symbol in self._followed:
                return
            if last is None:
                reported = await self._published_epoch(symbol)
                if symbol in self._followed:
                    return
                epoch = reported or 0
                log.info("%s: begins with its first trade%s", symbol, f" of epoch {epoch}" if epoch else "")
                sequencer = Sequencer(last_id=None, limits=self._limits)
                followed = _Followed(raw, sequencer, Quarantine(self._bounds), epoch=epoch, is_blind=reported is None)
                self._followed[symbol] = followed
                metrics.EPOCH.labels(self.venue, symbol).set(epoch)
            else:
                last_id, epoch = epochs.venue_id(last.key), epochs.epoch_of(last.key)
                log.info("%s: goes on after trade %d%s", symbol, last_id, f" of epoch {epoch}" if epoch else "")
                sequencer = Sequencer(last_id=last_id, last_time_us=last.time_us, limits=self._limits)
                followed = _Followed(raw, sequencer, Quarantine(self._bounds), last_id, epoch=epoch)
                if last.trades is not None and len(last.trades):
                    followed.recent.add(_shifted(last.trades, -epoch * epochs.IDS))
                self._followed[symbol] = followed
                metrics.EPOCH.labels(self.venue, symbol).set(epoch)

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
        return (int(time_us[-1]), int(price_e8[-1])) if ids[-1] == self._followed[symbol].sequencer.last_id else None

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
        return may_be_another_count(reported, followed.recent, followed.sequencer.waiting)

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
        while followed.sequencer.gap is not None and not followed.raw.closed:
            await self.unreachable(symbol, followed.sequencer.gap, why)
        async with self._lock:
            if epoch <= followed.epoch:
                return
            log.warning("%s: %s: this is epoch %d", symbol, why.replace("the venue", self.venue, 1), epoch)
            for doubted in followed.quarantine.held:  # of the old count, and nobody can be asked about them any more
                self._report_quarantined(symbol, doubted)
                metrics.QUARANTINE_ENDED.labels(self.venue, symbol, "dropped").inc(len(doubted.trades))
            self._count(symbol, followed)
            last_us = followed.sequencer.last_time_us
            followed.sequencer = Sequencer(last_id=after_id, last_time_us=last_us, limits=self._limits)
            followed.quarantine = Quarantine(self._bounds)
            followed.head_id = -1 if after_id is None else after_id
            followed.recent, followed.epoch = RecentTrades(), epoch
            followed.begins_after_id = followed.head_id
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
        last_id = self._followed[symbol].sequencer.last_id
        return None if last_id is None else last_id + 1

    def next_id_if_known(self, symbol: str) -> int | None:
        """Return the same also of a symbol whose trades do not pass yet: None."""
        return self.next_id(symbol) if symbol in self._followed else None

    def gap(self, symbol: str) -> IdRange | None:
        """Return the ids that a symbol's trades wait for."""
        return self._followed[symbol].sequencer.gap

    def progress(self) -> list[Progress]:
        """Return how far each followed symbol's trades are."""
        now_s = _now_s()
        return [
            Progress(
                symbol,
                followed.sequencer.last_id,
                followed.sequencer.last_time_us,
                None if followed.received_s is None else now_s - followed.received_s,
                held_trades=followed.sequencer.held_trades + followed.quarantine.held_trades,
                gap=followed.sequencer.gap,
                doubt=followed.quarantine.held[0].why if followed.quarantine.held else "",
                not_passed=followed.standing_still,
            )
            for symbol, followed in self._followed.items()
        ]

    def lag(self) -> Lag | None:
        """Return how long trades took from the venue to here in the last minute; None when none came."""
        self._tell_lags()
        return self._recent_lag.quantiles(now_s=_now_s())

    async def take(self, trades: TradeColumns | ReadTrades, *, live: bool = True, gather: bool = False) -> None:
        """Take trades from anywhere, in any order; those of a symbol not followed are passed over, and counted.

        Args:
            trades: of one symbol. Live ones that are encoded already, go on at the next id, and are not doubted, are
                published as they are, which is nearly always so: a batch of one takes 11 us instead of 45.
            live: whether they come as they happen, so that their delay says something of the way here.
            gather: whether they may wait for `flush`, to be published in one message with those of other symbols.

        """
        followed = self._followed.get(trades.symbol)
        if followed is None:
            metrics.PASSED_OVER.labels(self.venue).inc(len(trades))
            return
        if not len(trades):
            return
        now_s, last_time_us = _now_s(), followed.sequencer.last_time_us
        async with self._lock:
            if isinstance(trades, ReadTrades):
                await followed.raw.make_room(trades.rows)
                if live and not self._pass_encoded((trades,), now_s):
                    if not gather:
                        await followed.raw.flush()
                    return
                trades = wire.decode_one_of_many(trades.batch)
            last_us = int(trades.time_us[-1])
            if live:
                followed.received_s = now_s
                self._observe_lag(max(0, trades.received_time_us - last_us))
            if live and last_time_us and last_us > last_time_us + LATER_US:
                followed.standing_still += len(trades)  # what passes makes it 0
            verdict = followed.quarantine.examine(trades, self._known(followed), now_s=now_s, live=live)
            await self._pass(trades.symbol, followed, verdict, live=live)
        if not live:
            await self.settle(trades.symbol, trades)
        if followed.sequencer.gap is not None:
            for call in self._call_on_gap:
                call(trades.symbol)
        if followed.quarantine.doubts:
            for call in self._call_on_doubt:
                call(trades.symbol)

    def take_at_once(self, several: Sequence[ReadTrades]) -> Sequence[ReadTrades]:
        """Take live trades that came together, as `take` does, where nothing has to be waited for.

        Nearly always nothing is to be done but to gather them. Where 300 symbols trade, nearly each has one, and a call
        of `take` for each took a third of ingest's time in Python. The longest of their delays counts for all.

        Args:
            several: each of another symbol.

        Returns:
            those that `take` has to be awaited with; the others wait for `flush`.

        """
        if self._lock.locked() or any(raw.has_gathered for raw in self._partitions.values()):
            return several
        return self._pass_encoded(several, _now_s())

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

    def _pass_encoded(self, several: Sequence[ReadTrades], now_s: float) -> Sequence[ReadTrades]:
        """Gather trades as they are where `_pass` would publish their columns.

        Args:
            several: live ones that came together, each of another symbol; there is room for them.
            now_s: the time.

        Returns:
            those that are not gathered.

        """
        received_time_us = several[0].received_time_us
        earliest_us, latest_us = self._bounds.around_us(received_time_us)
        oldest_us = _NEVER_US
        left: list[ReadTrades] = []
        for trades in several:
            symbol, first_id, last_id, rows = trades.symbol, trades.first_id, trades.last_id, trades.rows
            last_us = trades.last_us
            followed = self._followed.get(symbol)
            if (
                followed is None
                or followed.epoch
                or followed.raw.closed
                or not trades.is_consecutive
                or rows > self._most_at_once
                or trades.earliest_us < earliest_us
                or trades.latest_us > latest_us
                or followed.quarantine.doubts
                or not followed.sequencer.push_next(first_id, last_id, last_us)
            ):
                left.append(trades)
                continue
            followed.head_id = max(followed.head_id, last_id)
            followed.standing_still = 0
            followed.received_s = now_s
            followed.recent.add(trades)
            followed.raw.gather(symbol, first_id, last_id, rows, trades.batch)
            self._venue_time_us = last_us
            oldest_us = min(oldest_us, last_us)
        if oldest_us != _NEVER_US:
            self._observe_lag(max(0, received_time_us - oldest_us))
        return left

    def doubts(self, symbol: str) -> bool:
        """Return whether trades of a symbol are held because they cannot be right."""
        return self._followed[symbol].quarantine.doubts

    async def judge(self, symbol: str, newest: TradeColumns | None) -> None:
        """Take REST's word about the trades of a symbol that are doubted: its newest ones, None when it has none.

        Args:
            symbol: in lower case; one that is followed.
            newest: what REST tells, their ids rising; None when it could not be asked.

        """
        followed = self._followed[symbol]
        anew = followed.quarantine.counts_anew(newest, self._known(followed))
        if newest is not None and anew is False:
            await self._leave_wrong_ids(symbol, followed, newest)
        if anew is not None and (behind := followed.quarantine.take_behind()) is not None:
            await self._end_doubt(symbol, followed, behind, anew=anew)
        if newest is not None and not anew:
            await self.settle(symbol, newest)
        doubted_ids = [doubted.trades.trade_id for doubted in followed.quarantine.held]
        async with self._lock:
            verdict = followed.quarantine.judge(newest, self._known(followed), now_s=_now_s())
            await self._pass(symbol, followed, verdict, live=False)
        if newest is not None and doubted_ids and followed.sequencer.last_id is not None:
            # What the socket told wrong REST may have told right.
            rows = newest.rows(np.isin(newest.trade_id, np.concatenate(doubted_ids)))
            if len(rows):
                await self.take(rows, live=False)
        if followed.sequencer.gap is not None:
            for call in self._call_on_gap:
                call(symbol)

    async def _leave_wrong_ids(self, symbol: str, followed: _Followed, newest: TradeColumns) -> None:
        """Go on after the last right trade where ids far too high were published, which hold up all others.

        As a new epoch, whose keys are above those: what reads RAW in order takes it in.
        """
        right_id = followed.quarantine.last_right_id(newest, self._known(followed))
        behind = None if right_id is None else followed.quarantine.take_behind()
        if right_id is None or behind is None:
            return
        metrics.QUARANTINE_ENDED.labels(self.venue, symbol, "released").inc(len(behind))
        why = f"the ids published after trade {right_id} are none of the venue's, which goes on after it"
        await self.begin_epoch(symbol, followed.epoch + 1, after_id=right_id, why=why)
        await self.take(behind)

    async def _end_doubt(self, symbol: str, followed: _Followed, behind: TradeColumns, *, anew: bool) -> None:
        """Go on after REST has said whether trades with ids of the past are a new count of the venue's."""
        last_id = followed.sequencer.last_id
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
        followed.quarantine.dispute(behind.rows(past), self._known(followed), now_s=_now_s())
        metrics.QUARANTINE_ENDED.labels(self.venue, symbol, "dropped").inc(int(past.sum()))
        log.warning("%s: dropped %d trades with ids of the past: REST still has the others", symbol, int(past.sum()))
        if not past.all():
            await self.take(behind.rows(~past))

    def disputed_ids(self, symbol: str) -> list[int]:
        """Return the ids of published trades that REST shall say once more, rising."""
        return self._followed[symbol].quarantine.disputed_ids

    async def settle(self, symbol: str, reported: TradeColumns) -> None:
        """Take REST's word about published trades; what replaces one is published as a repair, and takes its place.

        Args:
            symbol: which.
            reported: trades that REST tells, their ids rising.

        """
        followed = self._followed[symbol]
        reported = reported.rows(~self._implausible(reported))
        settled = followed.quarantine.settle(reported, self._known(followed))
        for doubted, why in settled.upheld:
            words = f"another trade {doubted.trades.trade_id[0]} than the published one: {why}"
            log.warning("%s: dropped %s", symbol, words)
            self._keep_copy(replace(doubted, why=words))
        for wrong, right in zip(settled.wrong, settled.right, strict=True):
            await self._correct(symbol, followed, wrong, right)

    async def _correct(self, symbol: str, followed: _Followed, wrong: TradeColumns, right: TradeColumns) -> None:
        trade_id = int(right.trade_id[0])
        words = f"trade {trade_id} was published, and REST and other trades say that it was another one: corrected"
        log.error("%s: %s", symbol, words)
        self._keep_copy(QuarantinedTrades(wrong, "disputed", _now_s(), words))
        metrics.CORRECTED.labels(self.venue, symbol).inc()
        followed.recent.correct(right)
        if trade_id == followed.sequencer.last_id:
            followed.sequencer.last_time_us = int(right.time_us[0])
        await self.publish_again(right)
        followed.raw.correct_last(_shifted(right, followed.epoch * epochs.IDS))

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
        followed = self._followed[symbol]
        head_id = max(followed.head_id, followed.sequencer.last_id or 0)
        return gap.last_id > head_id + self._bounds.max_id_jump

    def why_no_candle(self, candle: ClosedCandle) -> str:
        """Return why a minute cannot be one of the venue's, empty when it can: found, expected."""
        followed = self._followed.get(candle.symbol)
        last_us = 0 if followed is None else followed.sequencer.last_time_us
        latest_us = self._bounds.latest_us(time.time_ns() // 1000, max(self._venue_time_us, last_us))
        if candle.open_time_us + _MINUTE_US > latest_us:
            ends_us = candle.open_time_us + _MINUTE_US
            return f"a minute that was over at {ends_us} us, expected no later than {latest_us}"
        last_id = None if followed is None else followed.sequencer.last_id
        if followed is None or last_id is None or candle.last_trade_id < 0:
            return ""
        # Of the same count it would end with that trade or a later one, had that happened in it.
        since_us = candle.open_time_us + (_MINUTE_US if candle.last_trade_id < last_id else 0)
        past = candle.last_trade_id <= last_id and 0 < last_us < since_us
        if past or any(doubted.kind == "id_behind" for doubted in followed.quarantine.held):
            return f"a minute up to trade {candle.last_trade_id}, which is of the past: are these ids of a new count?"
        limit = max(followed.head_id, last_id) + self._bounds.max_id_jump
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
        sequencer = self._followed[symbol].sequencer
        if (dropped := sequencer.drop_contradicted()) is not None:
            words = f"trades {dropped.trade_id[0]} to {dropped.trade_id[-1]} came before lower ids that go on"
            self._report_quarantined(symbol, QuarantinedTrades(dropped, "id_ahead", _now_s(), words))
            log.warning("%s: dropped %d trades: %s", symbol, len(dropped), words)
            self._followed[symbol].head_id = sequencer.last_id or -1
            return
        if (gap := sequencer.gap) is not None:
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
        sequencer = followed.sequencer
        while (left_s := sequencer.patience_s(since_s, _now_s())) == 0 and sequencer.gap is not None:
            if await self._doubt_lone(symbol):
                continue
            await self.give_up(symbol, "the venue answers, but has nothing of them, though later ones have come")
        return left_s

    async def _doubt_lone(self, symbol: str) -> bool:
        """Hold the trades behind a gap where they are so few that their ids may be wrong; return whether they are."""
        followed = self._followed[symbol]
        if (lone := followed.sequencer.take_lone()) is None:
            return False
        verdict = followed.quarantine.doubt(lone, "unconfirmed", self._known(followed), now_s=_now_s())
        followed.head_id = followed.sequencer.last_id or -1
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
            sequencer = followed.sequencer
            if symbol in but and (gap := sequencer.gap) is not None:
                held = sequencer.held_trades
                log.info(
                    "%s: left %d trades behind %d to %d to the next start: %s",
                    symbol,
                    held,
                    gap.first_id,
                    gap.last_id,
                    why,
                )
                continue
            while sequencer.gap is not None and not followed.raw.closed:
                if (lone := sequencer.take_lone()) is not None:
                    words = "%s: left %d trades from %d on to the next start: nothing confirms their ids"
                    log.warning(words, symbol, len(lone), lone.trade_id[0])
                    continue
                await self.give_up(symbol, why)

    async def publish_again(self, trades: TradeColumns) -> int:
        """Publish trades of the past, past the order of ids; return the sequence in RAW of the last message.

        0 where a new epoch has begun meanwhile, and nothing is published.
        """
        raw = self._followed[trades.symbol].raw
        last_id, epoch = self._followed[trades.symbol].sequencer.last_id, self.epoch(trades.symbol)
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
        venue_us = max(self._venue_time_us, 0 if followed is None else followed.sequencer.last_time_us)
        return implausible_past(trades, clock_us=trades.received_time_us, venue_us=venue_us, bounds=self._bounds)

    async def keep_bounds(self) -> None:
        """Give up the gaps that are past a bound, for ever; a task of the service's own."""
        for look in itertools.count(1):
            await asyncio.sleep(_LOOK_EVERY_S)
            self._tell_lags()
            for raw in self._partitions.values():
                raw.count_messages()
            is_counted = look % _COUNTED_EVERY_LOOKS == 0
            for symbol, followed in list(self._followed.items()):
                if is_counted:
                    self._count(symbol, followed)
                while followed.sequencer.overdue(_now_s()):  # another one once a new epoch has begun
                    if not await self._doubt_lone(symbol):
                        await self.give_up(symbol, "past the bounds of waiting")
            self._report_health()

    async def _publish(self, symbol: str, due: TradeColumns | None) -> None:
        followed = self._followed[symbol]
        if due is None or followed.raw.closed:
            return
        followed.recent.add(due)
        followed.standing_still = 0
        due = _shifted(due, followed.epoch * epochs.IDS)
        for start in range(0, len(due), MAX_BATCH):
            part = due if len(due) <= MAX_BATCH else due.rows(slice(start, start + MAX_BATCH))
            ids = part.trade_id
            await followed.raw.make_room(len(ids))
            followed.raw.gather(symbol, int(ids[0]), int(ids[-1]), len(ids), wire.one_of_many(wire.encode_trades(part)))
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
        held = [(symbol, doubted) for symbol, one in self._followed.items() for doubted in one.quarantine.held]
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

    def _count(self, symbol: str, followed: _Followed) -> None:
        """Tell the metrics of a symbol what has changed; of 300 symbols hardly any has."""
        counts, held = followed.sequencer.counts, (followed.sequencer.held_trades, followed.quarantine.held_trades)
        if counts == _NOTHING and held == followed.told_held:
            return
        *counters, waiting, doubted = _metrics_of(self.venue, symbol)
        followed.sequencer.counts = Counts()
        for counter, count in zip(counters, (counts.released, counts.duplicates, counts.gaps), strict=True):
            if count:
                counter.inc(count)
        if held != followed.told_held:
            followed.told_held = held
            waiting.set(held[0])
            doubted.set(held[1])

    async def _skip(self, symbol: str, gap: IdRange) -> None:
        followed = self._followed[symbol]
        async with self._lock:
            await self._publish(symbol, followed.sequencer.skip(gap))
            await self._hold_early(symbol, followed)

    def _known(self, followed: _Followed) -> KnownTrades:
        sequencer = followed.sequencer
        return KnownTrades(
            sequencer.last_id, followed.head_id, sequencer.last_time_us, self._venue_time_us, followed.recent
        )

    async def _pass(self, symbol: str, followed: _Followed, verdict: Verdict, *, live: bool) -> None:
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
        followed.head_id = max(followed.head_id, extremes(passed.trade_id)[1])
        if live:
            self._venue_time_us = int(passed.time_us[-1])
        due = followed.sequencer.push(passed, _now_s(), live=live)
        await self._publish(symbol, due)
        if (otherwise := followed.sequencer.take_reported_otherwise()) is not None:
            followed.quarantine.dispute(otherwise, self._known(followed), now_s=_now_s())
        await self._hold_early(symbol, followed)

    async def _hold_early(self, symbol: str, followed: _Followed) -> None:
        """Hold what came before lower ids until it is known to be right."""
        if (early := followed.sequencer.take_unconfirmed()) is not None:
            known = self._known(followed)
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


def _end_of(batch: bytes) -> bytes:
    """Return the last trades of a batch, in the form that `wire.one_of_many` gives it."""
    return wire.one_of_many(wire.encode_trades(wire.decode_one_of_many(batch).rows(slice(-_LAST_TRADES, None))))


def _shifted(trades: TradeColumns, by: int) -> TradeColumns:
    """Return trades whose ids are of another epoch."""
    return replace(trades, trade_id=trades.trade_id + by) if by else trades


def _now_s() -> float:
    return time.monotonic()
