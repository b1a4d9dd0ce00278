"""Aggregate trades: one order's trades at one price told as one. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from mesh.values.trades import Int64s, TradeColumns


@dataclass(frozen=True, slots=True, eq=False)
class Aggregates:
    """Aggregates as one answer holds them, row by row; all three arrays have shape (n,) and rise.

    Attributes:
        aggregate_id: their own ids: two of them that follow each other have nothing in between.
        first_id: the first trade inside each.
        last_id: the last trade inside each.
        singles: the trades of those aggregates that hold just one: of the others only the sums are told.

    """

    aggregate_id: Int64s
    first_id: Int64s
    last_id: Int64s
    singles: TradeColumns

    def __len__(self) -> int:
        return len(self.aggregate_id)
