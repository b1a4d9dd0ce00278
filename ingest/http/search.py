"""How to find the aggregates that hold a certain trade. Pure."""

from __future__ import annotations

from ingest.binance.aggregates import Aggregates


class Search:
    """Where to look for the aggregate that holds a trade, when only the trade's id is known.

    Both ids rise together, so each page tells which way to go, and by its density how far.

    Args:
        trade_id: the trade.
        page: how many aggregates one answer holds at most.

    """

    def __init__(self, trade_id: int, page: int) -> None:
        self._trade_id = trade_id
        self._page = page
        self._below = -1  # this aggregate ends before the trade
        self._above: int | None = None  # this one begins after it

    def next_look(self, seen: Aggregates) -> int | None:
        """Return the aggregate to ask from after this page; None when it has the trade's place, or no page will."""
        if not len(seen):
            return None
        density = len(seen) / int(seen.last_id[-1] - seen.first_id[0] + 1)
        too_late = int(seen.first_id[0]) - self._trade_id
        too_early = self._trade_id - int(seen.last_id[-1])
        if too_late > 0:
            edge = int(seen.aggregate_id[0])
            if self._above is not None and edge >= self._above:
                return None  # the venue has nothing older
            self._above = edge
            guess = edge - int(too_late * density)
        elif too_early > 0:
            edge = int(seen.aggregate_id[-1])
            if self._above is None or edge <= self._below:
                return None  # nor anything newer
            self._below = edge
            guess = edge + int(too_early * density)
        else:
            return None
        lowest = max(self._below, 0)
        if lowest >= self._above:
            return None
        guess -= self._page // 2  # to meet it in the middle of the page
        return guess if lowest <= guess < self._above else (lowest + self._above) // 2
