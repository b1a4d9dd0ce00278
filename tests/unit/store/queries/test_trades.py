"""Requests for pages: what is refused, what the defaults are, and tokens that stay with their question."""

from __future__ import annotations

import base64
import itertools
from typing import Any

import msgspec
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from mesh.service.errors import InvalidRequest
from store.database.times import FIRST_US, LAST_US
from store.queries import trades
from store.queries.trades import LAST_ID, TradeRange
from tickmesh.v1.store_pb2 import ListTradesRequest

DAY_US = 86_400_000_000
NOW_US = 1_780_000_000_000_000


def read(**fields: Any) -> trades.TradeQuery:
    return trades.read_query(ListTradesRequest(**fields))


def token_of(**fields: Any) -> str:
    return read(**fields).next_token(venue="sim", symbol="btcusdt", time_us=1_000_000, trade_id=5)


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, 100),
        ({"limit": 7}, 7),
        ({"page_size": 3, "limit": 7}, 3),
        ({"page_size": 1001}, 1000),
        ({"limit": 2**31 - 1}, 1000),
    ],
)
def test_a_page_has_its_size(fields: dict[str, int], size: int) -> None:
    assert read(**fields).size == size


def test_a_question_without_times_is_about_all_of_them() -> None:
    assert read(symbol="BTCUSDT").range == TradeRange(FIRST_US, LAST_US, LAST_ID)


def test_the_start_counts_and_the_end_does_not() -> None:
    question = read(start_time=Timestamp(seconds=10), end_time=Timestamp(seconds=20))

    assert question.range == TradeRange(10_000_000, 20_000_000, -1)


def test_start_and_end_mean_the_same_where_the_documented_names_are_not_given() -> None:
    ten, twenty = Timestamp(seconds=10), Timestamp(seconds=20)

    assert read(start=ten, end=twenty) == read(start_time=ten, end_time=twenty)
    assert read(start_time=ten, end_time=twenty, start=twenty, end=ten) == read(start_time=ten, end_time=twenty)
    assert read(start=ten, end_time=twenty) == read(start_time=ten, end_time=twenty)


def test_times_between_microseconds_are_rounded_up() -> None:
    question = read(start_time=Timestamp(seconds=10, nanos=1), end_time=Timestamp(seconds=20, nanos=1001))

    assert (question.range.from_us, question.end_us) == (10_000_001, 20_000_002)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"symbol": "btc/usdt"}, "not a symbol"),
        ({"symbol": "b"}, "not a symbol"),
        ({"venue": "Binance!"}, "not a venue"),
        ({"start_time": Timestamp(seconds=20), "end_time": Timestamp(seconds=10)}, "end_time is before start_time"),
        ({"start": Timestamp(seconds=20), "end_time": Timestamp(seconds=10)}, "end_time is before start"),
        ({"end": Timestamp(seconds=10**15)}, "end is"),
        ({"start_time": Timestamp(seconds=10**15)}, "start_time is"),
        ({"end_time": Timestamp(nanos=10**9)}, "end_time is"),
        ({"page_token": "nonsense"}, "page_token is none of ours"),
        ({"page_token": "ééé"}, "page_token is none of ours"),
        ({"page_token": "A" * 10_000}, "page_token is none of ours"),
    ],
)
def test_nonsense_is_refused_by_name(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        read(**fields)


def test_a_token_goes_on_after_its_trade() -> None:
    assert read(page_token=token_of()).range == TradeRange(FIRST_US, 1_000_000, 5)


def test_a_token_of_the_oldest_first_goes_on_after_its_trade() -> None:
    asked = {"order": "asc", "start_time": Timestamp(seconds=1), "end_time": Timestamp(seconds=9)}
    following = read(page_token=token_of(**asked), **asked)

    assert following.range == TradeRange(1_000_000, 9_000_000, -1, after_id=5)
    token = following.next_token(venue="sim", symbol="btcusdt", time_us=2_000_000, trade_id=6)
    assert read(page_token=token, **asked).range.after_id == 6


def test_a_token_written_before_there_were_orders_goes_on_with_the_newest_first() -> None:
    written = ("sim", "btcusdt", FIRST_US, LAST_US, 1_000_000, 5)
    token = base64.urlsafe_b64encode(msgspec.msgpack.encode(written)).decode().rstrip("=")

    assert read(page_token=token) == read(page_token=token_of(), order="DESC")


def test_a_token_remembers_the_symbol_that_was_selected() -> None:
    question = read(page_token=token_of())

    assert (question.venue, question.symbol) == ("sim", "btcusdt")


def test_a_token_allows_another_page_size() -> None:
    assert read(page_token=token_of(page_size=10), page_size=20).size == 20


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"symbol": "ethusdt"}, "symbol"),
        ({"venue": "binance"}, "venue"),
        ({"start_time": Timestamp(seconds=1)}, "start_time"),
        ({"end_time": Timestamp(seconds=1)}, "end_time"),
        ({"order": "asc"}, "order"),
    ],
)
def test_a_token_is_refused_for_another_question(asked: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"another question: its {name}"):
        read(page_token=token_of(), **asked)


def test_a_token_changed_by_hand_is_refused() -> None:
    token = token_of()

    with pytest.raises(InvalidRequest, match="none of ours"):
        read(page_token=token[:-6])


@given(st.integers(FIRST_US, LAST_US), st.integers(FIRST_US, LAST_US), st.integers(FIRST_US, LAST_US))
def test_the_parts_of_a_question_are_the_whole_of_it(from_us: int, before_us: int, now_us: int) -> None:
    whole = TradeRange(min(from_us, before_us), max(from_us, before_us), LAST_ID)

    parts = list(whole.newest_first(now_us))

    assert (parts[0].before_us, parts[0].before_id) == (whole.before_us, whole.before_id)
    assert parts[-1].from_us == whole.from_us
    for newer, older in itertools.pairwise(parts):
        assert (older.before_us, older.before_id) == (newer.from_us, -1)


@given(st.integers(FIRST_US, LAST_US), st.integers(FIRST_US, LAST_US))
def test_the_parts_of_a_question_from_the_oldest_on_are_the_whole_of_it(from_us: int, before_us: int) -> None:
    whole = TradeRange(min(from_us, before_us), max(from_us, before_us), LAST_ID, after_id=7)

    parts = list(whole.oldest_first())

    assert (parts[0].from_us, parts[0].after_id) == (whole.from_us, 7)
    assert (parts[-1].before_us, parts[-1].before_id) == (whole.before_us, LAST_ID)
    for older, newer in itertools.pairwise(parts):
        assert (older.before_us, older.before_id, newer.after_id) == (newer.from_us, -1, -1)


def test_the_newest_trades_are_looked_for_in_the_last_day_first() -> None:
    first, *_ = TradeRange(FIRST_US, LAST_US, LAST_ID).newest_first(NOW_US)

    assert first.from_us == NOW_US - DAY_US


def test_a_question_about_an_hour_is_one_part() -> None:
    assert len(list(TradeRange(NOW_US - DAY_US // 24, NOW_US, LAST_ID).newest_first(NOW_US))) == 1
