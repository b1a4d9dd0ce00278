"""Candles against a model that sorts trades into intervals, indicators against TA-Lib on the very same candles."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from itertools import groupby, pairwise

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from libsignal import SignalCandle, SignalGroups, SignalState
from mesh.values.candles import INTERVALS_US
from tests.fixtures.libsignal import NOON_US, ROWS, Row, Rows, columns, market

unhurried = settings(deadline=None, max_examples=50)
DAY_US = INTERVALS_US["1d"]
U = 2.0**-53


def in_time(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: row[2])


def candle_of(numbered: Iterable[tuple[int, Row]], interval_us: int) -> dict[str, int]:
    """Return what a candle of these trades, numbered by their ids, must hold."""
    trades = list(numbered)
    prices = [price for _, (price, _, _, _) in trades]
    return {
        "interval_us": interval_us,
        "start_us": trades[0][1][2] // interval_us * interval_us,
        "open_e8": prices[0],
        "high_e8": max(prices),
        "low_e8": min(prices),
        "close_e8": prices[-1],
        "count": len(trades),
        "first_trade_id": trades[0][0],
        "last_trade_id": trades[-1][0],
        "volume_e8": sum(quantity for _, (_, quantity, _, _) in trades),
        "taker_buy_volume_e8": sum(quantity for _, (_, quantity, _, is_buyer_maker) in trades if not is_buyer_maker),
        "quote_volume_e16": sum(price * quantity for _, (price, quantity, _, _) in trades),
    }


def assert_holds(candle: SignalCandle | None, expected: dict[str, int]) -> None:
    assert {name: getattr(candle, name) for name in expected} == expected


def closed(rows: Rows, interval: str, **settings_: int) -> list[SignalCandle]:
    state = SignalState(SignalGroups.CANDLES, **settings_)
    candles = state.process(columns(rows)).candles
    return [candle for candle in candles if candle.interval_us == INTERVALS_US[interval]]


@unhurried
@given(rows=ROWS, capacity=st.sampled_from([7, 4096]))
def test_candles_are_the_trades_of_their_intervals(rows: Rows, capacity: int) -> None:
    trades = in_time(rows)
    state = SignalState(SignalGroups.CANDLES, capacity=capacity)

    candles = state.process(columns(trades)).candles

    for interval, interval_us in INTERVALS_US.items():
        numbered = enumerate(trades, start=1)
        groups = groupby(numbered, key=lambda trade: trade[1][2] // interval_us)
        expected = [candle_of(group, interval_us) for _, group in groups]
        found = [candle for candle in candles if candle.interval_us == interval_us]
        for candle, one in zip(found, expected, strict=False):
            assert_holds(candle, one)
        assert len(found) == len(expected) - 1
        assert_holds(state.open_candle(interval), expected[-1])


@unhurried
@given(rows=ROWS)
def test_a_candle_tells_how_many_empty_intervals_come_before_it(rows: Rows) -> None:
    for candle, later in pairwise(closed(in_time(rows), "1m")):
        assert later.start_us == candle.start_us + (1 + later.empty_before) * candle.interval_us


def test_empty_intervals_become_candles_up_to_a_limit() -> None:
    seconds = [0, 1, 4, 9, 10]
    rows = [(100 + second, 5, NOON_US + second * 10**6, False) for second in seconds]

    found = closed(rows, "1s", empty_candles=3)

    starts = [(candle.start_us - NOON_US // 10**6 * 10**6) // 10**6 for candle in found]
    assert starts == [0, 1, 2, 3, 4, 9]
    assert [candle.count for candle in found] == [1, 1, 0, 0, 1, 1]
    assert [candle.empty_before for candle in found] == [0, 0, 0, 0, 0, 4]
    assert [found[2].open_e8, found[2].high_e8, found[2].low_e8, found[2].close_e8] == [101] * 4
    assert [found[2].first_trade_id, found[2].volume_e8, found[2].quote_volume_e16] == [-1, 0, 0]


def test_a_late_trade_belongs_to_the_candles_that_are_still_open() -> None:
    rows = [
        (100, 1, NOON_US, False),
        (101, 1, NOON_US + 2 * 10**6, False),
        (90, 1, NOON_US, True),  # its second is closed, its minute is not
        (102, 1, NOON_US + 2 * 10**6 - 1, False),  # back within the open second or the one before
        (103, 1, NOON_US + 3 * 10**6, False),
    ]
    state = SignalState(SignalGroups.CANDLES)

    signals = state.process(columns(rows))

    minute = state.open_candle("1m")
    assert minute is not None
    assert (minute.low_e8, minute.count) == (90, 5)
    assert signals.late_intervals.tolist() == [0, 0, 1, 0, 0]
    seconds = [candle for candle in signals.candles if candle.interval_us == 10**6]
    assert [(candle.low_e8, candle.count) for candle in seconds] == [(100, 1), (101, 2)]


@unhurried
@given(rows=ROWS)
def test_no_trade_is_lost_however_time_jumps(rows: Rows) -> None:
    state = SignalState(SignalGroups.CANDLES)

    signals = state.process(columns(rows))

    for k, (interval, interval_us) in enumerate(INTERVALS_US.items()):
        open_candle = state.open_candle(interval)
        assert open_candle is not None
        told = sum(candle.count for candle in signals.candles if candle.interval_us == interval_us)
        late = int(np.count_nonzero(signals.late_intervals >> k & 1))
        assert told + open_candle.count + late == len(rows)


def test_longer_intervals_agree_with_the_shorter_ones() -> None:
    rows = market(20_000)
    state = SignalState(SignalGroups.CANDLES)

    candles = state.process(columns(rows)).candles

    for short, long in pairwise(INTERVALS_US.values()):
        parts = [candle for candle in candles if candle.interval_us == short]
        for whole in (candle for candle in candles if candle.interval_us == long):
            inside = [part for part in parts if whole.start_us <= part.start_us < whole.start_us + long]
            assert (whole.open_e8, whole.close_e8) == (inside[0].open_e8, inside[-1].close_e8)
            assert whole.high_e8 == max(part.high_e8 for part in inside)
            assert whole.low_e8 == min(part.low_e8 for part in inside)
            for name in ("count", "volume_e8", "taker_buy_volume_e8", "quote_volume_e16"):
                assert getattr(whole, name) == sum(getattr(part, name) for part in inside)
            assert (whole.first_trade_id, whole.last_trade_id) == (inside[0].first_trade_id, inside[-1].last_trade_id)


def test_there_is_no_open_candle_before_the_first_trade() -> None:
    assert SignalState(SignalGroups.CANDLES).open_candle("1m") is None


PERIODS = [
    {
        "rsi_period": 14,
        "atr_period": 14,
        "macd_fast_period": 12,
        "macd_slow_period": 26,
        "macd_signal_period": 9,
        "candle_ema_period": 20,
        "candle_sma_period": 20,
    },
    {
        "rsi_period": 2,
        "atr_period": 2,
        "macd_fast_period": 2,
        "macd_slow_period": 3,
        "macd_signal_period": 1,
        "candle_ema_period": 2,
        "candle_sma_period": 2,
    },
    {
        "rsi_period": 50,
        "atr_period": 99,
        "macd_fast_period": 20,
        "macd_slow_period": 77,
        "macd_signal_period": 30,
        "candle_ema_period": 200,
        "candle_sma_period": 200,
    },
    {
        "rsi_period": 7,
        "atr_period": 21,
        "macd_fast_period": 5,
        "macd_slow_period": 35,
        "macd_signal_period": 5,
        "candle_ema_period": 9,
        "candle_sma_period": 50,
    },
]


def errors(periods: dict[str, int], highest: float) -> dict[str, float]:
    """Return the bounds that the header states."""
    slow, signal = periods["macd_slow_period"], periods["macd_signal_period"]
    return {
        "rsi": 1200 * periods["rsi_period"] * U,
        "atr": 4 * (periods["atr_period"] + 1) * U * highest,
        "ema": 4 * (periods["candle_ema_period"] + 1) * U * highest,
        "sma": U * highest,
        "macd": 8 * (slow + 1) * U * highest,
        "macd_signal": 16 * (slow + signal) * U * highest,
        "macd_histogram": 16 * (slow + signal) * U * highest,
        "average_gain": 4 * (periods["rsi_period"] + 1) * U * highest,
        "average_loss": 4 * (periods["rsi_period"] + 1) * U * highest,
        "macd_fast": 4 * (periods["macd_fast_period"] + 1) * U * highest,
        "macd_slow": 4 * (slow + 1) * U * highest,
    }


@pytest.mark.parametrize("periods", PERIODS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_indicators_are_talibs(periods: dict[str, int], seed: int) -> None:
    candles = closed(market(8_000, seed), "1s", **periods)

    # Scaled prices are whole numbers, of which TA-Lib takes differences without loss.
    high, low, close = (
        np.array([getattr(candle, name) for candle in candles], np.float64)
        for name in ("high_e8", "low_e8", "close_e8")
    )
    fast, slow, signal = (periods[f"macd_{name}_period"] for name in ("fast", "slow", "signal"))
    macd, macd_signal, macd_histogram = talib.MACD(close, fast, slow, signal)
    talibs = {
        "rsi": talib.RSI(close, periods["rsi_period"]),
        "atr": talib.ATR(high, low, close, periods["atr_period"]) / 1e8,
        "ema": talib.EMA(close, periods["candle_ema_period"]) / 1e8,
        "sma": talib.SMA(close, periods["candle_sma_period"]) / 1e8,
        "macd": macd / 1e8,
        "macd_signal": macd_signal / 1e8,
        "macd_histogram": macd_histogram / 1e8,
    }
    bounds = errors(periods, max(high) / 1e8)
    for name, theirs in talibs.items():
        error = bounds[name]
        found = np.array([getattr(candle, name) for candle in candles])
        defined = ~np.isnan(theirs)
        assert defined.any()
        # Twice: TA-Lib's own arithmetic is no more exact than ours.
        np.testing.assert_allclose(found[defined], theirs[defined], rtol=0, atol=2 * error, err_msg=name)
        if name != "macd":  # which TA-Lib keeps back until its signal is warm
            np.testing.assert_array_equal(np.isnan(found), np.isnan(theirs), err_msg=name)


def smoothed(values: list[Fraction | None], period: int, pull: Fraction) -> list[Fraction | None]:
    """Return the mean of the first `period` values, then each pulled towards the next value; None before."""
    there = [value for value in values if value is not None]
    result: list[Fraction | None] = [None] * (len(values) - len(there) + period - 1)
    if len(there) >= period:
        average = sum(there[:period], Fraction()) / period
        result.append(average)
        for value in there[period:]:
            average += (value - average) * pull
            result.append(average)
    return result


ONES = dict.fromkeys(PERIODS[0], 1) | {"macd_slow_period": 2}


def jumps(n: int) -> Rows:
    """Return prices that jump over all orders of magnitude, or stay, or move by the least there is."""
    prices = [1, 2**54, 2**54 + 1, 2**54 + 1, 2**63 - 1, 3, 2, 2**53 + 1, 6_183_763_000_000, 6_183_763_000_001]
    return [(prices[(k * k + k // 7) % len(prices)], 1, NOON_US + 1_000_000 * k, False) for k in range(n)]


@pytest.mark.parametrize("periods", [*PERIODS[:2], PERIODS[3], ONES])
@pytest.mark.parametrize("rows", [market(1_500, seed=7), jumps(150)], ids=["market", "jumps"])
def test_indicators_stay_within_their_bounds(periods: dict[str, int], rows: Rows) -> None:
    candles = closed(rows, "1s", **periods)[:150]

    close: list[Fraction] = [Fraction(candle.close_e8, 10**8) for candle in candles]
    steps = [later - earlier for earlier, later in pairwise(close)]
    ranges = [
        Fraction(max(candle.high_e8, before.close_e8) - min(candle.low_e8, before.close_e8), 10**8)
        for before, candle in pairwise(candles)
    ]
    rsi_period, atr_period, ema_period = (periods[f"{name}_period"] for name in ("rsi", "atr", "candle_ema"))
    fast, slow, signal = (periods[f"macd_{name}_period"] for name in ("fast", "slow", "signal"))
    gain = smoothed([None, *(max(step, Fraction()) for step in steps)], rsi_period, Fraction(1, rsi_period))
    loss = smoothed([None, *(max(-step, Fraction()) for step in steps)], rsi_period, Fraction(1, rsi_period))
    late = [None] * (slow - fast)
    fasts = smoothed([*late, *close[slow - fast :]], fast, Fraction(2, fast + 1))
    slows = smoothed([*close], slow, Fraction(2, slow + 1))
    macd = [None if f is None or s is None else f - s for f, s in zip(fasts, slows, strict=True)]
    signals = smoothed([*macd], signal, Fraction(2, signal + 1))
    exact = {
        "rsi": [
            None if g is None or x is None else 100 * g / (g + x) if g + x else Fraction()
            for g, x in zip(gain, loss, strict=True)
        ],
        "atr": smoothed([None, *ranges], atr_period, Fraction(1, atr_period)),
        "ema": smoothed([*close], ema_period, Fraction(2, ema_period + 1)),
        "macd": macd,
        "macd_signal": signals,
        "macd_histogram": [None if s is None or m is None else m - s for m, s in zip(macd, signals, strict=True)],
        "average_gain": gain,
        "average_loss": loss,
        "macd_fast": fasts,
        "macd_slow": slows,
    }
    bounds = errors(periods, float(max(close)))
    for name, expected in exact.items():
        for candle, value in zip(candles, expected, strict=True):
            found = getattr(candle, name)
            assert math.isnan(found) if value is None else abs(Fraction(found) - value) <= bounds[name], name


def test_an_rsi_of_one_candle_knows_nothing_of_a_jump_before_it() -> None:
    rows = [(price, 1, NOON_US + 1_000_000 * k, False) for k, price in enumerate((1, 2**54, 2**54 + 1, 2**54, 7))]

    found = closed([*rows, (7, 1, NOON_US + 10_000_000, False)], "1s", rsi_period=1)

    assert [candle.rsi for candle in found[1:]] == [100, 100, 0, 0]


@pytest.mark.parametrize(("window", "width"), [(20, 2.0), (2, 1.0), (1000, 2.5)])
def test_bollingers_bands_on_trades_are_talibs(window: int, width: float) -> None:
    rows = market(5_000)
    state = SignalState(SignalGroups.DEVIATION, deviation_window=window, bollinger_width=width)

    found = state.process(columns(rows))

    upper, middle, lower = talib.BBANDS(np.array([row[0] for row in rows]) / 1e8, window, width, width)
    warm = slice(window - 1, None)
    # TA-Lib subtracts two squares of some 4e9 in doubles, so its deviation is good to about 1e-3 only.
    np.testing.assert_allclose(found.bollinger_middle[warm], middle[warm], rtol=1e-12)
    np.testing.assert_allclose(found.bollinger_upper[warm], upper[warm], rtol=1e-7)
    np.testing.assert_allclose(found.bollinger_lower[warm], lower[warm], rtol=1e-7)


def test_an_unmoved_price_has_an_rsi_of_zero_as_in_talib() -> None:
    rows = [(10**8, 1, NOON_US + second * 10**6, False) for second in range(30)]

    found = closed(rows, "1s")

    assert [candle.rsi for candle in found[14:]] == talib.RSI(np.ones(29), 14).tolist()[14:]
    assert math.isnan(found[13].rsi)
    assert found[-1].atr == 0
