"""How many connections there may be, and which one gives way to a newer one. Pure.

Whoever is answered or listens to `/ws` keeps its place. Whoever waits, with half a request or between two, gives way to
a newcomer when there is no room, the oldest first: so a flood of stalled requests cannot keep others out. Only when
nobody waits a newcomer is refused; a few more are let in for that, to be told so, and to be told of health.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from mesh.service.access import Network, address_key

C = TypeVar("C", bound=Hashable)

RESERVE = 64
"""Connections beyond the bound that are let in to be refused in words."""
OTHER_FILES = 96
"""Open files that are no client's: libraries, logs, gRPC, listeners."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of one gateway.

    Attributes:
        total: connections at once.
        per_address: of them from one IPv4 address, or one /64 of IPv6.
        proxies: networks whose addresses stand for many clients: only `total` counts for them.

    """

    total: int = 4096
    per_address: int = 2048
    proxies: tuple[Network, ...] = ()

    def within(self, open_files: int) -> ConnectionLimits:
        """Return limits that fit into so many open files."""
        total = max(8, min(self.total, open_files - RESERVE - OTHER_FILES))
        return ConnectionLimits(total, min(self.per_address, total), self.proxies)


@dataclass(frozen=True, slots=True)
class Overload:
    """Why there is no room."""

    status: int
    problem: str


class Connections(Generic[C]):
    """The open connections, who of them waits, and from where they come."""

    def __init__(self, limits: ConnectionLimits | None = None) -> None:
        self.limits = limits or ConnectionLimits()
        self._addresses: dict[C, str] = {}
        self._waiting: dict[C, None] = {}  # in the order in which they began to wait
        self._by_address: dict[str, set[C]] = {}
        self._spare: dict[C, None] = {}
        self._unread: dict[C, None] = {}  # in the order in which their clients stopped reading

    def __len__(self) -> int:
        return len(self._addresses)

    def admit(self, connection: C, host: str) -> tuple[Overload | None, C | None]:
        """Count a new connection in, as one that waits.

        Args:
            connection: whoever it is.
            host: its address, "" when unknown.

        Returns:
            Why it is to be refused, None when it is not; and who has to give way for it at once, None when nobody.

        """
        address = address_key(host, self.limits.proxies)
        siblings = self._by_address.get(address, set()) if address else set()
        overload, candidates = None, None
        if len(siblings) >= self.limits.per_address:
            overload = Overload(429, f"{len(siblings)} connections are open from your address, and no more are taken")
            candidates = siblings
        elif len(self._addresses) - len(self._spare) >= self.limits.total:
            number = len(self._addresses) - len(self._spare)
            overload, candidates = Overload(503, f"{number} connections are open, and no more are taken"), None
        evicted = None
        if overload is not None:
            evicted = self._oldest_waiting(candidates)
            if evicted is not None:
                overload = None
            else:
                if len(self._spare) >= RESERVE:
                    evicted = next(iter(self._spare))
                self._spare[connection] = None
        if evicted is not None:
            self.leave(evicted)
        self._addresses[connection] = address
        if connection in self._spare:
            return overload, evicted
        self._waiting[connection] = None
        if address:
            self._by_address.setdefault(address, set()).add(connection)
        return overload, evicted

    def busy(self, connection: C) -> None:
        """Say that a connection is answered from now on, and keeps its place."""
        self._waiting.pop(connection, None)

    def waits(self, connection: C) -> None:
        """Say that a connection waits for its client's next request."""
        if connection in self._addresses and connection not in self._spare:
            self._waiting[connection] = None

    def unread(self, connection: C, max_bytes: int, size: Callable[[C], int]) -> list[C]:
        """Say that a client does not read its answer, and return whose answers are to be given up.

        Args:
            connection: whose.
            max_bytes: how much may wait for all who do not read.
            size: how much waits for one of them.

        """
        self._unread[connection] = None
        sizes = {one: size(one) for one in self._unread}
        total, given_up = sum(sizes.values()), []
        for one, waiting in sizes.items():
            if total <= max_bytes:
                break
            total -= waiting
            given_up.append(one)
            del self._unread[one]
        return given_up

    def read(self, connection: C) -> None:
        """Say that a client reads again."""
        self._unread.pop(connection, None)

    def leave(self, connection: C) -> None:
        """Count a connection out; one that has left already may leave again."""
        address = self._addresses.pop(connection, None)
        self._waiting.pop(connection, None)
        self._spare.pop(connection, None)
        self._unread.pop(connection, None)
        if address and address in self._by_address:
            self._by_address[address].discard(connection)
            if not self._by_address[address]:
                del self._by_address[address]

    def _oldest_waiting(self, candidates: Collection[C] | None) -> C | None:
        return next((c for c in self._waiting if candidates is None or c in candidates), None)
