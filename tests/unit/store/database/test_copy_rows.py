"""The bytes of a COPY, read back the way PostgreSQL's documents describe them."""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.values.fixed import MAX_E8
from mesh.values.trades import MAX_TIME_US, MAX_TRADE_ID, TradeColumns, latest_us, refusal
from tickcodec.copy_rows import trade_rows


def trades(**changes: Any) -> TradeColumns:
    values: dict[str, Any] = {
        "venue": "binance",
        "symbol": "btcusdt",
        "received_time_us": 0,
        "trade_id": [7],
        "price_e8": [6_183_763_000_000],
        "quantity_e8": [2_000_000],
        "time_us": [1_723_161_255_342_000],
        "is_buyer_maker": [True],
    } | changes
    for name in ("trade_id", "price_e8", "quantity_e8", "time_us"):
        values[name] = np.array(values[name], np.int64)
    return TradeColumns(**values | {"is_buyer_maker": np.array(values["is_buyer_maker"])})


_TWO: dict[str, Any] = {
    "price_e8": [6_183_763_000_000, 1],
    "quantity_e8": [2_000_000, 0],
    "time_us": [1_723_161_255_342_000, 1_723_161_255_342_001],
    "is_buyer_maker": [True, False],
}
_SYMBOLS = ("btcusdt", "dogeusdt", "ethusdt", "币安人生usdt", "shibusdt")


def copied(*groups: TradeColumns) -> bytes:
    return bytes(trade_rows(groups))


def fields(row: bytes) -> list[bytes]:
    (count,) = struct.unpack_from(">h", row)
    at, found = 2, []
    for _ in range(count):
        (length,) = struct.unpack_from(">i", row, at)
        found.append(row[at + 4 : at + 4 + length])
        at += 4 + length
    assert at == len(row)
    return found


def decimal(field: bytes) -> Decimal:
    count, weight, sign, scale = struct.unpack_from(">hhHH", field)
    digits = struct.unpack_from(f">{count}h", field, 8)
    assert sign == 0
    assert all(0 <= digit < 10_000 for digit in digits)
    parts = [Decimal(digit) * Decimal(10_000) ** (weight - place) for place, digit in enumerate(digits)]
    return sum(parts, Decimal()).quantize(Decimal(1).scaleb(-scale))


def test_a_row_holds_the_columns_of_the_table_in_order() -> None:
    time, venue, symbol, trade_id, price, quantity, maker = fields(copied(trades()))

    assert (venue, symbol, maker) == (b"binance", b"btcusdt", b"\x01")
    assert struct.unpack(">q", time) == (1_723_161_255_342_000 - 946_684_800_000_000,)
    assert struct.unpack(">q", trade_id) == (7,)
    assert (str(decimal(price)), str(decimal(quantity))) == ("61837.63000000", "0.02000000")


@given(st.integers(0, MAX_E8))
def test_every_number_keeps_each_of_its_digits(value_e8: int) -> None:
    *_, price, _, _ = fields(copied(trades(price_e8=[value_e8])))

    assert decimal(price) == Decimal(value_e8).scaleb(-8)


def test_rows_of_a_symbol_follow_each_other_at_one_width() -> None:
    two = trades(
        trade_id=[1, 2], price_e8=[1, MAX_E8], quantity_e8=[0, 1], time_us=[0, 1], is_buyer_maker=[True, False]
    )

    rows = copied(two)

    half = len(rows) // 2
    assert rows == copied(two.rows(slice(0, 1))) + copied(two.rows(slice(1, 2)))
    assert [fields(rows[:half])[3], fields(rows[half:])[3]] == [struct.pack(">q", 1), struct.pack(">q", 2)]


def test_rows_of_many_symbols_are_those_of_each_one_in_their_order() -> None:
    groups = [trades(symbol=symbol, trade_id=[n, n + 1], **_TWO) for n, symbol in enumerate(_SYMBOLS)]
    rows = copied(*groups)

    alone = [copied(group) for group in groups]
    assert len(rows) == sum(map(len, alone))
    assert all(each in rows for each in alone)


@pytest.mark.parametrize(
    "kept",
    [
        {"time_us": [0]},
        {"time_us": [MAX_TIME_US]},
        {"trade_id": [0]},
        {"trade_id": [MAX_TRADE_ID]},
        {"quantity_e8": [0]},
    ],
)
def test_what_is_at_the_edge_is_kept(kept: dict[str, list[int]]) -> None:
    assert refusal(trades(**kept)) == ""


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"time_us": [-1]}, "time_us is -1, expected 0 to 253402300799999999 (row 0 of 1)"),
        ({"time_us": [MAX_TIME_US + 1]}, "time_us is 253402300800000000"),
        ({"time_us": [-(2**63)]}, "time_us is -9223372036854775808"),
        ({"trade_id": [-1]}, "trade_id is -1"),
        ({"trade_id": [2**63 - 1]}, "trade_id is 9223372036854775807"),
        ({"price_e8": [0]}, "price_e8 is 0, expected 1 or more"),
        ({"quantity_e8": [-5]}, "quantity_e8 is -5, expected 0 or more"),
    ],
)
def test_what_no_trade_can_have_is_refused_by_name(wrong: dict[str, list[int]], reason: str) -> None:
    assert refusal(trades(**wrong)).startswith(reason)


def test_the_refusal_names_the_row() -> None:
    found = trades(trade_id=[1, 2], price_e8=[5, -1], quantity_e8=[1, 1], time_us=[1, 1], is_buyer_maker=[True, True])

    assert refusal(found).endswith("(row 1 of 2)")


NOW_US, DAY_US = 1_800_000_000_000_000, 86_400_000_000


def test_a_time_far_ahead_of_the_clock_is_refused() -> None:
    assert refusal(trades(time_us=[NOW_US + DAY_US]), now_us=NOW_US) == ""
    assert refusal(trades(time_us=[7_258_118_400_000_000]), now_us=NOW_US).startswith("time_us is 7258118400000000, ")


@pytest.mark.parametrize(
    ("now_us", "received_us", "latest"),
    [
        (NOW_US, NOW_US - 5 * DAY_US, NOW_US + DAY_US),
        (NOW_US, NOW_US + 5 * DAY_US, NOW_US + 6 * DAY_US),  # the clock here is behind
        (NOW_US, NOW_US + 4000 * DAY_US, NOW_US + DAY_US),  # that one cannot be right
        (0, NOW_US, MAX_TIME_US),  # the clock here was never set
    ],
)
def test_the_latest_time_goes_by_the_clocks_that_can_be_right(now_us: int, received_us: int, latest: int) -> None:
    assert latest_us(now_us, received_us) == latest
