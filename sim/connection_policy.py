"""Who may come in: Binance's limit of connections an address, and what faults say of new connections."""

from __future__ import annotations

from collections import deque

from sim.client_session import TargetError, VenueLimits

FIVE_MINUTES_S = 300
MOST_ADDRESSES = 10_000


class ConnectionPolicy:
    """The door of the WebSocket port.

    Attributes:
        limits: what the venue allows a connection and an address.
        counts: connections accepted so far, those cut for not reading, hung up on, and refused.
        down_until_s: until then new connections are dropped.
        refusal: until when new connections are answered with which HTTP status.
    """

    def __init__(self, limits: VenueLimits) -> None:
        self.limits = limits
        self.down_until_s = 0.0
        self.refusal = (0.0, 503)
        self.counts = {"connections": 0, "cut_slow": 0, "hung_up": 0, "refused": 0}
        self._admitted: dict[str, deque[float]] = {}

    def admit(self, address: str, now_s: float) -> None:
        """Count a new connection of an address.

        Raises:
            TargetError: it has opened too many in five minutes, or the venue refuses them all.
        """
        if now_s < self.refusal[0]:
            raise TargetError(self.refusal[1], "the venue takes no connections")
        if len(self._admitted) > MOST_ADDRESSES:
            self._admitted.clear()
        times = self._admitted.setdefault(address, deque(maxlen=self.limits.connections_per_5m))
        if len(times) == times.maxlen and now_s - times[0] < FIVE_MINUTES_S:
            self.counts["refused"] += 1
            raise TargetError(429, f"found more than {times.maxlen} connections in 5 minutes from {address}")
        times.append(now_s)

    def open_again(self) -> None:
        """Forget what faults said."""
        self.down_until_s, self.refusal = 0.0, (0.0, 503)
