"""What is stored and what is missing, as ranges of trade ids; the audit of it, and the repair of holes."""

from __future__ import annotations

__all__ = ["audit", "minute_rows", "minute_verifier", "minutes", "ranges", "repair", "rows", "sql"]
