from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libsignal import SignalGroups, Signals, SignalState, UnusableState
from tests.fixtures.libsignal import ROWS, WINDOWS, Rows, assert_same_signals, columns, market

unhurried = settings(deadline=None, max_examples=50)


@unhurried
@given(before=ROWS, after=ROWS, window=WINDOWS)
def test_a_loaded_state_goes_on_as_the_saved_one_would_have(before: Rows, after: Rows, window: int) -> None:
    saved = SignalState(
        moving_average_window=window, extremes_window=3, volatility_window=window, candle_sma_period=2, empty_candles=2
    )
    saved.process(columns(before))

    loaded = SignalState.load(saved.save())

    assert loaded.summarize() == saved.summarize()
    further = columns(after, first_id=len(before) + 1)
    assert_same_signals(loaded.process(further), saved.process(further))
    assert loaded.save() == saved.save()


@unhurried
@given(rows=ROWS, cut=st.integers(1, 60))
def test_the_same_state_gives_the_same_bytes_however_it_came_about(rows: Rows, cut: int) -> None:
    whole, parts = SignalState(), SignalState()
    whole.process(columns(rows))
    parts.process(columns(rows[:cut]))

    parts = SignalState.load(parts.save())
    parts.process(columns(rows[cut:], first_id=cut + 1))

    assert parts.save() == whole.save()


def test_a_state_without_trades_can_be_saved() -> None:
    loaded = SignalState.load(SignalState().save())

    assert loaded.summarize().last_trade_id == -1


@pytest.mark.parametrize("group", list(SignalGroups))
def test_each_group_alone_survives_saving(group: SignalGroups) -> None:
    state, rows = SignalState(group), market(700)
    state.process(columns(rows[:600]))

    loaded = SignalState.load(state.save())

    assert loaded.groups == group
    further = columns(rows[600:], first_id=601)
    assert_same_signals(loaded.process(further), state.process(further))


def test_a_session_reset_before_saving_stays_reset() -> None:
    state = SignalState()
    state.process(columns(market(100)))
    state.reset_session()

    loaded = SignalState.load(state.save())

    assert loaded.summarize() == state.summarize()
    assert loaded.summarize().session_count == 0


def test_every_damaged_byte_is_noticed() -> None:
    state = SignalState(SignalGroups.SESSION | SignalGroups.MOVING_AVERAGE, moving_average_window=2)
    state.process(columns(market(5)))
    saved = state.save()

    for at in range(len(saved)):
        damaged = bytearray(saved)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(UnusableState):
            SignalState.load(bytes(damaged))


@pytest.mark.parametrize("length", [0, 1, 7, 8, 15, 16, 100])
def test_bytes_cut_short_are_noticed(length: int) -> None:
    saved = SignalState().save()

    with pytest.raises(UnusableState, match=f"not as they were saved: {length} bytes"):
        SignalState.load(saved[:length])


def test_bytes_too_many_are_noticed() -> None:
    with pytest.raises(UnusableState):
        SignalState.load(SignalState().save() + b"\0")


def test_loading_keeps_the_settings() -> None:
    state = SignalState(bollinger_width=3.0, deviation_window=5, rate_window=7)
    rows = market(50)

    found = SignalState.load(state.save()).process(columns(rows))

    expected = state.process(columns(rows))
    for field in fields(Signals):
        assert repr(getattr(found, field.name)) == repr(getattr(expected, field.name))
