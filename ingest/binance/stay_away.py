"""How long the venue wants to be left alone: what its refusals 418 and 429 and their `Retry-After` say. Pure."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

STATUSES = (418, 429)
"""Banned, and asked to slow down: both are said to an address, whichever way in it has used."""

LONGEST_S = 3 * 24 * 3600.0
"""The longest ban there is; a longer one is a mistake."""

UNSAID_S = 60.0

LEAST_S = 1.0
"""Who is refused and told to wait for no time at all waits so long all the same."""

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?")
_LONGEST_DATE = 40
_BANNED_UNTIL = re.compile(r"\bbanned until ([0-9]{13})\b")


def stay_away_s(retry_after: str, *, now_s: float, words: str = "") -> float:
    """Return for how many seconds the venue wants to hear nothing.

    Args:
        retry_after: the header `Retry-After`, in either of HTTP's forms: seconds, or a date.
        now_s: the time by this machine's clock, since 1970: what a date is compared with.
        words: what the venue said beside it: `IP banned until 1659146400000` counts where the header is missing.

    Returns:
        LEAST_S to LONGEST_S; UNSAID_S when nothing that can be read says how long.

    """
    text = retry_after.strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text[:400])  # 400 digits are infinite already
    elif (until_s := _date_s(text)) is not None:
        seconds = until_s - now_s
    elif (banned := _BANNED_UNTIL.search(words)) is not None:
        seconds = int(banned[1]) / 1000 - now_s
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
