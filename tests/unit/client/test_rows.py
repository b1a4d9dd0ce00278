from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from tickmesh_client import Candle, ExtraMissing, Instrument, Rows, Trade

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
PRICE = Decimal("92233720368.54775807")  # the largest there is


def trades(count: int = 3) -> Rows[Trade]:
    """Return trades as the gateway lists them: newest first."""
    made = [
        Trade("sim", "btcusdt", number, PRICE - number, Decimal("0.1"), NOON + timedelta(microseconds=number), "BUY")
        for number in reversed(range(count))
    ]
    return Rows(Trade, made, newest_first=True)


def candle(quote_volume: str) -> Candle:
    fields: dict[str, Any] = dict.fromkeys(Candle.__struct_fields__)
    fields |= {"time": NOON, "interval": "1m", "atr": 0.5, "quote_volume": Decimal(quote_volume)}
    fields |= dict.fromkeys(("open", "high", "low", "close", "volume", "taker_buy_volume"), PRICE)
    fields |= dict.fromkeys(("count", "first_trade_id", "last_trade_id", "revision", "epoch"), 7)
    return Candle(**fields)


def test_a_table_is_exact_and_in_the_order_of_time() -> None:
    table = trades().to_arrow()
    assert table["trade_id"].to_pylist() == [0, 1, 2]
    assert table["price"].to_pylist() == [PRICE, PRICE - 1, PRICE - 2]
    assert table.schema.field("price").type == pa.decimal128(38, 8)
    assert table["timestamp"].to_pylist()[2] == NOON + timedelta(microseconds=2)


def test_doubles_are_the_nearest_ones() -> None:
    table = trades().to_arrow(exact=False)
    assert table["quantity"].to_pylist() == [0.1, 0.1, 0.1]
    assert table["price"].to_pylist()[0] == float(PRICE)


def test_a_quote_volume_keeps_its_sixteen_places_and_what_is_not_defined_is_null() -> None:
    rows = Rows(Candle, [candle("8100000000000000000000.0000000000000015")], newest_first=False)
    table = rows.to_arrow()
    assert table["quote_volume"].to_pylist() == [Decimal("8100000000000000000000.0000000000000015")]
    assert (table["rsi"].to_pylist(), table["atr"].to_pylist()) == ([None], [0.5])


def test_a_pandas_frame_has_the_time_in_utc_as_its_index() -> None:
    frame = trades().to_pandas()
    assert str(frame.index.tz) == "UTC"
    assert frame.index.is_monotonic_increasing
    assert frame["quantity"].dtype == "float64"
    assert frame["quantity"].resample("1s").sum().to_list() == [pytest.approx(0.3)]
    assert list(trades().to_pandas(exact=True)["price"]) == [PRICE, PRICE - 1, PRICE - 2]
    assert Rows(Candle, [candle("1")], newest_first=False).to_pandas().index.name == "time"


@pytest.mark.parametrize("count", [0, 2])
def test_rows_without_a_time_make_tables_too(count: int) -> None:
    step = Decimal("0.00000001")
    instruments = [Instrument(f"coin{n}usdt", f"COIN{n}", "USDT", step, step, "TRADING") for n in range(count)]
    rows = Rows(Instrument, instruments, newest_first=False)
    names = [each.symbol for each in instruments]
    assert rows.to_pandas()["symbol"].to_list() == rows.to_polars()["symbol"].to_list() == names
    assert rows.to_arrow()["tick_size"].to_pylist() == [step] * count


def test_a_polars_frame_has_decimals_or_doubles() -> None:
    exact, near = trades().to_polars(), trades().to_polars(exact=False)
    assert (exact.schema["price"], near.schema["price"]) == (pl.Decimal(38, 8), pl.Float64)
    assert exact.schema["timestamp"] == pl.Datetime("us", "UTC")
    assert exact["price"].to_list() == [PRICE, PRICE - 1, PRICE - 2]


def test_no_rows_make_a_table_with_the_same_columns() -> None:
    assert trades(0).to_arrow().schema == trades().to_arrow().schema
    assert len(trades(0).to_pandas()) == 0
    assert trades(0).to_polars().schema == trades().to_polars().schema


def test_a_part_of_the_rows_is_rows_too() -> None:
    assert trades()[1:].to_arrow()["trade_id"].to_pylist() == [0, 1]
    assert trades()[::-1].to_arrow()["trade_id"].to_pylist() == [0, 1, 2]
    assert trades()[0].trade_id == 2
    assert trades()[np.int64(-1)].trade_id == 0  # type: ignore[call-overload]  # what a column of a frame gives


@pytest.mark.parametrize(
    ("package", "make"), [("pyarrow", "to_arrow"), ("pandas", "to_pandas"), ("polars", "to_polars")]
)
def test_a_package_that_is_not_there_is_named_with_what_to_install(
    package: str, make: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExtraMissing, match=rf"found no {package}; .*pip install 'tickmesh-client\[{make[3:]}\]'"):
        getattr(trades(), make)()
