"""Which missing trades to ask for now: one request a symbol at a time, later and later while nothing helps. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

MAX_IDS = 10_000
ANSWER_S = 20.0
"""How long a request may stay unanswered before the symbol's next one."""
FIRST_S, LONGEST_S = 5.0, 300.0


class Hole(NamedTuple):
    """Trade ids that are missing."""

    venue: str
    symbol: str
    first_trade_id: int
    last_trade_id: int


@dataclass(slots=True)
class _Asked:
    times: int
    next_s: float


class Asking:
    """What was asked for and when to ask again.

    >>> for request in asking.due(holes, now_s=loop.time()): publish(request)
    >>> asking.answered(request.venue, request.symbol)
    """

    def __init__(self) -> None:
        self._asked: dict[Hole, _Asked] = {}
        self._silent_until_s: dict[tuple[str, str], float] = {}

    def due(self, holes: Sequence[Hole], *, now_s: float) -> list[Hole]:
        """Return what to ask for now, and take it as asked.

        Args:
            holes: all that is missing, in the order of preference; longer ones are asked for piece by piece.
            now_s: a clock that only goes forward.

        """
        pieces = [
            hole._replace(last_trade_id=min(hole.last_trade_id, hole.first_trade_id + MAX_IDS - 1)) for hole in holes
        ]
        self._asked = {piece: self._asked[piece] for piece in pieces if piece in self._asked}
        requests = []
        for piece in pieces:
            name = (piece.venue, piece.symbol)
            asked = self._asked.setdefault(piece, _Asked(0, now_s))
            if now_s < asked.next_s or now_s < self._silent_until_s.get(name, now_s):
                continue
            asked.next_s = now_s + min(FIRST_S * 2**asked.times, LONGEST_S)
            asked.times = min(asked.times + 1, 16)
            self._silent_until_s[name] = now_s + ANSWER_S
            requests.append(piece)
        return requests

    def answered(self, venue: str, symbol: str) -> None:
        """Say that the symbol's request was answered: its next one need not wait."""
        self._silent_until_s.pop((venue, symbol), None)
