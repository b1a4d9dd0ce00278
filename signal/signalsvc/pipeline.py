"""RAW in order through the engine to PROCESSED and to whoever watches.

Where it begins: the engine's saved state says which RAW sequence it includes, PROCESSED up to which one the signals are
published. What lies between is run through the engine once more without publishing, so that windows and sessions are
as if the service had never stopped; from there on all signals are published, gathered for messages, and RAW is
acknowledged once the state that includes it is saved. Watchers have signals before PROCESSED does, so after a crash
they may be sent some once more.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from prometheus_client import Counter, Gauge

from mesh.bus import subjects, wire
from mesh.bus.connection import Bus
from mesh.bus.dead_letters import DeadLetterQueue
from mesh.bus.partitions import WHOLE, Partition
from mesh.bus.position import Position
from mesh.bus.publisher import Publisher
from mesh.bus.reader import MAX_ACK_PENDING, Message, Reader, StreamReplacedError, find_start, taken_us_of
from mesh.service.errors import BadMessage, NotReady
from mesh.service.health import Health, State
from mesh.service.lifecycle import Stop
from mesh.values.trades import refusal
from signalsvc.engine import CarriedSignals, Engine, NotedStates, SignalMessage, entry_name
from signalsvc.selection import Selection
from signalsvc.snapshots import PublishedState, Snapshots
from signalsvc.watchers import Watchers

log = logging.getLogger("signal.pipeline")

_POLL_S = 0.5
_SAVE_EVERY_S = 5.0
_SETTLE_S = 5.0
_NOTED_AT_ONCE = 8
"""So many symbols' states are noted before trades that have come meanwhile are taken in: some 0.1 ms.

Of 300 symbols at once it took 4 to 12 ms, in which every trade waited.
"""
_PAUSE_S = 0.005
"""So long the next ones wait where no trade comes, so that on a busy machine others, too, go on with trades."""
GATHER_S = 0.25
"""So long signals gather for one message in PROCESSED; nobody waits for that: watchers have them before.

A message costs bus, disk and store as much as some hundred trades in it. What comes after a longer pause goes at once.
With 0.25 s instead of 0.05, six symbols at 200 trades/s wake all together 0.93 times as often (nats 0.90, store 0.84),
and the bus carries 0.89 times the messages; a closed candle is in the database 0.2 s later.
"""
READ_AHEAD_AFTER = MAX_ACK_PENDING // 10
"""Messages taken since the last state that was saved: with more of them, trades go on without acknowledgements."""
REPEATED_S = 60.0
"""What was published longer ago is not sent to watchers again: by then its instance is known to be gone."""
MAX_STATES = 1024
"""Symbols with a state in memory, some 100 KB each; the followed ones stay, however many they are."""

TRADES = Counter("tickmesh_signal_trades_total", "Trades that went through libsignal and were published", ["symbol"])
REPEATS = Gauge("tickmesh_signal_repeated_trades", "Trades left out because their id was not new")
REFUSED = Gauge("tickmesh_signal_refused_trades", "Trades libsignal refused")
BAD = Counter("tickmesh_signal_bad_messages_total", "RAW messages that are no batch of trades")
POSITION = Gauge("tickmesh_signal_raw_sequence", "Sequence in RAW of the last batch taken in; the sum of several")
STATES = Gauge("tickmesh_signal_states", "Symbols whose signals are in memory")
WATCHERS = Gauge("tickmesh_signal_watchers", "Open Watch streams")


class PublishedIds:
    """How far PROCESSED goes, so that no trade's signals are published twice.

    By the ids of trades and not by RAW's sequences: RAW may have lost its end, and then holds the same trades
    elsewhere.

    Args:
        created: when PROCESSED was made.
        last_ids: each symbol's last trade that PROCESSED held when it was read, by the name of its entry.
        whole: whether nothing was ever removed from it for want of room, so that what it does not hold was never in it,
            or was lost.

    """

    def __init__(self, created: dt.datetime, last_ids: Mapping[str, int], *, whole: bool = False) -> None:
        self.last_ids = dict(last_ids)
        self.created = created
        self._whole = whole
        self._is_passed = False  # whether the engine has taken in all that is here of those symbols that it knows

    @classmethod
    async def read(cls, bus: Bus, saved: PublishedState | None, partition: Partition = WHOLE) -> PublishedIds:
        """Read what PROCESSED holds behind the message up to which that is saved.

        All of it where that message is not there any more as it was, so that its end was lost, and where nothing is
        saved: some 0.5 ms a message.

        Args:
            bus: where PROCESSED is; it exists.
            saved: what the last saved state says of it.
            partition: whose PROCESSED.

        """
        stream, known = partition.name(subjects.PROCESSED), None
        if saved is not None:
            known = Position(stream, saved.created, saved.sequence, saved.taken_us)
        start = await find_start(bus, stream, known)
        info = await bus.js.stream_info(stream, subjects_filter=subjects.processed("*.*", partition))
        ids = cls(start.created, {}, whole=info.state.first_seq <= 1)
        for subject in info.state.subjects or {}:
            last = await bus.js.get_last_msg(stream, subject)
            ids._add(subject, [last.data or b""])
        if saved is not None and known == start:
            ids.note(saved.last_ids)
        sequence = start.sequence
        while sequence < info.state.last_seq:
            try:
                # Not `direct`: another server than the stream's leader may not have its end yet.
                of_all = subjects.processed("*", partition)
                message = await bus.js.get_msg(stream, sequence + 1, subject=of_all, next=True)
            except NotFoundError:
                break
            assert message.seq is not None
            sequence = message.seq
            try:
                ids._add(message.subject or "", wire.batches_of(message.data or b""))
            except BadMessage as exc:
                log.error("message %d of PROCESSED is none of ours, and counts as not published: %s", sequence, exc)
        return ids

    def _add(self, subject: str, batches: Iterable[bytes]) -> None:
        for batch in batches:
            try:
                venue, symbol, last_id = wire.decode_end(batch)
            except BadMessage as exc:
                log.error("a batch on %s is none of ours, and counts as not published: %s", subject, exc)
                continue
            self.note({entry_name(venue, symbol): last_id})

    def note(self, last_ids: Mapping[str, int]) -> None:
        """Take note of what PROCESSED holds as well: the last trade of each symbol, by the name of its entry."""
        for name, last_id in last_ids.items():
            self.last_ids[name] = max(last_id, self.last_ids.get(name, -1))

    def ahead(self, known: Mapping[str, int]) -> list[str]:
        """Return those symbols of which a saved state knows trades that PROCESSED does not hold; it has lost its end.

        Args:
            known: the last trade of each, by the name of its entry.

        """
        unknown = -1 if self._whole else 2**63
        return [name for name, id_ in known.items() if id_ > self.last_ids.get(name, unknown)]

    def note_passed(self, last_ids: Mapping[str, int]) -> None:
        """Take note of what PROCESSED holds as well: all that the engine has taken in.

        From now on `lacks_all` need not look at each batch, until `expect_repeats`.

        Args:
            last_ids: the last trade of each symbol that it knows, by the name of its entry.

        """
        self.note(last_ids)
        self._is_passed = last_ids.items() <= self.last_ids.items()

    def expect_repeats(self) -> None:
        """Look at each batch again: the engine knows nothing of a symbol, and what comes of it may be published."""
        self._is_passed = False

    def lacks_all(self, carried: CarriedSignals) -> bool:
        """Return whether nothing of some signals is published yet; otherwise `rest` says of each what is not."""
        if self._is_passed:  # it takes in nothing twice
            return True
        for message in carried.messages:
            if message.first_id <= self.last_ids.get(entry_name(message.venue, message.symbol), -1):
                return False
        return True

    def rest(self, message: SignalMessage) -> SignalMessage | None:
        """Return the rows that are not published yet; None when all are."""
        last_id = self.last_ids.get(entry_name(message.venue, message.symbol), -1)
        if message.first_id > last_id:
            return message
        if message.last_id <= last_id:
            return None
        signals = wire.decode_signals(message.payload)
        count = int(np.searchsorted(signals.trades.trade_id, last_id, "right"))
        reached_us = int(signals.trades.time_us[:count].max())
        candles = tuple(candle for candle in signals.candles if candle.end_us > reached_us)
        return SignalMessage.of(signals.rows(slice(count, None), candles))


class GatheredSignals:
    """What is to be published, in order, until there is enough of it for a message. Pure."""

    def __init__(self) -> None:
        self._carried: list[CarriedSignals] = []
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._carried)

    @property
    def first(self) -> SignalMessage:
        """The signals that were taken first; there must be some."""
        return self._carried[0].first

    @property
    def last(self) -> SignalMessage:
        """Those that were taken last; there must be some."""
        return self._carried[-1].last

    @property
    def rows(self) -> Mapping[str, int]:
        """How many trades of each symbol there are."""
        return CarriedSignals.trades_by_symbol(self._carried)

    def fits(self, carried: CarriedSignals) -> bool:
        """Return whether signals have room in one message with what is here, and are of the same venue."""
        return not self._carried or (
            self._carried[0].venue == carried.venue and self._bytes + len(carried.payload) <= wire.MAX_SIGNAL_BYTES
        )

    def add(self, carried: CarriedSignals) -> None:
        """Take signals behind the others; ask `fits` first."""
        self._carried.append(carried)
        self._bytes += len(carried.payload)

    @property
    def payload(self) -> bytes:
        """All of it as a serialized `SignalBatches`."""
        return b"".join([each.payload for each in self._carried])


@dataclass(slots=True)
class _Snapshot:
    """The engine's state, noted some symbols at a time: as of the message taken when it was begun, or of a later one.

    Later does no harm: a trade that a state knows is not taken in twice, and all that is noted is published before it
    is saved.
    """

    taken: Message | None
    unsaved: int
    """Messages taken by then since the last one that was saved."""
    wanted: bool
    """Whether somebody waits for it to be saved."""
    is_new: bool
    """Whether there is anything to save."""
    states: NotedStates = field(default_factory=NotedStates)


class Pipeline:
    """Moves the engine of a partition: `begin`, then `publisher.run` and `run` as tasks."""

    def __init__(
        self,
        engine: Engine,
        selection: Selection,
        watchers: Watchers,
        health: Health,
        *,
        max_states: int = MAX_STATES,
        partition: Partition = WHOLE,
        on_live: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_live = on_live
        self.partition = partition
        self.engine = engine
        self._raw = partition.name(subjects.RAW)
        self._processed = partition.name(subjects.PROCESSED)
        self._max_states = max(1, max_states // partition.count)
        self._selection = selection
        self._watchers = watchers
        self._health = health
        self._save_now = asyncio.Event()
        self._save_done = asyncio.Event()
        self._replaying = False
        self.is_live: bool | None = None
        """Whether what it takes in is new, and not what PROCESSED holds already; None before it is known."""
        self._taken: Message | None = None
        self._saved: Message | None = None
        self._snapshot: _Snapshot | None = None  # not all of it is noted
        self._saving: asyncio.Task[None] | None = None
        self._unsaved = 0
        self._ahead = False
        self._gathered = GatheredSignals()
        self._published_s = 0.0

    @property
    def sequence(self) -> int:
        """The sequence in RAW of the last message taken in; 0 for none since the start."""
        return 0 if self._taken is None else self._taken.sequence

    @property
    def pending(self) -> int:
        """How many messages of RAW waited behind the last one taken in."""
        return 0 if self._taken is None else self._taken.pending

    async def begin(self, bus: Bus, dead: DeadLetterQueue) -> None:
        """Find out where to go on; waits for RAW to exist. What cannot be read goes to `dead`.

        Args:
            bus: RAW is read from it, PROCESSED and states are written to it.
            dead: takes messages that cannot be read.

        """
        self._bus = bus
        self._dead = dead
        self.publisher = Publisher(bus, self._processed)
        await self.publisher.open()
        self._snapshots = await Snapshots.open(bus, self.partition)
        position = await self._snapshots.load(self.engine)
        self._published = await PublishedIds.read(bus, self._snapshots.published, self.partition)
        self._begin_at(await find_start(bus, self._raw, position))
        in_memory, evicted = map(self._published.ahead, (self.engine.last_ids, self._snapshots.evicted_ids))
        if ahead := sorted({*in_memory, *evicted}):
            log.error(
                "the saved state knows trades of %s that PROCESSED does not hold: making it again from RAW",
                ", ".join(ahead),
            )
            # The others go on with theirs: of what they know already nothing is taken in twice.
            self.engine.evict(in_memory)
            self._snapshots.forget_evicted(ahead)
            self._after = self._after_us = 0
        for batch, message in self.last_trades():
            self._watchers.repeat(batch, symbol=message.symbol, trades=1)

    def last_trades(self) -> Iterator[tuple[bytes, SignalMessage]]:
        """Yield the last trade of each symbol, as a watcher is given it; none of a venue that was left."""
        for message in self.engine.last_trades():
            if not self._selection.has_left(message.venue):
                yield wire.one_of_many(message.payload), message

    def _begin_at(self, position: Position) -> None:
        self._after, self._after_us, self._raw_created = position.sequence, position.taken_us, str(position.created)

    async def reset_session(self, venue: str, symbol: str) -> bool:
        """Begin a new session with the symbol's next trade, and keep that; return whether the symbol has traded at all.

        Args:
            venue: whose symbol it is: `binance`.
            symbol: in lower case: `btcusdt`.

        Raises:
            NotReady: the bus is away, so that a restart would forget it.

        """
        if not self.engine.reset_session(venue, symbol):
            return False
        self._save_done.clear()
        self._save_now.set()
        try:
            await asyncio.wait_for(self._save_done.wait(), 5)
        except TimeoutError as exc:
            raise NotReady(f"the session of {symbol} is reset, but the bus did not take the state yet") from exc
        return True

    async def run(self, stop: Stop) -> None:
        """Take in RAW until asked to stop; then publish and keep what was taken."""
        while not stop.asked:
            try:
                await self._read(stop)
                if self._taken is not None:
                    self._after, self._after_us = self._taken.sequence, self._taken.taken_us
            except StreamReplacedError as exc:
                # Nothing is doubled by that: the engine leaves out what it knows.
                log.error("reading %s from its start: %s", self._raw, exc)
                self._taken = self._saved = None
                self._begin_at(await find_start(self._bus, self._raw, None))

    async def _read(self, stop: Stop) -> None:
        """Take in RAW until asked to stop, or until it is to be read in the other way.

        What is not saved is not acknowledged, so that RAW keeps it, and the server delivers only so much beyond that.
        Where the state cannot be saved, trades go on all the same: they are read ahead by a durable that needs no
        acknowledgements, while the other one stands still and keeps its place in RAW.
        """
        next_save_s = time.monotonic() + _SAVE_EVERY_S
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._stop_saving)
            async with stop.interrupts():
                reader = Reader(
                    self._bus,
                    self._raw,
                    subjects.DURABLE_SIGNAL_AHEAD if self._ahead else subjects.DURABLE_SIGNAL,
                    after=self._after,
                    after_us=self._after_us,
                    acks=not self._ahead,
                )
                await stack.enter_async_context(reader)
            while not stop.asked:
                is_noting = self._snapshot is not None
                waits_s = self._until_due_s() if self._gathered else _POLL_S
                messages = await reader.next(timeout_s=min(_PAUSE_S, waits_s) if is_noting else waits_s)
                for message in messages:
                    await self._take(message)
                if self._gathered and self._until_due_s() <= 0:
                    await self._publish_gathered()
                is_live = not messages or not self._replaying
                if (messages or not is_noting) and is_live is not self.is_live:
                    self.is_live = is_live
                    self._on_live()
                if self._saving is not None and self._saving.done():
                    self._saving.result()
                    self._saving = None
                is_idle = self._snapshot is None and self._saving is None
                if is_idle and (time.monotonic() >= next_save_s or self._save_now.is_set()):
                    next_save_s = time.monotonic() + _SAVE_EVERY_S
                    self._begin_snapshot()
                if self._snapshot is not None and self._note(self._snapshot, most=_NOTED_AT_ONCE):
                    pause_s = 0.0 if self._snapshot.wanted else _PAUSE_S
                    self._saving = asyncio.create_task(await self._begin_save(reader, pause_s=pause_s))
                if self._ahead != (self._unsaved >= READ_AHEAD_AFTER):
                    self._ahead = not self._ahead
                    log.warning(
                        "trades go on %s, %d messages of RAW are not in a saved state",
                        "without acknowledgements" if self._ahead else "with acknowledgements again",
                        self._unsaved,
                    )
                    return
            if self._saving is not None:
                await self._saving
            self._drop_snapshot()  # the next start goes on behind the last message
            await (await self._begin_save(reader))

    async def _stop_saving(self) -> None:
        """End a save that is going on: half of it is none, the last one counts."""
        self._drop_snapshot()
        if self._saving is not None:
            self._saving.cancel()
            await asyncio.wait([self._saving])
            self._saving = None
            self._save_now.set()  # somebody may wait for it

    async def _take(self, message: Message) -> None:
        self._taken = message
        self._unsaved += 1
        if subjects.is_last_trades(message.subject):
            return
        now_us = time.time_ns() // 1000
        is_alone = subjects.is_of_one_symbol(message.subject)
        payload = wire.one_of_many(message.payload) if is_alone else message.payload
        try:
            found = self.engine.carry(payload, raw_sequence=message.sequence, now_us=now_us)
        except BadMessage as exc:
            self._put_aside(message, exc)
            return
        for some in found:
            if isinstance(some, CarriedSignals):
                await self._pass_on(some)
            else:
                await self._take_left(message, some.payload, now_us, 0 if is_alone else some.part)

    def _put_aside(self, message: Message, exc: BadMessage) -> None:
        BAD.inc()
        self._dead.put(self._raw, message, str(exc))

    async def _take_left(self, message: Message, batch: bytes, now_us: int, part: int) -> None:
        try:
            trades = wire.decode_trades(batch)
            if reason := self.partition.refusal(trades.venue, trades.symbol) or refusal(trades, now_us=now_us):
                raise BadMessage(reason)
        except BadMessage as exc:
            self._put_aside(message._replace(payload=batch, part=part), exc)
            return
        if self.engine.last_id(trades.venue, trades.symbol) < 0:
            self._published.expect_repeats()
        if not self.engine.knows(trades.venue, trades.symbol):
            await self._restore_evicted(trades.venue, trades.symbol)
        signals = self.engine.process(trades, raw_sequence=message.sequence)
        if signals is None:
            return
        for piece in wire.split_signals(signals):
            await self._pass_on(CarriedSignals.of(SignalMessage.of(piece)))

    async def _pass_on(self, carried: CarriedSignals) -> None:
        """Give signals to watchers and to PROCESSED, as far as they are not published yet."""
        if self._published.lacks_all(carried):
            self._replaying = False
            await self._send(carried)
            return
        for message in carried.messages:
            rest = self._published.rest(message)
            if rest is not message and self._watchers and not self._selection.has_left(message.venue):
                self._repeat(message)
            self._replaying = rest is None
            if rest is not None:
                await self._send(CarriedSignals.of(rest))

    async def _send(self, carried: CarriedSignals) -> None:
        if self._watchers and not self._selection.has_left(carried.venue):  # before anybody else
            self._watchers.publish(carried, selected=self._selection.symbol)
        if not self._gathered.fits(carried):
            await self._publish_gathered()
        self._gathered.add(carried)

    def _repeat(self, message: SignalMessage) -> None:
        """Tell what is published already: whoever did it may have been stopped before all its watchers had it."""
        if self._taken is not None and time.time_ns() // 1000 - self._taken.taken_us < REPEATED_S * 1_000_000:
            batch = wire.one_of_many(message.payload)
            self._watchers.repeat(batch, symbol=message.symbol, trades=message.rows)

    def _until_due_s(self) -> float:
        return self._published_s + GATHER_S - time.monotonic()

    async def _publish_gathered(self) -> None:
        self._published_s = time.monotonic()
        gathered, self._gathered = self._gathered, GatheredSignals()
        if not gathered:
            return
        first, last = gathered.first, gathered.last
        for symbol, rows in gathered.rows.items():
            _trades_of(symbol).inc(rows)
        # No other message begins with that trade.
        begin, end = f"{first.venue}.{subjects.token(first.symbol)}", subjects.token(last.symbol)
        await self.publisher.publish(
            subjects.processed(first.venue, self.partition),
            gathered.payload,
            message_id=f"{begin}.{first.first_id}-{end}.{last.last_id}",
        )

    def _begin_snapshot(self) -> _Snapshot:
        wanted = self._save_now.is_set()
        self._save_now.clear()  # what is reset from here on may not be in the state that is saved
        is_new = self._taken is not self._saved or wanted
        self._snapshot = _Snapshot(self._taken, self._unsaved, wanted=wanted, is_new=is_new)
        return self._snapshot

    def _drop_snapshot(self) -> None:
        if self._snapshot is not None:
            self._snapshot = None
            self._save_now.set()  # somebody may wait for it

    def _note(self, snapshot: _Snapshot, *, most: int) -> bool:
        """Note the states of some symbols more; return whether that were the last ones."""
        return not snapshot.is_new or self.engine.note(snapshot.states, most=most)

    async def _begin_save(self, reader: Reader, *, pause_s: float = 0.0) -> Coroutine[Any, Any, None]:
        """Note the engine as of the last message taken, or what is left of a snapshot; return what saves it.

        Trades go on meanwhile. Only when it is saved the message is acknowledged. An ack says that the message will
        never be needed again: RAW may forget it when it is full.
        """
        await self._publish_gathered()
        # From here on without a pause: nothing may be taken in between two of these.
        snapshot = self._snapshot or self._begin_snapshot()
        while not self._note(snapshot, most=self._max_states):
            pass
        self._snapshot = None
        self._published.note_passed(self.engine.last_ids)
        end = self.publisher.last_sequence
        published = PublishedState(self._published.created, end, 0, dict(self._published.last_ids))
        return self._save(reader, snapshot, published, pause_s=pause_s)

    async def _save(self, reader: Reader, snapshot: _Snapshot, published: PublishedState, *, pause_s: float) -> None:
        taken = snapshot.taken
        if snapshot.is_new:
            if taken is None:  # nothing since the start: the engine stands where it was loaded
                raw_sequence, raw_taken_us = self._after, self._after_us
            else:
                raw_sequence, raw_taken_us = taken.sequence, taken.taken_us
            try:
                async with asyncio.timeout(_SETTLE_S):
                    if not await self.publisher.settle():
                        return  # what is not published may not be in a state; all work here is about to end
                await self._bus.confirm()
                taken_us = await taken_us_of(self._bus, self._processed, published.sequence)
                published = msgspec.structs.replace(published, taken_us=taken_us)
                await self._snapshots.save(
                    snapshot.states.entries,
                    self.engine.settings,
                    raw_sequence=raw_sequence,
                    raw_taken_us=raw_taken_us,
                    raw_created=self._raw_created,
                    published=published,
                    pause_s=pause_s,
                )
            except (NatsError, TimeoutError) as exc:
                why = str(exc) or type(exc).__name__
                log.warning("the state is not saved, the last one still counts: %s", why)
                self._health.condition(
                    self.partition.name("state"),
                    State.DEGRADED,
                    f"not saved: {why}; trades go on, RAW keeps what is not saved until it is full, a restart goes "
                    "through that again",
                )
                if snapshot.wanted:
                    self._save_now.set()
                return
            self._health.clear(self.partition.name("state"))
            self._saved = taken
            self._unsaved -= snapshot.unsaved
            if taken is not None and not self._ahead:
                await reader.ack(taken)
            await self._evict(snapshot.states.last_ids)
        if not self._save_now.is_set():
            self._save_done.set()

    async def _evict(self, saved_ids: Mapping[str, int]) -> None:
        """Take states that nobody follows out of memory, once the bus has them.

        Args:
            saved_ids: the last trade of each symbol when it was saved.

        """
        followed = self._selection.followed
        if self._save_now.is_set() or followed is None:
            return  # what was reset meanwhile is not saved yet; or nobody knows what is followed
        venue, symbols = followed
        known = self.engine.last_ids
        idle = self.engine.idle(venue=venue, followed=symbols, most=self._max_states)
        names = [name for name in idle if known[name] == saved_ids.get(name)]
        if not names:
            return
        log.info("%d symbols that nobody follows leave memory, their states stay on the bus", len(names))
        last_ids = self.engine.evict(names)
        try:
            await self._snapshots.keep_evicted(last_ids)
        except (NatsError, TimeoutError) as exc:
            log.warning("old states stay on the bus for now: %s", str(exc) or type(exc).__name__)

    async def _restore_evicted(self, venue: str, symbol: str) -> None:
        if self._saving is not None and self._snapshots.has_evicted(venue, symbol):
            await asyncio.wait([self._saving])  # it may be putting its entry elsewhere
        while self._snapshots.has_evicted(venue, symbol) and not self.engine.knows(venue, symbol):
            try:
                async with asyncio.timeout(_SETTLE_S):
                    await self._snapshots.restore_evicted(self.engine, venue, symbol)
            except (NatsError, TimeoutError) as exc:
                log.warning("waiting for the state of %s: %s", symbol, str(exc) or type(exc).__name__)
                await asyncio.sleep(_POLL_S)


@lru_cache(maxsize=4096)  # of 300 symbols four times a second
def _trades_of(symbol: str) -> Counter:
    return TRADES.labels(symbol)


def show(pipelines: Mapping[Partition, Pipeline], watchers: Watchers) -> None:
    """Let the gauges say how far pipelines are, all together.

    Args:
        pipelines: of the partitions that this instance works in; they may come and go.
        watchers: of all of them.

    """

    def those_of_now() -> Collection[Pipeline]:
        return list(pipelines.values())

    # Asked for when they are read: set for every message, five gauges cost as much as its signals.
    POSITION.set_function(lambda: sum(one.sequence for one in those_of_now()))
    REPEATS.set_function(lambda: sum(one.engine.repeats for one in those_of_now()))
    REFUSED.set_function(lambda: sum(one.engine.refused for one in those_of_now()))
    WATCHERS.set_function(lambda: len(watchers))
    STATES.set_function(lambda: sum(len(one.engine) for one in those_of_now()))
