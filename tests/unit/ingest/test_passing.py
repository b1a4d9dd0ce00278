"""Trades that pass in C++: which do, what is kept of them, and what is left to Python."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ingest.publish.quarantine import RecentTrades
from mesh.bus import wire
from mesh.values import epochs
from mesh.values.trades import concatenate
from tests.fixtures.passed_on import PassedOn, trade_publisher_into
from tests.fixtures.trades import START_US, columns, same
from tests.fixtures.venue_frames import read_frames
from tickcodec.frames import ReadBatches
from tickcodec.passing import NO_ID, Passed, PassedMessage, PassedSymbol, PassedSymbols, recent_trades


def followed(symbols: PassedSymbols, name: str, *, partition: int = 0, last_id: int = 10) -> PassedSymbol:
    symbol = PassedSymbol(name, partition=partition)
    symbol.last_id, symbol.passes = last_id, 1
    symbols.add(symbol)
    return symbol


def pass_on(symbols: PassedSymbols, read: ReadBatches, *, latest_us: int = START_US) -> Passed:
    return symbols.pass_on(read, earliest_us=START_US, latest_us=latest_us, now_s=2.5)


def test_what_goes_on_at_the_next_id_passes_and_everything_else_is_left() -> None:
    symbols = PassedSymbols(max_rows=2)
    btc, eth = followed(symbols, "btcusdt"), followed(symbols, "ethusdt")
    followed(symbols, "solusdt").passes = 0

    read = read_frames([(11, "BTCUSDT"), (12, "ETHUSDT"), (12, "BTCUSDT"), (11, "SOLUSDT"), (1, "XRPUSDT")])
    passed = pass_on(symbols, read)

    btc_read = read.of(0)
    assert passed.messages == [PassedMessage(0, ("btcusdt", 11), ("btcusdt", 12), 2, btc_read.batch)]
    assert [(trades.symbol, trades.first_id) for trades in passed.left] == [
        ("ethusdt", 12),
        ("solusdt", 11),
        ("xrpusdt", 1),
    ]
    assert (btc.last_id, btc.last_us, btc.came_s, btc.trades, btc.batches) == (12, START_US, 2.5, 2, 1)
    assert (eth.last_id, eth.came_s, eth.trades) == (10, 0, 0)
    assert pass_on(symbols, read_frames([(13, "BTCUSDT")]), latest_us=START_US - 1).messages == ()
    assert pass_on(symbols, read_frames([(at, "BTCUSDT") for at in (13, 14, 15)])).messages == ()


def test_trades_of_each_partition_are_a_message_of_their_own() -> None:
    symbols = PassedSymbols(max_rows=100)
    for name, partition in (("btcusdt", 3), ("ethusdt", 0), ("solusdt", 3)):
        followed(symbols, name, partition=partition)

    read = read_frames([(11, "SOLUSDT"), (11, "ETHUSDT"), (11, "BTCUSDT"), (12, "BTCUSDT")])
    passed = pass_on(symbols, read)

    sol, eth, btc = read
    assert passed.messages == [
        PassedMessage(3, ("solusdt", 11), ("btcusdt", 12), 3, sol.batch + btc.batch),
        PassedMessage(0, ("ethusdt", 11), ("ethusdt", 11), 1, eth.batch),
    ]
    assert not passed.left


def test_as_many_symbols_as_there_are_have_room_and_none_twice() -> None:
    symbols = PassedSymbols(max_rows=100)
    names = [f"coin{number}usdt" for number in range(1000)]
    for name in names:
        followed(symbols, name)
    read = read_frames([(11, name.upper()) for name in names])
    assert pass_on(symbols, read).messages[0].rows == 1000
    with pytest.raises(ValueError, match="coin7usdt"):
        symbols.add(PassedSymbol("coin7usdt"))


def test_a_symbol_of_any_script_can_be_followed() -> None:
    name = "币" * 32
    symbols = PassedSymbols(max_rows=100)
    followed(symbols, name)
    assert [symbol.name for symbol in symbols] == [name]


@pytest.mark.parametrize("count", [0, 1, 511, 512, 513, 2000])
def test_the_last_trades_are_the_same_however_they_came(count: int) -> None:
    together, one_by_one = PassedSymbol("btcusdt"), PassedSymbol("btcusdt")
    trades = columns(1, count + 3)
    RecentTrades(together).add(trades)
    for start in range(0, len(trades), 7):
        RecentTrades(one_by_one).add(trades.rows(slice(start, start + 7)))

    for symbol in (together, one_by_one):
        recent = RecentTrades(symbol)
        kept = trades.rows(slice(-512, None))
        assert len(recent) == len(kept)
        assert [each.tolist() for each in recent.columns] == [
            kept.trade_id.tolist(),
            kept.time_us.tolist(),
            kept.price_e8.tolist(),
        ]
        assert same(recent.of_ids(trades.trade_id, trades), kept)
        told = wire.decode_one_of_many(recent_trades([symbol], each=16, venue="binance", max_bytes=10_000))
        assert same(told, trades.rows(slice(-16, None)))
        assert told.received_time_us == trades.received_time_us


def test_the_last_trades_are_told_with_their_keys_as_far_as_they_fit() -> None:
    btc, eth, none = PassedSymbol("btcusdt"), PassedSymbol("ethusdt"), PassedSymbol("solusdt")
    btc.first_key = 3 * epochs.IDS
    for symbol in (btc, eth):
        RecentTrades(symbol).add(columns(1, 20, symbol=symbol.name))
    right = replace(columns(20, 1), price_e8=np.array([5]))
    recent = RecentTrades(btc)
    recent.correct(right)
    assert recent.columns[2].tolist()[-1] == 5
    not_published = wire.decode_one_of_many(recent_trades([btc], each=1, venue="binance", max_bytes=10_000))
    assert not_published.price_e8.tolist() == columns(20, 1).price_e8.tolist()
    recent.keep_corrected(right)

    told = recent_trades([none, btc, eth], each=2, venue="binance", max_bytes=10_000)
    batches = list(map(wire.decode_trades, wire.batches_of(told)))

    expected = concatenate([columns(19, 1), right])
    assert same(batches[0], replace(expected, trade_id=expected.trade_id + 3 * epochs.IDS))
    assert same(batches[1], columns(19, 2, symbol="ethusdt"))
    only_first = recent_trades([btc, eth], each=2, venue="binance", max_bytes=len(told) - 1)
    assert [trades.symbol for trades in map(wire.decode_trades, wire.batches_of(only_first))] == ["btcusdt"]


def test_before_the_first_trade_no_id_is_the_next_one() -> None:
    symbols = PassedSymbols(max_rows=100)
    symbol = followed(symbols, "btcusdt", last_id=NO_ID)
    assert pass_on(symbols, read_frames([(0, "BTCUSDT")])).messages == ()
    symbol.last_id = -1
    assert pass_on(symbols, read_frames([(0, "BTCUSDT")])).messages[0].rows == 1


async def test_trades_that_came_while_others_are_waited_for_pass_together_afterwards() -> None:
    passed_on = PassedOn()
    trade_publisher = await trade_publisher_into(passed_on)
    await trade_publisher.follow("ethusdt")
    for symbol in ("btcusdt", "ethusdt"):
        await trade_publisher.take(columns(1, 10, symbol=symbol))
    passed_on.ids.clear()
    trade_publisher.passed_trades()

    assert await trade_publisher.take_together(read_frames([(11, "BTCUSDT")])) == ()
    assert trade_publisher.take_at_once(read_frames([(11, "ETHUSDT")])) is None  # one is not published yet
    assert await trade_publisher.take_together(read_frames([(11, "ETHUSDT"), (12, "BTCUSDT")])) == ()
    assert passed_on.ids == [11]
    await trade_publisher.flush()

    assert passed_on.ids == [11, 11, 12]
    symbols, times, came_s = trade_publisher.passed_trades()
    assert (symbols, times) == ({"btcusdt": (2, 12, came_s), "ethusdt": (1, 11, came_s)}, 2)
    assert came_s > 0
    assert trade_publisher.passed_trades() == ({}, 0, came_s)


async def test_trades_of_a_new_epoch_do_not_pass_as_those_of_the_first() -> None:
    passed_on = PassedOn()
    trade_publisher = await trade_publisher_into(passed_on)
    await trade_publisher.take(columns(1, 10))
    await trade_publisher.begin_epoch("btcusdt", 1, after_id=-1)

    [left] = trade_publisher.take_at_once(read_frames([(0, "BTCUSDT"), (1, "BTCUSDT")])) or ()
    await trade_publisher.take(left)

    assert passed_on.ids == [*range(1, 11), epochs.key_of(1, 0), epochs.key_of(1, 1)]


async def test_behind_a_gap_nothing_passes_until_it_is_filled() -> None:
    passed_on = PassedOn()
    trade_publisher = await trade_publisher_into(passed_on)
    await trade_publisher.take(columns(1, 10))
    for first_id in (14, 11):
        read = read_frames([(first_id + n, "BTCUSDT") for n in range(3)])
        for left in trade_publisher.take_at_once(read) or ():
            await trade_publisher.take(left)

    assert passed_on.ids == list(range(1, 17))
    assert trade_publisher.take_at_once(read_frames([(17, "BTCUSDT")])) == ()
    assert trade_publisher.flush_at_once()
    assert passed_on.ids == list(range(1, 18))
