"""Messages of RAW that are read all together, in C++, hold what each of their batches holds on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.bus import wire
from mesh.bus.reader import Message
from mesh.values.trades import TradeColumns, concatenate_all
from store.intake.trades import by_symbol, joined_trades, pending_of, read_trades
from tests.fixtures.trades import columns

SYMBOLS = ("btcusdt", "ethusdt", "币安人生usdt", "a1")


def message(payload: bytes, subject: str = "trades.raw.binance") -> Message:
    return Message(7, subject, payload, reply="", taken_us=0, pending=0)


def payload_of(*batches: TradeColumns) -> bytes:
    return b"".join(wire.one_of_many(wire.encode_trades(batch)) for batch in batches)


def of_symbol(
    symbol: str, first_id: int, count: int, *, received_time_us: int = 1, venue: str = "binance"
) -> TradeColumns:
    return replace(columns(first_id, count), symbol=symbol, venue=venue, received_time_us=received_time_us)


def told(groups: Sequence[TradeColumns]) -> list[list[object]]:
    return [[one.tolist() if isinstance(one, np.ndarray) else one for one in astuple(group)] for group in groups]


def both_ways(payloads: Sequence[bytes]) -> None:
    """See that messages are joined to what their batches come to, or are left to be read one by one."""
    messages = list(map(message, payloads))
    waiting = list(map(pending_of, messages))
    batches = [batch for each in messages for batch in read_trades(each)]
    rows = [sum(len(one.trades) for one in read_trades(each) if one.trades is not None) for each in messages]
    assert all(counted.rows >= row for counted, row in zip(waiting, rows, strict=True))
    if (groups := joined_trades(waiting)) is None:
        return
    assert [each.rows for each in waiting] == rows
    assert not any(batch.reason for batch in batches)
    assert told(groups) == told(by_symbol(batches))
    assert told([groups.trades]) == told([concatenate_all(list(groups))])


batches = st.builds(
    of_symbol,
    st.sampled_from(SYMBOLS),
    st.integers(0, 2**40),
    st.integers(1, 20),
    received_time_us=st.integers(0, 2**62),
    venue=st.sampled_from(["binance", "sim"]),
)


@given(st.lists(st.lists(batches, min_size=1, max_size=5), min_size=1, max_size=5))
def test_messages_are_joined_to_what_their_batches_hold(messages: list[list[TradeColumns]]) -> None:
    payloads = [payload_of(*each) for each in messages]

    both_ways(payloads)

    assert joined_trades([pending_of(message(payload)) for payload in payloads]) is not None


@given(
    st.lists(batches, min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4),
    st.integers(0, 2000),
)
def test_whatever_bytes_come_they_are_joined_to_the_same_or_left(
    trades: list[TradeColumns], changes: list[tuple[int, int]], size: int
) -> None:
    payload = bytearray(payload_of(*trades))
    for at, byte in changes:
        payload[at % len(payload)] = byte

    both_ways([bytes(payload[:size]), payload_of(*trades)])


@given(st.binary(max_size=60))
def test_no_bytes_are_joined_that_are_no_batches(payload: bytes) -> None:
    both_ways([payload])


def test_more_symbols_than_there_is_room_for_are_left() -> None:
    many = [of_symbol(f"coin{number}", 1, 1) for number in range(5_000)]

    assert joined_trades([pending_of(message(payload_of(*many)))]) is None


@pytest.mark.parametrize("makers", [b"\1\2\1", b"\1\xff\0"])
def test_a_bool_of_a_foreign_writer_is_left(makers: bytes) -> None:
    payload = payload_of(of_symbol("btcusdt", 1, 3))
    foreign = payload[: -len(makers)] + makers

    assert joined_trades([pending_of(message(foreign))]) is None
    [batch] = read_trades(message(foreign))
    assert batch.trades is not None


def test_a_name_that_is_no_symbol_is_left() -> None:
    assert joined_trades([pending_of(message(payload_of(of_symbol("BTC", 1, 1))))]) is None


def test_trades_that_are_told_again_and_repairs_are_not_joined_as_new_ones() -> None:
    again = pending_of(message(payload_of(of_symbol("btcusdt", 1, 3)), "trades.raw.binance.last-trades"))
    repair = pending_of(message(wire.encode_trades(of_symbol("btcusdt", 1, 3)), "trades.raw.binance.btcusdt"))

    assert (again.rows, repair.rows) == (0, 3)
    assert joined_trades([again]) is not None
    assert joined_trades([again, repair]) is None
