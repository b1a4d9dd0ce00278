"""The calls of Watch as readers of one fan-out: a slow one lags alone and is told how many trades it missed.

Events are serialized messages of `WatchResponse`. One with a batch is at the same time a message of `SignalBatches`,
as both have it in their first field: so batches are put together as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from mesh.bus import wire
from mesh.service.fanout import BoundedQueue, Fanout
from signalsvc.engine import MAX_TOGETHER, CarriedSignals
from tickmesh.v1 import signal_pb2

MAX_EVENTS = 1024
MAX_TRADES = 100_000
"""A watcher holds no more than this; then its oldest batches go."""

COALESCED_TRADES = MAX_TOGETHER
"""So many trades go into one answer, or one batch if that is longer."""

_BATCHES = signal_pb2.WatchResponse.BATCHES_FIELD_NUMBER
assert signal_pb2.WatchResponse.BATCH_FIELD_NUMBER == signal_pb2.SignalBatches.BATCHES_FIELD_NUMBER


class Watcher:
    """One reader's events."""

    def __init__(
        self,
        symbols: frozenset[str],
        *,
        selected: bool,
        coalesce: bool = False,
        partitions: bool = False,
        repeats: bool = False,
    ) -> None:
        """Watch `symbols`, and the selected symbol whichever it is if `selected`; everything when both are empty.

        With `coalesce` batches that wait together are given together. With `partitions` and `repeats` the watcher gets
        what `WatchRequest` says of them.
        """
        self.partitions = partitions
        self.repeats = repeats
        self.send_at_once: Callable[[bytes], bool] | None = None
        """Sends an event in the turn of the loop in which it happens; tells whether there was room for it."""
        self._symbols = symbols
        self._selected = selected
        self._coalesce = coalesce
        self._queue: BoundedQueue[tuple[int, bytes]] = BoundedQueue(max_weight=MAX_TRADES, max_items=MAX_EVENTS)
        self._missed = 0
        self._ended = False
        self._arrived = asyncio.Event()

    def wants(self, symbol: str, selected: str | None) -> bool:
        """Return whether a batch of `symbol` is for this watcher.

        Args:
            symbol: whose trades they are.
            selected: the selected symbol; None while it is not known.

        """
        if self._selected:
            return symbol == selected
        return not self._symbols or symbol in self._symbols

    @property
    def takes_all(self) -> bool:
        """Whether batches of all symbols can be given to it as they are, many at once."""
        return self._coalesce and not self._selected and not self._symbols

    def put(self, event: bytes, *, trades: int = 0) -> None:
        """Queue an event; the oldest go when there are too many.

        Args:
            event: a serialized `WatchResponse`; of trades one with a `batch`, or a `SignalBatches` of several for who
                takes all.
            trades: how many trades it has; 0 for an event that is none.

        """
        if self.send_at_once is not None and not self._queue and not self._missed:
            whole = wire.length_delimited(_BATCHES, event) if self._coalesce and trades else event
            if self.send_at_once(whole):
                return
        self._missed += sum(dropped for dropped, _ in self._queue.put((trades, event), trades))
        self._arrived.set()

    def end(self) -> None:
        """Let `events` end once all is read."""
        self._ended = True
        self._arrived.set()

    async def events(self) -> AsyncIterator[bytes]:
        """Give events as they come, serialized."""
        while True:
            if self._missed:
                missed, self._missed = self._missed, 0
                yield signal_pb2.WatchResponse(missed=signal_pb2.Missed(trades=missed)).SerializeToString()
            while self._queue:
                yield self._joined() if self._coalesce and self._queue.oldest_weight() else self._queue.pop()[1]
                if self._missed:
                    break
            else:
                if self._ended:
                    return
                self._arrived.clear()
                await self._arrived.wait()

    def _joined(self) -> bytes:
        """Return the batches up to the next event of another kind, as one event."""
        batches, trades = [], 0
        while (more := self._queue.oldest_weight()) and (not trades or trades + more <= COALESCED_TRADES):
            trades += more
            batches.append(self._queue.pop()[1])
        return wire.length_delimited(_BATCHES, b"".join(batches))


class Watchers(Fanout[Watcher]):
    """All watchers of the service.

    Args:
        partitions: how many the mesh has.

    """

    def __init__(self, *, partitions: int = 1) -> None:
        super().__init__()
        self.partitions = signal_pb2.OwnedPartitions(count=partitions)
        """Those in which this instance sends trades as they happen."""

    @contextmanager
    def watching(self, watcher: Watcher) -> Iterator[Watcher]:
        """Count the watcher in while inside."""
        self.join(watcher)
        try:
            yield watcher
        finally:
            self.leave(watcher)

    def publish(self, signals: CarriedSignals, *, selected: str) -> None:
        """Give signals to those who want them: all at once to who wants batches together, and those of all symbols.

        Args:
            signals: of some batches.
            selected: the symbol that is selected now.

        """
        self.select(selected)
        for watcher in self:
            if watcher.takes_all:
                watcher.put(signals.payload, trades=signals.trades)
                continue
            for message in signals.messages:
                if watcher.wants(message.symbol, selected):
                    watcher.put(wire.one_of_many(message.payload), trades=message.rows)

    def repeat(self, event: bytes, *, symbol: str, trades: int) -> None:
        """Give a batch that was published before to those who want such ones as well.

        Args:
            event: as `publish` has it.
            symbol: whose trades they are.
            trades: how many.

        """
        for watcher in self.audience(symbol):
            if watcher.repeats:
                watcher.put(event, trades=trades)

    def tell_partitions(self, partitions: signal_pb2.OwnedPartitions | None = None) -> None:
        """Tell those who asked for it in which partitions this instance works: other ones, or still the same."""
        self.partitions = partitions or self.partitions
        event = signal_pb2.WatchResponse(partitions=self.partitions).SerializeToString()
        for watcher in self:
            if watcher.partitions:
                watcher.put(event, trades=0)

    def notify_selected(self, response: signal_pb2.GetSymbolResponse) -> None:
        """Tell everybody which symbol is selected from now on."""
        for watcher in self:
            watcher.put(signal_pb2.WatchResponse(selected=response).SerializeToString())

    def end(self) -> None:
        """Let every watcher's stream end."""
        for watcher in self:
            watcher.end()
