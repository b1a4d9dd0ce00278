"""Retention: trades that are too old are removed by whole days, with their ledger and their minutes."""

from __future__ import annotations

__all__ = ["policy"]
