"""What is too old goes: trades, their ledger and their minutes, by whole days."""

from __future__ import annotations

__all__ = ["policy"]
