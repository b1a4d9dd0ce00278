"""Every subject, stream, durable and bucket name of the bus, in one place."""

from __future__ import annotations

RAW = "RAW"
PROCESSED = "PROCESSED"
CONTROL = "CONTROL"

RAW_ALL = "trades.raw.>"
PROCESSED_ALL = "trades.processed.>"
CONTROL_ALL = "control.>"

CONTROL_SYMBOL = "control.symbol"
CONTROL_CATALOG = "control.catalog"

DURABLE_SIGNAL = "signal"
DURABLE_STORE = "store"


def raw(venue: str, symbol: str) -> str:
    """Return the subject of a symbol's trades as they came: `trades.raw.binance.btcusdt`."""
    return f"trades.raw.{venue}.{symbol}"


def processed(venue: str, symbol: str) -> str:
    """Return the subject of a symbol's trades with their signals: `trades.processed.binance.btcusdt`."""
    return f"trades.processed.{venue}.{symbol}"
