"""How many trades of each second are stored, as far as one connection has stored all of them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from mesh.values.trades import TradeGroups

_SECOND_US = 1_000_000
_MAX_SECONDS = 300
"""Of a symbol at most, while nobody closes them; then it is forgotten up to there."""
_NO_SECONDS: Mapping[int, int] = {}


class StoredSeconds:
    """Counts the trades that one symbol after the other gets, so that whoever closes seconds need not count rows.

    It only knows of trades that follow all of their symbol, written by one connection: another one may not find what
    the last one committed, or more than its answer told. All else makes it forget the symbol, up to where that goes.
    """

    def __init__(self) -> None:
        """Make one that knows of no symbol."""
        self._connection: object = None
        # By venue and symbol: from when on, and how many trades each second has since.
        self._known: dict[tuple[str, str], tuple[int, dict[int, int]]] = {}

    def note(self, connection: object, groups: TradeGroups, *, following: Collection[tuple[str, str]]) -> None:
        """Count trades that have been committed; before anybody else may ask.

        Args:
            connection: that stored them; None where that is not known.
            groups: any; a symbol may come twice.
            following: venue and symbol of those whose ids follow all that were stored of their symbol.

        """
        if connection is None or connection is not self._connection:
            self._known.clear()
            self._connection = connection
        if not groups:
            return
        seconds = groups.trades.time_us // _SECOND_US * _SECOND_US
        is_first = np.ones(len(seconds), np.bool_)
        is_first[1:] = seconds[1:] != seconds[:-1]
        is_first[groups.ends[:-1]] = True
        firsts = np.flatnonzero(is_first)
        lengths = np.diff(firsts, append=len(seconds))
        of_group = np.searchsorted(groups.ends, firsts, side="right")
        counted = {name for name in following if name in self._known}
        for n, second_us, length in zip(of_group.tolist(), seconds[firsts].tolist(), lengths.tolist(), strict=True):
            name = groups.names[n]
            after_us = second_us + _SECOND_US
            since_us, of_second = self._known.get(name, (after_us, {}))
            if name in counted and len(of_second) < _MAX_SECONDS:
                of_second[second_us] = of_second.get(second_us, 0) + length
            else:
                self._known[name] = max(since_us, after_us, *(us + _SECOND_US for us in of_second)), {}

    def stored(self, connection: object, name: tuple[str, str], begin_us: int, end_us: int) -> Mapping[int, int] | None:
        """Return how many trades each second of a range has, by when it begins; what was before it is forgotten.

        Args:
            connection: as `note` was given it, before anybody else has used it.
            name: venue and symbol.
            begin_us: of the first second, in microseconds since 1970 UTC.
            end_us: of the last one.

        Returns:
            Those that have some; None where that is not known.

        """
        since_us, of_second = self._known.get(name, (0, _NO_SECONDS))
        if connection is not self._connection or not since_us or begin_us < since_us:
            return None
        of_second = {us: count for us, count in of_second.items() if us >= begin_us}
        self._known[name] = begin_us, of_second
        return {us: count for us, count in of_second.items() if us < end_us}
