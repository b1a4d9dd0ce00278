"""The one stream of trades from signal: read, prepared once, handed to the fan-out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from time import monotonic

import grpc
import msgspec
from google.protobuf.message import DecodeError
from prometheus_client import Counter, Gauge

from gateway.live.coins import CoinList
from gateway.live.connection import text_frames
from gateway.live.fanout import Chunk, ClientFanout
from gateway.live.ring import Ring, Rings, runs_of
from gateway.transcode import ticks
from gateway.transcode.ticks import MEMBERS, TickWriter
from mesh.service.backoff import backoff
from mesh.service.logs import LogThrottle
from mesh.service.rpc import authorization
from mesh.values.symbols import name_of
from tickcodec.ticks import FoundBatch, TickFrames, alone
from tickmesh.v1 import signal_pb2

log = logging.getLogger("gateway.live.signal_feed")

UNWOKEN_S = 10.0
"""After so long the stream is tried without a word from signal."""
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


@lru_cache(maxsize=4096)
def _head(symbol: str, name: str, venue: str) -> bytes:
    return ticks.head(symbol, name, venue).encode()


def _told_before(keys: Sequence[int], time_us: Sequence[int], told_key: int, told_us: int) -> int:
    """Return how many of a batch's trades have come before; none where the ids have begun anew, as the times tell."""
    count = bisect_right(keys, told_key)
    return 0 if count and time_us[count - 1] > told_us else count


class SignalFeed:
    """Follows `SignalService.Watch` for all symbols and feeds a fan-out.

    Args:
        signal: channel to SignalService.
        fanout: who gets the trades, and also selections, losses and outages.
        rings: what the protocol's subscriptions take trades from.
        coins: their names.
        serving: returns as soon as signal serves.
        write: called when something was published, to have it written.
        token: what signal wants to be shown; None when nothing.

    """

    def __init__(
        self,
        signal: grpc.aio.Channel,
        fanout: ClientFanout,
        rings: Rings,
        *,
        coins: CoinList,
        serving: Callable[[], Awaitable[None]],
        write: Callable[[], None],
        token: str | None = None,
    ) -> None:
        # Its answers stay bytes: most are only carried, which C++ does.
        self._watch: grpc.aio.UnaryStreamMultiCallable[signal_pb2.WatchRequest, bytes] = signal.unary_stream(
            _WATCH, request_serializer=signal_pb2.WatchRequest.SerializeToString
        )
        self._coins = coins
        self._serving = serving
        self._metadata = authorization(token)
        self._fanout = fanout
        self._rings = rings
        self._write = write
        self._ticks = TickWriter()
        self._frames = TickFrames(MEMBERS, max_rows=CHUNK_TRADES)
        self._names: dict[str, str] = {}
        self._told: dict[tuple[str, str], tuple[int, int]] = {}  # id and time of the last trade of a venue and symbol
        self._live = asyncio.Event()
        self._waiting: Chunk | None = None
        self._selected: Chunk | None = None
        self._log_throttle = LogThrottle()

    @property
    def greeting(self) -> list[Chunk]:
        """What a reader that comes now has to know first."""
        return [chunk for chunk in (self._waiting, self._selected) if chunk is not None]

    @property
    def is_live(self) -> bool:
        """Whether every trade from now on comes."""
        return self._live.is_set()

    async def wait_until_live(self, *, limit_s: float) -> None:
        """Wait until every trade from now on comes, or for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._live.wait()

    async def follow(self) -> None:
        """Read the stream, and open it again whenever it ends, until cancelled."""
        delays = backoff(first_s=0.05, max_s=5.0)
        try:
            while True:
                try:
                    request = signal_pb2.WatchRequest(all_symbols=True, coalesce=True)
                    async for response in self._watch(request, metadata=self._metadata):
                        if not self._live.is_set():
                            await self._come_alive()
                            delays = backoff(first_s=0.05, max_s=5.0)
                        self._take(response)
                        self._write()
                    reason = "the stream ended"
                except grpc.aio.AioRpcError as exc:
                    reason = f"{exc.code().name}: {exc.details()}"
                self._go_away(reason)
                # It is woken when signal serves again: a wait of its own would make clients wait longer than signal.
                # One that serves and gives no stream all the same, or has no health to tell, is not asked in a loop.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(UNWOKEN_S):
                        await self._serving()
                        await asyncio.sleep(next(delays))
        finally:
            self._live.clear()
            self._waiting = self._selected = None
            LIVE.set(0)

    async def _come_alive(self) -> None:
        if names := await self._coins.names():
            self._names = names
        else:
            log.warning("signal lists no coins: what is selected next tells its name itself")
        log.info("trades are live")
        self._live.set()
        LIVE.set(1)
        if self._waiting is not None:
            self._waiting = None
            self._fanout.notify(control("status", state="live"))

    def _go_away(self, reason: str) -> None:
        ENDS.inc()
        if self._log_throttle.due(asyncio.get_running_loop().time()):
            log.warning("no trades from signal, trying again: %s", reason)
        LIVE.set(0)
        if self._live.is_set() or self._waiting is None:
            # the reason names addresses; that is for the log, not for clients
            self._waiting = control("status", state="waiting", reason="signal is away; trades go on when it is back")
            self._fanout.notify(self._waiting)
            self._write()
        self._live.clear()

    def _take(self, response: bytes) -> None:
        batches = self._frames.find(response)
        if batches is None:
            try:
                self._take_event(signal_pb2.WatchResponse.FromString(response))
            except DecodeError as exc:
                self._leave_out("an answer of signal", exc)
            return
        for batch in batches:
            if (ring := self._rings.get(batch.symbol)) is not None:
                self._keep(ring, alone(response, batch), batch)
            if self._fanout.wanted(batch.symbol) and not self._publish_found(response, batch):
                self._publish(signal_pb2.SignalBatch.FromString(response[batch.at : batch.at + batch.size]))

    def _publish_found(self, response: bytes, batch: FoundBatch) -> bool:
        """Publish a batch as it is usually found; nothing of one that was told in part or cannot be written in C++."""
        key, symbol = (batch.venue, batch.symbol), batch.symbol
        if batch.first_id <= self._told.get(key, _NOTHING_TOLD)[0]:
            return False
        head = _head(symbol, self._names.get(symbol) or name_of(symbol), batch.venue)
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

    def _take_event(self, response: signal_pb2.WatchResponse) -> None:
        event = response.WhichOneof("event")
        if event == "batches":
            for batch in response.batches.batches:
                self._keep_read(batch)
                self._publish(batch)
        elif event == "batch":  # from a signal that is older than we are
            self._keep_read(response.batch)
            self._publish(response.batch)
        elif event == "selected":
            selected = response.selected
            self._names[selected.symbol] = selected.name
            rests = {} if selected.status in ("", "TRADING") else {"status": selected.status}
            self._selected = control(
                "selected", symbol=selected.symbol, name=selected.name, venue=selected.venue, **rests
            )
            self._fanout.select(selected.symbol)
            self._fanout.notify(self._selected)
        elif event == "missed":
            log.warning("signal did not send %d trades: this gateway read too slowly", response.missed.trades)
            self._fanout.notify(lagged(response.missed.trades, by="gateway"))

    def _keep(self, ring: Ring, response: bytes, batch: FoundBatch) -> None:
        """Keep a batch's trades that are new, for the subscriptions of the protocol."""
        keys: Sequence[int] = range(batch.first_id, batch.last_id + 1)
        told = 0
        if len(keys) != batch.rows or batch.first_id <= ring.last_key:  # seldom: read by Python
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
