"""The clients of `/ws` as readers of one fan-out: a slow client lags alone. Pure.

Messages travel as chunks that all readers share. What is published is gathered, once for all clients with the same
subscription, until `flush`: it writes the same bytes to each of them, so that one more client costs its write and
little else. A client that has no room has a bounded queue of its own. One that is full loses its oldest chunks, and so
does one whose chunks wait for too long; they are counted, and it learns the number before anything newer. A reader that
has lost too many without ever catching up is overrun: nothing more is kept for it, and its owner should let it go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.live.subscription import Subscription
from mesh.service.fanout import BoundedQueue, Fanout

GATHERED_MESSAGES = 512
"""So many wait for a flush at most; and about so many are joined to one write to a client that lags."""
REPORT_BYTES = 4 * 2**20
"""What is written is reported whenever it is so much."""
LOOKED_AT_TOGETHER = 64
"""So many clients are looked at before the first of them is written to: a thousand would take a millisecond."""


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
    arrived_s: float = math.inf
    """When it came, by the clock that `ClientQueue.take` is told."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """How far a client may fall behind."""

    queued: int = 8192
    """Messages kept for one reader; the oldest go when there are more."""
    missed: int = 65536
    """Trades a reader may lose before it catches up once."""
    catch_up_s: float = 10.0
    """So long it has for catching up once it loses some; only past both limits is it overrun, so not by a burst."""
    age_s: float = 1.0
    """How long a trade may wait for one reader; one that is older is missed instead of being told late."""


class MissedInARow:
    """The trades that one client has lost since it last caught up.

    Args:
        limits: how many may be lost, and for how long.

    """

    def __init__(self, limits: ClientLimits) -> None:
        self.count = 0
        self._limits = limits
        self._since_s = math.inf

    def add(self, count: int, *, now_s: float) -> None:
        """Count trades that are lost.

        Args:
            count: how many.
            now_s: when, by a clock that never steps back.

        """
        if not self.count:
            self._since_s = now_s
        self.count += count

    def caught_up(self) -> None:
        """Begin anew: the client has been sent everything that waited for it."""
        self.count, self._since_s = 0, math.inf

    def are_too_many(self, now_s: float) -> bool:
        """Return whether the client has lost too many, and had its time for catching up."""
        return self.count > self._limits.missed and now_s >= self._since_s + self._limits.catch_up_s


class ClientQueue:
    """What waits for one client; made by `ClientFanout.connect`."""

    def __init__(self, limits: ClientLimits, wake: Callable[[], None], socket: Any) -> None:
        self.missed_total = 0
        self.overrun = False
        self.behind = False  # anything waits here, so that what is newer has to wait, too
        self.socket = socket
        self._limits = limits
        self._wake = wake
        self._chunks: BoundedQueue[Chunk] = BoundedQueue(max_weight=limits.queued)
        self._queued_bytes = 0
        self._missed = 0  # not reported yet
        self._missed_in_a_row = MissedInARow(limits)
        self._lost_control: dict[str, Chunk] = {}  # control messages among what was lost, the latest of each kind

    def offer(self, chunk: Chunk) -> None:
        """Queue a chunk, losing the oldest when there is no room."""
        self.behind = True
        if self.overrun:
            self._miss(chunk)
            return
        self._queued_bytes += len(chunk.data)
        for oldest in self._chunks.put(chunk, _weight(chunk)):
            self._queued_bytes -= len(oldest.data)
            self._miss(oldest)
        if self._missed_in_a_row.are_too_many(chunk.arrived_s):
            self.overrun = True
            self._chunks.clear()
            self._queued_bytes = 0
        self._wake()

    def take(self, max_messages: int, *, now_s: float = -math.inf) -> tuple[int, list[Chunk]]:
        """Return how many trades were lost before what comes now, and the next chunks.

        Args:
            max_messages: about how many messages to take; a chunk is never cut, and one at least is given.
            now_s: by the clock of `Chunk.arrived_s`; what is too old by then is lost.

        """
        while (oldest := self._chunks.oldest()) is not None and oldest.arrived_s < now_s - self._limits.age_s:
            self._queued_bytes -= len(self._chunks.pop().data)
            self._miss(oldest)
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
            self._missed_in_a_row.caught_up()
            self.behind = False
        return missed, taken

    @property
    def queued_bytes(self) -> int:
        """Bytes of the chunks that are queued; other readers' queues may hold the same ones."""
        return self._queued_bytes

    @property
    def missed_in_a_row(self) -> int:
        """Trades lost since the reader last caught up."""
        return self._missed_in_a_row.count

    def _miss(self, chunk: Chunk) -> None:
        if chunk.kind and not chunk.missed:
            self._lost_control.pop(chunk.kind, None)  # to the end: they are sent in the order of their last change
            self._lost_control[chunk.kind] = chunk
        self._missed += chunk.trades + chunk.missed
        self._missed_in_a_row.add(chunk.trades, now_s=chunk.arrived_s)
        self.missed_total += chunk.trades


class _Group:
    """The clients with one subscription: what is for one of them is for all."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.clients: dict[ClientQueue, None] = {}  # in the order in which they came
        self.gathered: list[Chunk] = []
        self.gathered_weight = 0

    def wants(self, symbol: str, selected: str | None) -> bool:
        if self.subscription.everything:
            return True
        return symbol == selected if self.subscription.symbols is None else symbol in self.subscription.symbols


class ClientFanout:
    """The clients, and who of them wants which symbol.

    Args:
        limits: how far each may fall behind.
        on_sent: called with how many trades and bytes were written, each client counted.
        write: sends frames at once to those of some sockets that have room, and returns the places of the others.

    """

    def __init__(
        self,
        limits: ClientLimits | None = None,
        *,
        on_sent: Callable[[int, int], object] = lambda *_: None,
        write: Callable[[Sequence[Any], bytes], Sequence[int]] = lambda sockets, _: range(len(sockets)),
    ) -> None:
        self._limits = limits or ClientLimits()
        self._on_sent = on_sent
        self._write = write
        self._groups: Fanout[_Group] = Fanout()
        self._group_of: dict[Subscription, _Group] = {}
        self._joined: dict[ClientQueue, _Group] = {}
        self._waiting: list[_Group] = []  # those that have gathered something
        self._common_audience: tuple[object, ...] | None = ()

    def __len__(self) -> int:
        return len(self._joined)

    def __iter__(self) -> Iterator[ClientQueue]:
        return iter(tuple(self._joined))

    def connect(
        self,
        wake: Callable[[], None],
        subscription: Subscription,
        *,
        socket: object = None,
        limits: ClientLimits | None = None,
    ) -> ClientQueue:
        """Add a client and return what waits for it.

        Args:
            wake: called, quickly and often, when there is something to take.
            subscription: what is for this client.
            socket: of this client, as the fan-out's `write` wants it.
            limits: how far it may fall behind; None is as far as all others.

        """
        self.flush()  # what has come before this client is not for it
        if (group := self._group_of.get(subscription)) is None:
            group = self._group_of[subscription] = _Group(subscription)
            self._groups.join(group)
            self._find_common_audience()
        queue = ClientQueue(limits or self._limits, wake, socket)
        group.clients[queue] = None
        self._joined[queue] = group
        return queue

    def leave(self, client: ClientQueue) -> None:
        """Remove a client; one that has left already may leave again."""
        if (group := self._joined.pop(client, None)) is None:
            return
        del group.clients[client]
        if not group.clients:
            del self._group_of[group.subscription]
            self._groups.leave(group)
            self._find_common_audience()

    def _find_common_audience(self) -> None:
        groups = tuple(self._groups)
        self._common_audience = groups if all(group.subscription.everything for group in groups) else None

    def select(self, symbol: str) -> None:
        """Give the clients that follow the selection another symbol from now on."""
        self._groups.select(symbol)

    def wanted(self, symbol: str) -> bool:
        """Return whether any client wants trades of a symbol; else there is no need to prepare them."""
        return bool(self._groups.audience(symbol))

    def audience(self, symbol: str) -> tuple[object, ...]:
        """Return who wants trades of a symbol: for two symbols with the same, one chunk may have the trades of both."""
        return self._groups.audience(symbol)

    @property
    def common_audience(self) -> tuple[object, ...] | None:
        """Who wants trades of whichever symbol; None where that is not the same for every symbol."""
        return self._common_audience

    @property
    def queued_bytes(self) -> int:
        """Bytes that all queues hold together at most; clients with one subscription queue the same chunks."""
        return sum(max((client.queued_bytes for client in group.clients), default=0) for group in self._groups)

    def publish(self, symbol: str, chunk: Chunk) -> None:
        """Gather trades of a symbol for those who want them.

        Args:
            symbol: whose trades they are.
            chunk: the trades as text frames, the oldest first.

        """
        for group in self._groups.audience(symbol):
            self._gather(group, chunk)

    def notify(self, chunk: Chunk) -> None:
        """Gather a control message for those who want them; for everybody when it says what was missed."""
        for group in self._groups:
            if group.subscription.events or chunk.missed:
                self._gather(group, chunk)

    def _gather(self, group: _Group, chunk: Chunk) -> None:
        if not group.gathered:
            self._waiting.append(group)
        group.gathered.append(chunk)
        group.gathered_weight += _weight(chunk)
        if group.gathered_weight >= GATHERED_MESSAGES:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered to every client that has room, and queue it for the others."""
        while self._waiting:
            group = self._waiting.pop()
            chunks, group.gathered, group.gathered_weight = group.gathered, [], 0
            frames = b"".join([chunk.data for chunk in chunks])
            trades, clients = sum(chunk.trades for chunk in chunks), tuple(group.clients)
            step, written = max(1, min(LOOKED_AT_TOGETHER, REPORT_BYTES // len(frames))), 0
            for start in range(0, len(clients), step):
                ready = some = clients[start : start + step]
                if behind := [client for client in some if client.behind]:
                    ready = tuple(client for client in some if not client.behind)
                full = [ready[place] for place in self._write([client.socket for client in ready], frames)]
                written += len(ready) - len(full)
                for client in full + behind:
                    if client in group.clients:  # else it was let go meanwhile
                        for chunk in chunks:
                            client.offer(chunk)
                if start + len(some) == len(clients) or written * len(frames) >= REPORT_BYTES:
                    self._on_sent(written * trades, written * len(frames))
                    written = 0


class RoundTimer:
    """When the next round of writes may begin: at once while rounds are short, the later the longer they take.

    A write costs 7 to 10 us of CPU however little is written, so that a round for 200 clients takes 2 ms. When rounds
    come as quickly as trades, nothing is joined, and nobody else on the machine gets its turn. Measured with 200
    clients at 200 trades/s on two cores: when rounds may take a quarter of the time, a delivery costs 7 us and p50 is
    8 to 9 ms; with a third 9 to 10 us and 3.5 to 5.6 ms, with 0.4 9 to 11 us and 2 to 3.5 ms, with half 10 to 12 and 2.

    Args:
        share: the part of the time that rounds may take.
        max_wait_s: no round waits longer for its turn.

    """

    def __init__(self, *, share: float = 0.4, max_wait_s: float = 0.02) -> None:
        self._rest = 1 / share - 1
        self._max_wait_s = max_wait_s
        self._next_s = -math.inf

    def wait_s(self, now_s: float) -> float:
        """Return how long the next round has to wait, 0 when it may begin."""
        return max(0.0, self._next_s - now_s)

    def ended(self, started_s: float, ended_s: float) -> None:
        """Note that a round took place.

        Args:
            started_s: when it began, by a clock that never steps back.
            ended_s: when it had written to everybody.

        """
        self._next_s = ended_s + min(self._max_wait_s, self._rest * (ended_s - started_s))


def _weight(chunk: Chunk) -> int:
    return max(chunk.trades, 1)
