"""Times as RFC 3339 text and back, as proto3 JSON writes them: UTC, `Z`, and 0, 3, 6 or 9 digits of a second."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+\- ]\d\d:\d\d)", re.ASCII
)  # a "+" that was not escaped in a query arrives as a space


def format_timestamp(timestamp: Timestamp) -> str:
    """Write a Timestamp: `2024-01-31T12:34:56.789Z`; raise `ValueError` outside of the years 1 to 9999."""
    return format_seconds(timestamp.seconds) + format_fraction(timestamp.nanos) + "Z"


@lru_cache(maxsize=4096)  # neighbouring trades share their seconds
def format_seconds(seconds: int) -> str:
    """Write whole seconds since 1970 UTC without a zone: `2024-01-31T12:34:56`."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        raise ValueError(f"{seconds} s since 1970 is not in the years 1 to 9999") from None
    return moment.replace(tzinfo=None).isoformat()


def format_fraction(nanos: int) -> str:
    """Write a fraction of a second with the fewest of 0, 3, 6 or 9 digits: `.789`."""
    if nanos == 0:
        return ""
    if nanos % 1_000_000 == 0:
        return f".{nanos // 1_000_000:03d}"
    if nanos % 1_000 == 0:
        return f".{nanos // 1_000:06d}"
    return f".{nanos:09d}"


def parse_timestamp(text: str) -> Timestamp:
    """Read RFC 3339 text, with `Z` or an offset; raise `ValueError` when it is none."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not RFC 3339")
    day, clock, fraction, zone = match.groups()
    offset = "+00:00" if zone in "Zz" else zone.replace(" ", "+")
    moment = datetime.fromisoformat(f"{day}T{clock}{offset}")
    # timestamp() is a float, exact for whole seconds of these years
    return Timestamp(seconds=int(moment.timestamp()), nanos=int((fraction or "0").ljust(9, "0")))
