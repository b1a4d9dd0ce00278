"""When to write: a batch of messages that is due by size, by bytes or by age. Time comes in as an argument. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from mesh.bus.reader import Message
from mesh.values.trades import TradeColumns, concatenate

MAX_BYTES = 16 * 2**20
"""Payload bytes a batch holds at most, beside its last message: it bounds memory while the database is unavailable."""


@dataclass(frozen=True, slots=True)
class PendingMessage:
    """A message that waits for its transaction.

    Attributes:
        message: as it was read.
        trades: its trades; None when the message cannot be stored.
        reason: why it cannot be stored, empty when it can.
        is_repair: whether these are trades of the past as REST tells them, which replace what is stored with their ids.

    """

    message: Message
    trades: TradeColumns | None
    reason: str = ""
    is_repair: bool = False

    @property
    def is_rejected(self) -> bool:
        """Whether the message cannot be stored."""
        return self.trades is None

    def rejected(self, reason: str) -> PendingMessage:
        """Return the same message as one that cannot be stored."""
        return replace(self, trades=None, reason=reason)


@dataclass(slots=True)
class Batch:
    """Messages in the stream's order, waiting for their transaction.

    >>> batch = Batch(max_trades=10_000, max_age_s=0.1)
    >>> batch.add(pending, now_s=loop.time())
    >>> if batch.due(loop.time()): write(batch.take())

    Args:
        max_trades: in one transaction, unless a single message has more.
        max_age_s: how long the oldest message waits, in seconds.

    """

    max_trades: int
    max_age_s: float
    _messages: list[PendingMessage] = field(default_factory=list)
    _trades: int = 0
    _bytes: int = 0
    _began_s: float = 0.0

    def __len__(self) -> int:
        return len(self._messages)

    def fits(self, pending: PendingMessage) -> bool:
        """Return whether a message may join: a message is never split, and the first one always fits."""
        return not self._messages or self._trades + _count(pending) <= self.max_trades

    def add(self, pending: PendingMessage, *, now_s: float) -> None:
        """Put a message behind the others; ask `fits` first.

        Args:
            pending: the message.
            now_s: a clock that only goes forward, in seconds.

        """
        if not self._messages:
            self._began_s = now_s
        self._messages.append(pending)
        self._trades += _count(pending)
        self._bytes += len(pending.message.payload)

    def due(self, now_s: float) -> bool:
        """Return whether to write now."""
        if not self._messages:
            return False
        return self._trades >= self.max_trades or self._bytes >= MAX_BYTES or self.wait_s(now_s) <= 0

    def wait_s(self, now_s: float) -> float:
        """Return how many seconds the oldest message may still wait; below zero when it waited too long already."""
        return self._began_s + self.max_age_s - now_s

    def take(self) -> list[PendingMessage]:
        """Return the messages, and begin an empty batch."""
        messages, self._messages = self._messages, []
        self._trades = self._bytes = 0
        return messages


def _count(pending: PendingMessage) -> int:
    return 0 if pending.trades is None else len(pending.trades)


def by_symbol(messages: Iterable[PendingMessage]) -> list[TradeColumns]:
    """Return the trades of messages in groups, each venue and symbol once, in the order of the messages."""
    parts = defaultdict(list)
    for pending in messages:
        if pending.trades is not None:
            parts[pending.trades.venue, pending.trades.symbol].append(pending.trades)
    return list(map(concatenate, parts.values()))
