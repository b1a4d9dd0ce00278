"""Trades as the protocol of `/ws` sends them are the trades that REST answers with, whoever wrote them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.transcode.updates import SIGNAL_FIELDS, TradeItems, trades_of, writer_of
from mesh.values.epochs import IDS
from tests.fixtures.gateway import batch
from tickcodec.ticks import TickFrames, alone
from tickmesh.v1.signal_pb2 import SignalBatch, SignalBatches, WatchResponse

writer = TradeItems()


def listed(body: bytes) -> object:
    return json.loads(b"[%b]" % body, parse_float=str)


def response_of(some: SignalBatch) -> bytes:
    return WatchResponse(batch=some).SerializeToString()


@given(st.data())
def test_what_is_written_in_cpp_is_what_rest_says(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 300))
    some = batch("btcusdt", 1, rows)
    for column, values in (
        (some.trades.price_e8, st.integers(0, 2**63 - 1)),
        (some.trades.trade_id, st.integers(0, 2**62)),
        (some.trades.time_us, st.integers(0, 253_402_300_799_999_999)),
        (some.trades.is_buyer_maker, st.booleans()),
    ):
        place = data.draw(st.integers(0, rows - 1))
        column[place] = data.draw(values)  # type: ignore[call-overload]
    first = data.draw(st.integers(0, rows - 1))
    count = data.draw(st.integers(1, rows - first))
    written = writer.of_batch(response_of(some), first=first, rows=count)
    assert listed(written) == listed(writer.of_stored(trades_of(some, first=first, rows=count)))


def test_what_cpp_leaves_is_written_in_python_and_what_nobody_can_write_is_an_error() -> None:
    some = batch("btcusdt", 4, 3)
    some.trades.trade_id[:] = [IDS + 4, IDS + 5, IDS + 6]
    some.trades.is_buyer_maker[:] = [True, False, True]
    expected = writer.of_stored(trades_of(some, first=1, rows=2))
    unusual = response_of(some) + response_of(SignalBatch())  # a field given twice is merged
    assert writer.of_batch(unusual, first=1, rows=2) == expected
    some.trades.time_us[2] = 10**18
    assert listed(writer.of_batch(response_of(some), first=1, rows=1)) == listed(
        writer.of_stored(trades_of(some, first=1, rows=1))
    )
    with pytest.raises(ValueError, match="not in the years"):
        writer.of_batch(response_of(some), first=1, rows=2)


@given(st.data())
def test_ticks_written_in_cpp_are_those_of_python(data: st.DataObject) -> None:
    fields = tuple(name for name in SIGNAL_FIELDS if data.draw(st.booleans())) or ("vwap",)
    ticks = writer_of(fields)
    some = batch("btcusdt", 1, data.draw(st.integers(1, 100)))
    for name, signal in SIGNAL_FIELDS.items():
        column = getattr(some, signal.name)
        if name in fields:
            values = st.floats() if signal.dtype.kind == "f" else st.integers(-(2**63), 2**63 - 1)
            column[:] = [data.draw(values)] * len(some.trades.trade_id)
    response = response_of(some)
    written = ticks.of_batch(response, first=0, rows=len(some.trades.trade_id))
    slowly = ticks.of_batch(response + response_of(SignalBatch()), first=0, rows=len(some.trades.trade_id))
    assert listed(written) == listed(slowly)
    assert list(json.loads(b"[%b]" % written)[0]["signals"]) == list(fields)


def test_a_tick_of_the_store_has_no_signals_and_one_that_signal_left_out_is_null() -> None:
    ticks, some = writer_of(("vwap", "deviation")), batch("btcusdt", 1)
    [stored] = json.loads(b"[%b]" % ticks.of_stored(trades_of(some, first=0, rows=1)))
    assert stored["signals"] is None and stored["trade_id"] == 1
    [live] = json.loads(b"[%b]" % ticks.of_batch(response_of(some), first=0, rows=1))
    assert live["signals"] == {"vwap": 1.0, "deviation": None}


@pytest.mark.parametrize("rows", [1, 100])
def test_a_batch_can_be_cut_from_among_others(rows: int) -> None:
    some = [batch("btcusdt", 1, 3), batch("ethusdt", 7, rows)]
    response = WatchResponse(batches=SignalBatches(batches=some)).SerializeToString()
    found = TickFrames([], max_rows=1).find(response)
    assert found is not None
    assert [alone(response, each) for each in found] == [response_of(each) for each in some]
