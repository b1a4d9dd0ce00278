"""Batches that C++ passes over have closed no candle, whatever bytes come."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.bus import wire
from mesh.service.errors import BadMessage
from mesh.values.candles import INTERVALS_US, ClosedCandles
from mesh.values.trades import MAX_TRADE_ID
from signalsvc.engine import Engine, SignalMessage
from store.intake.candles import closing_batches
from tests.fixtures.trades import START_US, columns

Read = list[tuple[int, ClosedCandles | str]]


def signals(first_id: int, *, step_us: int, symbol: str = "btcusdt") -> bytes:
    trades = columns(first_id, 3, symbol=symbol)
    trades = dataclasses.replace(trades, time_us=START_US + trades.trade_id * step_us)
    found = Engine(candle_sma_period=2).process(trades, raw_sequence=7)
    assert found is not None
    return SignalMessage.of(found).payload


EDGES = (0, 1, -1, 2**40, 2**40 + 1, MAX_TRADE_ID, MAX_TRADE_ID + 1, 2**63 - 1, -(2**63))
TEXTS = ("", "0", "1", "01.50", ".5", "5.", "1e3", "-1", "1_0", "٣", "3.123456789", "0." + "0" * 16, "9" * 60, "0" * 81)


@st.composite
def closing(draw: st.DrawFn) -> bytes:
    """Give a batch whose candles are nearly as signal writes them: up to three fields of one are others."""
    twin = wire.SignalTwin.FromString(CLOSING)
    for _ in range(draw(st.integers(0, 3))):
        candle = twin.candles[draw(st.integers(0, len(twin.candles) - 1))]
        field = draw(st.sampled_from(list(candle.DESCRIPTOR.fields)))
        if field.name == "time":
            candle.time.seconds += draw(st.sampled_from([-1, 1, -86_400, 86_400, -(10**12), 10**12]))
            candle.time.nanos = draw(st.sampled_from([0, 0, 1, 1000, -1]))
        elif field.type == field.TYPE_STRING:
            setattr(candle, field.name, draw(st.sampled_from([*INTERVALS_US] if field.name == "interval" else TEXTS)))
        elif field.type == field.TYPE_DOUBLE:
            setattr(candle, field.name, draw(st.floats() | st.sampled_from([0.0, -0.0, 1e30, 1e31, 1e301])))
        elif field.type == field.TYPE_INT64:
            setattr(candle, field.name, draw(st.sampled_from(EDGES)))
        else:
            setattr(candle, field.name, field.type == field.TYPE_BOOL or draw(st.integers(-1, 1)))
    if draw(st.booleans()):
        twin.candles.extend(twin.candles[:1] * draw(st.integers(0, 18)))
    return bytes(twin.SerializeToString(deterministic=True))


QUIET, CLOSING, OF_CHINA = signals(1, step_us=1), signals(1, step_us=700_000), signals(1, step_us=1, symbol="币安usdt")


def what_is_read(batches: Iterable[tuple[int, bytes, ClosedCandles | None]]) -> str:
    """Return the candles and the errors of batches; as text, as NaN is not equal to NaN."""
    found: Read = []
    for part, batch, known in batches:
        try:
            if (closed := known or wire.decode_closed(batch)) is not None:
                found.append((part, closed))
        except BadMessage as exc:
            found.append((part, str(exc)))
    return repr(found)


def test_only_those_that_closed_candles_are_left() -> None:
    message = b"".join(map(wire.one_of_many, (QUIET, CLOSING, QUIET, OF_CHINA)))

    found = closing_batches(message)

    assert [(number, batch) for number, batch, _ in found] == [(2, CLOSING), (4, OF_CHINA)]
    assert [repr(closed) for *_, closed in found] == [repr(wire.decode_closed(CLOSING)), "None"]
    assert wire.decode_closed(CLOSING) is not None


@pytest.mark.parametrize("payload", [b"", b"\x12\x00", wire.one_of_many(QUIET)[:-1]])
def test_what_holds_no_batches_is_refused(payload: bytes) -> None:
    with pytest.raises(BadMessage):
        closing_batches(payload)


@given(st.lists(closing() | st.just(QUIET), min_size=1, max_size=3))
def test_whatever_candles_come_the_same_is_read_of_them(batches: list[bytes]) -> None:
    found = closing_batches(b"".join(map(wire.one_of_many, batches)))

    assert what_is_read(found) == what_is_read((number, batch, None) for number, batch in enumerate(batches, 1))


@given(
    st.lists(st.sampled_from([QUIET, CLOSING, OF_CHINA, b"", b"\x0a\x01"]), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=4),
)
def test_whatever_bytes_come_the_same_candles_and_errors_come_of_them(
    batches: list[bytes], changes: list[tuple[int, int]]
) -> None:
    payload = bytearray(b"".join(map(wire.one_of_many, batches)))
    for at, byte in changes:
        payload[at % len(payload)] = byte
    try:
        reference = [(number, batch, None) for number, batch in enumerate(wire.batches_of(bytes(payload)), 1)]
    except BadMessage:
        with pytest.raises(BadMessage):
            closing_batches(bytes(payload))
        return

    assert what_is_read(closing_batches(bytes(payload))) == what_is_read(reference)
