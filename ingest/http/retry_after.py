"""How long a venue wants to be left alone: `Retry-After` of a refusal. Pure."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

STATUSES = (418, 429)
"""Asked to slow down, and banned, which 418 has come to mean: both are said to an address, whichever way in it used."""

LONGEST_S = 3 * 24 * 3600.0
"""The longest ban there is; a longer one is a mistake."""

UNSAID_S = 60.0

LEAST_S = 1.0
"""Who is refused and told to wait for no time at all waits so long all the same."""

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?")
_LONGEST_DATE = 40


def retry_after_s(header: str, *, now_s: float, until_s: float | None = None) -> float:
    """Return for how many seconds the venue wants to hear nothing.

    Args:
        header: `Retry-After`, in either of HTTP's forms: seconds, or a date.
        now_s: the time by this machine's clock, since 1970: what a date is compared with.
        until_s: the end of a ban that the venue named elsewhere, since 1970; counts where the header says nothing.

    Returns:
        LEAST_S to LONGEST_S; UNSAID_S when nothing that can be read says how long.

    """
    text = header.strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text[:400])  # 400 digits are infinite already
    elif (date_s := _date_s(text)) is not None:
        seconds = date_s - now_s
    elif until_s is not None:
        seconds = until_s - now_s
    else:
        return UNSAID_S
    return min(max(seconds, LEAST_S), LONGEST_S)


def _date_s(text: str) -> float | None:
    """Return the seconds since 1970 of `Wed, 21 Oct 2026 07:28:00 GMT`; None when it is no such date."""
    if not 0 < len(text) <= _LONGEST_DATE or not text[0].isalpha():
        return None
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None  # no date: said in the docstring
