"""The database: its connections, its schema, its errors, and rows as the bytes of a binary COPY."""

from __future__ import annotations

__all__ = ["connection", "copy_rows", "errors"]
