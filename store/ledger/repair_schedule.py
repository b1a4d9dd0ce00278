"""Which missing trades to request now: one request a symbol at a time, less and less often while none helps. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mesh.values.id_ranges import IdRange

MAX_IDS = 10_000
"""Ids in one request at most."""
ANSWER_S = 20.0
"""How long a request may stay unanswered before the symbol's next one."""
FIRST_S, LONGEST_S = 5.0, 300.0
"""How long after a request the same ids are requested again: the first time, and at most."""


class MissingTrades(NamedTuple):
    """Consecutive trades of a symbol that are missing."""

    venue: str
    symbol: str
    ids: IdRange


@dataclass(slots=True)
class _Requested:
    times: int
    next_s: float


class RepairSchedule:
    """What was requested, and when to request it again.

    >>> for request in schedule.due(missing, now_s=loop.time()): publish(request)
    >>> schedule.answered(request.venue, request.symbol)
    """

    def __init__(self) -> None:
        self._requested: dict[MissingTrades, _Requested] = {}
        self._unanswered_until_s: dict[tuple[str, str], float] = {}

    def due(self, missing: Sequence[MissingTrades], *, now_s: float) -> list[MissingTrades]:
        """Return what to request now, and count it as requested.

        Args:
            missing: all that is missing, the most wanted first. Of more than MAX_IDS ids the first ones are requested,
                the others when those are found.
            now_s: a clock that only goes forward, in seconds.

        """
        pieces = [
            each._replace(ids=IdRange(each.ids.first_id, min(each.ids.last_id, each.ids.first_id + MAX_IDS - 1)))
            for each in missing
        ]
        self._requested = {piece: self._requested[piece] for piece in pieces if piece in self._requested}
        requests = []
        for piece in pieces:
            name = (piece.venue, piece.symbol)
            requested = self._requested.setdefault(piece, _Requested(0, now_s))
            if now_s < requested.next_s or now_s < self._unanswered_until_s.get(name, now_s):
                continue
            requested.next_s = now_s + min(FIRST_S * 2**requested.times, LONGEST_S)
            requested.times = min(requested.times + 1, 16)
            self._unanswered_until_s[name] = now_s + ANSWER_S
            requests.append(piece)
        return requests

    def answered(self, venue: str, symbol: str) -> None:
        """Note that the symbol's request was answered: its next one need not wait.

        Args:
            venue: whose symbol it is: `binance`.
            symbol: in lower case: `btcusdt`.

        """
        self._unanswered_until_s.pop((venue, symbol), None)
