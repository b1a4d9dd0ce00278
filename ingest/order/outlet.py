"""Where trades leave: through their symbol's sequencer to the stream RAW, whoever brings them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

from ingest import counts
from ingest.feed_state import Progress
from ingest.gap import Gap
from ingest.order.published import last_published, repair_id
from ingest.order.sequencer import Counts, Limits, Sequencer
from mesh import subjects, wire
from mesh.bus import Bus
from mesh.logs import Seldom
from mesh.publisher import Publisher
from mesh.trades import TradeColumns

log = logging.getLogger("ingest.outlet")

MAX_BATCH = 4096
"""Trades in one message at most: about 0.14 MB."""


class Outlet:
    """See the module.

    One at a time passes: what `publish` makes wait (a full or slow stream) makes everybody wait, and that is how the
    sockets come to be read no faster than the bus takes.

    Args:
        venue: whose trades these are.
        bus: to read how far RAW is.
        publisher: the writer of RAW.
        limits: of waiting for what is missing.

    """

    def __init__(self, venue: str, bus: Bus, publisher: Publisher, *, limits: Limits | None = None) -> None:
        self.venue = venue
        self._bus = bus
        self._publisher = publisher
        self._call_on_gap: list[Callable[[str], None]] = []
        self._limits = limits or Limits()
        self._sequencers: dict[str, Sequencer] = {}
        self._heard_s: dict[str, float] = {}  # by symbol: when trades came as they happen
        self._lock = asyncio.Lock()
        self._seldom = Seldom(every_s=10)
        self._closed = False

    def on_gap(self, call: Callable[[str], None]) -> None:
        """Call a function with the symbol whenever trades wait for ids before them."""
        self._call_on_gap.append(call)

    async def follow(self, symbol: str) -> None:
        """Let a symbol's trades pass from now on, after the last one that RAW holds; waits for the bus."""
        if symbol not in self._sequencers:
            last = await last_published(self._bus, self.venue, symbol)
            if symbol in self._sequencers:
                return
            if last is None:
                log.info("%s: begins with its first trade", symbol)
                self._sequencers[symbol] = Sequencer(last_id=None, limits=self._limits)
            else:
                last_id, last_time_us = last
                log.info("%s: goes on after trade %d", symbol, last_id)
                self._sequencers[symbol] = Sequencer(last_id=last_id, last_time_us=last_time_us, limits=self._limits)

    def next_id(self, symbol: str) -> int | None:
        """Return the id a symbol waits for; None while any would do."""
        last_id = self._sequencers[symbol].last_id
        return None if last_id is None else last_id + 1

    def next_id_if_known(self, symbol: str) -> int | None:
        """Return the same also of a symbol whose trades do not pass yet: None."""
        return self.next_id(symbol) if symbol in self._sequencers else None

    def gap(self, symbol: str) -> Gap | None:
        """Return the ids that a symbol's trades wait for."""
        return self._sequencers[symbol].gap

    def progress(self) -> list[Progress]:
        """Return how far each followed symbol's trades are."""
        now_s = _now_s()
        return [
            Progress(
                symbol,
                sequencer.last_id,
                sequencer.last_time_us,
                now_s - self._heard_s[symbol] if symbol in self._heard_s else None,
                held_trades=sequencer.held_trades,
                gap=sequencer.gap,
            )
            for symbol, sequencer in self._sequencers.items()
        ]

    async def take(self, trades: TradeColumns, *, live: bool = True) -> None:
        """Take trades from anywhere, in any order; those of a symbol not followed are passed over, and counted.

        Args:
            trades: of one symbol.
            live: whether they come as they happen, so that their delay says something of the way here.

        """
        sequencer = self._sequencers.get(trades.symbol)
        if sequencer is None:
            counts.PASSED_OVER.labels(self.venue).inc(len(trades))
            return
        if not len(trades):
            return
        if live:
            self._heard_s[trades.symbol] = _now_s()
            counts.LAG.observe(max(0.0, (trades.received_time_us - int(trades.time_us[-1])) / 1e6))
        async with self._lock:
            if sequencer.is_rewound(trades):
                self._tell_rewound(sequencer, trades)
            due = sequencer.push(trades, _now_s())
            await self._publish(trades.symbol, sequencer, due)
        if sequencer.gap is not None:
            for call in self._call_on_gap:
                call(trades.symbol)

    async def absent(self, symbol: str, gap: Gap) -> None:
        """Take the venue's word that it has none of these ids, and go on without them."""
        log.warning("%s: the venue has no trades %d to %d", symbol, gap.first_id, gap.last_id)
        counts.ABSENT.labels(self.venue, symbol).inc(len(gap))
        await self._skip(symbol, gap)

    async def unreachable(self, symbol: str, gap: Gap, why: str, *, level: int = logging.ERROR) -> None:
        """Go on without ids that can no longer be asked for; they stay a hole for the ledger."""
        words = "%s: going on without trades %d to %d (%d): %s"
        log.log(level, words, symbol, gap.first_id, gap.last_id, len(gap), why)
        counts.HOLES.labels(self.venue, symbol).inc(len(gap))
        await self._skip(symbol, gap)

    async def give_up(self, symbol: str, why: str) -> None:
        """Go on without the ids that are waited for; they stay a hole for the ledger."""
        if (gap := self._sequencers[symbol].gap) is not None:
            await self.unreachable(symbol, gap, why)

    async def nothing_since(self, symbol: str, since_s: float) -> float:
        """Take note that the venue has answered since then with nothing from the ids on that are waited for.

        What it has had time enough for is given up: later trades have come, and these may never.

        Returns:
            how long its next answer may take.

        """
        sequencer = self._sequencers[symbol]
        while (left_s := sequencer.patience_s(since_s, _now_s())) == 0 and sequencer.gap is not None:
            await self.give_up(symbol, "the venue answers, but has nothing of them, though later ones have come")
        return left_s

    async def give_up_all(self, why: str, *, but: Collection[str] = ()) -> None:
        """Go on without everything that is waited for; what has arrived behind it is published.

        Args:
            why: for the log.
            but: symbols of which nothing is given up, as all of it can be had again in order.

        """
        for symbol, sequencer in self._sequencers.items():
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
            while sequencer.gap is not None and not self._closed:
                await self.give_up(symbol, why)

    async def publish_again(self, trades: TradeColumns) -> int:
        """Publish trades of the past, past the order of ids; return the sequence in RAW of the last message."""
        last_id = self._sequencers[trades.symbol].last_id
        assert last_id is not None
        assert int(trades.trade_id[-1]) <= last_id
        stored: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        async with self._lock:
            for start in range(0, len(trades), MAX_BATCH):
                part = trades.rows(slice(start, start + MAX_BATCH))
                is_last = start + MAX_BATCH >= len(trades)
                await self._send(part, repair_id(part, last_id), stored.set_result if is_last else None)
        return await stored

    async def keep_bounds(self) -> None:
        """Give up the gaps that are past a bound, for ever; a task of the service's own."""
        while True:
            await asyncio.sleep(0.25)
            for symbol, sequencer in list(self._sequencers.items()):
                self._tell_counts(symbol, sequencer)
                while sequencer.overdue(_now_s()):
                    await self.give_up(symbol, "past the bounds of waiting")

    async def _publish(self, symbol: str, sequencer: Sequencer, due: TradeColumns | None) -> None:
        if due is None or self._closed:
            return
        for start in range(0, len(due), MAX_BATCH):
            part = due.rows(slice(start, start + MAX_BATCH))
            await self._send(part, f"{self.venue}.{symbol}.{part.trade_id[0]}-{part.trade_id[-1]}", None)

    def _tell_counts(self, symbol: str, sequencer: Sequencer) -> None:
        told, sequencer.counts = sequencer.counts, Counts()
        counts.TRADES.labels(self.venue, symbol).inc(told.released)
        counts.DUPLICATES.labels(self.venue, symbol).inc(told.duplicates)
        counts.GAPS.labels(self.venue, symbol).inc(told.gaps)
        counts.HELD.labels(self.venue, symbol).set(sequencer.held_trades)

    async def _skip(self, symbol: str, gap: Gap) -> None:
        sequencer = self._sequencers[symbol]
        async with self._lock:
            await self._publish(symbol, sequencer, sequencer.skip(gap))

    async def _send(self, trades: TradeColumns, message_id: str, on_stored: Callable[[int], None] | None) -> None:
        counts.BATCHES.inc()
        subject = subjects.raw(self.venue, trades.symbol)
        payload = wire.encode_trades(trades)
        try:
            await self._publisher.publish(subject, payload, message_id=message_id, on_stored=on_stored)
        except asyncio.CancelledError:
            # Stopped while the bus made us wait: nothing may pass after what was left out.
            self._closed = True
            raise

    def _tell_rewound(self, sequencer: Sequencer, trades: TradeColumns) -> None:
        if self._seldom.due(_now_s()):
            log.error(
                "%s: trade %d of %s comes later than trade %s, which is published: has the venue begun its ids again? "
                "Its trades are dropped until they pass that id",
                trades.symbol,
                trades.trade_id[-1],
                self.venue,
                sequencer.last_id,
            )


def _now_s() -> float:
    return asyncio.get_running_loop().time()
