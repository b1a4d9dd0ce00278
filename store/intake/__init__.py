"""From the bus into the database: trades, candles and the venue's minutes, each from its own position."""

from __future__ import annotations

__all__ = ["batch", "candles", "dead_letters", "minutes", "replay", "trades", "writer"]
