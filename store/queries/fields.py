"""The fields that several requests have in common, validated, and those of several responses. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from mesh.service.errors import InvalidRequest
from mesh.values import epochs
from mesh.values.symbols import parse_symbol, parse_venue
from store.database.times import FIRST_US, LAST_US
from tickmesh.v1 import store_pb2

RangeRequest: TypeAlias = (
    store_pb2.ListTradesRequest
    | store_pb2.ListCandlesRequest
    | store_pb2.ExportTradesRequest
    | store_pb2.ExportCandlesRequest
    | store_pb2.GetCoverageRequest
)
MAX_SIZE = 1000


def read_symbol(text: str) -> str:
    """Return a request's symbol in lower case, empty when it names none.

    Raises:
        InvalidRequest: it is no symbol.

    """
    return _read_name("symbol", parse_symbol, text)


def read_venue(text: str) -> str:
    """Return a request's venue, empty when it names none.

    Raises:
        InvalidRequest: it is no venue.

    """
    return _read_name("venue", parse_venue, text)


def read_times(request: RangeRequest) -> tuple[int | None, int | None]:
    """Return the start and the end of a request, in microseconds since 1970 UTC; None where it names none.

    `start_time` and `end_time` are the documented names. `start` and `end` mean the same and count where those are not
    set.

    Raises:
        InvalidRequest: one is no time of the years 1 to 9999, or the end is before the start.

    """
    start_name, start_us = _read_time(request, "start_time", "start")
    end_name, end_us = _read_time(request, "end_time", "end")
    if start_us is not None and end_us is not None and end_us < start_us:
        raise InvalidRequest(f"{end_name} is before {start_name}", field=end_name)
    return start_us, end_us


def read_size(
    request: store_pb2.ListTradesRequest
    | store_pb2.ListNextTradesRequest
    | store_pb2.ListCandlesRequest
    | store_pb2.ListInstrumentsRequest,
    *,
    default: int,
) -> int:
    """Return how many rows a page may have, at most MAX_SIZE.

    `page_size` is the documented name. `limit` means the same and counts where that is 0.

    Args:
        request: to list something.
        default: where the request names none.

    """
    return min(request.page_size or request.limit or default, MAX_SIZE)


def venue_ids(first: int, last: int) -> dict[str, int]:
    """Return the fields of a response about a range of ids: the venue's own ids, and their epoch.

    Args:
        first: the lowest id, as a key (`mesh/values/epochs.py`).
        last: the highest id, as a key.

    """
    ids = {"first_trade_id": epochs.venue_id(first), "last_trade_id": epochs.venue_id(last)}
    return ids | {"epoch": epochs.epoch_of(last)}


def _read_name(field: str, parse: Callable[[str], str], text: str) -> str:
    try:
        return parse(text) if text else ""
    except ValueError as exc:
        raise InvalidRequest(str(exc), field=field) from exc


def _read_time(request: Any, *names: str) -> tuple[str, int | None]:
    """Return the first of these fields that is set, and its time; no time when none is."""
    known = request.DESCRIPTOR.fields_by_name
    name = next((name for name in names if name in known and request.HasField(name)), "")
    if not name:
        return name, None
    time = getattr(request, name)
    # Rounded up to microseconds: the times of trades are whole ones.
    if not (0 <= time.nanos < 10**9 and FIRST_US <= time.seconds * 10**6 <= LAST_US):
        found = f"{time.seconds} s and {time.nanos} ns"
        raise InvalidRequest(f"{name} is {found}, expected a time of the years 1 to 9999", field=name)
    return name, min(time.seconds * 10**6 - (-time.nanos // 1000), LAST_US)
