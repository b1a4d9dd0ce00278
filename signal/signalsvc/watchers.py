"""Who watches: one producer, bounded readers; a slow one lags alone and is told what it missed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from tickmesh.v1 import signal_pb2

MAX_EVENTS = 1024
MAX_TRADES = 100_000
"""A watcher holds no more than this; then its oldest batches go."""

COALESCED_TRADES = 1024
"""So many trades go into one answer, or one batch if that is longer."""


class Watcher:
    """One reader's events."""

    def __init__(self, symbols: frozenset[str], *, selected: bool, coalesce: bool = False) -> None:
        """Watch `symbols`, and the selected symbol whichever it is if `selected`; everything when both are empty.

        With `coalesce` batches that wait together are given together.
        """
        self._symbols = symbols
        self._selected = selected
        self._coalesce = coalesce
        self._queue: deque[tuple[int, signal_pb2.WatchResponse]] = deque()
        self._trades = 0
        self._missed = 0
        self._ended = False
        self._arrived = asyncio.Event()

    def wants(self, symbol: str, selected: str) -> bool:
        """Return whether a batch of `symbol` is for this watcher."""
        if self._selected:
            return symbol == selected
        return not self._symbols or symbol in self._symbols

    def put(self, event: signal_pb2.WatchResponse, *, trades: int = 0) -> None:
        """Queue an event; the oldest go when there are too many."""
        self._queue.append((trades, event))
        self._trades += trades
        while len(self._queue) > MAX_EVENTS or self._trades > MAX_TRADES:
            dropped, _ = self._queue.popleft()
            self._trades -= dropped
            self._missed += dropped
        self._arrived.set()

    def end(self) -> None:
        """Let `events` end once all is read."""
        self._ended = True
        self._arrived.set()

    async def events(self) -> AsyncIterator[signal_pb2.WatchResponse]:
        """Give events as they come."""
        while True:
            if self._missed:
                missed, self._missed = self._missed, 0
                yield signal_pb2.WatchResponse(missed=signal_pb2.Missed(trades=missed))
            while self._queue:
                yield self._joined() if self._coalesce and self._queue[0][0] else self._pop()
                if self._missed:
                    break
            else:
                if self._ended:
                    return
                self._arrived.clear()
                await self._arrived.wait()

    def _pop(self) -> signal_pb2.WatchResponse:
        trades, event = self._queue.popleft()
        self._trades -= trades
        return event

    def _joined(self) -> signal_pb2.WatchResponse:
        """Return the batches up to the next event of another kind, as one event."""
        joined, trades = signal_pb2.WatchResponse(), 0
        while self._queue and (more := self._queue[0][0]) and (not trades or trades + more <= COALESCED_TRADES):
            trades += more
            joined.batches.batches.append(self._pop().batch)
        return joined


class Watchers:
    """All watchers of the service."""

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()

    def __len__(self) -> int:
        return len(self._watchers)

    @contextmanager
    def watching(self, watcher: Watcher) -> Iterator[Watcher]:
        """Count the watcher in while inside."""
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def tell_batch(self, payload: bytes, *, symbol: str, trades: int, selected: str) -> None:
        """Give a serialised SignalBatch to those who want it; decoded once, and only if anybody does."""
        event = None
        for watcher in self._watchers:
            if watcher.wants(symbol, selected):
                if event is None:
                    event = signal_pb2.WatchResponse()
                    event.batch.ParseFromString(payload)
                watcher.put(event, trades=trades)

    def tell_selected(self, response: signal_pb2.GetSymbolResponse) -> None:
        """Tell everybody which symbol is selected from now on."""
        for watcher in self._watchers:
            watcher.put(signal_pb2.WatchResponse(selected=response))

    def end(self) -> None:
        """Let every watcher's stream end."""
        for watcher in self._watchers:
            watcher.end()
