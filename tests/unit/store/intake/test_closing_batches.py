"""Batches that C++ passes over have closed no candle, whatever bytes come."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterable
from decimal import Context, Decimal, localcontext

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.bus import wire
from mesh.service.errors import BadMessage
from mesh.values.candles import INDICATORS, INTERVALS_US, ClosedCandles
from mesh.values.trades import MAX_TRADE_ID
from signalsvc.engine import Engine, SignalMessage
from store.candles.rows import _row
from store.candles.sql import ADDED_COLUMNS
from store.database.times import time_of
from store.intake.candles import closed_columns, closing_batches
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


def read_rows(rows: bytes) -> list[list[object]]:
    """Return the fields of rows of a binary COPY of candles, as PostgreSQL reads them."""
    found: list[list[object]] = []
    at = 0
    while at < len(rows):
        [fields] = struct.unpack_from(">h", rows, at)
        at += 2
        row: list[object] = []
        for name in ADDED_COLUMNS[:fields]:
            [size] = struct.unpack_from(">i", rows, at)
            field = rows[at + 4 : at + 4 + max(size, 0)]
            row.append(None if size < 0 else READ[name](field))
            at += 4 + max(size, 0)
        found.append(row)
    return found


def read_numeric(field: bytes) -> str:
    count, weight, sign, decimals, *digits = struct.unpack(f">hhHH{len(field) // 2 - 4}h", field)
    assert (sign, count) == (0, len(digits))
    value = sum(Decimal(digit).scaleb(4 * (weight - place), EXACT) for place, digit in enumerate(digits))
    return f"{value:.{decimals}f}"


EXACT = Context(prec=100)
READ: dict[str, Callable[[bytes], object]] = {
    **dict.fromkeys(("venue", "symbol", "interval"), bytes.decode),
    "time": lambda field: time_of(struct.unpack(">q", field)[0] + 946_684_800_000_000),
    **dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume"), read_numeric),
    **dict.fromkeys(("count", "first_trade_id", "last_trade_id"), lambda field: struct.unpack(">q", field)[0]),
    "revision": lambda field: struct.unpack(">i", field)[0],
    **dict.fromkeys(INDICATORS, lambda field: struct.unpack(">d", field)[0]),
}


def rows_of(closed: ClosedCandles) -> list[list[object]]:
    rows = [_row(closed.venue, closed.symbol, candle) for candle in closed.candles]
    return [[None if value != value else value for value in row] for row in rows]  # noqa: PLR0124 - NaN


@given(st.lists(closing() | st.sampled_from([QUIET, CLOSING]), min_size=1, max_size=3))
def test_whatever_candles_come_they_are_copied_as_they_are_read_or_not_at_all(batches: list[bytes]) -> None:
    message = b"".join(map(wire.one_of_many, batches))
    if (columns := closed_columns(message)) is None:
        assert any(known is None for *_, known in closing_batches(message))
        return
    whole = [known for *_, known in closing_batches(message) if known is not None]

    with localcontext(EXACT):
        assert read_rows(columns.rows) == [row for closed in whole for row in rows_of(closed)]
    assert [(each.venue, each.symbol) for each in whole] == list(columns.names)
    assert [(len(each.candles), each.reached_us, each.raw_sequence) for each in whole] == list(
        zip(columns.batch_candles, columns.reached_us, columns.raw_sequences, strict=True)
    )
    numbers = [(INTERVALS_US[each.interval], each.time_us, each.count) for closed in whole for each in closed.candles]
    candles = columns.candles
    assert numbers == list(zip(candles.interval_us, candles.start_us, candles.count, strict=True))
    indicators = [msgspec.structs.astuple(each)[: len(INDICATORS)] for closed in whole for each in closed.candles]
    assert repr(list(map(tuple, candles.indicators.tolist()))) == repr(indicators)


def test_a_message_that_closes_nothing_has_no_columns_to_be_kept() -> None:
    columns = closed_columns(wire.one_of_many(QUIET))

    assert columns is not None
    assert (columns.names, columns.rows) == ([], b"")


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
