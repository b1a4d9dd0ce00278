"""Asking the venue over REST: what may be asked, of which host, and what an answer proves."""

from __future__ import annotations

__all__ = ["backfill", "client", "errors", "retry_after"]
