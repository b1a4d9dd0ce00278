"""Wrong tokens, counted by the address they come from: who sends too many is told so, here, in a metric and in the log.

A right token is answered whatever else came from its address: behind a proxy many people share one, and nobody may lock
another one out. So this does not make guessing slower than one connection a guess; what makes it hopeless is the
token's length.
"""

from __future__ import annotations

import logging
import math
from urllib.parse import unquote

from prometheus_client import Counter

from mesh.service.access import address_key
from mesh.service.logs import LogThrottle

log = logging.getLogger("mesh.service.wrong_tokens")

PER_MINUTE = 20
"""Wrong tokens of one address that are answered with "wrong token"."""
MAX_ADDRESSES = 4096
"""Addresses kept in mind; the one that has sent no wrong token for longest is forgotten first."""

WRONG = Counter("tickmesh_wrong_tokens_total", "calls and requests that brought a token which is not right")


class WrongTokens:
    """Who has sent wrong tokens, a bucket for each address.

    Args:
        per_minute: how many an address may send at once, and in the long run.
        max_addresses: how many addresses are kept in mind.

    """

    def __init__(self, *, per_minute: int = PER_MINUTE, max_addresses: int = MAX_ADDRESSES) -> None:
        self._per_minute = per_minute
        self._max_addresses = max_addresses
        self._buckets: dict[str, tuple[float, float]] = {}  # address -> what is left, as of when; the last one last
        self._log_throttle = LogThrottle(every_s=60)

    def __len__(self) -> int:
        return len(self._buckets)

    def count(self, host: str, *, now_s: float) -> int:
        """Count a wrong token.

        Args:
            host: the address it came from, "" where that is not known: all of these count as one.
            now_s: by a clock that never steps back.

        Returns:
            After how many whole seconds the address may try another one; 0 when at once.

        """
        WRONG.inc()
        address, per_s = address_key(host), self._per_minute / 60
        left, last_s = self._buckets.pop(address, (float(self._per_minute), now_s))
        left = min(float(self._per_minute), left + (now_s - last_s) * per_s)
        if left >= 1:
            left, wait_s = left - 1, 0
        else:
            wait_s = max(1, math.ceil((1 - left) / per_s))
            if self._log_throttle.due(now_s):
                log.warning("%s sends wrong tokens, more than %d a minute", address or "somebody", self._per_minute)
        self._buckets[address] = left, now_s
        if len(self._buckets) > self._max_addresses:
            del self._buckets[next(iter(self._buckets))]
        return wait_s


def too_many(wait_s: int) -> str:
    """Return what is said to whom has to wait."""
    return f"wrong token, as many before it from your address: ask again in {wait_s} s; a right one is always answered"


def host_of_peer(peer: str) -> str:
    """Return the address in what gRPC says of a caller, "" when there is none.

    >>> host_of_peer("ipv4:10.0.0.7:51344"), host_of_peer("ipv6:%5B2001:db8::7%5D:51344")
    ('10.0.0.7', '2001:db8::7')
    """
    kind, _, rest = unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""
