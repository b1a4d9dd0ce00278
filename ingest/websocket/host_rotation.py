"""Which WebSocket host of a venue is tried next, and in which form it is asked. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

PLAIN_S = 3600.0
"""So long a host that refused the full form is asked in the plain one: it may have learnt the full one by then."""

_NOT_UNDERSTOOD = (400, 404)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host to try now.

    Attributes:
        url: of the host.
        plain: whether to ask for the trades alone, and without options: servers that know Binance's trades but not its
            minutes or its `timeUnit` refuse the whole address because of them.

    """

    url: str
    plain: bool


class HostRotation:
    """The hosts in turn. Times are seconds of one monotonic clock.

    Args:
        urls: in the order to try.

    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._turns = itertools.cycle(urls)
        self._plain_until_s: dict[str, float] = {}

    def next_endpoint(self, now_s: float) -> Endpoint:
        """Return whom to try next."""
        url = next(self._turns)
        return Endpoint(url, now_s < self._plain_until_s.get(url, float("-inf")))

    def refused(self, endpoint: Endpoint, status: int, now_s: float) -> bool:
        """Take note of a handshake refused with this status; return whether the plain form is tried because of it.

        Args:
            endpoint: who refused.
            status: of HTTP.
            now_s: the time, in seconds of one steady clock.

        """
        if endpoint.plain or status not in _NOT_UNDERSTOOD:
            return False
        self._plain_until_s[endpoint.url] = now_s + PLAIN_S
        return True
