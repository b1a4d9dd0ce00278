"""Values that every service shares: trades in columns, candles, symbols, exact decimals. Pure throughout."""

from __future__ import annotations
