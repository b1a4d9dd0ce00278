"""Candles that C++ writes behind their signals are, byte for byte, what Python makes of them."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from libsignal import INDICATOR_OFFSETS
from libsignal.declarations import CandleStruct, Columns
from mesh.bus import wire
from mesh.values.candles import INDICATORS, INTERVALS_US, Candle
from mesh.values.trades import MAX_TRADE_ID
from tests.fixtures.trades import columns
from tickcodec.batches import BatchProcessor, CandleLayout, ProcessedBatches, SymbolStates

NOW_US = 1_767_225_600_000_000  # 2026-01-01
ROOM = 5
NUMBERS = ("open_e8", "high_e8", "low_e8", "close_e8", "count", "first_trade_id", "last_trade_id")

integers = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, 2**63 - 1, 6_183_763_000_000])
doubles = st.floats() | st.sampled_from([0.0, -0.0, math.nan, -math.nan, math.inf])


def sums(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, bits).flatmap(lambda size: st.integers(0, 2**size - 1)) | st.integers(0, 60).map(
        lambda digits: min(10**digits, 2**bits - 1)
    )


@st.composite
def candles(draw: st.DrawFn) -> Candle:
    interval = draw(st.sampled_from([*INTERVALS_US]))
    numbers: dict[str, Any] = {name: draw(integers) for name in NUMBERS}
    numbers |= {name: draw(doubles) for name in INDICATORS}
    return Candle(
        interval=interval,
        time_us=draw(st.integers(0, NOW_US // INTERVALS_US[interval])) * INTERVALS_US[interval],
        volume_e8=draw(sums(128)),
        taker_buy_volume_e8=draw(sums(128)),
        quote_volume_e16=draw(sums(192)),
        **numbers,
    )


def as_libsignal_has_it(candle: Candle) -> CandleStruct:
    def words(value: int, count: int) -> Any:
        return (ctypes.c_uint64 * count)(*(value >> 64 * n & (2**64 - 1) for n in range(count)))

    found = CandleStruct(interval_us=INTERVALS_US[candle.interval], start_us=candle.time_us)
    for name in (*NUMBERS, *INDICATORS):
        setattr(found, name, getattr(candle, name))
    found.volume_e8, found.taker_buy_volume_e8 = words(candle.volume_e8, 2), words(candle.taker_buy_volume_e8, 2)
    found.quote_volume_e16 = words(candle.quote_volume_e16, 3)
    return found


def carried(
    message: bytes,
    closed: Sequence[Sequence[Candle]],
    *,
    max_bytes: int = wire.MAX_SIGNAL_BYTES,
    offsets: Mapping[str, int] = INDICATOR_OFFSETS,
) -> ProcessedBatches | None:
    """Carry a message through a library that lets each of its batches close some candles, and does nothing else."""
    room = (CandleStruct * ROOM)()
    batches = iter(closed)

    def process(_: int, columns_at: int) -> int:
        called, mine = Columns.from_address(columns_at), next(batches)
        assert called.candle_capacity == ROOM
        for n, candle in enumerate(mine):
            room[n] = as_libsignal_has_it(candle)
        called.candle_count = len(mine)
        return 0

    called_back = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(process)
    states = SymbolStates()
    states.put(0, wire.trade_names("binance", "btcusdt"), 1)
    processor = BatchProcessor(
        ctypes.cast(called_back, ctypes.c_void_p).value or 0,
        states,
        [],
        candles=CandleLayout(offsets, (ctypes.addressof(room), ROOM)),
        max_rows=100,
        max_together=1000,
        max_bytes=max_bytes,
        max_id=MAX_TRADE_ID,
    )
    assert processor.split(message) == len(closed)
    return processor.process(message, first=0, max_time_us=NOW_US, raw_sequence=7)


def message_of(count: int) -> bytes:
    return b"".join(wire.one_of_many(wire.encode_trades(columns(n + 1, 1))) for n in range(count))


def in_python(closed: Sequence[Candle], number: int) -> bytes:
    trades = wire.encode_trades(columns(number + 1, 1))
    return wire.length_delimited(1, trades) + b"\x11" + (7).to_bytes(8, "little") + wire.encode_candles(closed)


@given(st.lists(st.lists(candles(), max_size=ROOM), min_size=1, max_size=4))
def test_candles_of_any_numbers_are_the_same_bytes(closed: list[list[Candle]]) -> None:
    found = carried(message_of(len(closed)), closed)

    assert found is not None
    batches = [each.payload for each in found.each()]
    assert batches == [in_python(each, n) for n, each in enumerate(closed)]
    assert found.message == b"".join(map(wire.one_of_many, batches))


def test_batches_are_left_where_their_candles_might_not_fit() -> None:
    most = 290 + 10 * len(INDICATORS)
    numbers: dict[str, Any] = dict.fromkeys(NUMBERS, -1) | dict.fromkeys(INDICATORS, math.nan)
    wide: dict[str, Any] = {"volume_e8": 2**128 - 1, "taker_buy_volume_e8": 2**128 - 1, "quote_volume_e16": 2**192 - 1}
    longest = Candle(interval="15m", time_us=NOW_US, **numbers, **wide)
    assert most - 60 < len(wire.encode_candles([longest])) <= most

    alone = len(in_python([], 0)) + 11 + ROOM * most
    assert carried(message_of(1), [[longest] * ROOM], max_bytes=alone - 1) is None
    found = carried(message_of(2), [[longest] * ROOM] * 2, max_bytes=alone)
    assert found is not None
    assert [each.payload for each in found.each()] == [in_python([longest] * ROOM, 0)]


def test_nothing_is_carried_with_more_than_there_is_room_for() -> None:
    assert carried(message_of(1), [[]], offsets={"rsi": ctypes.sizeof(CandleStruct) - 4}) is None
