"""Values that every service shares: trades in columns, ranges of ids, candles, symbols, exact decimals. All pure."""

from __future__ import annotations

__all__ = ["candles", "epochs", "fixed", "id_ranges", "signals", "symbols", "times", "trades", "venue_hosts"]
