"""The last trades of the live stream, kept once for all subscriptions, and where in them each of these is. Pure.

A subscription of the `/ws` protocol has no queue: it has the key of the last trade that it was sent, and takes what
comes after it from here, as it has room for it. What is no longer or was never here is in the store; `Cursor` says when
to ask there, and joins both by the trades' keys.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from mesh.values import epochs

MAX_TRADES = 8192
"""Trades that are kept of a symbol, the latest ones."""
MAX_AGE_S = 10.0
MAX_BYTES = 64 * 2**20
"""What is kept of all symbols together; the one that grows gives up its oldest."""
MAX_FILL = 10_000
"""A subscription that does not resume is not sent more trades than these from the store at once."""
_RUN_BYTES = 600
"""About what a run takes beside its batch."""


@dataclass(eq=False, slots=True)
class Run:
    """Trades with consecutive keys that came together.

    Attributes:
        batch: a serialized `WatchResponse` with the one batch that they are in.
        first_row: the row of the first of them.
        rows: how many they are.
        first_key: the key of the first of them.
        arrived_s: when they came.
        bodies: what was made of them, by what it is; shared by all who are sent it.

    """

    batch: bytes
    first_row: int
    rows: int
    first_key: int
    arrived_s: float
    bodies: dict[Hashable, bytes] = field(default_factory=dict)

    @property
    def last_key(self) -> int:
        """The key of the last of them."""
        return self.first_key + self.rows - 1

    def after(self, key: int) -> Run:
        """Return what comes after a key, at least one trade."""
        skipped = key + 1 - self.first_key
        if skipped <= 0:
            return self
        return Run(self.batch, self.first_row + skipped, self.rows - skipped, key + 1, self.arrived_s)


def runs_of(batch: bytes, keys: Sequence[int], *, arrived_s: float, skip: int = 0) -> Iterator[Run]:
    """Yield the trades of a batch as runs of consecutive keys.

    Args:
        batch: as `Run.batch`.
        keys: of all its trades, rising.
        arrived_s: as in `Run`.
        skip: how many of the first trades are left out.

    """
    begins = [skip, *(n for n in range(skip + 1, len(keys)) if keys[n] != keys[n - 1] + 1), len(keys)]
    for begin, end in pairwise(begins):
        if end > begin:
            yield Run(batch, begin, end - begin, keys[begin], arrived_s)


class Ring:
    """The last trades of one symbol."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.venue = ""
        """Of the trades that are here."""
        self.generation = 0
        """How often what came has begun anew: of another venue, or from lower ids without a new epoch."""
        self.evicted_key = -1
        """The last key that had to go."""
        self.last_us = 0
        """The time of the last trade, in microseconds since 1970."""
        self.held_bytes = 0
        self.watchers: dict[Callable[[], None], None] = {}
        self.bodies: dict[Hashable, bytes] = {}
        """What was made of several runs together since the last trade came, shared by all who are sent it."""
        self._runs: list[Run] = []
        self._trades = 0

    def __bool__(self) -> bool:
        return bool(self._runs)

    @property
    def first_key(self) -> int:
        """The first key that is here, of a ring that is not empty."""
        return self._runs[0].first_key

    @property
    def last_key(self) -> int:
        """The last key that came; -1 before any."""
        return self._runs[-1].last_key if self._runs else -1

    @property
    def last_run(self) -> Run:
        """The last trades that came, of a ring that is not empty."""
        return self._runs[-1]

    def append(self, run: Run) -> None:
        """Add trades whose keys are higher than all before; the oldest go when there are too many."""
        assert run.first_key > self.last_key
        if self.bodies:
            self.bodies.clear()
        self._runs.append(run)
        self._trades += run.rows
        self.held_bytes += len(run.batch) + _RUN_BYTES
        gone = 0
        trades = self._trades
        oldest_s = run.arrived_s - MAX_AGE_S
        while gone < len(self._runs) - 1 and (trades > MAX_TRADES or self._runs[gone].arrived_s < oldest_s):
            trades -= self._runs[gone].rows
            gone += 1
        self._evict(gone)

    def shrink(self) -> None:
        """Give up the older half of what is here, but never the last run."""
        self._evict(len(self._runs) // 2)

    def restart(self) -> None:
        """Forget everything: what comes now has nothing to do with it."""
        self._runs.clear()
        self.bodies.clear()
        self._trades = self.held_bytes = 0
        self.evicted_key = -1
        self.generation += 1

    def after(self, key: int, *, max_trades: int) -> list[Run]:
        """Return what is here after a key, as far as keys are consecutive; one run at least when there is any.

        Args:
            key: of the trade before.
            max_trades: no further run follows when there are so many.

        """
        place = bisect_right(self._runs, key, key=lambda run: run.last_key)
        found: list[Run] = []
        trades = 0
        for run in self._runs[place : place + max_trades]:
            if trades >= max_trades or (found and run.first_key != found[-1].last_key + 1):
                break
            found.append(run if found else run.after(key))
            trades += run.rows
        return found

    def _evict(self, count: int) -> None:
        if count:
            self.evicted_key = self._runs[count - 1].last_key
            for run in self._runs[:count]:
                self._trades -= run.rows
                self.held_bytes -= len(run.batch) + _RUN_BYTES
            del self._runs[:count]


class Rings:
    """The rings of the symbols that are subscribed to; without a subscription there is none."""

    def __init__(self) -> None:
        self._rings: dict[str, Ring] = {}
        self._changed: dict[Ring, None] = {}
        self._held_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._rings)

    def get(self, symbol: str) -> Ring | None:
        """Return the ring of a symbol, if anybody is subscribed to it."""
        return self._rings.get(symbol)

    def watch(self, symbol: str, wake: Callable[[], None]) -> Ring:
        """Return the ring of a symbol.

        Args:
            symbol: in lower case.
            wake: called at each `flush` after the ring has changed.

        """
        ring = self._rings.get(symbol) or self._rings.setdefault(symbol, Ring(symbol))
        ring.watchers[wake] = None
        return ring

    def unwatch(self, ring: Ring, wake: Callable[[], None]) -> None:
        """End what `watch` began; a ring that nobody watches goes.

        Args:
            ring: that `watch` returned.
            wake: that it was given.

        """
        ring.watchers.pop(wake, None)
        if not ring.watchers and self._rings.get(ring.symbol) is ring:
            del self._rings[ring.symbol]
            self._changed.pop(ring, None)
            self._held_bytes -= ring.held_bytes

    def add(self, ring: Ring, runs: Iterable[Run]) -> None:
        """Add trades to a ring.

        Args:
            ring: one that is watched.
            runs: with keys above those before.

        """
        before = ring.held_bytes
        for run in runs:
            ring.append(run)
        if self._held_bytes + ring.held_bytes - before > MAX_BYTES:
            ring.shrink()
        self._held_bytes += ring.held_bytes - before
        self._changed[ring] = None

    def restart(self, ring: Ring) -> None:
        """Have a ring begin anew."""
        self._held_bytes -= ring.held_bytes
        ring.restart()

    def flush(self) -> None:
        """Wake everybody who watches what has changed."""
        if self._changed:
            changed, self._changed = self._changed, {}
            for wake in {wake: None for ring in changed for wake in ring.watchers}:
                wake()


@dataclass(frozen=True, slots=True)
class Lagged:
    """Trades that a subscription is not sent; both keys belong to them."""

    first_key: int
    last_key: int

    @property
    def count(self) -> int:
        """How many ids they are."""
        return self.last_key - self.first_key + 1


@dataclass(frozen=True, slots=True)
class Stored:
    """Some rows of a page of the store, with consecutive keys."""

    begin: int
    end: int


class Cursor:
    """How far one subscription is with one symbol.

    Args:
        ring: of the symbol.
        key: of the last trade that the client has; None when it has none, and begins with what is next.
        resumed: whether the client named that trade: then it is never sent on without what it missed.
        venue: of that trade, where the client has named that, too; else empty.

    """

    def __init__(self, ring: Ring, key: int | None = None, *, resumed: bool = False, venue: str = "") -> None:
        self.ring = ring
        self.key = key
        self.resumed = resumed
        self.venue = venue
        self.catching_up = True
        """Whether what comes next is asked of the store."""
        self._generation = ring.generation

    @property
    def is_elsewhere(self) -> bool:
        """Whether what comes is of another venue than the trade that the client has named."""
        return bool(self.venue and self.ring) and self.ring.venue != self.venue

    def restarted(self) -> bool:
        """Return whether what comes has begun anew since the last call; the cursor is before it then."""
        if self._generation == self.ring.generation and not self.is_elsewhere:
            return False
        self._generation = self.ring.generation
        self.key, self.resumed, self.catching_up, self.venue = None, False, False, ""
        return True

    def take(self, max_trades: int) -> list[Run] | Lagged | None:
        """Return what to send next from the ring; None when there is nothing, or when the store is to be asked.

        Args:
            max_trades: about how many to take.

        """
        if not self.ring:
            return None
        if self.key is None:
            self.key = self.ring.first_key - 1
        runs = self.ring.after(self.key, max_trades=max_trades)
        if not runs:
            return None
        next_key = runs[0].first_key
        if next_key == self.key + 1:
            self.key = runs[-1].last_key
            self.catching_up = False
            return runs
        # A client that had no room while they were here has missed them; what was never here is in the store.
        missed = not self.catching_up and self.ring.evicted_key > self.key
        too_many = not self.resumed and next_key - self.key > MAX_FILL
        if (missed or too_many) and epochs.epoch_of(self.key) == epochs.epoch_of(next_key):
            return self._leave_out(next_key)
        self.catching_up = True
        return None

    def give_up(self) -> Lagged | None:
        """Stop asking the store: go on with what is here, and return what is left out for it."""
        self.catching_up = False
        if not self.ring or self.key is None or not (runs := self.ring.after(self.key, max_trades=1)):
            return None
        return self._leave_out(runs[0].first_key)

    def take_stored(
        self, keys: Sequence[int], *, newest_key: int, more: bool, max_trades: int
    ) -> list[Stored | Lagged]:
        """Return what to send of a page of the store, in order.

        Afterwards `catching_up` says whether to ask again; when nothing was returned, a moment later.

        Args:
            keys: of its trades, rising; those after `key` as it was when the store was asked, or some before.
            newest_key: the highest one that the store has.
            more: whether another page may follow.
            max_trades: how many rows are sent together at most.

        """
        here = self.ring.after(-1 if self.key is None else self.key, max_trades=1) if self.ring else []
        next_key = here[0].first_key if here else None
        found: list[Stored | Lagged] = []
        last = -1 if self.key is None else self.key
        for n, key in enumerate(keys):
            if key <= last or (next_key is not None and key >= next_key):
                continue
            if key != last + 1 and self.key is not None:
                found += self._between(last, key)
            previous = found[-1] if found else None
            if key == last + 1 and isinstance(previous, Stored) and n - previous.begin < max_trades:
                found[-1] = Stored(previous.begin, n + 1)
            else:
                found.append(Stored(n, n + 1))
            last = self.key = key
        if next_key is None:
            self.catching_up = more
        elif last + 1 == next_key:
            self.catching_up = False
        elif newest_key >= next_key and (not more or (keys and keys[-1] >= next_key)):
            # The store has come past the place where the ring begins: what it does not have by now is missing there.
            found += self._between(last, next_key)
            self.key = next_key - 1
            self.catching_up = False
        return found

    def _leave_out(self, next_key: int) -> Lagged | None:
        assert self.key is not None
        [*between] = self._between(self.key, next_key)
        self.key = next_key - 1
        return between[0] if between else None

    def _between(self, last: int, next_key: int) -> list[Lagged]:
        """Return what is missing between two keys; nothing can be said of it across the end of an epoch."""
        if next_key <= last + 1 or epochs.epoch_of(last) != epochs.epoch_of(next_key):
            return []
        return [Lagged(last + 1, next_key - 1)]
