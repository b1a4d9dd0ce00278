from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from mesh.values.times import format_timestamp, parse_timestamp

_seconds = st.integers(-62135596800, 253402300799)
_nanos = st.one_of(st.just(0), st.integers(0, 999).map(lambda ms: ms * 1_000_000), st.integers(0, 999_999_999))


@given(_seconds, _nanos)
def test_times_are_written_as_proto3_json_writes_them(seconds: int, nanos: int) -> None:
    timestamp = Timestamp(seconds=seconds, nanos=nanos)
    assert format_timestamp(timestamp) == timestamp.ToJsonString()


@given(_seconds, _nanos)
def test_a_time_reads_back(seconds: int, nanos: int) -> None:
    timestamp = Timestamp(seconds=seconds, nanos=nanos)
    assert parse_timestamp(format_timestamp(timestamp)) == timestamp


@pytest.mark.parametrize(
    "text",
    ["2024-01-31T14:34:56+02:00", "2024-01-31T14:34:56 02:00", "2024-01-31 12:34:56z", "2024-01-31T12:34:56.000Z"],
)
def test_other_spellings_of_a_moment_are_understood(text: str) -> None:
    assert format_timestamp(parse_timestamp(text)) == "2024-01-31T12:34:56Z"


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2024-01-31", "2024-01-31T12:34:56", "2024-13-01T00:00:00Z", "2024-01-31T12:34:56.1234567890Z"],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_timestamp(text)


def test_a_moment_out_of_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="not in the years 1 to 9999"):
        format_timestamp(Timestamp(seconds=2**60))
