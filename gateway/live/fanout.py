"""One producer, many bounded readers: a slow reader lags alone.

Messages travel as chunks that all readers share, so that one more reader costs a reference a chunk. A reader that is
full loses its oldest chunks; they are counted, and it learns the number before anything newer. A reader that has lost
too many without ever catching up is overrun: nothing more is kept for it, and its owner should let it go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from gateway.live.subscription import Wanted


@dataclass(frozen=True, slots=True)
class Chunk:
    """Messages that belong together, ready for the wire."""

    data: bytes
    trades: int
    """How many messages are trades; 0 for a control message."""
    kind: str = ""
    """Of a control message: a reader that lost some still needs the latest of each kind."""
    missed: int = 0
    """Trades that this message says were missed; a reader that loses the message has missed them all the same."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a reader may fall behind."""

    queued: int = 8192
    """Messages kept for one reader; the oldest go when there are more."""
    missed: int = 65536
    """Trades a reader may lose before it catches up once; then it is overrun."""


class Reader:
    """One reader's bounded queue; made by `Fanout.join`."""

    def __init__(self, wanted: Wanted, limits: Limits, wake: Callable[[], None]) -> None:
        self.missed_total = 0
        self.overrun = False
        self._wanted = wanted
        self._limits = limits
        self._wake = wake
        self._chunks: deque[Chunk] = deque()
        self._queued = 0
        self._queued_bytes = 0
        self._missed = 0  # not yet told
        self._missed_in_a_row = 0  # since it last caught up
        self._owed: dict[str, Chunk] = {}  # control messages among what was lost, the latest of each kind

    def wants(self, symbol: str, selected: str | None) -> bool:
        """Tell whether trades of the symbol are for this reader."""
        if self._wanted.everything:
            return True
        return symbol == selected if self._wanted.symbols is None else symbol in self._wanted.symbols

    @property
    def wants_events(self) -> bool:
        """Whether control messages are for this reader."""
        return self._wanted.events

    def offer(self, chunk: Chunk) -> None:
        """Queue a chunk, losing the oldest when there is no room."""
        if self.overrun:
            self._miss(chunk)
            return
        self._chunks.append(chunk)
        self._queued += _weight(chunk)
        self._queued_bytes += len(chunk.data)
        while self._queued > self._limits.queued and len(self._chunks) > 1:
            oldest = self._chunks.popleft()
            self._queued -= _weight(oldest)
            self._queued_bytes -= len(oldest.data)
            self._miss(oldest)
        if self._missed_in_a_row > self._limits.missed:
            self.overrun = True
            self._chunks.clear()
            self._queued_bytes = 0
        self._wake()

    def take(self, max_messages: int) -> tuple[int, list[Chunk]]:
        """Return how many trades were lost before what comes now, and the next chunks.

        Args:
            max_messages: about how many messages to take; a chunk is never cut, and one at least is given.

        """
        missed, self._missed = self._missed, 0
        taken = list(self._owed.values())
        self._owed.clear()
        room = max_messages
        while self._chunks and room > 0:
            chunk = self._chunks.popleft()
            weight = _weight(chunk)
            self._queued -= weight
            self._queued_bytes -= len(chunk.data)
            room -= weight
            taken.append(chunk)
        if not self._chunks and not self.overrun:
            self._missed_in_a_row = 0
        return missed, taken

    @property
    def queued_bytes(self) -> int:
        """Bytes of the chunks that are queued; other readers' queues may hold the same ones."""
        return self._queued_bytes

    @property
    def same_as(self) -> object:
        """What is equal for readers who want the same: they queue the same chunks, up to the newest."""
        return self._wanted.everything, self._wanted.symbols

    @property
    def missed_in_a_row(self) -> int:
        """Trades lost since the reader last caught up."""
        return self._missed_in_a_row

    def _miss(self, chunk: Chunk) -> None:
        if chunk.kind and not chunk.missed:
            self._owed.pop(chunk.kind, None)  # to the end: they are told in the order of their last change
            self._owed[chunk.kind] = chunk
        self._missed += chunk.trades + chunk.missed
        self._missed_in_a_row += chunk.trades
        self.missed_total += chunk.trades


class Fanout:
    """The readers, and who wants which symbol."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.selected: str | None = None
        self._limits = limits or Limits()
        self._readers: set[Reader] = set()
        self._audiences: dict[str, tuple[Reader, ...]] = {}

    def __len__(self) -> int:
        return len(self._readers)

    def join(self, wake: Callable[[], None], wanted: Wanted) -> Reader:
        """Add a reader.

        Args:
            wake: called, quickly and often, when there is something to take.
            wanted: what is for this reader.

        """
        reader = Reader(wanted, self._limits, wake)
        self._readers.add(reader)
        self._audiences.clear()
        return reader

    def leave(self, reader: Reader) -> None:
        """Remove a reader; one that has left already may leave again."""
        self._readers.discard(reader)
        self._audiences.clear()

    def select(self, symbol: str) -> None:
        """Give the readers that follow the selection another symbol from now on."""
        self.selected = symbol
        self._audiences.clear()

    def audience(self, symbol: str) -> tuple[Reader, ...]:
        """Return who wants trades of the symbol; when nobody does, there is no need to prepare them."""
        if symbol not in self._audiences:
            self._audiences[symbol] = tuple(r for r in self._readers if r.wants(symbol, self.selected))
        return self._audiences[symbol]

    @property
    def queued_bytes(self) -> int:
        """Bytes that all queues hold together at most; chunks of readers who want the same count once."""
        most: dict[object, int] = {}
        for reader in self._readers:
            most[reader.same_as] = max(most.get(reader.same_as, 0), reader.queued_bytes)
        return sum(most.values())

    def publish(self, symbol: str, chunk: Chunk) -> None:
        """Queue trades of a symbol for those who want them."""
        for reader in self.audience(symbol):
            reader.offer(chunk)

    def tell(self, chunk: Chunk) -> None:
        """Queue a control message for those who want them; for everybody when it says what was missed."""
        for reader in tuple(self._readers):
            if reader.wants_events or chunk.missed:
                reader.offer(chunk)


def _weight(chunk: Chunk) -> int:
    return max(chunk.trades, 1)
