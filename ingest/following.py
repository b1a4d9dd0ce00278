"""Which symbols are followed, and why: the settings' own, and those that people selected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ingest.binance.frames import MAX_SYMBOLS
from ingest.binance.instruments import Instrument

MAX_SELECTED = 32
"""So many selected symbols beside the settings' are followed; one more, and the first of them goes."""


class Following:
    """See the module. `symbols` is what to follow.

    Attributes:
        left_out: the settings' symbols that a connection has no room for; say so.

    Args:
        symbols: from the settings, in order.

    """

    def __init__(self, symbols: Sequence[str]) -> None:
        self._standing = dict.fromkeys(symbols[:MAX_SYMBOLS])
        self.left_out = tuple(symbols[MAX_SYMBOLS:])
        self._selected: dict[str, None] = {}
        self._traded: dict[str, Instrument] | None = None
        self._ever_traded: set[str] = set()

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols to follow, the settings' first."""
        return (*self._standing, *self._selected)

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """What the venue trades; empty while it has not told."""
        return () if self._traded is None else tuple(self._traded.values())

    def select(self, symbol: str) -> bool:
        """Follow a symbol that somebody selected, if it is traded as far as we know; return whether it is."""
        if symbol in self._standing:
            return True
        if self._traded is not None and symbol not in self._traded:
            return False
        self._selected.pop(symbol, None)
        while len(self._selected) >= min(MAX_SELECTED, MAX_SYMBOLS - len(self._standing)) and self._selected:
            del self._selected[next(iter(self._selected))]
        self._selected[symbol] = None
        return True

    def learn(self, instruments: Iterable[Instrument]) -> list[str]:
        """Take the venue's list of what it trades.

        What stood on any list since the start stays, however long its halt lasts, and so do the settings' symbols,
        whatever the lists say: a halted or future one begins to trade some day, and until then costs nothing but
        silence.

        Returns:
            the symbols that the venue has never traded so far: those that were selected are not followed any more.

        """
        self._traded = {instrument.symbol: instrument for instrument in instruments}
        self._ever_traded.update(self._traded)
        unknown = [symbol for symbol in self.symbols if symbol not in self._ever_traded]
        for symbol in unknown:
            self._selected.pop(symbol, None)
        return unknown
