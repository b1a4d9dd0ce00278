"""Exports: all rows of a range as one file.

`query` says what is asked of the database, `formats` makes bytes of what it answers, `jobs` does both for StoreService,
in a thread of its own, and `command` for `python -m store export`.
"""

from __future__ import annotations

__all__ = ["command", "jobs", "query"]
