"""The fields that several requests have in common, validated. Pure."""

from __future__ import annotations

from typing import Literal

from google.protobuf.timestamp_pb2 import Timestamp

from mesh.service.errors import InvalidRequest
from mesh.values.symbols import parse_symbol, parse_venue
from store.database.times import FIRST_US, LAST_US
from tickmesh.v1 import store_pb2

MAX_SIZE = 1000


def read_symbol(text: str) -> str:
    """Return a request's symbol in lower case, empty when it names none.

    Raises:
        InvalidRequest: it is no symbol.

    """
    try:
        return parse_symbol(text) if text else ""
    except ValueError as exc:
        raise InvalidRequest(str(exc)) from exc


def read_venue(text: str) -> str:
    """Return a request's venue, empty when it names none.

    Raises:
        InvalidRequest: it is no venue.

    """
    try:
        return parse_venue(text) if text else ""
    except ValueError as exc:
        raise InvalidRequest(str(exc)) from exc


def read_times(request: store_pb2.ListTradesRequest | store_pb2.ListCandlesRequest) -> tuple[int | None, int | None]:
    """Return the start and the end of a request, in microseconds since 1970 UTC; None where it names none.

    `start_time` and `end_time` are the documented names. `start` and `end` mean the same and count where those are not
    set.

    Raises:
        InvalidRequest: one is no time of the years 1 to 9999, or the end is before the start.

    """
    start_name: Literal["start", "start_time"] = (
        "start" if request.HasField("start") and not request.HasField("start_time") else "start_time"
    )
    end_name: Literal["end", "end_time"] = (
        "end" if request.HasField("end") and not request.HasField("end_time") else "end_time"
    )
    start = _read_time(getattr(request, start_name), start_name) if request.HasField(start_name) else None
    end = _read_time(getattr(request, end_name), end_name) if request.HasField(end_name) else None
    if start is not None and end is not None and end < start:
        raise InvalidRequest(f"{end_name} is before {start_name}")
    return start, end


def read_size(request: store_pb2.ListTradesRequest | store_pb2.ListCandlesRequest, *, default: int) -> int:
    """Return how many rows a page may have, at most MAX_SIZE.

    `page_size` is the documented name. `limit` means the same and counts where that is 0.

    Args:
        request: to list trades or candles.
        default: where the request names none.

    Raises:
        InvalidRequest: it is below zero.

    """
    for name, value in (("page_size", request.page_size), ("limit", request.limit)):
        if value < 0:
            raise InvalidRequest(f"{name} is {value}, expected 0 or more")
    return min(request.page_size or request.limit or default, MAX_SIZE)


def _read_time(time: Timestamp, name: str) -> int:
    # Rounded up to microseconds: the times of trades are whole ones.
    if not (0 <= time.nanos < 10**9 and FIRST_US <= time.seconds * 10**6 <= LAST_US):
        raise InvalidRequest(f"{name} is {time.seconds} s and {time.nanos} ns, expected a time of the years 1 to 9999")
    return min(time.seconds * 10**6 - (-time.nanos // 1000), LAST_US)
