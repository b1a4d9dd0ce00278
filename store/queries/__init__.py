"""Questions to the database: requests checked, pages with tokens, coverage."""

from __future__ import annotations

__all__ = ["candles", "coverage", "sql", "trades"]
