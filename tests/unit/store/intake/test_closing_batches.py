"""Batches that C++ passes over have closed no candle, whatever bytes come."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.bus import wire
from mesh.service.errors import BadMessage
from mesh.values.candles import ClosedCandles
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


QUIET, CLOSING, OF_CHINA = signals(1, step_us=1), signals(1, step_us=700_000), signals(1, step_us=1, symbol="币安usdt")


def what_is_read(batches: list[tuple[int, bytes]]) -> str:
    """Return the candles and the errors of batches; as text, as NaN is not equal to NaN."""
    found: Read = []
    for part, batch in batches:
        try:
            if (closed := wire.decode_closed(batch)) is not None:
                found.append((part, closed))
        except BadMessage as exc:
            found.append((part, str(exc)))
    return repr(found)


def test_only_those_that_closed_candles_are_left() -> None:
    message = b"".join(map(wire.one_of_many, (QUIET, CLOSING, QUIET, OF_CHINA)))

    assert closing_batches(message) == [(2, CLOSING), (4, OF_CHINA)]


@pytest.mark.parametrize("payload", [b"", b"\x12\x00", wire.one_of_many(QUIET)[:-1]])
def test_what_holds_no_batches_is_refused(payload: bytes) -> None:
    with pytest.raises(BadMessage):
        closing_batches(payload)


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
        reference = list(enumerate(wire.batches_of(bytes(payload)), 1))
    except BadMessage:
        with pytest.raises(BadMessage):
            closing_batches(bytes(payload))
        return

    assert what_is_read(closing_batches(bytes(payload))) == what_is_read(reference)
