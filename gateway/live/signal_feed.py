"""The streams of trades from the instances of signal: read, prepared once, handed to the fan-out as one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from time import monotonic

import grpc
import msgspec
from google.protobuf.message import DecodeError
from prometheus_client import Counter, Gauge

from gateway.instances import DirectReach, Instances, instances_of
from gateway.live.coins import CoinList
from gateway.live.connection import text_frames
from gateway.live.direct_watch import NotDirect, watch_directly
from gateway.live.fanout import Chunk, ClientFanout
from gateway.live.history import StoredTrades
from gateway.live.ring import MAX_FILL, Ring, Rings, Run, runs_of
from gateway.live.seams import Key, Seams
from gateway.transcode import ticks
from gateway.transcode.ticks import MEMBERS, TickWriter
from gateway.upstreams import serving_of
from mesh.bus.partitions import partition_of
from mesh.service.backoff import backoff
from mesh.service.logs import LogThrottle
from mesh.service.rpc import authorization
from mesh.values import epochs
from mesh.values.symbols import name_of
from tickcodec.ticks import FoundBatch, FoundBatches, TickFrames, alone
from tickmesh.v1 import signal_pb2
from tickmesh.v1.trade_pb2 import Trade

log = logging.getLogger("gateway.live.signal_feed")

UNWOKEN_S = 10.0
"""After so long the stream is tried without a word from signal."""
LOOK_EVERY_S = 0.5
SILENT_S = 5.0
"""An instance that says once a second which partitions it has, and says nothing for so long, stands still."""
LATE_S = 0.1
"""So long the end of one stream is waited for where another one has taken over, before the store is asked."""
ASK_AGAIN_S = 0.1
GIVE_UP_S = 10.0
"""So long trades are held that do not follow those before; then clients are told how many they miss."""
CHUNK_TRADES = 128
"""Trades in one chunk at most, some 40 KB: what a full queue loses at once."""
_WATCH = "/tickmesh.v1.SignalService/Watch"
_NOTHING_TOLD = (-1, -1)

LIVE = Gauge("tickmesh_gateway_stream_live", "1 while the stream of trades from signal is live, else 0")
ENDS = Counter("tickmesh_gateway_stream_ends_total", "times the stream from signal ended or could not be opened")
UNREADABLE = Counter("tickmesh_gateway_stream_unreadable_total", "batches from signal that could not be read")


def control(kind: str, **members: object) -> Chunk:
    """Return a control message: `{"type": kind, ...}`."""
    frames = text_frames([msgspec.json.encode({"type": kind, **members})])
    return Chunk(frames, trades=0, kind=kind, arrived_s=monotonic())


def lagged(missed: int, **members: object) -> Chunk:
    """Return the control message that says how many trades a client has missed."""
    return replace(control("lagged", missed=missed, **members), missed=missed)


def _told_before(keys: Sequence[int], time_us: Sequence[int], told_key: int, told_us: int) -> int:
    """Return how many of a batch's trades have come before; none where the ids have begun anew, as the times tell."""
    count = bisect_right(keys, told_key)
    return 0 if count and time_us[count - 1] > told_us else count


@dataclass(eq=False, slots=True)
class _Source:
    """An instance of signal, and what its stream has said."""

    channel: grpc.aio.Channel
    heard_s: float
    """When it was last known to live: it says so once a second."""
    settled: bool = False
    """Whether its stream has begun, or is known not to begin now."""
    live: frozenset[int] = frozenset()
    """The partitions whose trades it sends as they happen; none while its stream is not open."""
    count: int = 1
    """How many partitions the mesh has."""
    tells: bool = False
    """Whether it tells its partitions, which a signal that is older than we are does not."""
    stream: object = field(default_factory=object)
    """Stands for trades that follow each other without a gap."""
    is_open: bool = False
    """Whether something has come on its stream."""
    is_over_grpc: bool = False
    """Whether it could not be watched past gRPC the last time."""
    greeted: bool = False
    """Whether its stream has come past what there was before it."""
    selected: signal_pb2.GetSymbolResponse | None = None


class SignalFeed:
    """Follows `SignalService.WatchDirectly` of each instance, or `Watch`, for all symbols and feeds a fan-out.

    Args:
        signal: channel to SignalService, or its `Instances`.
        fanout: who gets the trades, and also selections, losses and outages.
        rings: what the protocol's subscriptions take trades from.
        coins: their names.
        stored: knows the trades that no instance has sent.
        write: called when something was published, to have it written.
        token: what signal wants to be shown; None when nothing.
        reach: how signal is reached beside gRPC, so that trades come past it; None where they come over gRPC.

    """

    def __init__(
        self,
        signal: grpc.aio.Channel,
        fanout: ClientFanout,
        rings: Rings,
        *,
        coins: CoinList,
        stored: StoredTrades,
        write: Callable[[], None],
        token: str | None = None,
        reach: DirectReach | None = None,
    ) -> None:
        self._instances = instances_of(signal)
        self._reach = reach
        self._coins = coins
        self._stored = stored
        self._metadata = authorization(token)
        self._fanout = fanout
        self._rings = rings
        self._write = write
        self._ticks = TickWriter()
        self._frames = TickFrames(MEMBERS, max_rows=CHUNK_TRADES)
        self._names: dict[str, str] = {}
        self._heads: dict[Key, bytes] = {}  # with which each trade of a venue and symbol begins; they have its name
        self._told: dict[tuple[str, str], tuple[int, int]] = {}  # id and time of the last trade of a venue and symbol
        self._sources: dict[str, _Source] = {}
        self.several = isinstance(signal, Instances)
        """Whether there may be several instances: then all of them are followed all the time."""
        self._seams = Seams()
        self._closing: dict[Key, asyncio.Task[None]] = {}
        self._live = asyncio.Event()
        self._waiting: Chunk | None = None
        self.away = ""
        """Why not every trade comes, in words for people; empty while they come."""
        self._selected: Chunk | None = None
        self._venue = ""
        self._log_throttle = LogThrottle()

    @property
    def greeting(self) -> list[Chunk]:
        """What a reader that comes now has to know first."""
        return [chunk for chunk in (self._waiting, self._selected) if chunk is not None]

    @property
    def is_live(self) -> bool:
        """Whether every trade from now on comes."""
        return self._live.is_set()

    @property
    def followed_venue(self) -> str:
        """The venue that is followed, as an instance says whose stream is open; empty while none does."""
        saying = [each for each in self._sources.values() if each.greeted and (each.live or not self.several)]
        return next((each.selected.venue for each in saying if each.selected is not None), "")

    def carries(self, symbols: Iterable[str]) -> bool:
        """Return whether every trade of some symbols comes from now on."""
        live, count = self._covered()
        return self.is_live or all(partition_of(self._venue, symbol, count).number in live for symbol in symbols)

    async def wait_until_live(self, *, limit_s: float) -> None:
        """Wait until every trade from now on comes, or for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._live.wait()

    async def follow(self) -> None:
        """Read the streams of all instances, and open each again whenever it ends, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    for address, channel in self._instances().items():
                        if address not in self._sources:
                            source = self._sources[address] = _Source(channel, monotonic())
                            tasks.create_task(self._follow(address, source), name=f"signal {address}")
                    await asyncio.sleep(LOOK_EVERY_S)
                    self._look()
        finally:
            for task in self._closing.values():
                task.cancel()
            self._sources.clear()
            self._closing.clear()
            self._seams = Seams()
            self._live.clear()
            self._waiting = self._selected = None
            LIVE.set(0)

    def _look(self) -> None:
        """Count out who has said nothing for too long: it stands still."""
        now_s, changed = monotonic(), False
        for address, source in self._sources.items():
            is_silent = now_s - source.heard_s > SILENT_S
            if source.tells and source.live and is_silent:
                log.warning("signal %s has said nothing for %g s: it counts as away", address, SILENT_S)
                source.live, changed = frozenset(), True
            elif is_silent and not source.settled:
                source.settled = changed = True
        if changed:
            self._update()

    async def _follow(self, address: str, source: _Source) -> None:
        delays, serving = backoff(first_s=0.05, max_s=5.0), serving_of(source.channel)
        request = signal_pb2.WatchRequest(all_symbols=True, coalesce=True, partitions=True, repeats=self.several)
        while True:
            source.is_open = source.greeted = False
            source.stream = object()
            try:
                if self._reach is None or not await self._watch_directly(address, source, request, self._reach):
                    await self._watch(source, request)
                reason = "the stream ended"
            except grpc.aio.AioRpcError as exc:
                reason = f"{exc.code().name}: {exc.details()}"
            except OSError as exc:
                reason = f"the connection broke: {exc}"
            if source.is_open:
                delays = backoff(first_s=0.05, max_s=5.0)
            ENDS.inc()
            if self._log_throttle.due(asyncio.get_running_loop().time()):
                log.warning("no trades from signal%s, trying again: %s", address and f" at {address}", reason)
            source.settled, source.live = True, frozenset()
            if address not in self._instances():
                del self._sources[address]
                self._update()
                return
            self._update()
            # It is woken when signal serves again: a wait of its own would make clients wait longer than signal.
            # One that serves and gives no stream all the same, or has no health to tell, is not asked in a loop.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(UNWOKEN_S):
                    await serving()
                    await asyncio.sleep(next(delays))

    async def _watch_directly(
        self, address: str, source: _Source, request: signal_pb2.WatchRequest, reach: DirectReach
    ) -> bool:
        """Read the stream past gRPC; return whether that was possible."""

        def take(responses: Sequence[bytes]) -> None:
            for response in responses:
                if not source.is_open:
                    source.is_over_grpc = False
                    self._open(source, response)
                self._take(source, response)
            self._write()

        begin, metadata = self._learn_names, self._metadata
        try:
            await watch_directly(
                source.channel, address, request, reach=reach, metadata=metadata, begin=begin, take=take
            )
        except NotDirect as exc:
            if not source.is_over_grpc:
                log.warning("trades of signal%s come over gRPC: %s", address and f" at {address}", exc)
            source.is_over_grpc = True
            return False
        return True

    async def _watch(self, source: _Source, request: signal_pb2.WatchRequest) -> None:
        # Its answers stay bytes: most are only carried, which C++ does.
        watch: grpc.aio.UnaryStreamMultiCallable[signal_pb2.WatchRequest, bytes] = source.channel.unary_stream(
            _WATCH, request_serializer=signal_pb2.WatchRequest.SerializeToString
        )
        async for response in watch(request, metadata=self._metadata):
            if not source.is_open:
                await self._learn_names()
                self._open(source, response)
            self._take(source, response)
            self._write()

    async def _learn_names(self) -> None:
        if names := await self._coins.names():
            self._names = names
            self._heads.clear()
        else:
            log.warning("signal lists no coins: what is selected next tells its name itself")

    def _open(self, source: _Source, first: bytes) -> None:
        source.is_open = source.settled = True
        with contextlib.suppress(DecodeError):
            source.tells = signal_pb2.WatchResponse.FromString(first).HasField("partitions")
        if not source.tells:
            source.live, source.count = frozenset({0}), 1
            self._update()

    def _covered(self) -> tuple[set[int], int]:
        """Return the partitions whose trades come, and how many there are."""
        sources = self._sources.values()
        return {number for each in sources for number in each.live}, max((each.count for each in sources), default=1)

    def _update(self) -> None:
        """Tell clients when the trades of all partitions come, or do not come any more."""
        live, count = self._covered()
        missing = [number for number in range(count) if number not in live]
        if not missing:
            self.away = ""
            if not self._live.is_set():
                log.info("trades are live")
                self._live.set()
                LIVE.set(1)
                if self._waiting is not None:
                    self._waiting = None
                    self._fanout.notify(control("status", state="live"))
                    self._write()
            return
        self._live.clear()
        LIVE.set(0)
        if not all(each.settled for each in self._sources.values()):
            return
        # the reason names no address: that is for the log, not for clients
        away = "signal is away; trades go on when it is back"
        if live:
            which = ", ".join(map(str, missing))
            away = f"no signal sends the trades of partition {which} of {count} now; they go on when one does"
        if away != self.away:
            self.away = away
            self._waiting = control("status", state="waiting", reason=away)
            self._fanout.notify(self._waiting)
            self._write()

    def _take(self, source: _Source, response: bytes) -> None:
        batches = self._frames.find(response)
        if batches is None:
            try:
                self._take_event(source, signal_pb2.WatchResponse.FromString(response))
            except DecodeError as exc:
                self._leave_out("an answer of signal", exc)
            return
        if not self.several:
            if isinstance(batches, FoundBatches):
                self._tell_together(response, batches)
            else:
                for batch in batches:
                    self._tell(response, batch)
            return
        for batch in batches:
            if self._seams.take(source.stream, response, batch, is_new=source.greeted):
                self._tell(response, batch)
        if self._seams:
            self._tell_released()

    def _tell_together(self, response: bytes, batches: FoundBatches) -> None:
        """Tell batches in order, those that are for the same clients in one piece.

        Where 300 symbols trade, nearly each has one trade: to write and publish each on its own took a third of the
        gateway's time.
        """
        if self._rings:
            for batch in batches:
                if (ring := self._rings.get(batch.symbol)) is not None:
                    self._keep(ring, alone(response, batch), batch)
        audiences: Sequence[object] = ()  # of each batch, where they are not the same
        if (audience := self._fanout.common_audience) is None:
            audiences = [self._fanout.audience(symbol) for _, symbol in batches.keys]
        elif not audience:
            return
        begin = rows = 0
        for place, more in enumerate(batches.rows):
            if rows and (rows + more > CHUNK_TRADES or (audiences and audiences[place] != audiences[begin])):
                self._publish_together(response, batches, begin, place, rows=rows)
                begin, rows = place, 0
            rows += more
        self._publish_together(response, batches, begin, len(batches), rows=rows)

    def _publish_together(self, response: bytes, batches: FoundBatches, begin: int, end: int, *, rows: int) -> None:
        """Publish some batches that are for the same clients, if for any."""
        keys = batches.keys[begin:end]
        if not self._fanout.wanted(keys[0][1]):
            return
        if end - begin > 1 and (told := self._told_after(batches, begin, end)) is not None:
            heads = [self._heads.get(key) or self._head(key) for key in keys]
            frames = self._frames.write_several(response, range(begin, end), heads)
            if frames is not None:
                self._told.update(told)
                self._fanout.publish(keys[0][1], Chunk(frames, trades=rows, arrived_s=monotonic()))
                return
        for place in range(begin, end):
            self._publish_one(response, batches[place])

    def _told_after(self, batches: FoundBatches, begin: int, end: int) -> dict[Key, tuple[int, int]] | None:
        """Return what is told of symbols once some batches are; None where one of them was told in part before."""
        told: dict[Key, tuple[int, int]] = {}
        before = self._told
        columns = batches.keys, batches.first_ids, batches.last_ids, batches.last_us
        for key, first_id, last_id, last_us in islice(zip(*columns, strict=True), begin, end):
            if first_id <= (told.get(key) or before.get(key, _NOTHING_TOLD))[0]:
                return None
            told[key] = last_id, last_us
        return told

    def _head(self, key: Key) -> bytes:
        venue, symbol = key
        head = ticks.head(symbol, self._names.get(symbol) or name_of(symbol), venue).encode()
        self._heads[key] = head
        return head

    def _publish_one(self, response: bytes, batch: FoundBatch) -> None:
        if not self._publish_found(response, batch):
            self._publish(signal_pb2.SignalBatch.FromString(response[batch.at : batch.at + batch.size]))

    def _tell(self, response: bytes, batch: FoundBatch) -> None:
        if (ring := self._rings.get(batch.symbol)) is not None:
            self._keep(ring, alone(response, batch), batch)
        if self._fanout.wanted(batch.symbol):
            self._publish_one(response, batch)

    # --- where one stream takes over from another ---

    def _tell_released(self) -> None:
        """Tell what was held and follows now; see to it that what is missing comes."""
        while (key := self._seams.overfull) is not None:
            self._give_up(key)
        for response in self._seams.released():
            for batch in self._frames.find(response) or ():
                self._tell(response, batch)
        for key in self._seams.open:
            if key not in self._closing:
                task = self._closing[key] = asyncio.create_task(self._close(key), name=f"seam of {key[1]}")
                task.add_done_callback(partial(self._closed, key))

    def _closed(self, key: Key, task: asyncio.Task[None]) -> None:
        self._closing.pop(key, None)
        if not task.cancelled():
            task.result()
            if self._seams:  # held since the task has looked last
                self._tell_released()

    def _give_up(self, key: Key) -> None:
        gap = self._seams.gap(key)
        assert gap is not None, key
        missed = gap[1] - gap[0] - 1
        if self._fanout.wanted(key[1]):
            log.warning("%d trades of %s are missing where one signal took over from another", missed, key[1])
            self._fanout.notify(lagged(missed, by="gateway"))
        self._seams.told(key, gap[1] - 1, 0)

    async def _close(self, key: Key) -> None:
        """Fetch from the store what none of the streams has; subscriptions of the protocol do that themselves."""
        give_up_s = monotonic() + GIVE_UP_S
        await asyncio.sleep(LATE_S)  # the stream before may have it on its way
        while (gap := self._seams.gap(key)) is not None:
            last_id, next_id = gap
            is_asked = self._fanout.wanted(key[1]) and next_id - last_id <= MAX_FILL
            page = await self._stored.after(key[1], last_id) if is_asked else None
            if self._seams.gap(key) != gap:
                continue
            trades = [t for t, id_ in zip(page.trades, page.keys, strict=True) if id_ < next_id] if page else []
            if trades:
                self._tell_stored(key, trades)
                last_id = epochs.key_of(trades[-1].epoch, trades[-1].trade_id)
                self._seams.told(key, last_id, trades[-1].timestamp.ToMicroseconds())
            if last_id + 1 < next_id:
                is_past = page is not None and page.newest_key >= next_id and len(trades) < len(page.keys)
                if is_past or not is_asked or monotonic() > give_up_s:
                    self._give_up(key)
                elif not trades:
                    await asyncio.sleep(ASK_AGAIN_S)
                    continue
            self._tell_released()
            self._write()

    def _tell_stored(self, key: Key, trades: Sequence[Trade]) -> None:
        _, symbol = key
        name = self._names.get(symbol) or name_of(symbol)
        for start in range(0, len(trades), CHUNK_TRADES):
            some = self._ticks.write_stored(trades[start : start + CHUNK_TRADES], name)
            self._fanout.publish(symbol, Chunk(text_frames(some), trades=len(some), arrived_s=monotonic()))
        last = trades[-1]
        self._told[key] = epochs.key_of(last.epoch, last.trade_id), last.timestamp.ToMicroseconds()

    # --- what a stream says ---

    def _publish_found(self, response: bytes, batch: FoundBatch) -> bool:
        """Publish a batch as it is usually found; nothing of one that was told in part or cannot be written in C++."""
        key, symbol = (batch.venue, batch.symbol), batch.symbol
        if batch.first_id <= self._told.get(key, _NOTHING_TOLD)[0]:
            return False
        head = self._heads.get(key) or self._head(key)
        arrived_s = monotonic()
        chunks = []
        for first in range(0, batch.rows, CHUNK_TRADES):
            rows = min(CHUNK_TRADES, batch.rows - first)
            if (frames := self._frames.write(response, batch, head, first=first, rows=rows)) is None:
                return False
            chunks.append(Chunk(frames, trades=rows, arrived_s=arrived_s))
        self._told[key] = batch.last_id, batch.last_us
        for chunk in chunks:
            self._fanout.publish(symbol, chunk)
        return True

    def _take_event(self, source: _Source, response: signal_pb2.WatchResponse) -> None:
        event = response.WhichOneof("event")
        if event in ("batches", "batch"):  # `batch` is from a signal that is older than we are
            for batch in response.batches.batches if event == "batches" else (response.batch,):
                if self.several:
                    self._take_read(source, batch)
                else:
                    self._keep_read(batch)
                    self._publish(batch)
        elif event == "partitions":
            source.heard_s = monotonic()
            live, count = frozenset(response.partitions.numbers), max(1, response.partitions.count)
            if (live, count) != (source.live, source.count):
                source.live, source.count, source.stream = live, count, object()
                self._update()
                if self.several:
                    self._select()
        elif event == "selected":
            source.selected, source.greeted = response.selected, True
            self._select()
        elif event == "missed":
            log.warning("signal did not send %d trades: this gateway read too slowly", response.missed.trades)
            if self.several:
                source.stream = object()  # the store has them
            else:
                self._fanout.notify(lagged(response.missed.trades, by="gateway"))

    def _select(self) -> None:
        """Tell which symbol is selected, as the first instance that works says: one that starts may not know."""
        working = [each.selected for each in self._sources.values() if each.live or not self.several]
        selected = next(filter(None, working), None)
        if selected is None:
            return
        self._venue = selected.venue
        self._names[selected.symbol] = selected.name
        self._heads.clear()
        rests = {} if selected.status in ("", "TRADING") else {"status": selected.status}
        chunk = control("selected", symbol=selected.symbol, name=selected.name, venue=selected.venue, **rests)
        if self.several and self._selected is not None and chunk.data == self._selected.data:
            return
        self._selected = chunk
        self._fanout.select(selected.symbol)
        self._fanout.notify(self._selected)

    def _keep(self, ring: Ring, response: bytes, batch: FoundBatch) -> None:
        """Keep a batch's trades that are new, for the subscriptions of the protocol."""
        if batch.last_id - batch.first_id < batch.rows and batch.first_id > ring.last_key:  # nearly always
            if ring and batch.venue != ring.venue:
                self._rings.restart(ring)
            ring.venue, ring.last_us = batch.venue, batch.last_us
            self._rings.add(ring, (Run(response, 0, batch.rows, batch.first_id, monotonic()),))
            return
        trades = signal_pb2.WatchResponse.FromString(response).batch.trades
        keys = trades.trade_id
        told = _told_before(keys, trades.time_us, ring.last_key, ring.last_us)
        if ring and (batch.venue != ring.venue or (told == 0 and batch.first_id <= ring.last_key)):
            self._rings.restart(ring)
            told = 0
        ring.venue = batch.venue
        if told < len(keys):
            self._rings.add(ring, runs_of(response, keys, arrived_s=monotonic(), skip=told))
            ring.last_us = batch.last_us

    def _take_read(self, source: _Source, batch: signal_pb2.SignalBatch) -> None:
        response = signal_pb2.WatchResponse(batch=batch).SerializeToString()
        if not (found := self._frames.find(response)):
            self._leave_out(f"a batch of {batch.trades.symbol}", "it has no trade, or columns of different lengths")
        elif self._seams.take(source.stream, response, found[0], is_new=source.greeted):
            self._tell(response, found[0])

    def _keep_read(self, batch: signal_pb2.SignalBatch) -> None:
        if (ring := self._rings.get(batch.trades.symbol)) is None:
            return
        response = signal_pb2.WatchResponse(batch=batch).SerializeToString()
        if found := self._frames.find(response):
            self._keep(ring, response, found[0])
        else:
            self._leave_out(f"a batch of {batch.trades.symbol}", "it has no trade, or columns of different lengths")

    def _publish(self, batch: signal_pb2.SignalBatch) -> None:
        symbol = batch.trades.symbol
        if not self._fanout.wanted(symbol):
            return
        try:
            ticks = self._ticks.write(batch, self._names.get(symbol) or name_of(symbol))
        except ValueError as exc:
            self._leave_out(f"a batch of {symbol}", exc)
            return
        ticks = ticks[self._repeats(batch) :]
        arrived_s = monotonic()
        for start in range(0, len(ticks), CHUNK_TRADES):
            some = ticks[start : start + CHUNK_TRADES]
            self._fanout.publish(symbol, Chunk(text_frames(some), trades=len(some), arrived_s=arrived_s))

    def _repeats(self, batch: signal_pb2.SignalBatch) -> int:
        """Return how many of a batch's trades have been told: signal sends some once more after a crash.

        By their times as well: where the venue and all that was stored began anew, so do the ids.
        """
        trade_ids, time_us = batch.trades.trade_id, batch.trades.time_us
        key = batch.trades.venue, batch.trades.symbol
        count = _told_before(trade_ids, time_us, *self._told.get(key, _NOTHING_TOLD))
        if count < len(trade_ids):
            self._told[key] = trade_ids[-1], time_us[-1]
        return count

    def _leave_out(self, what: str, why: object = "no such message") -> None:
        UNREADABLE.inc()
        if self._log_throttle.due(asyncio.get_running_loop().time()):
            log.error("left out %s that cannot be read: %s", what, why)
