"""Messages in flight to a stream, until an ack shows that the stream holds them: the pure half of a publisher.

Each message names its predecessor, so an ack of one message confirms all messages before it. Therefore only some are
sent with a request for an ack: an ack costs the server and us as much as the message itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

ACK_EVERY_S = 0.01
ACK_EVERY_MESSAGES = 64
NEVER_SENT = -1


@dataclass(slots=True)
class InFlightMessage:
    """A message; `token` numbers its last sending."""

    subject: str
    payload: bytes
    message_id: str
    on_stored: Callable[[int], None] | None
    token: int = NEVER_SENT
    ack_wanted: bool = False


class InFlight:
    """The messages in flight, oldest first. Times are seconds of one monotonic clock.

    Args:
        last_id: the id of the stream's last message, "" for none.
        max_messages: how many there may be.
        max_bytes: how much they may hold, but for the last one.

    """

    def __init__(self, last_id: str, *, max_messages: int, max_bytes: int) -> None:
        self.last_id = last_id
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._items: deque[InFlightMessage] = deque()
        self._bytes = 0
        self._token = 0
        self._sent_since = 0  # messages since the last one that asked for an ack
        self._ack_asked_s = 0.0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def items(self) -> list[InFlightMessage]:
        """All of them, in order."""
        return list(self._items)

    @property
    def full(self) -> bool:
        """Whether there is no room for one more."""
        return len(self._items) >= self._max_messages or self._bytes >= self._max_bytes

    @property
    def last(self) -> InFlightMessage:
        """The one that came last; there must be one."""
        return self._items[-1]

    @property
    def tail_id(self) -> str:
        """The id that the next message has to name as its predecessor."""
        return self._items[-1].message_id if self._items else self.last_id

    def add(self, item: InFlightMessage) -> None:
        """Put a message behind the others."""
        self._items.append(item)
        self._bytes += len(item.payload)

    def forget_sendings(self) -> None:
        """Take no ack of earlier sendings for one of these any more."""
        for item in self._items:
            item.token = NEVER_SENT

    def send(self, item: InFlightMessage, now_s: float) -> None:
        """Count a sending: the message gets its token, and whether to ask for an ack.

        Args:
            item: one of these messages, which is about to be sent or sent again.
            now_s: the time.

        """
        self._token += 1
        item.token = self._token
        self._sent_since += 1
        item.ack_wanted = (
            item.on_stored is not None
            or self._sent_since >= ACK_EVERY_MESSAGES
            or now_s - self._ack_asked_s >= ACK_EVERY_S
        )
        if item.ack_wanted:
            self._sent_since, self._ack_asked_s = 0, now_s

    def up_to_token(self, token: int) -> int:
        """Return how many were sent up to this sending, 0 when that was of one that is confirmed or sent again."""
        count = 0
        for item in self._items:
            if not 0 <= item.token <= token:
                break
            count += 1
        return count

    def up_to_id(self, message_id: str | None) -> int:
        """Return how many there are up to the one of this id, 0 when it is none of them."""
        for count, item in enumerate(self._items, 1):
            if item.message_id == message_id:
                return count
        return 0

    def confirm(self, count: int, last_sequence: int) -> None:
        """Let the first ones go: the stream holds them, the last one of them at this sequence.

        Args:
            count: how many of the oldest ones are stored.
            last_sequence: the stream's sequence of the last of them; those before it stand right before it.

        """
        for behind in range(count - 1, -1, -1):
            item = self._items.popleft()
            self._bytes -= len(item.payload)
            self.last_id = item.message_id
            if item.on_stored is not None:
                item.on_stored(last_sequence - behind)
