"""How many messages to ask a stream for, and when: the pure half of a reader.

Who is in a hurry keeps the next pull on its way before the last one is used up, and gets each message as it comes.
Who is not (`gather_s`) waits for the first message of a few, and only then for those that have come meanwhile: a
hundred messages that come together cost a third of what they cost one by one, here and in the server. With a backlog
both read alike.
"""

from __future__ import annotations

MAX_MESSAGES = 256
"""A pull asks for so many at most."""

_BACKLOG = 2 * MAX_MESSAGES


class FlowControl:
    """What is on its way. Times are seconds of one steady clock.

    Args:
        gather_s: how long to let messages gather in the stream; 0 for none.

    """

    def __init__(self, gather_s: float = 0.0) -> None:
        self._gather_s = gather_s
        self.begin()

    def begin(self) -> None:
        """Begin with a consumer made anew: nothing is on its way."""
        self._asked = 0
        self._behind = 0  # messages that the stream held behind the last one
        self._first_s: float | None = None  # when the first message of the present gathering was asked for
        self._first = False  # whether nothing else was asked for since

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._asked

    def due_s(self) -> float | None:
        """Return when to look at `wanted` again if nothing comes; None when something is on its way."""
        if self._asked or self._first_s is None:
            return None
        return self._first_s + self._gather_s

    def wanted(self, waiting: int, now_s: float) -> int:
        """Return how many messages to ask for now, 0 for none; call `asked` with it.

        Args:
            waiting: messages that have come and were not taken yet.
            now_s: the time.

        """
        if not self._gather_s or self._behind >= _BACKLOG:
            return MAX_MESSAGES if self._asked + waiting <= MAX_MESSAGES else 0
        if self._asked:
            return 0
        if self._behind and self._first:
            return min(self._behind, MAX_MESSAGES)
        return 1 if self._first_s is None or now_s >= self._first_s + self._gather_s else 0

    def asked(self, messages: int, now_s: float) -> None:
        """Count what was asked for.

        Args:
            messages: as `wanted` said.
            now_s: the time.

        """
        self._first = not (self._behind and self._first)
        if self._first:
            self._first_s = now_s
        self._asked += messages

    def came(self, behind: int) -> None:
        """Count a message that came; `behind` are those the stream held behind it."""
        self._asked -= 1
        self._behind = behind

    def expired(self, messages: int) -> None:
        """Count messages that the server gave up sending; they may be asked for again."""
        self._asked -= messages
