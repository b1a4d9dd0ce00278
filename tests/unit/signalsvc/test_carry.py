"""Batches that C++ carries through libsignal become what Python makes of them, byte for byte."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mesh.bus import wire
from mesh.service.errors import BadMessage
from mesh.values.trades import TradeColumns, refusal
from signalsvc.engine import Engine, SignalMessage
from tests.fixtures.trades import START_US, columns

NOW_US = 1_767_225_600_000_000  # 2026-01-01


def spread(first_id: int, count: int, step_us: int) -> TradeColumns:
    trades = columns(first_id, count)
    return dataclasses.replace(trades, time_us=START_US + trades.trade_id * step_us)


def by_python(engine: Engine, payload: bytes, sequence: int) -> list[SignalMessage]:
    """Do what the pipeline does with a batch that is not carried."""
    try:
        trades = wire.decode_trades(payload)
    except BadMessage:
        return []
    if refusal(trades, now_us=NOW_US):
        return []
    signals = engine.process(trades, raw_sequence=sequence)
    return [] if signals is None else list(map(SignalMessage.of, wire.split_signals(signals)))


def by_either(engine: Engine, payload: bytes, sequence: int) -> tuple[bool, list[SignalMessage]]:
    carried = engine.carry(payload, raw_sequence=sequence, now_us=NOW_US)
    return carried is not None, by_python(engine, payload, sequence) if carried is None else [carried]


def begun() -> Engine:
    engine = Engine(moving_average_window=3, candle_sma_period=2)
    engine.process(columns(1, 1), raw_sequence=1)
    return engine


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 60), st.sampled_from([1, 250, 700_000])), max_size=8))
def test_batches_become_the_same_bytes_either_way(batches: list[tuple[int, int, int]]) -> None:
    either, python = begun(), begun()
    for sequence, batch in enumerate(batches, 2):
        payload = wire.encode_trades(spread(*batch))
        _, found = by_either(either, payload, sequence)
        assert found == by_python(python, payload, sequence)
    assert either.entries() == python.entries()
    # NaN is not equal to NaN
    assert repr(either.latest("binance", "btcusdt")) == repr(python.latest("binance", "btcusdt"))


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4), st.integers(0, 2000))
def test_whatever_bytes_come_the_same_comes_of_them(changes: list[tuple[int, int]], size: int) -> None:
    either, python = begun(), begun()
    payload = bytearray(wire.encode_trades(columns(2, 9)))
    for at, byte in changes:
        payload[at % len(payload)] = byte
    for sequence, text in enumerate((bytes(payload), bytes(payload[:size]), wire.encode_trades(columns(20, 2))), 2):
        assert by_either(either, text, sequence)[1] == by_python(python, text, sequence)
    assert either.entries() == python.entries()


def test_usual_batches_are_carried_and_unusual_ones_are_not() -> None:
    whole: dict[str, Any] = {name: getattr(columns(2, 2), name) for name in ("price_e8", "trade_id", "time_us")}
    unusual = [
        columns(1, 2),
        columns(2, 2, symbol="ethusdt"),
        columns(2, 2, received_time_us=0),
        dataclasses.replace(columns(2, 2), price_e8=whole["price_e8"] * 0),
        dataclasses.replace(columns(2, 2), trade_id=whole["trade_id"] + 2**62),
        dataclasses.replace(columns(2, 2), time_us=whole["time_us"] + 10**15),
        spread(2, 8000, 250),
        spread(2, 100, 10**6),  # closes more candles than there is room for
    ]
    carried = [by_either(begun(), wire.encode_trades(trades), 2)[0] for trades in unusual]
    assert carried == [False, False, True, False, False, False, False, False]
    assert all(by_either(begun(), wire.encode_trades(columns(2, count)), 2)[0] for count in (1, 256, 4096))
    assert not by_either(Engine(), wire.encode_trades(columns(2, 1)), 2)[0]
