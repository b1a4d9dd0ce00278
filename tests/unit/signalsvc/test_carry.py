"""Batches that C++ carries through libsignal become what Python makes of them, byte for byte."""

from __future__ import annotations

import dataclasses
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.bus import wire
from mesh.service.errors import BadMessage
from mesh.values.trades import TradeColumns, refusal
from signalsvc.engine import MAX_TOGETHER, CarriedSignals, Engine, LeftBatch, SignalMessage
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


def by_either(engine: Engine, message: bytes, sequence: int) -> tuple[list[bool], list[SignalMessage]]:
    """Do what the pipeline does with a message; tell of each of its batches whether it was carried, and what came."""
    carried: list[bool] = []
    messages: list[SignalMessage] = []
    for found in engine.carry(message, raw_sequence=sequence, now_us=NOW_US):
        if isinstance(found, LeftBatch):
            carried.append(False)
            messages += by_python(engine, found.payload, sequence)
        else:
            ends = found.first, found.last
            assert (*ends, found.first, found.last) == (found.messages[0], found.messages[-1], *ends)
            carried += [True] * len(found.messages)
            messages += found.messages
            assert found.payload == b"".join(wire.one_of_many(each.payload) for each in found.messages)
            assert {each.venue for each in found.messages} == {found.venue}
            assert found.trades == sum(each.rows for each in found.messages)
            assert len(found.messages) == 1 or found.trades <= MAX_TOGETHER
    return carried, messages


def is_carried(engine: Engine, trades: TradeColumns) -> bool:
    [carried], _ = by_either(engine, wire.one_of_many(wire.encode_trades(trades)), 2)
    return carried


def begun() -> Engine:
    engine = Engine(moving_average_window=3, candle_sma_period=2)
    engine.process(columns(1, 1), raw_sequence=1)
    return engine


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 60), st.sampled_from([1, 250, 700_000])), max_size=8))
def test_batches_become_the_same_bytes_either_way(batches: list[tuple[int, int, int]]) -> None:
    either, python = begun(), begun()
    for sequence, batch in enumerate(batches, 2):
        payload = wire.encode_trades(spread(*batch))
        _, found = by_either(either, wire.one_of_many(payload), sequence)
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
        assert by_either(either, wire.one_of_many(text), sequence)[1] == by_python(python, text, sequence)
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
    carried = [is_carried(begun(), trades) for trades in unusual]
    assert carried == [False, False, True, False, False, False, False, False]
    assert all(is_carried(begun(), columns(2, count)) for count in (1, 256, 4096))
    assert not is_carried(Engine(), columns(2, 1))


NAMES = [("binance", "btcusdt"), ("binance", "ethusdt"), ("binance", "币安usdt"), ("sim", "btcusdt")]


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(NAMES), st.integers(1, 60), st.integers(1, 900), st.sampled_from([1, 700_000])),
            min_size=1,
            max_size=8,
        ),
        max_size=4,
    )
)
def test_messages_of_many_symbols_become_the_same_either_way(
    messages: list[list[tuple[tuple[str, str], int, int, int]]],
) -> None:
    either, python = begun(), begun()
    for sequence, message in enumerate(messages, 2):
        batches = [
            wire.encode_trades(dataclasses.replace(spread(*numbers), venue=venue, symbol=symbol))
            for (venue, symbol), *numbers in message
        ]
        _, found = by_either(either, b"".join(map(wire.one_of_many, batches)), sequence)
        assert found == [each for batch in batches for each in by_python(python, batch, sequence)]
    assert either.entries() == python.entries()
    assert either.last_ids == python.last_ids


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=4), st.integers(0, 3000))
def test_whatever_bytes_of_a_message_come_the_same_comes_of_them(changes: list[tuple[int, int]], size: int) -> None:
    either, python = begun(), begun()
    batches = [columns(2, 9), columns(1, 2, symbol="ethusdt"), columns(11, 3), columns(3, 4, symbol="ethusdt")]
    message = bytearray(b"".join(wire.one_of_many(wire.encode_trades(each)) for each in batches))
    for at, byte in changes:
        message[at % len(message)] = byte
    for sequence, text in enumerate((bytes(message), bytes(message[:size])), 2):
        try:
            reference = [each for batch in wire.batches_of(text) for each in by_python(python, batch, sequence)]
        except BadMessage:
            with pytest.raises(BadMessage):
                by_either(either, text, sequence)
            continue
        assert by_either(either, text, sequence)[1] == reference
    assert either.entries() == python.entries()


def test_batches_that_close_candles_are_carried_with_the_others_of_their_message() -> None:
    either, python = begun(), begun()
    for engine in (either, python):
        for symbol in ("ethusdt", "solusdt"):
            engine.process(columns(1, 1, symbol=symbol), raw_sequence=1)
    later = [
        dataclasses.replace(columns(2, 2, symbol=symbol), time_us=START_US + np.array([900_000, 1_900_000]))
        for symbol in ("btcusdt", "solusdt")
    ]
    batches = [later[0], columns(2, 3, symbol="ethusdt"), later[1]]

    [found] = either.carry(
        b"".join(wire.one_of_many(wire.encode_trades(each)) for each in batches), raw_sequence=2, now_us=NOW_US
    )

    assert not isinstance(found, LeftBatch)
    expected = [each for batch in batches for each in by_python(python, wire.encode_trades(batch), 2)]
    assert found.messages == expected
    assert found.payload == b"".join(wire.one_of_many(each.payload) for each in expected)
    assert [len(wire.decode_signals(each.payload).candles) > 0 for each in expected] == [True, False, True]


def test_states_that_come_and_go_between_messages_of_many_symbols_take_in_the_same_either_way() -> None:
    random, either, python = Random(1), begun(), begun()
    last_ids: dict[str, int] = {}
    for sequence in range(2, 60):
        batches = []
        for symbol in (f"s{random.randrange(200)}usdt" for _ in range(random.randint(1, 40))):
            trades = spread(last_ids.get(symbol, 0) + random.randint(0, 2), random.randint(1, 3), 90_000)
            batches.append(wire.encode_trades(dataclasses.replace(trades, symbol=symbol)))
            last_ids[symbol] = int(trades.trade_id[-1])
        _, found = by_either(either, b"".join(map(wire.one_of_many, batches)), sequence)
        assert found == [each for batch in batches for each in by_python(python, batch, sequence)]
        evicted = random.sample(sorted(either.last_ids), random.randint(0, len(either) // 2))
        for engine in (either, python):
            entries = engine.entries()
            engine.evict(evicted)
            for name in evicted[::2]:
                engine.adopt(name, entries[name])
            if sequence % 20 == 0:
                engine.restore(engine.entries())
        assert either.entries() == python.entries()
        assert either.last_ids == python.last_ids
        assert list(either.last_trades()) == list(python.last_trades())
        assert either.idle(venue="sim", followed=[], most=9) == python.idle(venue="sim", followed=[], most=9)


def test_the_trades_of_each_symbol_are_counted_whether_their_batches_have_been_looked_at_or_not() -> None:
    engine = begun()
    engine.process(columns(1, 1, symbol="ethusdt"), raw_sequence=1)
    carried: list[CarriedSignals] = []
    for first_id in (2, 7, 12):
        batches = [columns(first_id, 3), columns(first_id, 1, symbol="ethusdt"), columns(first_id + 3, 2)]
        [found] = engine.carry(
            b"".join(wire.one_of_many(wire.encode_trades(each)) for each in batches), raw_sequence=2, now_us=NOW_US
        )
        assert isinstance(found, CarriedSignals)
        carried.append(found)

    assert len(carried[1].messages) == 3
    assert CarriedSignals.trades_by_symbol(carried) == {"btcusdt": 15, "ethusdt": 3}


def test_a_state_that_has_left_memory_meanwhile_takes_in_nothing_more() -> None:
    engine = begun()
    engine.process(columns(1, 1, symbol="ethusdt"), raw_sequence=1)
    batches = [columns(2, 1), columns(2, MAX_TOGETHER, symbol="ethusdt")]
    found = engine.carry(
        b"".join(wire.one_of_many(wire.encode_trades(each)) for each in batches), raw_sequence=2, now_us=NOW_US
    )

    assert not isinstance(next(found), LeftBatch)
    assert engine.evict(["binance.ethusdt"]) == {"binance.ethusdt": 1}
    assert next(found) == LeftBatch(2, wire.encode_trades(batches[1]))
    assert not engine.knows("binance", "ethusdt")
