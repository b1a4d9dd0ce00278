from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libsignal import SignalState
from mesh.bus import wire
from mesh.values.candles import INTERVALS_US, Candle
from mesh.values.signals import SIGNAL_NAMES
from mesh.values.trades import TradeColumns, concatenate
from signalsvc.engine import Engine, NotedStates, UnusableEntry
from signalsvc.settings import SignalSettings
from tests.fixtures.trades import START_US, columns


class Sums(NamedTuple):
    """What a candle says of its trades."""

    open_e8: int
    high_e8: int
    low_e8: int
    close_e8: int
    volume_e8: int
    quote_volume_e16: int
    taker_buy_volume_e8: int
    count: int  # type: ignore[assignment]  # the contract's word, and a tuple's
    first_trade_id: int
    last_trade_id: int

    @classmethod
    def of(cls, candle: Candle) -> Sums:
        return cls(*(getattr(candle, name) for name in cls._fields))


def summed(trades: TradeColumns) -> Sums:
    prices, quantities = trades.price_e8.tolist(), trades.quantity_e8.tolist()
    return Sums(
        open_e8=prices[0],
        high_e8=max(prices),
        low_e8=min(prices),
        close_e8=prices[-1],
        volume_e8=sum(quantities),
        quote_volume_e16=sum(price * quantity for price, quantity in zip(prices, quantities, strict=True)),
        taker_buy_volume_e8=sum(trades.quantity_e8[~trades.is_buyer_maker].tolist()),
        count=len(prices),
        first_trade_id=int(trades.trade_id[0]),
        last_trade_id=int(trades.trade_id[-1]),
    )


def test_signals_follow_the_trades_row_by_row() -> None:
    trades = columns(1, 50)
    signals = Engine(moving_average_window=20, extremes_window=20).process(trades, raw_sequence=3)
    assert signals is not None
    prices = trades.price_e8
    assert signals.session_high_e8.tolist() == np.maximum.accumulate(prices).tolist()
    assert signals.window_low_e8[-1] == prices[-20:].min()
    assert signals.moving_average[-1] == int(prices[-20:].sum()) / (20 * 10**8)
    assert signals.session_count.tolist() == list(range(1, 51))
    assert signals.raw_sequence == 3


def test_a_repeated_batch_changes_nothing() -> None:
    engine = Engine(moving_average_window=20, extremes_window=20)
    engine.process(columns(1, 10), raw_sequence=1)
    before = engine.latest("binance", "btcusdt")
    assert engine.process(columns(1, 10), raw_sequence=2) is None
    assert engine.latest("binance", "btcusdt") == before
    assert engine.repeats == 10


def test_only_the_new_trades_of_an_overlapping_batch_count() -> None:
    engine = Engine(moving_average_window=20, extremes_window=20)
    engine.process(columns(1, 10), raw_sequence=1)
    signals = engine.process(columns(6, 10), raw_sequence=2)
    assert signals is not None
    assert signals.trades.trade_id.tolist() == list(range(11, 16))


def test_a_trade_the_library_refuses_is_left_out_and_its_neighbours_stay() -> None:
    engine = Engine(moving_average_window=20, extremes_window=20)
    trades = columns(1, 5)
    trades.price_e8[2] = 0
    signals = engine.process(trades, raw_sequence=1)
    assert signals is not None
    assert signals.trades.trade_id.tolist() == [1, 2, 4, 5]
    assert engine.refused == 1


def test_symbols_and_venues_do_not_mix() -> None:
    engine = Engine(moving_average_window=20, extremes_window=20)
    engine.process(columns(1, 3), raw_sequence=1)
    engine.process(columns(1, 3, venue="sim"), raw_sequence=2)
    engine.process(columns(1, 3, symbol="ethusdt"), raw_sequence=3)
    counts = [
        latest.signals["session_count"]
        for venue, symbol in (("binance", "btcusdt"), ("sim", "btcusdt"), ("binance", "ethusdt"))
        if (latest := engine.latest(venue, symbol)) is not None
    ]
    assert counts == [3, 3, 3]


def test_a_new_session_begins_with_the_next_trade_and_windows_go_on() -> None:
    engine = Engine(moving_average_window=20, extremes_window=20)
    engine.process(columns(1, 30), raw_sequence=1)
    assert engine.reset_session("binance", "btcusdt")
    signals = engine.process(columns(31, 1), raw_sequence=2)
    assert signals is not None
    assert signals.session_count.tolist() == [1]
    assert signals.window_high_e8[0] >= signals.session_high_e8[0]


def test_a_symbol_that_has_not_traded_has_nothing_to_tell() -> None:
    engine = Engine(moving_average_window=20, extremes_window=20)
    assert engine.latest("binance", "btcusdt") is None
    assert not engine.reset_session("binance", "btcusdt")


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 40)), min_size=1, max_size=12))
def test_repeats_in_any_order_give_the_same_bytes_as_each_trade_once(batches: list[tuple[int, int]]) -> None:
    engine, plain = (
        Engine(moving_average_window=7, extremes_window=7),
        Engine(moving_average_window=7, extremes_window=7),
    )
    produced = []
    for first_id, count in batches:
        signals = engine.process(columns(first_id, count), raw_sequence=1)
        if signals is not None:
            produced.append(signals)
    once = plain.process(concatenate([signals.trades for signals in produced]), raw_sequence=1)
    assert once is not None
    assert np.concatenate([signals.moving_average for signals in produced]).tolist() == once.moving_average.tolist()
    assert wire.encode_signals(produced[-1]).endswith(once.session_open_e8[-1:].tobytes())


def test_an_engine_goes_on_from_saved_entries_as_if_it_had_never_stopped() -> None:
    whole, first = Engine(moving_average_window=20), Engine(moving_average_window=20)
    for engine in (whole, first):
        engine.process(columns(1, 70), raw_sequence=1)
        engine.process(columns(1, 5, symbol="ethusdt"), raw_sequence=2)
    second = Engine(moving_average_window=20)
    second.restore(first.entries())
    left, right = (engine.process(columns(60, 40), raw_sequence=3) for engine in (whole, second))
    assert left is not None
    assert right is not None
    assert wire.encode_signals(left) == wire.encode_signals(right)
    assert second.entries() == whole.entries()
    assert second.latest("binance", "ethusdt") == whole.latest("binance", "ethusdt")


def test_states_that_are_noted_while_trades_go_on_give_the_same_signals_behind_where_the_first_was_noted() -> None:
    whole = Engine(moving_average_window=20)
    whole.process(columns(1, 70), raw_sequence=1)
    whole.process(columns(1, 5, symbol="ethusdt"), raw_sequence=2)
    meanwhile = [
        [columns(6, 4, symbol="ethusdt"), columns(1, 3, symbol="solusdt")],
        [columns(71, 9)],
        [columns(80, 5), columns(4, 3, symbol="solusdt")],
    ]

    noted, ended = NotedStates(), []
    for some in meanwhile:
        ended.append(whole.note(noted, most=1))
        for trades in some:
            whole.process(trades, raw_sequence=3)
    second = Engine(moving_average_window=20)
    second.restore(noted.entries)
    for trades in (trades for some in meanwhile for trades in some):
        second.process(trades, raw_sequence=3)

    assert ended == [False, False, True]
    assert noted.last_ids == {"binance.btcusdt": 70, "binance.ethusdt": 9, "binance.solusdt": 3}
    assert second.entries() == whole.entries()


@pytest.mark.parametrize("position", [0, 10, 100, -1])
def test_a_damaged_entry_is_refused_and_changes_nothing(position: int) -> None:
    engine = Engine(moving_average_window=20)
    engine.process(columns(1, 70), raw_sequence=1)
    entries = engine.entries()
    damaged = bytearray(entries["binance.btcusdt"])
    damaged[position] ^= 0x55
    fresh = Engine(moving_average_window=20)
    with pytest.raises(UnusableEntry, match=r"binance\.btcusdt"):
        fresh.restore({"binance.btcusdt": bytes(damaged)})
    assert fresh.entries() == {}


def test_an_entry_under_the_name_of_another_symbol_is_refused() -> None:
    engine = Engine()
    engine.process(columns(1, 70), raw_sequence=1)
    [saved] = engine.entries().values()
    fresh = Engine()
    with pytest.raises(UnusableEntry, match=r"binance\.ethusdt: its last trade is one of binance\.btcusdt"):
        fresh.restore({"binance.btcusdt": saved, "binance.ethusdt": saved})
    assert fresh.entries() == {}


def test_every_signal_of_the_library_leaves_the_engine_under_its_own_name() -> None:
    trades = columns(1, 60)
    windows: dict[str, Any] = {
        name: 5 + number for number, name in enumerate(SignalSettings().of_signals()) if "window" in name
    }
    signals, alone = Engine(**windows).process(trades, raw_sequence=1), SignalState(**windows).process(trades)
    assert signals is not None
    for name in SIGNAL_NAMES:
        np.testing.assert_array_equal(getattr(signals, name), getattr(alone, name), err_msg=name)


def test_the_latest_signals_are_those_of_the_last_row() -> None:
    engine = Engine()
    signals = engine.process(columns(1, 60), raw_sequence=1)
    latest = engine.latest("binance", "btcusdt")
    assert signals is not None and latest is not None
    assert [latest.signals[name] for name in SIGNAL_NAMES] == [getattr(signals, name)[-1] for name in SIGNAL_NAMES]


@settings(deadline=None)
@given(st.lists(st.integers(0, 400_000), min_size=1, max_size=80), st.integers(1, 20))
def test_closed_candles_are_what_their_trades_make_however_batches_are_cut(steps_ms: list[int], size: int) -> None:
    trades = columns(1, len(steps_ms))
    trades.time_us[:] = START_US + np.cumsum(steps_ms) * 1000
    engine = Engine()
    found: list[Candle] = []
    for first in range(0, len(trades), size):
        signals = engine.process(trades.rows(slice(first, first + size)), raw_sequence=1)
        assert signals is not None
        found += signals.candles
    for interval, length_us in INTERVALS_US.items():
        starts = trades.time_us // length_us * length_us
        expected = [summed(trades.rows(starts == start)) for start in np.unique(starts)[:-1]]
        assert [Sums.of(candle) for candle in found if candle.interval == interval] == expected


def test_the_same_batches_give_the_same_bytes_candles_included() -> None:
    trades = columns(1, 500)
    trades.time_us[:] = START_US + np.arange(500) * 700_000
    batches = [trades.rows(slice(first, first + 7)) for first in range(0, 500, 7)]

    def run() -> list[bytes]:
        engine = Engine()
        return [wire.encode_signals(engine.process(batch, raw_sequence=1)) for batch in batches]  # type: ignore[arg-type]

    assert run() == run()


def test_a_candle_of_the_mesh_has_every_number_of_libsignals_under_its_name() -> None:
    trades = columns(1, 40)
    trades = dataclasses.replace(trades, time_us=START_US + 1_000_000 * np.arange(40))
    periods = {"rsi_period": 2, "atr_period": 2, "macd_fast_period": 2, "macd_slow_period": 3, "macd_signal_period": 2}
    periods |= {"candle_ema_period": 2, "candle_sma_period": 2}

    found = Engine(**periods).process(trades, raw_sequence=1)
    library = SignalState(**periods).process(trades)  # type: ignore[arg-type]

    assert found is not None
    assert len(found.candles) == len(library.candles) >= 39
    for ours, its in zip(found.candles, library.candles, strict=True):
        assert (INTERVALS_US[ours.interval], ours.time_us) == (its.interval_us, its.start_us)
        same = set(Candle.__struct_fields__) - {"interval", "time_us", "revision"}
        assert {name: repr(getattr(ours, name)) for name in same} == {name: repr(getattr(its, name)) for name in same}
