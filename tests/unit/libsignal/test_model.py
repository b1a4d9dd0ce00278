"""Every per-trade signal against a model that looks at its whole window anew, in fractions.

What the header calls exact must be equal; elsewhere the error must stay below the bound the header states.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from decimal import Context, Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from libsignal import SignalGroups, SignalState
from tests.fixtures.libsignal import NOON_US, ROWS, WINDOWS, Rows, columns

U = Fraction(1, 2**53)
unhurried = settings(deadline=None, max_examples=50)  # fractions take what they take
EXACTLY = Context(prec=60)
BURST = [(6_183_763_000_000 + i % 7, 10**6 * (i % 3), NOON_US, i % 2 == 0) for i in range(735)]


def windows(rows: Rows, window: int) -> Iterator[Rows]:
    for i in range(len(rows)):
        yield rows[max(0, i + 1 - window) : i + 1]


def mean(values: list[int]) -> Fraction:
    return Fraction(sum(values), len(values) * 10**8)


def deviation_of(values: list[Fraction]) -> Fraction:
    middle = sum(values, Fraction()) / len(values)
    return root(sum(((value - middle) ** 2 for value in values), Fraction()) / len(values))


def root(square: Fraction) -> Fraction:
    """Return the square root, wrong by less than 10^-60 of itself."""
    scale = 10 ** max(0, 200 - len(str(square.numerator)) + len(str(square.denominator)))
    return Fraction(math.isqrt(square.numerator * scale**2 // square.denominator), scale)


def log(ratio: Fraction) -> Fraction:
    logs = [EXACTLY.ln(Decimal(number)) for number in (ratio.numerator, ratio.denominator)]
    return Fraction(EXACTLY.subtract(*logs))


def assert_within(found: float, exact: Fraction, error: Fraction) -> None:
    assert abs(Fraction(found) - exact) <= error, f"{found!r}, expected {float(exact)!r}"


@unhurried
@given(rows=ROWS, window=WINDOWS)
@example(rows=BURST, window=20)
def test_the_moving_average_is_the_double_nearest_to_the_exact_mean(rows: Rows, window: int) -> None:
    found = SignalState(SignalGroups.MOVING_AVERAGE, moving_average_window=window).process(columns(rows))

    assert found.moving_average.tolist() == [float(mean([row[0] for row in w])) for w in windows(rows, window)]


@unhurried
@given(rows=ROWS, window=WINDOWS)
def test_the_exponential_average_stays_within_its_bound(rows: Rows, window: int) -> None:
    found = SignalState(SignalGroups.EXPONENTIAL_AVERAGE, exponential_window=window).process(columns(rows))

    exact = highest = Fraction(rows[0][0], 10**8)
    for value, row in zip(found.exponential_average.tolist(), rows, strict=True):
        price = Fraction(row[0], 10**8)
        exact += (price - exact) * Fraction(2, window + 1)
        highest = max(highest, price)
        assert_within(value, exact, 4 * (window + 1) * U * highest)


@unhurried
@given(rows=ROWS, window=WINDOWS)
@example(rows=BURST, window=20)
def test_the_vwap_of_the_window_and_of_the_session_stay_within_their_bound(rows: Rows, window: int) -> None:
    found = SignalState(SignalGroups.WINDOW_VWAP | SignalGroups.SESSION, vwap_window=window).process(columns(rows))

    for column, length in ((found.window_vwap, window), (found.session_vwap, len(rows))):
        for value, trades in zip(column.tolist(), windows(rows, length), strict=True):
            volume = sum(quantity for _, quantity, _, _ in trades)
            if volume == 0:
                assert math.isnan(value)
            else:
                exact = Fraction(sum(price * quantity for price, quantity, _, _ in trades), volume * 10**8)
                assert_within(value, exact, 7 * U * exact)


@unhurried
@given(rows=ROWS, window=WINDOWS, width=st.sampled_from([0.5, 2.0, 3.0]))
def test_the_deviation_and_bollingers_bands_stay_within_their_bounds(rows: Rows, window: int, width: float) -> None:
    found = SignalState(SignalGroups.DEVIATION, deviation_window=window, bollinger_width=width).process(columns(rows))

    for i, trades in enumerate(windows(rows, window)):
        middle = mean([row[0] for row in trades])
        deviation = deviation_of([Fraction(row[0], 10**8) for row in trades])
        reach = Fraction(width) * deviation
        assert_within(float(found.deviation[i]), deviation, 6 * U * deviation)
        assert found.bollinger_middle[i] == float(middle)
        assert_within(float(found.bollinger_upper[i]), middle + reach, 8 * U * (middle + reach))
        assert_within(float(found.bollinger_lower[i]), middle - reach, 8 * U * (middle + reach))


@unhurried
@given(rows=ROWS, window=WINDOWS)
@example(rows=BURST, window=20)
def test_window_high_and_low_are_those_of_the_last_trades(rows: Rows, window: int) -> None:
    found = SignalState(SignalGroups.EXTREMES, extremes_window=window).process(columns(rows))

    assert found.window_high_e8.tolist() == [max(row[0] for row in w) for w in windows(rows, window)]
    assert found.window_low_e8.tolist() == [min(row[0] for row in w) for w in windows(rows, window)]


@unhurried
@given(rows=ROWS, window=WINDOWS)
def test_buy_share_and_imbalance_stay_within_their_bounds(rows: Rows, window: int) -> None:
    found = SignalState(SignalGroups.FLOW, flow_window=window).process(columns(rows))

    for i, trades in enumerate(windows(rows, window)):
        bought = sum(quantity for _, quantity, _, is_buyer_maker in trades if not is_buyer_maker)
        sold = sum(quantity for _, quantity, _, is_buyer_maker in trades if is_buyer_maker)
        if bought + sold == 0:
            assert math.isnan(found.buy_share[i])
            assert math.isnan(found.flow_imbalance[i])
        else:
            share, imbalance = Fraction(bought, bought + sold), Fraction(bought - sold, bought + sold)
            assert_within(float(found.buy_share[i]), share, 6 * U * share)
            assert_within(float(found.flow_imbalance[i]), imbalance, 6 * U * abs(imbalance))


@unhurried
@given(rows=ROWS, window=WINDOWS)
@example(rows=BURST, window=20)
def test_the_trade_rate_counts_trades_against_their_own_time(rows: Rows, window: int) -> None:
    found = SignalState(SignalGroups.RATE, rate_window=window).process(columns(rows))

    for value, trades in zip(found.trade_rate.tolist(), windows(rows, window), strict=True):
        elapsed_us = trades[-1][2] - trades[0][2]
        if elapsed_us <= 0:
            assert math.isnan(value)
        else:
            exact = Fraction((len(trades) - 1) * 10**6, elapsed_us)
            assert_within(value, exact, 4 * U * exact)


@unhurried
@given(rows=ROWS, window=WINDOWS)
@example(rows=[(1, 0, 0, True), (2**63 - 1, 0, 0, True), (1, 0, 0, True)], window=20)
@example(rows=[(4, 0, 0, True), (3, 0, 0, True), (1031, 0, 0, True), (1000, 0, 0, True)], window=1)
def test_volatility_is_the_deviation_of_the_log_returns(rows: Rows, window: int) -> None:
    found = SignalState(SignalGroups.VOLATILITY, volatility_window=window).process(columns(rows))

    prices = [row[0] for row in rows]
    returns = [log(Fraction(price, before)) for before, price in itertools.pairwise(prices)]
    assert found.volatility[0] == 0
    for i in range(1, len(rows)):
        last = returns[max(0, i - window) : i]
        bound = Fraction(1, 2**56) + Fraction(1, 2**49) * max(abs(change) for change in last)
        assert_within(float(found.volatility[i]), deviation_of(last), bound)


@unhurried
@given(rows=ROWS, reset_at=st.integers(0, 60))
def test_the_session_is_all_since_it_began(rows: Rows, reset_at: int) -> None:
    state = SignalState()
    state.process(columns(rows[:reset_at]))
    state.reset_session()

    found = state.process(columns(rows[reset_at:], first_id=reset_at + 1))

    session = rows[reset_at:]
    prices, quantities = [row[0] for row in session], [row[1] for row in session]
    so_far = range(1, len(session) + 1)
    assert found.session_open_e8.tolist() == prices[:1] * len(prices)
    assert found.session_high_e8.tolist() == [max(prices[:n]) for n in so_far]
    assert found.session_low_e8.tolist() == [min(prices[:n]) for n in so_far]
    assert found.session_count.tolist() == list(so_far)
    assert found.session_volume.tolist() == [float(Fraction(sum(quantities[:n]), 10**8)) for n in so_far]
    assert state.summarize().session_volume_e8 == sum(quantities)
    assert state.summarize().count == len(rows)


@pytest.mark.parametrize("window", [1, 20, 300])
def test_after_long_time_signals_are_those_of_their_windows_alone(window: int) -> None:
    rows = BURST * 10
    groups = SignalGroups.ALL & ~(SignalGroups.SESSION | SignalGroups.CANDLES | SignalGroups.EXPONENTIAL_AVERAGE)
    old, young = (
        SignalState(
            groups,
            moving_average_window=window,
            vwap_window=window,
            deviation_window=window,
            flow_window=window,
            volatility_window=window,
        )
        for _ in range(2)
    )

    late = old.process(columns(rows))
    fresh = young.process(columns(rows[-window - 1 :]))

    for name in ("moving_average", "window_vwap", "deviation", "bollinger_upper", "buy_share", "volatility"):
        assert getattr(late, name)[-1] == getattr(fresh, name)[-1]
