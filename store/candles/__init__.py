"""Candles: stored as signal made them; made again, indicators included, where late trades change them."""

from __future__ import annotations

__all__ = ["rows"]
