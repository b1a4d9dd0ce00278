"""The order of trades: each symbol's sequencer, the one way out to RAW, and what fetches the missing ones."""

from __future__ import annotations

__all__ = [
    "bad_frames",
    "confirmations",
    "gap_repair",
    "published_symbol",
    "quarantine",
    "repair_requests",
    "trade_publisher",
]
