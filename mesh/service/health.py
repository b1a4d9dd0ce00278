"""Health: truthful. What a service needs, what else a person should know, and since when each is so.

    health = Health("bus", "venue")                       # it serves while both are there
    health.set("bus", True)
    health.set("venue", False, "refused for this location (451)")
    health.condition("quarantine", State.DEGRADED, "btcusdt: 1 trade with an implausible id is held")
    health.clear("quarantine")

`grpc.health.v1`, the metric `tickmesh_serving` and the service's report on the bus
(`mesh/service/status.py`) all read it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

log = logging.getLogger("mesh.service.health")

MAX_CONDITIONS = 64
"""Conditions of one service at most, those it needs included: a report of them stays small."""
MAX_MESSAGE_CHARS = 300


class State(Enum):
    """How it stands with a condition."""

    OK = "ok"
    DEGRADED = "degraded"
    """The service works, but not as it should: a person may want to look."""
    FAILED = "failed"
    """What the condition stands for does not work."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that is so, and since when.

    Attributes:
        name: a word: `bus`, `database`, `quarantine`.
        state: how it stands.
        message: why, in words for people; empty when there is nothing to say.
        since_us: since when it is in this state, in microseconds since 1970 UTC.
        required: whether the service serves only while the state is not FAILED.

    """

    name: str
    state: State
    message: str
    since_us: int
    required: bool


class Health:
    """The conditions of a service; it serves while none of those it needs has FAILED.

    >>> health = Health("bus", "database")
    >>> health.serving
    False

    Args:
        required: names of the conditions the service needs; they begin as FAILED.
        now_us: the wall clock, in microseconds since 1970 UTC; only for telling since when.

    """

    def __init__(self, *required: str, now_us: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        self._now_us = now_us
        begun_us = now_us()
        self._conditions = {name: Condition(name, State.FAILED, "", begun_us, required=True) for name in required}
        self._listeners: list[Callable[[bool], None]] = []
        self._change_listeners: list[Callable[[], None]] = []

    @property
    def serving(self) -> bool:
        """Whether everything the service needs is there."""
        return not self.away

    @property
    def away(self) -> list[str]:
        """The names of what the service needs and does not have."""
        return [one.name for one in self._conditions.values() if one.required and one.state is State.FAILED]

    @property
    def conditions(self) -> list[Condition]:
        """All conditions, those the service needs first."""
        return list(self._conditions.values())

    def listen(self, listener: Callable[[bool], None]) -> None:
        """Call `listener(serving)` now and whenever the service begins or ends to serve."""
        self._listeners.append(listener)
        listener(self.serving)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener()` whenever any condition changes, in state or words."""
        self._change_listeners.append(listener)

    def set(self, name: str, there: bool, message: str = "") -> None:
        """Say that something the service needs is there or not.

        Args:
            name: one of those given at the start.
            there: whether it is there.
            message: why, for people.

        """
        assert name in self._conditions, name
        self.condition(name, State.OK if there else State.FAILED, message)

    def condition(self, name: str, state: State, message: str = "") -> None:
        """Say how it stands with something.

        A name that was not given at the start is for information: it is shown, with the time since when, but never
        keeps the service from serving. At most MAX_CONDITIONS are kept; say one thing about all symbols together rather
        than one thing a symbol.

        Args:
            name: a word.
            state: how it stands.
            message: why, for people; longer ones are cut.

        """
        known = self._conditions.get(name)
        if known is None and len(self._conditions) >= MAX_CONDITIONS:
            log.error("condition %s is not kept: there are %d already", name, MAX_CONDITIONS)
            return
        message = message if len(message) <= MAX_MESSAGE_CHARS else f"{message[: MAX_MESSAGE_CHARS - 3]}..."
        since_us = known.since_us if known is not None and known.state is state else self._now_us()
        changed = Condition(name, state, message, since_us, required=known is not None and known.required)
        if changed == known:
            return
        before = self.serving
        self._conditions[name] = changed
        self._tell(before)

    def clear(self, name: str) -> None:
        """Forget a condition that is for information; one the service needs stays."""
        known = self._conditions.get(name)
        if known is not None and not known.required:
            del self._conditions[name]
            self._tell(self.serving)

    def _tell(self, before: bool) -> None:
        if before != self.serving:
            log.info("%s", "serving" if self.serving else f"not serving: no {', no '.join(self.away)}")
            for listener in self._listeners:
                listener(self.serving)
        for changed in self._change_listeners:
            changed()
