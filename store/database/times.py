"""Times between the mesh, which counts microseconds, and the database, which takes `datetime`s. Pure."""

from __future__ import annotations

import datetime as dt

UNIX_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
FIRST_US = -62_135_596_800_000_000
LAST_US = 253_402_300_799_999_999
"""The years 1 to 9999: the times that a `Timestamp` and a `datetime` can hold."""


def time_of(time_us: int) -> dt.datetime:
    """Return a time as the database takes it.

    Args:
        time_us: microseconds since 1970 UTC, from FIRST_US to LAST_US.

    """
    return UNIX_EPOCH + dt.timedelta(microseconds=time_us)


def us_of(time: dt.datetime) -> int:
    """Return a time, which says its zone, in microseconds since 1970 UTC."""
    return (time - UNIX_EPOCH) // dt.timedelta(microseconds=1)
