"""The declared signals and indicators are those of the protos: none is lost on its way to who asks or watches."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import FieldDescriptor

from mesh.values.candles import INDICATORS
from mesh.values.signals import SIGNALS, Signal
from tickmesh.v1 import signal_pb2, trade_pb2

KINDS = {"f": FieldDescriptor.TYPE_DOUBLE, "i": FieldDescriptor.TYPE_SFIXED64}


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.name)
def test_a_signal_is_a_column_of_the_batch_and_a_number_of_the_statistics(signal: Signal) -> None:
    column = signal_pb2.SignalBatch.DESCRIPTOR.fields_by_name[signal.name]
    number = signal_pb2.GetStatsResponse.DESCRIPTOR.fields_by_name[signal.stats_name]

    assert (column.type, column.is_repeated) == (KINDS[signal.dtype.kind], True)
    assert (number.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE) == (signal.dtype.kind == "f")


def test_the_protos_have_no_signal_that_is_not_declared() -> None:
    batch = {field.name for field in signal_pb2.SignalBatch.DESCRIPTOR.fields}
    stats = {field.name for field in signal_pb2.GetStatsResponse.DESCRIPTOR.fields}

    assert batch - {"trades", "raw_sequence", "candles"} == {signal.name for signal in SIGNALS}
    assert stats - {"venue", "symbol", "timestamp"} == {signal.stats_name for signal in SIGNALS}


def test_the_indicators_of_a_candle_are_the_protos() -> None:
    doubles = [field.name for field in trade_pb2.Candle.DESCRIPTOR.fields if field.type == FieldDescriptor.TYPE_DOUBLE]

    assert tuple(doubles) == INDICATORS
