"""Which symbols are followed, and why: the settings' own, and those that people selected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ingest.messages import TRADING, UNLISTED, Instrument

MAX_SELECTED = 32
"""So many selected symbols beside the settings' are followed; one more, and the first of them goes."""


class FollowedSymbols:
    """The symbols to follow, and what the venue lists.

    Attributes:
        left_out: the settings' symbols that the connections of all instances together have no room for; say so.

    Args:
        symbols: from the settings, in order.
        max_symbols: how many a connection to the venue may follow.
        instances: how many instances can share them, each over a connection of its own.

    """

    def __init__(self, symbols: Sequence[str], *, max_symbols: int, instances: int = 1) -> None:
        self._max_here = max_symbols
        self._max_symbols = max_symbols * instances
        self._standing = dict.fromkeys(symbols[: self._max_symbols])
        self.left_out = tuple(symbols[self._max_symbols :])
        self._selected: dict[str, None] = {}
        self._listed: dict[str, Instrument] | None = None
        self._known: dict[str, Instrument] = {}  # what was listed once of what is followed, and before the start

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols to follow, the settings' first."""
        return (*self._standing, *self._selected)

    def here(self, holds: Callable[[str], bool]) -> tuple[str, ...]:
        """Return which of the symbols this instance follows over its connection, the settings' first.

        Where it has no room for all, the last of the settings' are left out.

        Args:
            holds: says whether a symbol is this instance's.

        """
        standing, selected = (tuple(filter(holds, symbols)) for symbols in (self._standing, self._selected))
        return (*standing[: max(0, self._max_here - len(selected))], *selected)

    def left_out_here(self, holds: Callable[[str], bool]) -> tuple[str, ...]:
        """Return which of this instance's symbols its connection has no room for; say so.

        Args:
            holds: says whether a symbol is this instance's.

        """
        followed = set(self.here(holds))
        return tuple(symbol for symbol in self._standing if holds(symbol) and symbol not in followed)

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """What the venue lists, and what is followed though it is not listed now; as last told while it has not yet."""
        if self._listed is None:
            return tuple(self._known.values())
        unlisted = [self._known[symbol] for symbol in self.symbols if symbol in self._known]
        gone = [replace(one, status=UNLISTED) for one in unlisted if one.symbol not in self._listed]
        return (*self._listed.values(), *gone)

    @property
    def resting(self) -> dict[str, str]:
        """Of what is followed the status of each that is not traded now; empty while the venue has not told."""
        if self._listed is None:
            return {}
        found = {symbol: self._listed.get(symbol) for symbol in self.symbols}
        statuses = {symbol: UNLISTED if one is None else one.status for symbol, one in found.items()}
        return {symbol: status for symbol, status in statuses.items() if status != TRADING}

    def lists(self, symbol: str) -> bool:
        """Return whether a symbol is listed, or may be as far as anybody has told."""
        return self._listed is None or symbol in self._listed or symbol in self._known

    def remember(self, instruments: Iterable[Instrument]) -> None:
        """Take in what the venue listed before the start: symbols among it stay, whatever is listed now."""
        if self._listed is None:
            self._known = {instrument.symbol: instrument for instrument in instruments}

    def select(self, symbol: str) -> bool:
        """Follow a symbol that somebody selected, if the venue lists it as far as we know; return whether it does.

        One that rests (BREAK, say) is followed like any other: until it trades again it costs nothing but silence.
        """
        if symbol in self._standing:
            return True
        if not self.lists(symbol):
            return False
        self._selected.pop(symbol, None)
        while len(self._selected) >= min(MAX_SELECTED, self._max_symbols - len(self._standing)) and self._selected:
            del self._selected[next(iter(self._selected))]
        self._selected[symbol] = None
        self._keep_in_mind()
        return True

    def learn(self, instruments: Iterable[Instrument]) -> list[str]:
        """Take the venue's list.

        What stood on any list, also on one before the start, stays, however long it rests, and so do the settings'
        symbols, whatever the lists say: a halted or future one begins to trade some day.

        Returns:
            the symbols that the venue has never listed so far: those that were selected are not followed any more.

        """
        self._listed = {instrument.symbol: instrument for instrument in instruments}
        unknown = [symbol for symbol in self.symbols if not self.lists(symbol)]
        for symbol in unknown:
            self._selected.pop(symbol, None)
        self._keep_in_mind()
        return unknown

    def _keep_in_mind(self) -> None:
        # Of what is followed only, beside what the bus said at the start: the venue's lists may name ever new ones.
        for symbol in self.symbols:
            if self._listed is not None and symbol in self._listed:
                self._known[symbol] = self._listed[symbol]
