from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import wire
from mesh.errors import BadMessage
from mesh.trades import SignalColumns, TradeColumns
from tests.fixtures.trades import columns, same
from tickmesh.v1 import signal_pb2, trade_pb2


def public(trades: TradeColumns) -> trade_pb2.TradeBatch:
    return trade_pb2.TradeBatch(
        venue=trades.venue,
        symbol=trades.symbol,
        received_time_us=trades.received_time_us,
        trade_id=trades.trade_id.tolist(),
        price_e8=trades.price_e8.tolist(),
        quantity_e8=trades.quantity_e8.tolist(),
        time_us=trades.time_us.tolist(),
        is_buyer_maker=trades.is_buyer_maker.tolist(),
    )


def signals_of(trades: TradeColumns) -> SignalColumns:
    count = len(trades)
    return SignalColumns(
        trades=trades,
        raw_sequence=7,
        moving_average=np.linspace(1.5, 2.5, count),
        session_high_e8=trades.price_e8 + 1,
        session_low_e8=trades.price_e8 - 1,
        window_high_e8=trades.price_e8 + 2,
        window_low_e8=trades.price_e8 - 2,
        session_count=np.arange(count),
        session_volume=np.linspace(0, 1, count),
    )


@given(
    st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**63 - 1), st.booleans()), min_size=1, max_size=70
    )
)
def test_the_twin_writes_the_same_bytes_as_the_public_message(rows: list[tuple[int, int, bool]]) -> None:
    first, second, third = zip(*rows, strict=True)
    trades = TradeColumns(
        "binance",
        "btcusdt",
        42,
        np.array(first, np.int64),
        np.array(second, np.int64),
        np.array(first, np.int64),
        np.array(second, np.int64),
        np.array(third, bool),
    )
    assert wire.encode_trades(trades) == public(trades).SerializeToString(deterministic=True)


def test_the_twin_reads_what_the_public_message_wrote() -> None:
    trades = columns(1, 100)
    assert same(wire.decode_trades(public(trades).SerializeToString()), trades)


@pytest.mark.parametrize("count", [1, 63, 64, wire.MAX_BATCH_TRADES])
def test_trades_come_back_as_they_went(count: int) -> None:
    trades = columns(10**9, count)
    back = wire.decode_trades(wire.encode_trades(trades))
    assert same(back, trades)
    assert back.received_time_us == trades.received_time_us


def test_signals_come_back_as_they_went_and_read_as_the_public_message() -> None:
    signals = signals_of(columns(5, 33))
    payload = wire.encode_signals(signals)
    back, message = wire.decode_signals(payload), signal_pb2.SignalBatch.FromString(payload)
    assert same(back.trades, signals.trades)
    assert (back.raw_sequence, message.raw_sequence) == (7, 7)
    for name in ("moving_average", "session_high_e8", "window_low_e8", "session_count", "session_volume"):
        assert getattr(back, name).tolist() == getattr(signals, name).tolist() == list(getattr(message, name))


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"\xff\xff", "are no TradeBatch"),
        (b"", "a TradeBatch of 0 trades"),
        (trade_pb2.TradeBatch(venue="binance", symbol="btcusdt", trade_id=[1]).SerializeToString(), "column price_e8"),
        (trade_pb2.TradeBatch(venue="b.c", symbol="btcusdt", trade_id=[1]).SerializeToString(), "is not a venue"),
        (trade_pb2.TradeBatch(venue="binance", symbol="*", trade_id=[1]).SerializeToString(), "is not a symbol"),
        (b"\x22\x07" + b"\x00" * 7, "of 0 trades"),
    ],
)
def test_bytes_that_are_no_batch_are_refused_with_the_reason(payload: bytes, why: str) -> None:
    with pytest.raises(BadMessage, match=why):
        wire.decode_trades(payload)


@given(st.binary(max_size=300))
def test_no_bytes_from_outside_raise_anything_else(payload: bytes) -> None:
    for decode in (wire.decode_trades, wire.decode_signals):
        try:
            decode(payload)
        except BadMessage:
            continue
