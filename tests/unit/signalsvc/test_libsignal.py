from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.trades import TradeColumns
from signalsvc.libsignal import WINDOW_MAX, RefusedTrade, Signals, SignalState

PRICES_E8 = st.one_of(
    st.sampled_from([1, 6183763000000, 9 * 10**18, 2**63 - 1]),
    st.integers(6183000000000, 6184000000000),
    st.integers(1, 2**63 - 1),
)
QUANTITIES_E8 = st.one_of(st.sampled_from([0, 1, 10**8, 2**63 - 1]), st.integers(0, 10**10), st.integers(0, 2**63 - 1))
TRADES = st.lists(st.tuples(PRICES_E8, QUANTITIES_E8, st.integers(0, 10**15), st.booleans()), min_size=1, max_size=60)
WINDOWS = st.sampled_from([1, 2, 3, 20, 1000])
Rows = Sequence[tuple[int, int, int, bool]]


def columns(rows: Rows, first_id: int = 1) -> TradeColumns:
    prices, quantities, times, makers = zip(*rows, strict=True) if rows else ((), (), (), ())
    return TradeColumns(
        venue="sim",
        symbol="btcusdt",
        received_time_us=0,
        trade_id=np.arange(first_id, first_id + len(rows)),
        price_e8=np.array(prices, np.int64),
        quantity_e8=np.array(quantities, np.int64),
        time_us=np.array(times, np.int64),
        is_buyer_maker=np.array(makers, np.bool_),
    )


def flat(n: int, first_id: int = 1) -> TradeColumns:
    return columns([(6183763000000, 2000000, 1723161255342000, True)] * n, first_id)


def assert_signals_equal(found: Signals, expected: Signals) -> None:
    for name in Signals.__slots__:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


@given(rows=TRADES, window=WINDOWS)
def test_the_moving_average_is_the_double_nearest_to_the_exact_mean(rows: Rows, window: int) -> None:
    state = SignalState(moving_average_window=window)

    found = state.process(columns(rows)).moving_average

    prices = [row[0] for row in rows]
    windows = [prices[max(0, i + 1 - window) : i + 1] for i in range(len(prices))]
    assert found.tolist() == [float(Fraction(sum(w), len(w) * 10**8)) for w in windows]


@given(rows=TRADES, window=WINDOWS)
def test_window_high_and_low_are_those_of_the_last_trades(rows: Rows, window: int) -> None:
    state = SignalState(extremes_window=window)

    found = state.process(columns(rows))

    prices = [row[0] for row in rows]
    windows = [prices[max(0, i + 1 - window) : i + 1] for i in range(len(prices))]
    assert found.window_high_e8.tolist() == [max(w) for w in windows]
    assert found.window_low_e8.tolist() == [min(w) for w in windows]


@given(rows=TRADES, reset_at=st.integers(0, 60))
def test_the_session_is_all_since_it_began(rows: Rows, reset_at: int) -> None:
    state = SignalState()
    state.process(columns(rows[:reset_at]))
    state.reset_session()

    found = state.process(columns(rows[reset_at:], first_id=reset_at + 1))

    session = rows[reset_at:]
    prices, quantities = [row[0] for row in session], [row[1] for row in session]
    so_far = range(1, len(session) + 1)
    assert found.session_high_e8.tolist() == [max(prices[:n]) for n in so_far]
    assert found.session_low_e8.tolist() == [min(prices[:n]) for n in so_far]
    assert found.session_count.tolist() == list(so_far)
    assert found.session_volume.tolist() == [float(Fraction(sum(quantities[:n]), 10**8)) for n in so_far]
    assert state.summarize().session_volume_e8 == sum(quantities)
    assert state.summarize().count == len(rows)


@given(rows=TRADES, cuts=st.lists(st.integers(0, 60), max_size=5), capacity=st.sampled_from([1, 5, 4096]))
def test_how_trades_are_cut_into_calls_changes_nothing(rows: Rows, cuts: list[int], capacity: int) -> None:
    whole = SignalState().process(columns(rows))
    state = SignalState(capacity=capacity)

    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    parts = [state.process(columns(rows[a:b], first_id=a + 1)) for a, b in itertools.pairwise(edges)]

    joined = Signals(*(np.concatenate([getattr(part, name) for part in parts]) for name in Signals.__slots__))
    assert_signals_equal(joined, whole)


def test_results_are_the_callers_own() -> None:
    state = SignalState()
    first = state.process(flat(3))

    state.process(flat(3, first_id=4))

    assert first.session_count.tolist() == [1, 2, 3]


def test_run_works_in_place_on_inputs_and_outputs() -> None:
    state = SignalState(capacity=2)
    trades = flat(2)
    for name in ("trade_id", "price_e8", "quantity_e8", "time_us", "is_buyer_maker"):
        getattr(state.inputs, name)[:] = getattr(trades, name)

    state.run(2)

    assert state.outputs.session_count.tolist() == [1, 2]
    with pytest.raises(ValueError, match="n is 3, expected 0 to 2"):
        state.run(3)


def test_no_trades_change_nothing() -> None:
    state = SignalState()

    found = state.process(columns([]))

    assert len(found.moving_average) == 0
    assert state.summarize().last_trade_id == -1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trade_id", 4),
        ("trade_id", -1),
        ("price_e8", 0),
        ("price_e8", -(2**63)),
        ("quantity_e8", -1),
        ("time_us", -1),
        ("time_us", 2**62),
    ],
)
@pytest.mark.parametrize("capacity", [2, 4096])
def test_a_refused_trade_names_its_row_and_leaves_the_state_as_it_was(name: str, value: int, capacity: int) -> None:
    state, untouched = SignalState(capacity=capacity), SignalState(capacity=capacity)
    state.process(flat(4))
    untouched.process(flat(4))
    wrong = flat(9, first_id=5)
    getattr(wrong, name)[7] = value

    with pytest.raises(RefusedTrade, match=rf"{name}.*found {value} at row 7") as refusal:
        state.process(wrong)

    assert refusal.value.row == 7
    assert_signals_equal(state.process(flat(9, first_id=5)), untouched.process(flat(9, first_id=5)))


@pytest.mark.parametrize("capacity", [2, 4096])
def test_columns_of_different_length_are_refused(capacity: int) -> None:
    trades = flat(5)
    uneven = TradeColumns(
        "sim",
        "btcusdt",
        0,
        trades.trade_id,
        trades.price_e8[:1],
        trades.quantity_e8,
        trades.time_us,
        trades.is_buyer_maker,
    )

    with pytest.raises(ValueError, match=r"shape \(1,\), expected \(5,\)"):
        SignalState(capacity=capacity).process(uneven)


@pytest.mark.parametrize("capacity", [2, 4096])
def test_a_column_of_floats_is_refused(capacity: int) -> None:
    trades = flat(5)
    floats = TradeColumns(
        "sim",
        "btcusdt",
        0,
        trades.trade_id,
        trades.price_e8 / 2,  # type: ignore[arg-type]  # that is the point
        trades.quantity_e8,
        trades.time_us,
        trades.is_buyer_maker,
    )

    with pytest.raises(TypeError, match="same_kind"):
        SignalState(capacity=capacity).process(floats)


def test_columns_with_strides_are_read_as_they_are() -> None:
    rows = [(6183763000000 + i, i, i, False) for i in range(8)]
    every_other, trades = columns(rows[::2]), columns(rows)
    strided = trades.rows(slice(None, None, 2))

    found = SignalState(capacity=1).process(strided)

    expected = SignalState().process(every_other)
    np.testing.assert_array_equal(found.moving_average, expected.moving_average)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"moving_average_window": 0}, "moving_average_window is 0, expected 1 to 1048576"),
        ({"extremes_window": WINDOW_MAX + 1}, "extremes_window is 1048577, expected 1 to 1048576"),
        ({"capacity": 0}, "capacity is 0, expected at least 1"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SignalState(**settings)
