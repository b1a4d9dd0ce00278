from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from mesh.bus import wire
from mesh.service.errors import BadMessage
from mesh.values.candles import Candle
from mesh.values.signals import SIGNAL_NAMES
from mesh.values.trades import SignalColumns, TradeColumns
from tests.fixtures.trades import START_US, candle, columns, same
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


def signals_of(trades: TradeColumns, *candles: Candle) -> SignalColumns:
    count = len(trades)
    columns: dict[str, Any] = {
        name: np.arange(count) + 1000 * number if name.endswith(("_e8", "_count")) else np.linspace(number, 2.5, count)
        for number, name in enumerate(SIGNAL_NAMES)
    }
    return SignalColumns(trades=trades, raw_sequence=7, **columns, candles=candles)


def public_candle(candle: Candle) -> trade_pb2.Candle:
    return trade_pb2.Candle(
        time=Timestamp(seconds=candle.time_us // 10**6, nanos=candle.time_us % 10**6 * 1000),
        volume_decimal={2**70: "11805916207174.11303424", 150_000_000: "1.5"}[candle.volume_e8],
        quote_volume_decimal="136112946768375385385349.8429727072845825",
        taker_buy_volume_decimal="0",
        **{
            field.name: getattr(candle, field.name)
            for field in trade_pb2.Candle.DESCRIPTOR.fields
            if field.name not in ("time", "epoch", "closed") and not field.name.endswith("_decimal")
        },
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
    for name in SIGNAL_NAMES:
        assert getattr(back, name).tolist() == getattr(signals, name).tolist() == list(getattr(message, name))


def test_every_column_of_the_public_message_is_a_signal() -> None:
    fields = signal_pb2.SignalBatch.DESCRIPTOR.fields
    assert {field.name for field in fields} == {"trades", "raw_sequence", "candles", *SIGNAL_NAMES}


def test_the_twin_writes_candles_as_the_public_message_does() -> None:
    candles = candle("1s"), candle("1d", revision=3, volume_e8=150_000_000)
    signals = signals_of(columns(5, 2), *candles)
    message = signal_pb2.SignalBatch(
        trades=public(signals.trades),
        raw_sequence=7,
        candles=map(public_candle, candles),
        **{name: getattr(signals, name).tolist() for name in SIGNAL_NAMES},
    )
    assert wire.encode_signals(signals) == message.SerializeToString(deterministic=True)


def test_candles_come_back_as_they_went() -> None:
    candles = candle("1s", revision=2), candle("15m", quote_volume_e16=1, volume_e8=0)
    payload = wire.encode_signals(signals_of(columns(5, 2), *candles))
    closed = wire.decode_closed(payload)
    assert repr(wire.decode_signals(payload).candles) == repr(candles)  # NaN is not equal to NaN
    assert closed is not None
    assert (closed.venue, closed.symbol, closed.raw_sequence) == ("binance", "btcusdt", 7)
    assert closed.reached_us == columns(5, 2).time_us[-1]
    assert repr(closed.candles) == repr(candles)


def test_a_batch_that_closes_nothing_has_no_candles_to_read() -> None:
    assert wire.decode_closed(wire.encode_signals(signals_of(columns(5, 2)))) is None


@pytest.mark.parametrize("wrong", [{"interval": "2m"}, {"volume_decimal": "1e5"}, {"quote_volume_decimal": ""}])
def test_a_candle_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    message = signal_pb2.SignalBatch.FromString(wire.encode_signals(signals_of(columns(5, 2), candle())))
    message.candles[0].MergeFrom(trade_pb2.Candle(**wrong))
    for name, value in wrong.items():
        setattr(message.candles[0], name, value)
    with pytest.raises(BadMessage, match="a candle"):
        wire.decode_closed(message.SerializeToString())


def test_a_batch_too_long_for_a_message_is_cut_and_each_candle_goes_with_the_trade_that_closed_it() -> None:
    trades = columns(1, 4096)
    trades.time_us[:] = START_US // 10**6 * 10**6 + np.arange(4096) * 10**6  # each trade closes the second before
    candles = tuple(candle("1s", int(time_us)) for time_us in trades.time_us[:-1])
    parts = wire.split_signals(signals_of(trades, *candles))
    assert max(len(wire.encode_signals(part)) for part in parts) < 2**20
    assert [part.trades.trade_id[0] for part in parts] == [1, 1025, 2049, 3073]
    assert [one for part in parts for one in part.candles] == list(candles)
    for part in parts:
        assert {one.end_us for one in part.candles} <= set(part.trades.time_us.tolist())


def test_batches_put_behind_each_other_are_one_message_and_come_back_as_they_went() -> None:
    batches = [wire.encode_signals(signals_of(columns(5, 40, symbol=symbol))) for symbol in ("btcusdt", "ethusdt")]
    payload = b"".join(map(wire.one_of_many, batches))
    assert wire.batches_of(payload) == batches
    assert payload == signal_pb2.SignalBatches(
        batches=map(signal_pb2.SignalBatch.FromString, batches)
    ).SerializeToString(deterministic=True)


def test_a_batch_that_cannot_be_read_spoils_no_other_one_in_its_message() -> None:
    good = wire.encode_signals(signals_of(columns(5, 2)))
    found = wire.batches_of(b"".join(map(wire.one_of_many, [b"\xff\xff", good])))
    with pytest.raises(BadMessage):
        wire.decode_end(found[0])
    assert wire.decode_end(found[1]) == ("binance", "btcusdt", 6)


@pytest.mark.parametrize(("payload", "why"), [(b"\xff\xff", "are no batches"), (b"", "hold no batch")])
def test_bytes_that_are_no_batches_are_refused_with_the_reason(payload: bytes, why: str) -> None:
    with pytest.raises(BadMessage, match=why):
        wire.batches_of(payload)


def test_a_batch_that_fits_stays_whole() -> None:
    signals = signals_of(columns(1, 4096))
    assert wire.split_signals(signals) == [signals]
    assert len(wire.encode_signals(signals)) < 2**20


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
    for decode in (wire.decode_trades, wire.decode_signals, wire.decode_closed, wire.decode_end, wire.batches_of):
        try:
            decode(payload)
        except BadMessage:
            continue
