"""Values that every service shares: trades in columns, candles, symbols, exact decimals. Pure throughout."""

from __future__ import annotations

__all__ = ["candles", "epochs", "fixed", "signals", "symbols", "trades", "venue_hosts"]
