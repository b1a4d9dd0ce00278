"""libsignal on recorded trades, against a model that knows nothing but Python's integers."""

from __future__ import annotations

import gzip
import json
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import pytest

from libsignal import SignalState
from mesh.values.candles import INTERVALS_US
from mesh.values.trades import TradeColumns
from tests.fixtures.libsignal import Row, columns

DATA = Path(__file__).parents[4] / "shared" / "data"
TAPES = ("btcusdt_20230405.trades.jsonl.gz", "btcusdt_20240808.trades.jsonl.gz")


def scaled(text: str) -> int:
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(8, "0"))


@pytest.fixture(scope="module", params=TAPES)
def rows(request: pytest.FixtureRequest) -> list[Row]:
    tape = DATA / request.param
    if not tape.is_file():
        pytest.skip(f"no recorded trades at {tape}")
    with gzip.open(tape, "rt") as lines:
        trades = [json.loads(line)["data"] for line in lines]
    return [(scaled(trade["p"]), scaled(trade["q"]), trade["T"] * 1000, trade["m"]) for trade in trades]


@pytest.fixture(scope="module")
def tape(rows: list[Row]) -> TradeColumns:
    return columns(rows)


def test_moving_average_and_extremes_of_recorded_trades_are_exact(rows: list[Row], tape: TradeColumns) -> None:
    found = SignalState(moving_average_window=20, extremes_window=50).process(tape)

    prices = [row[0] for row in rows]
    last = [prices[max(0, i - 49) : i + 1] for i in range(len(prices))]
    assert found.moving_average.tolist() == [float(Fraction(sum(w[-20:]), len(w[-20:]) * 10**8)) for w in last]
    assert found.window_high_e8.tolist() == [max(w) for w in last]
    assert found.window_low_e8.tolist() == [min(w) for w in last]


def test_candles_of_recorded_trades_are_their_trades(rows: list[Row], tape: TradeColumns) -> None:
    candles = SignalState().process(tape).candles

    for interval_us in INTERVALS_US.values():
        intervals = [list(group) for _, group in groupby(rows, key=lambda row: row[2] // interval_us)]
        expected = [
            (
                trades[0][0],
                max(price for price, _, _, _ in trades),
                min(price for price, _, _, _ in trades),
                trades[-1][0],
                sum(quantity for _, quantity, _, _ in trades),
                sum(price * quantity for price, quantity, _, _ in trades),
                sum(quantity for _, quantity, _, is_buyer_maker in trades if not is_buyer_maker),
                len(trades),
            )
            for trades in intervals[:-1]
        ]
        found = [
            (
                candle.open_e8,
                candle.high_e8,
                candle.low_e8,
                candle.close_e8,
                candle.volume_e8,
                candle.quote_volume_e16,
                candle.taker_buy_volume_e8,
                candle.count,
            )
            for candle in candles
            if candle.interval_us == interval_us
        ]
        assert found == expected
