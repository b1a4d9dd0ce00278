"""How long the venue wants to be left alone: what its refusals 418 and 429 and their `Retry-After` say. Pure."""

from __future__ import annotations

STATUSES = (418, 429)
"""Banned, and asked to slow down: both are said to an address, whichever way in it has used."""

LONGEST_S = 3 * 24 * 3600.0
"""The longest ban there is; a longer one is a mistake."""

UNSAID_S = 60.0


def stay_away_s(retry_after: str) -> float:
    """Read the seconds of a `Retry-After`; a minute when there is none, or no plain number."""
    is_number = retry_after.isascii() and retry_after.isdigit()
    return min(float(retry_after), LONGEST_S) if is_number else UNSAID_S
