"""What there is still to be traded: blocks from a source, cut into as many trades as are wanted."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from sim.instruments import ListedInstrument
from sim.trades import NO_TRADES, Trades


class TradeSource(Protocol):
    """Where trades come from: a Market or a Tape."""

    @property
    def instruments(self) -> tuple[ListedInstrument, ...]:
        """What it trades, in the order of the index that trades carry as `symbol`; may grow from block to block."""

    def next_block(self) -> Trades:
        """Make or read the next trades, `due` never falling; an empty block is the end."""


class SourceReader:
    """The trades of a source, one after the other.

    Args:
        source: where they come from.
    """

    def __init__(self, source: TradeSource) -> None:
        self.source = source
        self.ended = False  # the source has no more
        self._block = NO_TRADES
        self._due = NO_TRADES["due"]
        self._offset = 0

    def fill(self) -> bool:
        """See to it that there is a next trade; return whether there is one. Call it before the others."""
        if self._offset == len(self._block) and not self.ended:
            self._block, self._offset = self.source.next_block(), 0
            self._due = np.ascontiguousarray(self._block["due"])
            self.ended = not len(self._block)
        return not self.ended

    @property
    def next_due(self) -> int:
        """When the next trade is due."""
        return int(self._due[self._offset])

    def due_by(self, position: int) -> int:
        """Return how many trades at hand are due by then; there may be more in the next block."""
        return int(np.searchsorted(self._due, position, side="right")) - self._offset

    def cut(self, count: int) -> Trades:
        """Return a copy of the next trades, at most `count` of them and at least one."""
        trades = self._block[self._offset : self._offset + count].copy()
        self._offset += len(trades)
        return trades
