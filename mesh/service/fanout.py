"""One producer, many bounded readers: a slow reader lags alone, and learns how much it missed. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Subscriber(Protocol):
    """A reader of a fan-out."""

    def wants(self, symbol: str, selected: str | None) -> bool:
        """Return whether trades of a symbol are for this reader.

        Args:
            symbol: whose trades they are.
            selected: the symbol that everybody looks at; None while nobody has said which.

        """


T = TypeVar("T")
S = TypeVar("S", bound=Subscriber)


class BoundedQueue(Generic[T]):
    """What waits for one reader; the oldest items go when there are too many.

    Args:
        max_weight: the sum of the items' weights; one item alone may weigh more.
        max_items: how many items there may be; None is any number.

    """

    def __init__(self, *, max_weight: int, max_items: int | None = None) -> None:
        self._max_weight = max_weight
        self._max_items = max_items
        self._items: deque[tuple[T, int]] = deque()
        self._weight = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, weight: int) -> list[T]:
        """Add an item; return those that had to go for it, oldest first.

        Args:
            item: to wait.
            weight: what it counts towards `max_weight`.

        """
        self._items.append((item, weight))
        self._weight += weight
        dropped: list[T] = []
        while len(self._items) > 1 and self._overfull:
            dropped.append(self.pop())
        return dropped

    def pop(self) -> T:
        """Remove the oldest item and return it; there must be one."""
        item, weight = self._items.popleft()
        self._weight -= weight
        return item

    def oldest(self) -> T | None:
        """Return the oldest item without removing it, None when there is none."""
        return self._items[0][0] if self._items else None

    def oldest_weight(self) -> int | None:
        """Return the weight of the oldest item, None when there is none."""
        return self._items[0][1] if self._items else None

    def clear(self) -> None:
        """Remove all items."""
        self._items.clear()
        self._weight = 0

    @property
    def _overfull(self) -> bool:
        return self._weight > self._max_weight or (self._max_items is not None and len(self._items) > self._max_items)


class Fanout(Generic[S]):
    """The readers, and which of them want which symbol."""

    def __init__(self) -> None:
        self._selected: str | None = None
        self._subscribers: set[S] = set()
        self._audiences: dict[str, tuple[S, ...]] = {}

    def __len__(self) -> int:
        return len(self._subscribers)

    def __iter__(self) -> Iterator[S]:
        return iter(tuple(self._subscribers))

    def join(self, subscriber: S) -> None:
        """Add a reader."""
        self._subscribers.add(subscriber)
        self._audiences.clear()

    def leave(self, subscriber: S) -> None:
        """Remove a reader; one that has left already may leave again."""
        self._subscribers.discard(subscriber)
        self._audiences.clear()

    def select(self, symbol: str) -> None:
        """Give the readers that follow the selection another symbol from now on."""
        if symbol != self._selected:
            self._selected = symbol
            self._audiences.clear()

    def audience(self, symbol: str) -> tuple[S, ...]:
        """Return who wants trades of a symbol; when nobody does, there is no need to prepare them."""
        if symbol not in self._audiences:
            self._audiences[symbol] = tuple(each for each in self._subscribers if each.wants(symbol, self._selected))
        return self._audiences[symbol]
