"""What goes to RAW in one message, and what the next ingest goes on after."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ingest.publish import partition_publisher as module
from ingest.publish.partition_publisher import MAX_BATCH
from ingest.publish.trade_publisher import TradePublisher
from mesh.bus import subjects, wire
from mesh.bus.partitions import partitions
from mesh.values import epochs
from tests.fixtures.raw import trades_in
from tests.fixtures.trades import columns
from tests.fixtures.venue_frames import read_frames
from tests.fuzz.memory_bus import MemoryBus
from tickcodec.passing import PassedMessage

RAW = subjects.raw("binance")


class Bus(MemoryBus):
    """Keeps the messages of RAW: the subject, and the symbol with the first and last key of each of its batches."""

    def __init__(self, partitions: int = 1) -> None:
        super().__init__(partitions)
        self.partitions = partitions
        self.messages: list[tuple[str, list[tuple[str, int, int]]]] = []

    def offer(self, subject: str, payload: bytes, **options: Any) -> bool:
        super().offer(subject, payload, **options)
        trades = trades_in(subject, payload)
        self.messages.append((subject, [(one.symbol, int(one.trade_id[0]), int(one.trade_id[-1])) for one in trades]))
        return True


async def publisher_on(bus: Any, *symbols: str, **options: Any) -> TradePublisher:
    publisher = TradePublisher("binance", bus, dict.fromkeys(partitions(bus.partitions), bus), **options)
    for symbol in symbols or ("btcusdt", "ethusdt"):
        await publisher.follow(symbol)
    return publisher


async def gather(publisher: TradePublisher, symbol: str, first_id: int, rows: int) -> None:
    batch, raw = columns(first_id, rows, symbol=symbol), publisher._followed[symbol].raw
    await raw.make_room(rows)
    message = wire.one_of_many(wire.encode_trades(batch))
    raw.gather(PassedMessage(raw.partition.number, (symbol, first_id), (symbol, first_id + rows - 1), rows, message))


async def test_trades_that_are_gathered_are_one_message_in_their_order() -> None:
    bus = Bus()
    publisher = await publisher_on(bus)
    for first_id, symbol in ((1, "btcusdt"), (7, "ethusdt"), (4, "btcusdt")):
        await gather(publisher, symbol, first_id, 3)
    await publisher.flush()
    await publisher.flush()
    assert [message for message in bus.messages if message[0] == RAW] == [
        (RAW, [("btcusdt", 1, 3), ("ethusdt", 7, 9), ("btcusdt", 4, 6)])
    ]


async def test_a_message_has_no_more_trades_than_its_readers_take_at_once() -> None:
    bus = Bus()
    publisher = await publisher_on(bus, "btcusdt", "ethusdt", "solusdt")
    for symbol in ("btcusdt", "ethusdt", "solusdt"):
        await gather(publisher, symbol, 1, MAX_BATCH // 2)
    await publisher.flush()
    assert [len(batches) for subject, batches in bus.messages if subject == RAW] == [2, 1]


async def test_what_is_gathered_goes_before_a_repair() -> None:
    bus = Bus()
    publisher = await publisher_on(bus)
    await publisher.take(columns(1, 5), live=False)
    await gather(publisher, "ethusdt", 1, 2)
    await publisher.publish_again(columns(2, 1))
    assert [subject for subject, _ in bus.messages] == [RAW, subjects.last_trades(RAW), RAW, f"{RAW}.btcusdt"]


@pytest.mark.parametrize("behind", [0, 1, 5])
async def test_the_next_ingest_goes_on_after_the_last_trade_of_each_symbol_however_long_ago_it_was(
    monkeypatch: pytest.MonkeyPatch, behind: int
) -> None:
    monkeypatch.setattr(module, "_LAST_TRADES_EVERY", 10)
    bus = Bus()
    publisher = await publisher_on(bus)
    await publisher.take(columns(1, 40, symbol="ethusdt"), live=False)
    for trade_id in range(1, 31 + behind):
        await publisher.take(columns(trade_id, 1), live=False)

    second = await publisher_on(bus, "btcusdt")  # the other one is followed again later
    await second.take(columns(31 + behind, 1), live=False)
    third = await publisher_on(bus)

    assert (third.next_id("btcusdt"), third.next_id("ethusdt")) == (32 + behind, 41)
    assert third.last_trade("ethusdt") == publisher.last_trade("ethusdt")


async def test_the_next_ingest_goes_on_in_the_epoch_of_the_last_trade_that_was_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_LAST_TRADES_EVERY", 1)
    bus = Bus()
    publisher = await publisher_on(bus)
    await publisher.take(columns(1, 50), live=False)
    await publisher.begin_epoch("btcusdt", 1, after_id=-1)
    await publisher.take(columns(1, 20, symbol="ethusdt"), live=False)
    before = await publisher_on(bus)
    await publisher.take(columns(0, 3), live=False)
    after = await publisher_on(bus)
    assert [(one.epoch("btcusdt"), one.next_id("btcusdt")) for one in (before, after)] == [(0, 51), (1, 3)]
    assert bus.keys["btcusdt"][-1] == epochs.key_of(1, 2)


async def test_the_next_ingest_knows_a_published_trade_that_was_corrected_as_it_is_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_LAST_TRADES_EVERY", 1)
    bus = Bus()
    publisher = await publisher_on(bus)
    await publisher.take(columns(1, 20), live=False)
    wrong, right = columns(20, 1), columns(20, 1)
    right.price_e8[:] += 1_000_000
    await publisher._correct("btcusdt", publisher._followed["btcusdt"], wrong, right)
    await publisher.take(columns(1, 20, symbol="ethusdt"), live=False)
    again = await publisher_on(bus)
    assert (again.next_id("btcusdt"), again.last_trade("btcusdt")) == (21, (right.time_us[0], right.price_e8[0]))


async def test_a_correction_is_not_told_again_before_raw_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LAST_TRADES_EVERY", 1)
    bus = Bus()
    publisher = await publisher_on(bus)
    right = columns(1, 10)
    wrong = replace(right, price_e8=np.where(right.trade_id == 10, 5, right.price_e8))
    await publisher.take(wrong)
    assert publisher.take_at_once(read_frames([(11, "BTCUSDT")])) == ()  # its message goes before the repair
    published, last = publisher._followed["btcusdt"], slice(9, 10)
    await publisher._correct("btcusdt", published, wrong.rows(last), right.rows(last))
    told = await bus.get_last_msg(subjects.RAW, subjects.last_trades(RAW))
    await publisher.take(columns(1, 3, symbol="ethusdt"), live=False)
    told_later = await bus.get_last_msg(subjects.RAW, subjects.last_trades(RAW))
    prices = [
        trades.price_e8[trades.trade_id == 10].tolist()
        for message in (told, told_later)
        for trades in map(wire.decode_trades, wire.batches_of(message.data))
        if trades.symbol == "btcusdt"
    ]
    assert prices == [[5], right.price_e8[last].tolist()]


async def test_of_too_many_symbols_the_last_trades_are_told_of_those_that_traded_last() -> None:
    bus = Bus()
    symbols = [f"coin{number}usdt" for number in range(20)]
    publisher = await publisher_on(bus, *symbols, max_unrepeated_bytes=8192)
    for number, symbol in enumerate(symbols, 1):
        await publisher.take(columns(number, 16, symbol=symbol), live=False)
    last = await bus.get_last_msg(subjects.RAW, subjects.last_trades(RAW))
    told = [wire.decode_trades(batch).symbol for batch in wire.batches_of(last.data)]
    traded = symbols[: 1 + symbols.index(told[0])]
    assert 2 < len(told) < len(traded)
    assert told == traded[: -len(told) - 1 : -1]
    assert len(last.data) <= 4096


async def test_each_partition_has_messages_of_its_own_which_tell_the_last_trades_of_its_symbols(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_LAST_TRADES_EVERY", 2)
    bus = Bus(partitions=2)
    of_solusdt, of_the_others = (subjects.raw("binance", partition) for partition in partitions(2))
    publisher = await publisher_on(bus, "btcusdt", "ethusdt", "solusdt")
    for symbol in ("btcusdt", "solusdt", "ethusdt"):
        await gather(publisher, symbol, 1, 3)
    await publisher.flush()
    for first_id in (4, 7, 10):
        await publisher.take(columns(first_id, 3, symbol="solusdt"), live=False)
    await publisher.publish_again(columns(5, 1, symbol="solusdt"))

    assert [batches for subject, batches in bus.messages if subject == of_the_others] == [
        [("btcusdt", 1, 3), ("ethusdt", 1, 3)]
    ]
    assert [batches for subject, batches in bus.messages if subject == of_solusdt] == [
        [("solusdt", first_id, first_id + 2)] for first_id in (1, 4, 7, 10)
    ]
    assert bus.messages[-1] == (f"{of_solusdt}.solusdt", [("solusdt", 5, 5)])
    after = await publisher_on(bus, "btcusdt", "ethusdt", "solusdt")
    assert [after.next_id(symbol) for symbol in ("btcusdt", "ethusdt", "solusdt")] == [4, 4, 13]
