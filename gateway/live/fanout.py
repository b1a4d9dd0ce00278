"""The clients of `/ws` as readers of one fan-out: a slow client lags alone.

Messages travel as chunks that all readers share, so that one more reader costs a reference a chunk. A reader that is
full loses its oldest chunks; they are counted, and it learns the number before anything newer. A reader that has lost
too many without ever catching up is overrun: nothing more is kept for it, and its owner should let it go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.live.subscription import Subscription
from mesh.service.fanout import BoundedQueue, Fanout


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
class ClientLimits:
    """How far a client may fall behind."""

    queued: int = 8192
    """Messages kept for one reader; the oldest go when there are more."""
    missed: int = 65536
    """Trades a reader may lose before it catches up once; then it is overrun."""


class ClientQueue:
    """What waits for one client; made by `ClientFanout.connect`."""

    def __init__(self, subscription: Subscription, limits: ClientLimits, wake: Callable[[], None]) -> None:
        self.missed_total = 0
        self.overrun = False
        self._subscription = subscription
        self._limits = limits
        self._wake = wake
        self._chunks: BoundedQueue[Chunk] = BoundedQueue(max_weight=limits.queued)
        self._queued_bytes = 0
        self._missed = 0  # not reported yet
        self._missed_in_a_row = 0  # since it last caught up
        self._lost_control: dict[str, Chunk] = {}  # control messages among what was lost, the latest of each kind

    def wants(self, symbol: str, selected: str | None) -> bool:
        """Tell whether trades of the symbol are for this reader.

        Args:
            symbol: whose trades they are.
            selected: the selected symbol; None while it is not known.

        """
        if self._subscription.everything:
            return True
        return symbol == selected if self._subscription.symbols is None else symbol in self._subscription.symbols

    @property
    def wants_events(self) -> bool:
        """Whether control messages are for this reader."""
        return self._subscription.events

    def offer(self, chunk: Chunk) -> None:
        """Queue a chunk, losing the oldest when there is no room."""
        if self.overrun:
            self._miss(chunk)
            return
        self._queued_bytes += len(chunk.data)
        for oldest in self._chunks.put(chunk, _weight(chunk)):
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
        taken = list(self._lost_control.values())
        self._lost_control.clear()
        room = max_messages
        while self._chunks and room > 0:
            chunk = self._chunks.pop()
            self._queued_bytes -= len(chunk.data)
            room -= _weight(chunk)
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
        return self._subscription.everything, self._subscription.symbols

    @property
    def missed_in_a_row(self) -> int:
        """Trades lost since the reader last caught up."""
        return self._missed_in_a_row

    def _miss(self, chunk: Chunk) -> None:
        if chunk.kind and not chunk.missed:
            self._lost_control.pop(chunk.kind, None)  # to the end: they are sent in the order of their last change
            self._lost_control[chunk.kind] = chunk
        self._missed += chunk.trades + chunk.missed
        self._missed_in_a_row += chunk.trades
        self.missed_total += chunk.trades


class ClientFanout(Fanout[ClientQueue]):
    """The clients, and who of them wants which symbol.

    Args:
        limits: how far each may fall behind.

    """

    def __init__(self, limits: ClientLimits | None = None) -> None:
        super().__init__()
        self._limits = limits or ClientLimits()

    def connect(self, wake: Callable[[], None], subscription: Subscription) -> ClientQueue:
        """Add a client and return what waits for it.

        Args:
            wake: called, quickly and often, when there is something to take.
            subscription: what is for this client.

        """
        queue = ClientQueue(subscription, self._limits, wake)
        self.join(queue)
        return queue

    @property
    def queued_bytes(self) -> int:
        """Bytes that all queues hold together at most; chunks of readers who want the same count once."""
        most: dict[object, int] = {}
        for reader in self:
            most[reader.same_as] = max(most.get(reader.same_as, 0), reader.queued_bytes)
        return sum(most.values())

    def publish(self, symbol: str, chunk: Chunk) -> None:
        """Queue trades of a symbol for those who want them.

        Args:
            symbol: whose trades they are.
            chunk: the trades as text frames, the oldest first.

        """
        for reader in self.audience(symbol):
            reader.offer(chunk)

    def notify(self, chunk: Chunk) -> None:
        """Queue a control message for those who want them; for everybody when it says what was missed."""
        for reader in self:
            if reader.wants_events or chunk.missed:
                reader.offer(chunk)


def _weight(chunk: Chunk) -> int:
    return max(chunk.trades, 1)
