from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.service.errors import InvalidRequest
from mesh.values.candles import INDICATORS
from store.database.times import FIRST_US, LAST_US, time_of
from store.queries.candles import read_interval, read_query
from store.queries.sql import LIST_FIRST_CANDLES, LIST_LAST_CANDLES
from tickmesh.v1.store_pb2 import ListCandlesRequest

MINUTE_US = 60_000_000


def row(minute: int, **values: Any) -> dict[str, Any]:
    numbers = ("open_e8", "high_e8", "low_e8", "close_e8", "count", "first_trade_id", "last_trade_id", "revision")
    whole = dict.fromkeys(numbers, 1) | {"time_us": minute * MINUTE_US, "interval": "1m"}
    volumes = {"volume_decimal": "1.5", "quote_volume_decimal": "92736", "taker_buy_volume_decimal": "0"}
    return whole | volumes | dict.fromkeys(INDICATORS, 1.0) | values


def at(minute: int) -> Timestamp:
    return Timestamp(seconds=60 * minute)


def test_without_anything_the_newest_500_minutes_are_asked_for() -> None:
    query = read_query(ListCandlesRequest())
    assert (query.interval.name, query.size, query.statement) == ("1m", 500, LIST_LAST_CANDLES)
    assert (query.from_us, query.before_us) == (FIRST_US, LAST_US)


def test_with_a_start_the_first_ones_from_there_are_asked_for() -> None:
    query = read_query(ListCandlesRequest(start=at(3), end=at(9), interval="5m", limit=7))
    assert (query.interval.name, query.size, query.statement) == ("5m", 7, LIST_FIRST_CANDLES)
    assert (query.from_us, query.before_us) == (3 * MINUTE_US, 9 * MINUTE_US)


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"limit": 5, "page_size": 7}, 7),
        ({"limit": 5}, 5),
        ({"page_size": 7}, 7),
        ({"limit": 1001}, 1000),
        ({"limit": 2**31 - 1}, 1000),
    ],
)
def test_a_page_is_as_long_as_asked_and_never_longer_than_1000(fields: dict[str, Any], size: int) -> None:
    assert read_query(ListCandlesRequest(**fields)).size == size


def test_start_and_end_mean_the_same_where_the_documented_names_are_not_given() -> None:
    documented = read_query(ListCandlesRequest(start_time=at(3), end_time=at(9)))
    assert read_query(ListCandlesRequest(start=at(3), end=at(9))) == documented
    assert read_query(ListCandlesRequest(start_time=at(3), end_time=at(9), start=at(9), end=at(3))) == documented


def test_the_newest_candles_are_answered_in_rising_order_and_the_next_page_ends_before_them() -> None:
    query = read_query(ListCandlesRequest(limit=2))
    answer = query.response([row(9), row(8), row(7)], venue="sim", symbol="btcusdt")
    following = read_query(ListCandlesRequest(limit=2, page_token=answer.next_page_token))
    assert [candle.time.seconds for candle in answer.candles] == [8 * 60, 9 * 60]
    assert (following.venue, following.symbol, following.before_us) == ("sim", "btcusdt", 8 * MINUTE_US)
    assert following.statement == LIST_LAST_CANDLES


def test_after_candles_from_a_start_the_next_page_begins_behind_them() -> None:
    query = read_query(ListCandlesRequest(limit=2, start=at(7)))
    answer = query.response([row(7), row(8), row(9)], venue="sim", symbol="btcusdt")
    following = read_query(ListCandlesRequest(limit=2, start=at(7), page_token=answer.next_page_token))
    assert [candle.time.seconds for candle in answer.candles] == [7 * 60, 8 * 60]
    assert following.from_us == 8 * MINUTE_US + 1


def test_an_order_decides_where_the_pages_go_and_how_the_candles_of_each_lie() -> None:
    rising = read_query(ListCandlesRequest(limit=2, order="asc"))
    falling = read_query(ListCandlesRequest(limit=2, order="desc", start=at(1)))
    forth = rising.response([row(7), row(8), row(9)], venue="sim", symbol="btcusdt")
    back = falling.response([row(9), row(8), row(7)], venue="sim", symbol="btcusdt")
    on_forth = read_query(ListCandlesRequest(limit=2, order="asc", page_token=forth.next_page_token))
    on_back = read_query(ListCandlesRequest(limit=2, order="desc", start=at(1), page_token=back.next_page_token))

    assert (rising.statement, falling.statement) == (LIST_FIRST_CANDLES, LIST_LAST_CANDLES)
    assert [candle.time.seconds for candle in forth.candles] == [7 * 60, 8 * 60]
    assert [candle.time.seconds for candle in back.candles] == [9 * 60, 8 * 60]
    assert (on_forth.from_us, on_forth.before_us) == (8 * MINUTE_US + 1, LAST_US)
    assert (on_back.from_us, on_back.before_us) == (MINUTE_US, 8 * MINUTE_US)


@pytest.mark.parametrize(
    ("text", "name", "part", "parts"),
    [
        ("", "1m", "1m", 1),
        ("60s", "1m", "1m", 1),
        ("24h", "1d", "1d", 1),
        ("7s", "7s", "1s", 7),
        ("3m", "3m", "1m", 3),
        ("90m", "90m", "15m", 6),
        ("2h", "2h", "1h", 2),
        ("7d", "7d", "1d", 7),
        ("1w", "1w", "1d", 7),
    ],
)
def test_a_multiple_consists_of_the_longest_stored_candles_that_divide_it(
    text: str, name: str, part: str, parts: int
) -> None:
    interval = read_interval(text)

    assert (interval.name, interval.part, interval.parts) == (name, part, parts)


@pytest.mark.parametrize(
    ("text", "begins"),
    [("3m", "2026-11-25 13:57"), ("7h", "2026-11-25 10:00"), ("3d", "2026-11-24"), ("1w", "2026-11-23")],
)
def test_a_week_begins_on_monday_and_all_others_are_counted_from_1970(text: str, begins: str) -> None:
    interval = read_interval(text)
    wednesday = dt.datetime(2026, 11, 25, 13, 59, 59, tzinfo=dt.UTC)
    begin_us = interval.floor(int(wednesday.timestamp()) * 10**6)

    assert str(time_of(begin_us)).startswith(begins)
    assert interval.ceil(begin_us) == begin_us == interval.ceil(begin_us + 1) - interval.length_us
    assert text == "1w" or begin_us % interval.length_us == 0


def test_a_page_of_a_long_multiple_is_shorter_and_has_one_candle_at_least() -> None:
    sizes = [read_query(ListCandlesRequest(interval=name, limit=1000)).size for name in ("3m", "59m", "86399s")]

    assert sizes == [1000, 338, 1]


def test_the_last_page_has_no_next_one() -> None:
    assert (
        read_query(ListCandlesRequest(limit=2))
        .response([row(9), row(8)], venue="sim", symbol="btcusdt")
        .next_page_token
        == ""
    )


def test_an_indicator_that_is_not_warm_is_nan() -> None:
    cold = row(1, rsi=None)
    [candle] = read_query(ListCandlesRequest()).response([cold], venue="sim", symbol="btcusdt").candles
    assert math.isnan(candle.rsi) and candle.atr == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"venue": "binance"},
        {"symbol": "ethusdt"},
        {"interval": "5m"},
        {"start": at(1)},
        {"end_time": at(20)},
        {"order": "asc"},
        {"open": True},
    ],
)
def test_a_token_only_continues_its_own_question(changed: dict[str, Any]) -> None:
    token = (
        read_query(ListCandlesRequest(limit=1))
        .response([row(9), row(8)], venue="sim", symbol="btcusdt")
        .next_page_token
    )
    with pytest.raises(InvalidRequest, match="belongs to another question"):
        read_query(ListCandlesRequest(page_token=token, **changed))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"interval": "1M"}, "interval is '1M', expected a number and s, m, h, d or w, such as 1m, 3m or 1w"),
        ({"interval": "0m"}, "interval is '0m', expected a number"),
        ({"interval": "86401s"}, "interval is '86401s', which takes 86401 candles of 1s, expected at most 86400"),
        ({"interval": "999999999w"}, "expected at most 86400"),
        ({"interval": "1" * 5000 + "m"}, "interval is '11111111111111111111', expected"),
        ({"start": at(2), "end": at(1)}, "end is before start"),
        ({"start": Timestamp(seconds=2**50)}, "start is"),
        ({"start_time": at(2), "end_time": at(1)}, "end_time is before start_time"),
        ({"symbol": "a/b"}, "is not a symbol"),
        ({"page_token": "x"}, "page_token is none of ours"),
        ({"page_token": "A" * 600}, "page_token is none of ours"),
    ],
)
def test_nonsense_is_refused_with_what_was_found(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_query(ListCandlesRequest(**fields))
    assert why in str(refused.value)
