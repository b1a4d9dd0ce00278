"""A venue's minute read and compared: agreement is silent, a difference is said in words."""

from __future__ import annotations

import datetime as dt

import pytest

from mesh.service.errors import BadMessage
from store.ledger.minutes import MinuteTotals, VenueMinute, difference, read_minute
from tickmesh.v1.control_pb2 import VenueCandle

MINUTE_US = 1_723_161_240_000_000


def candle(**changes: int | str) -> VenueCandle:
    values = {
        "venue": "binance",
        "symbol": "btcusdt",
        "open_time_us": MINUTE_US,
        "first_trade_id": 10,
        "last_trade_id": 19,
        "trade_count": 10,
        "open_e8": 100,
        "high_e8": 120,
        "low_e8": 90,
        "close_e8": 110,
        "volume_decimal": "0.00005",
    } | changes
    return VenueCandle(**values)  # type: ignore[arg-type]


def test_a_minute_is_read() -> None:
    assert read_minute(candle()) == VenueMinute(
        "binance",
        "btcusdt",
        dt.datetime(2024, 8, 8, 23, 54, tzinfo=dt.UTC),
        10,
        19,
        MinuteTotals(10, 100, 120, 90, 110, 5_000),
    )


def test_a_volume_may_be_larger_than_64_bits_hold() -> None:
    assert read_minute(candle(volume_decimal="180000000000.5")).totals.volume_e8 == 18_000_000_000_050_000_000


def test_a_volume_as_older_ingests_told_it_is_read_too() -> None:
    assert read_minute(candle(volume_decimal="", volume_e8=5_000)).totals.volume_e8 == 5_000


def test_a_minute_without_trades_has_no_prices_whatever_the_venue_says() -> None:
    minute = read_minute(candle(first_trade_id=-1, last_trade_id=-1, trade_count=0, volume_decimal="0"))

    assert minute.totals == MinuteTotals(0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"venue": ""},
        {"symbol": "btc usdt"},
        {"first_trade_id": 20},
        {"first_trade_id": -1},
        {"last_trade_id": 2**63 - 1},
        {"trade_count": 11},
        {"trade_count": 0},
        {"volume_decimal": "-1"},
        {"volume_decimal": "1e9"},
        {"volume_decimal": "0.000000001"},
        {"open_time_us": MINUTE_US + 1},
        {"open_time_us": -60_000_000},
        {"open_time_us": 2**62 // 60_000_000 * 60_000_000},
        {"low_e8": -1},
    ],
)
def test_numbers_no_minute_can_have_are_refused(wrong: dict[str, int | str]) -> None:
    with pytest.raises(BadMessage, match="a candle"):
        read_minute(candle(**wrong))


def test_the_same_sums_are_no_difference() -> None:
    assert difference(read_minute(candle()), MinuteTotals(10, 100, 120, 90, 110, 5_000)) == ""


def test_a_difference_is_said_in_the_units_of_people() -> None:
    found = MinuteTotals(9, 100, 120, 90, 110, 4_000)

    assert (
        difference(read_minute(candle()), found) == "trade_count 9, the venue's 10; volume 0.00004, the venue's 0.00005"
    )
