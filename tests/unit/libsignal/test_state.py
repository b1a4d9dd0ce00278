from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libsignal import WINDOW_MAX, RefusedTrade, SignalGroups, SignalState, UnusableState
from mesh.service.errors import LibraryError
from mesh.values.trades import TradeColumns
from tests.fixtures.libsignal import ROWS, Rows, assert_same_signals, columns, flat, join

unhurried = settings(deadline=None, max_examples=50)  # the machine may be busy


@unhurried
@given(rows=ROWS, cuts=st.lists(st.integers(0, 60), max_size=5), capacity=st.sampled_from([1, 5, 4096]))
def test_how_trades_are_cut_into_calls_changes_nothing(rows: Rows, cuts: list[int], capacity: int) -> None:
    whole = SignalState().process(columns(rows))
    state = SignalState(capacity=capacity)

    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    parts = [state.process(columns(rows[a:b], first_id=a + 1)) for a, b in itertools.pairwise(edges)]

    assert_same_signals(join(parts), whole)


def test_results_are_the_callers_own() -> None:
    state = SignalState()
    first = state.process(flat(3))

    state.process(flat(3, first_id=4))

    assert first.session_count.tolist() == [1, 2, 3]


@pytest.mark.parametrize("capacity", [2, 4096])
def test_packed_columns_are_the_arrays_bytes_as_the_wire_wants_them(capacity: int) -> None:
    found = SignalState(capacity=capacity).process(flat(5))

    for name in ("moving_average", "trade_rate", "window_low_e8", "session_count"):
        column = getattr(found, name)
        assert found.packed([name]) == [column.astype(column.dtype.newbyteorder("<")).tobytes()]


def test_signals_that_are_not_worked_out_are_empty_and_not_packed() -> None:
    found = SignalState(SignalGroups.SESSION).process(flat(3))

    assert found.moving_average.shape == found.window_high_e8.shape == found.late_intervals.shape == (0,)
    assert found.session_count.tolist() == [1, 2, 3]
    with pytest.raises(KeyError):
        found.packed(["moving_average"])


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
    assert_same_signals(state.process(flat(9, first_id=5)), untouched.process(flat(9, first_id=5)))


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


COLUMNS = ("trade_id", "price_e8", "quantity_e8", "time_us", "is_buyer_maker")


@pytest.mark.parametrize("capacity", [2, 4096])
@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize(
    "wrong",
    [
        lambda column: column / 2,
        lambda column: column.astype(np.uint64),
        lambda column: column.astype(object),
        lambda column: column.astype("m8[us]"),
    ],
    ids=["floats", "unsigned", "objects", "durations"],
)
def test_a_column_of_another_kind_is_refused(capacity: int, name: str, wrong: Callable[[Any], Any]) -> None:
    trades = flat(5)
    state = SignalState(capacity=capacity)

    with pytest.raises(TypeError, match=f"{name} has dtype .*, expected u?int"):
        state.process(dataclasses.replace(trades, **{name: wrong(getattr(trades, name))}))

    assert state.summarize().count == 0


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.int8])
@pytest.mark.parametrize("capacity", [2, 4096])
def test_a_side_whose_top_would_be_cut_off_is_refused(capacity: int, dtype: type[Any]) -> None:
    trades = flat(5)

    with pytest.raises(TypeError, match="is_buyer_maker has dtype"):
        SignalState(capacity=capacity).process(
            dataclasses.replace(trades, is_buyer_maker=trades.is_buyer_maker.astype(dtype))
        )


@pytest.mark.parametrize("capacity", [2, 4096])
@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("shape", [(5, 2), (5, 1), (1, 5), (4,), (6,), (1,), ()], ids=str)
def test_a_column_of_another_shape_is_refused(capacity: int, name: str, shape: tuple[int, ...]) -> None:
    trades = flat(5)
    state = SignalState(capacity=capacity)
    column: Any = np.resize(getattr(trades, name), shape)

    with pytest.raises((ValueError, TypeError), match=r"shape|unsized"):
        state.process(dataclasses.replace(trades, **{name: column}))

    assert state.summarize().count == 0


@pytest.mark.parametrize("capacity", [2, 4096])
def test_narrower_and_foreign_integers_are_read_as_they_are(capacity: int) -> None:
    trades = columns([(6_183_763, i, i, i % 2 == 1) for i in range(5)])
    foreign = dataclasses.replace(
        trades,
        trade_id=trades.trade_id.astype(np.uint32),
        price_e8=trades.price_e8.astype(">i8"),
        quantity_e8=np.asfortranarray(np.stack([trades.quantity_e8] * 3))[1],
        time_us=trades.time_us[::-1].copy()[::-1],
        is_buyer_maker=trades.is_buyer_maker.astype(np.uint8),
    )

    found = SignalState(capacity=capacity).process(foreign)

    assert_same_signals(found, SignalState().process(trades))


@pytest.mark.parametrize("saved", [b"", b"x", b"LSIG" * 100])
def test_bytes_that_are_no_state_are_refused(saved: bytes) -> None:
    with pytest.raises(UnusableState):
        SignalState.load(saved)


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
        ({"capacity": 0}, "capacity is 0, expected 1 to 2147483648"),
        ({"rsi_period": 4097}, "rsi_period is 4097, expected 1 to 4096"),
        ({"macd_fast_period": 26}, "macd_fast_period is 26, expected 1 to 25"),
        ({"empty_candles": -1}, "empty_candles is -1, expected 0 to 86400"),
        ({"bollinger_width": float("nan")}, "bollinger_width is nan, expected above 0"),
        ({"groups": SignalGroups(0)}, "groups is 0, expected 1 to 1023"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SignalState(**settings)


def test_groups_left_out_are_empty_and_the_others_as_ever() -> None:
    trades = flat(30)
    state = SignalState(SignalGroups.EXTREMES | SignalGroups.SESSION)

    found, whole = state.process(trades), SignalState().process(trades)

    assert found.moving_average.shape == found.late_intervals.shape == (0,)
    assert found.candles == ()
    np.testing.assert_array_equal(found.window_low_e8, whole.window_low_e8)
    np.testing.assert_array_equal(found.session_vwap, whole.session_vwap)


def test_a_state_without_candles_has_none_open() -> None:
    state = SignalState(SignalGroups.SESSION)

    with pytest.raises(LibraryError, match="does not work out"):
        state.open_candle("1m")
