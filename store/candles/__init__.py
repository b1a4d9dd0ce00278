"""Candles that late trades change: made again, with the indicators behind them."""

from __future__ import annotations

__all__ = ["indicators", "rows", "sql"]
