"""When to write: a batch of messages that is due by size, by bytes or by age. Time comes in as an argument."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from mesh.bus.message import Message
from mesh.values.trades import TradeColumns, concatenate

MAX_BYTES = 16 * 2**20
"""Payload bytes a batch holds at most, beside its last message: what bounds memory while the database is away."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A message taken from the stream: its trades, or why it has none."""

    sequence: int
    subject: str
    payload: bytes
    trades: TradeColumns | None
    reason: str = ""
    taken_us: int = 0
    """When the stream took it, in microseconds since 1970."""
    is_repair: bool = False
    """Whether store has asked for these trades."""

    @property
    def dead(self) -> bool:
        """Whether the message cannot be stored."""
        return self.trades is None

    def killed(self, reason: str) -> Taken:
        """Return the same message as one that cannot be stored."""
        return replace(self, trades=None, reason=reason)


def refused(message: Message, reason: str) -> Taken:
    """Return a message that cannot be stored, with the reason."""
    return Taken(message.sequence, message.subject, message.payload, None, reason, message.taken_us)


@dataclass(slots=True)
class Batch:
    """Messages in the stream's order, waiting for their transaction.

    >>> batch = Batch(max_trades=10_000, max_age_s=0.1)
    >>> batch.add(taken, now_s=loop.time())
    >>> if batch.due(loop.time()): write(batch.take())
    """

    max_trades: int
    max_age_s: float
    _messages: list[Taken] = field(default_factory=list)
    _trades: int = 0
    _bytes: int = 0
    _began_s: float = 0.0

    def __len__(self) -> int:
        return len(self._messages)

    def fits(self, taken: Taken) -> bool:
        """Return whether a message may join: a message is never split, and the first one always fits."""
        return not self._messages or self._trades + _count(taken) <= self.max_trades

    def add(self, taken: Taken, *, now_s: float) -> None:
        """Put a message behind the others; ask `fits` first."""
        if not self._messages:
            self._began_s = now_s
        self._messages.append(taken)
        self._trades += _count(taken)
        self._bytes += len(taken.payload)

    def due(self, now_s: float) -> bool:
        """Return whether to write now."""
        if not self._messages:
            return False
        return self._trades >= self.max_trades or self._bytes >= MAX_BYTES or self.wait_s(now_s) <= 0

    def wait_s(self, now_s: float) -> float:
        """Return how long the oldest message may still wait; below zero when it waited too long already."""
        return self._began_s + self.max_age_s - now_s

    def take(self) -> list[Taken]:
        """Return the messages and begin anew."""
        messages, self._messages = self._messages, []
        self._trades = self._bytes = 0
        return messages


def _count(taken: Taken) -> int:
    return 0 if taken.trades is None else len(taken.trades)


def by_symbol(messages: Iterable[Taken]) -> list[TradeColumns]:
    """Return the trades of messages in groups, each symbol once, in the order of the messages."""
    parts = defaultdict(list)
    for message in messages:
        if message.trades is not None:
            parts[message.trades.venue, message.trades.symbol].append(message.trades)
    return list(map(concatenate, parts.values()))
