"""Intake: from the bus into the database. Trades, closed candles and the venue's minutes, each from its own position.

`trades` decides when to write, `trade_writer` writes trades and their ledger in one transaction, `position` keeps how
far each stream is stored, `replay` tries dead letters again.
"""

from __future__ import annotations

__all__ = ["candles", "minutes", "position", "quiet_candles", "replay", "trade_writer", "trades"]
