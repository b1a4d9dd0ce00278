from __future__ import annotations

import math
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.transcode import json
from gateway.transcode.numbers import plain_number, plain_texts, without_exponent
from gateway.transcode.ticks import TickWriter
from tests.fixtures.gateway import batch
from tickmesh.v1 import signal_pb2, trade_pb2

PLAIN = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (6.38e-6, "0.00000638"),
        (-6.38e-6, "-0.00000638"),
        (1e-7, "0.0000001"),
        (1e16, "10000000000000000.0"),
        (-1.5e16, "-15000000000000000.0"),
        (1.2345678901234568e17, "123456789012345680.0"),
        (0.00001, "0.00001"),
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (5e-324, "0." + "0" * 323 + "5"),
        (math.nan, "null"),
        (math.inf, "null"),
        (-math.inf, "null"),
    ],
)
def test_a_double_is_a_plain_number(value: float, text: str) -> None:
    assert plain_texts([value]) == [text]
    assert msgspec.json.encode(plain_number(value)).decode() == text


@given(st.lists(DOUBLES))
def test_every_double_reads_back_as_itself_in_as_few_digits_as_repr(values: list[float]) -> None:
    texts = plain_texts(values)
    assert len(texts) == len(values)
    for value, text in zip(values, texts, strict=True):
        assert PLAIN.fullmatch(text) and len(text) < 345
        assert float(text).hex() == value.hex()
        digits = re.sub(r"e.*|[-.]", "", repr(value)).strip("0")
        assert re.sub(r"[-.]", "", text).strip("0") == digits
        assert msgspec.json.encode(plain_number(value)).decode() == text


def test_digits_on_both_sides_of_the_point_keep_it() -> None:
    assert without_exponent("1.2345e2") == "123.45"


@given(DOUBLES)
def test_no_path_writes_an_exponent(value: float) -> None:
    ticks = batch("btcusdt", 1, 2)
    for name in ("moving_average", "session_volume", "session_vwap", "exponential_average", "volatility"):
        getattr(ticks, name)[:] = [value, 0.25]
    stats = signal_pb2.GetStatsResponse(volume=value, volatility=value, trade_rate=value)
    candle = trade_pb2.Candle(rsi=value, macd=value)
    written = [*TickWriter().write(ticks, "Bitcoin")]
    written += [json.to_bytes(json.encoder(message.DESCRIPTOR)(message)) for message in (stats, candle)]
    for text in written:
        numbers = re.findall(r'":(-?[\d.][^,}]*)', text.decode())
        assert numbers and all(PLAIN.fullmatch(number) for number in numbers)
