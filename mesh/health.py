"""Health: truthful. A service serves only while everything it needs is there."""

from __future__ import annotations

import logging
from collections.abc import Callable

log = logging.getLogger("mesh.health")


class Health:
    """The conditions a service needs, each there or away; listeners hear when the whole changes.

    >>> health = Health("bus", "database")
    >>> health.serving
    False
    """

    def __init__(self, *conditions: str) -> None:
        self._there = dict.fromkeys(conditions, False)
        self._listeners: list[Callable[[bool], None]] = []

    @property
    def serving(self) -> bool:
        """Whether every condition is there."""
        return all(self._there.values())

    @property
    def away(self) -> list[str]:
        """The conditions that are not there."""
        return [name for name, there in self._there.items() if not there]

    def listen(self, listener: Callable[[bool], None]) -> None:
        """Call `listener(serving)` now and at every change of the whole."""
        self._listeners.append(listener)
        listener(self.serving)

    def set(self, condition: str, there: bool) -> None:
        """Say that a condition is there or away."""
        assert condition in self._there, condition
        before = self.serving
        self._there[condition] = there
        if before != self.serving:
            log.info("%s", "serving" if self.serving else f"not serving: no {', no '.join(self.away)}")
            for listener in self._listeners:
                listener(self.serving)
