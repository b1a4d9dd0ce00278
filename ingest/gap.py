"""A range of trade ids that have not come. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gap:
    """Ids that have not come, though later ones have."""

    first_id: int
    last_id: int

    def __len__(self) -> int:
        return self.last_id - self.first_id + 1
