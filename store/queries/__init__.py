"""Queries: requests validated, pages of trades and candles with tokens, coverage. `rpc` is their only caller.

`trades` and `candles` are pure: a request becomes a query, which knows its SQL and its next page. `coverage` reads the
ledger, `instruments` the catalog.
"""

from __future__ import annotations

__all__ = ["candles", "coverage", "fields", "instruments", "sql", "trade_by_id", "trades"]
