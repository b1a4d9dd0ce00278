"""Trades written in C++ are what Python writes of them: to the last byte, or left to it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.live.connection import text_frames
from gateway.transcode.ticks import MEMBERS, TickWriter, head
from mesh.bus import wire
from tests.fixtures.gateway import batch
from tickcodec.ticks import FoundBatches, TickFrames
from tickmesh.v1.signal_pb2 import GetSymbolResponse, Missed, SignalBatch, SignalBatches, WatchResponse
from tickmesh.v1.trade_pb2 import TradeBatch

MAX_ROWS = 8
NAME = 'Bitcoin "BTC" ₿'
DOUBLES = [0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, float("nan"), float("-inf")]
DOUBLES += [1e16, 9007199254740993.0, 123456789012345680.0, 1e22, 1e23, 9.5e-6, 1e-5, 0.1, 0.5, 100.0, 1e-7, 61837.63]
INTEGERS = st.integers(-(2**63), 2**63 - 1)

frames = TickFrames(MEMBERS, max_rows=MAX_ROWS)


def written(response: bytes, *, first: int = 0, rows: int | None = None) -> bytes | None:
    """Return what C++ writes of the one batch of a response."""
    if not (found := frames.find(response)):
        return None
    [one] = found
    before = head(one.symbol, NAME, one.venue).encode()
    return frames.write(response, one, before, first=first, rows=one.rows - first if rows is None else rows)


def one(changed: SignalBatch) -> bytes:
    return WatchResponse(batches=SignalBatches(batches=[changed])).SerializeToString()


def test_an_answer_without_a_batch_has_none() -> None:
    assert frames.find(WatchResponse(batches=SignalBatches()).SerializeToString()) == []


@given(st.lists(st.one_of(st.floats(), st.sampled_from(DOUBLES)), min_size=1, max_size=MAX_ROWS))
@example(DOUBLES[:MAX_ROWS])
@example(DOUBLES[MAX_ROWS : 2 * MAX_ROWS])
@example(DOUBLES[-MAX_ROWS:])
def test_a_double_is_written_as_python_writes_it(values: list[float]) -> None:
    some = batch("btcusdt", 1, len(values))
    some.volatility[:] = values
    assert written(one(some)) == text_frames(TickWriter().write(some, NAME))


@given(st.lists(st.integers(0, 2**64 - 1), min_size=MAX_ROWS, max_size=MAX_ROWS))
def test_any_bits_of_a_double_are_written_as_python_writes_them(bits: list[int]) -> None:
    some = batch("btcusdt", 1, MAX_ROWS)
    some.session_vwap[:] = struct.unpack(f"{MAX_ROWS}d", struct.pack(f"{MAX_ROWS}Q", *bits))
    assert written(one(some)) == text_frames(TickWriter().write(some, NAME))


@given(st.data())
def test_integers_decimals_ids_and_sides_are_written_as_python_writes_them(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, MAX_ROWS))
    some = batch("btcusdt", 1, rows)
    for column in (some.trades.price_e8, some.trades.quantity_e8, some.session_high_e8, some.session_count):
        column[:] = data.draw(st.lists(INTEGERS, min_size=rows, max_size=rows))
    some.trades.trade_id[:] = data.draw(st.lists(st.integers(0, 2**63 - 1), min_size=rows, max_size=rows))
    some.trades.is_buyer_maker[:] = data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
    assert written(one(some)) == text_frames(TickWriter().write(some, NAME))


@given(st.integers(0, 253_402_300_799_999_999))
@example(253_402_300_799_999_999)
@example(951_782_400_000_000)  # 2000-02-29
@example(4_107_542_399_999_000)  # the end of 2100-02-28, which no leap day follows
@example(4_107_542_400_000_000)
@example(0)
def test_a_time_is_written_as_python_writes_it(time_us: int) -> None:
    some = batch("btcusdt", 1)
    some.trades.time_us[:] = [time_us]
    assert written(one(some)) == text_frames(TickWriter().write(some, NAME))


@pytest.mark.parametrize("length", [1, 60, 200, 5000])
def test_a_frame_of_any_length_has_the_right_header(length: int) -> None:
    some = batch("btcusdt", 1)
    response, name = one(some), "x" * length
    [found] = frames.find(response) or []
    got = frames.write(response, found, head(found.symbol, name, found.venue).encode(), first=0, rows=1)
    assert got == text_frames(TickWriter().write(some, name))


def test_short_and_long_frames_have_headers_of_their_own() -> None:
    for name, members in (("", []), ("x" * 70_000, MEMBERS)):
        roomy, response = TickFrames(members, max_rows=100), one(batch("b2", 1))
        [found] = roomy.find(response) or []
        got = roomy.write(response, found, name.encode(), first=0, rows=1)
        assert got is not None
        payload = got[2:] if not name else got[10:]
        assert got == text_frames([payload])


def test_some_rows_of_several_batches_can_be_written() -> None:
    some = [batch("btcusdt", 1, 3), batch("币安人生usdt", 7, 2)]
    response = WatchResponse(batches=SignalBatches(batches=some)).SerializeToString()
    found = frames.find(response)
    assert found is not None
    assert [(each.venue, each.symbol, each.rows, each.first_id, each.last_id, each.last_us) for each in found] == [
        ("sim", "btcusdt", 3, 1, 3, 1_700_000_000_000_003),
        ("sim", "币安人生usdt", 2, 7, 8, 1_700_000_000_000_008),
    ]
    before = head(found[1].symbol, NAME, "sim").encode()
    expected = TickWriter().write(some[1], NAME)
    assert frames.write(response, found[1], before, first=1, rows=1) == text_frames(expected[1:])


@pytest.mark.parametrize(
    "names",
    [
        ("sim", "btcusdt"),
        ("sim", "币安人生usdt"),
        ("", "btcusdt"),
        ("sim", ""),
        ("s" * 127, "b" * 127),
        ("s" * 128, "btcusdt"),
        ("sim", "b" * 128),
        ("sim\x12\x03", "btc"),
    ],
)
@pytest.mark.parametrize("symbol_first", [False, True])
def test_a_batch_among_several_is_found_as_it_is_alone(names: tuple[str, str], symbol_first: bool) -> None:
    some = batch("ethusdt", 5, 2)
    some.trades.venue, some.trades.symbol = names
    usual, changed = batch("btcusdt", 1).SerializeToString(), some.SerializeToString()
    if symbol_first:
        some.trades.symbol = ""
        trades = TradeBatch(symbol=names[1]).SerializeToString() + some.trades.SerializeToString()
        some.ClearField("trades")
        changed = wire.length_delimited(1, trades) + some.SerializeToString()
    batches = [usual, changed, usual]

    found = frames.find(wire.length_delimited(4, b"".join(map(wire.one_of_many, batches))))

    assert isinstance(found, FoundBatches)
    for place, (each, content) in enumerate(zip(found, batches, strict=True)):
        response = wire.length_delimited(4, wire.one_of_many(content))
        [alone] = frames.find(response) or []
        assert (each.place, each.size) == (place, alone.size) and each.at > alone.at * place
        assert replace(each, place=0, at=alone.at) == alone


def test_a_single_batch_as_an_older_signal_sends_it_is_found() -> None:
    some = batch("btcusdt", 1, 2)
    assert written(WatchResponse(batch=some).SerializeToString()) == text_frames(TickWriter().write(some, NAME))


def _longer(some: SignalBatch) -> None:
    some.volatility.append(1.0)


def _no_trade(some: SignalBatch) -> None:
    some.CopyFrom(batch("btcusdt", 1, 0))


def _uneven(some: SignalBatch) -> None:
    some.trades.quantity_e8.append(1)


def _negative_id(some: SignalBatch) -> None:
    some.trades.trade_id[0] = -1


def _before_1970(some: SignalBatch) -> None:
    some.trades.time_us[0] = -1


def _after_9999(some: SignalBatch) -> None:
    some.trades.time_us[0] = 253_402_300_800_000_000


def _too_long(some: SignalBatch) -> None:
    some.trades.symbol = "x" * 9000


@pytest.mark.parametrize("change", [_longer, _no_trade, _uneven, _negative_id, _before_1970, _after_9999, _too_long])
def test_what_is_unusual_in_a_batch_is_left_to_python(change: Callable[[SignalBatch], None]) -> None:
    some = batch("btcusdt", 1, 2)
    change(some)
    assert written(one(some)) is None


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"\xff\xff\xff",
        WatchResponse(selected=GetSymbolResponse(symbol="btcusdt")).SerializeToString(),
        WatchResponse(missed=Missed(trades=3)).SerializeToString(),
        WatchResponse(batch=batch("btcusdt", 1)).SerializeToString() * 2,
        one(batch("btcusdt", 1)).replace(b"btcusdt", b"btc\xffsdt"),
        one(batch("btcusdt", 1))[:-1],
    ],
)
def test_what_is_no_list_of_batches_is_left_to_python(response: bytes) -> None:
    assert frames.find(response) is None


def test_a_column_in_two_pieces_or_unpacked_is_left_to_python() -> None:
    some = batch("btcusdt", 1, 1)
    piece = SignalBatch(volatility=[0.25]).SerializeToString()
    for more in (piece, piece[:1].replace(b"\xa2", b"\xa1") + piece[1:2] + piece[3:]):
        content = some.SerializeToString() + more
        assert len(SignalBatch.FromString(content).volatility) == 2
        response = b"\x0a" + bytes([len(content) & 0x7F | 0x80, len(content) >> 7]) + content
        assert frames.find(response) and written(response) is None


@given(st.binary(max_size=40), st.integers(0, 600), st.integers(0, 40))
def test_whatever_bytes_come_what_is_written_is_what_python_writes(junk: bytes, at: int, length: int) -> None:
    response = one(batch("btcusdt", 1, 3))
    response = response[:at] + junk + response[at + length :]
    got = written(response) if len(frames.find(response) or []) == 1 else None
    if got is not None:
        try:
            [parsed] = WatchResponse.FromString(response).batches.batches
        except (DecodeError, ValueError):
            return  # wrong in a part that is not carried
        assert got == text_frames(TickWriter().write(parsed, NAME))


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.permutations(range(4)))
def test_batches_behind_each_other_are_what_each_is_alone(counts: list[int], order: list[int]) -> None:
    roomy = TickFrames(MEMBERS, max_rows=16)
    batches = [batch(f"coin{number}usdt", 5 + number, count) for number, count in enumerate(counts)]
    response = WatchResponse(batches=SignalBatches(batches=batches)).SerializeToString()
    found = roomy.find(response)
    assert found is not None
    places = [place for place in order if place < len(counts)]
    names = [f"{NAME} {place}" for place in places]
    heads = [
        head(found[place].symbol, name, found[place].venue).encode() for place, name in zip(places, names, strict=True)
    ]

    together = roomy.write_several(response, places, heads)

    alone = [text_frames(TickWriter().write(batches[place], name)) for place, name in zip(places, names, strict=True)]
    assert together == b"".join(alone)


def test_batches_are_left_where_one_of_them_cannot_be_written() -> None:
    wrong = batch("ethusdt", 1, 1)
    wrong.trades.time_us[:] = [-1]
    response = WatchResponse(batches=SignalBatches(batches=[batch("btcusdt", 1, 1), wrong])).SerializeToString()
    frames.find(response)

    assert frames.write_several(response, [0, 1], [b"{", b"{"]) is None
    assert frames.write_several(response, [0], [b'{"p":']) is not None
