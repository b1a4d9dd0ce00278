from __future__ import annotations

import asyncio

from signalsvc.engine import CarriedSignals, SignalMessage
from signalsvc.watchers import COALESCED_TRADES, MAX_TRADES, Watcher, Watchers
from tickmesh.v1 import signal_pb2, trade_pb2


def signals(symbol: str = "btcusdt", *, trades: int = 1) -> SignalMessage:
    batch = trade_pb2.TradeBatch(venue="sim", symbol=symbol, trade_id=range(min(trades, 10)))
    return SignalMessage(
        "sim", symbol, trades, 0, trades - 1, 1, signal_pb2.SignalBatch(trades=batch).SerializeToString()
    )


def batch(symbol: str = "btcusdt", *, trades: int = 1) -> CarriedSignals:
    return CarriedSignals.of(signals(symbol, trades=trades))


async def seen_by(watcher: Watcher) -> list[signal_pb2.WatchResponse]:
    watcher.end()
    return [signal_pb2.WatchResponse.FromString(event) async for event in watcher.events()]


async def test_each_watcher_gets_what_it_asked_for() -> None:
    watchers = Watchers()
    chosen = Watcher(frozenset(), selected=True)
    listed = Watcher(frozenset({"ethusdt"}), selected=False)
    every = Watcher(frozenset(), selected=False)
    with watchers.watching(chosen), watchers.watching(listed), watchers.watching(every):
        for symbol in ("btcusdt", "ethusdt", "solusdt"):
            watchers.publish(batch(symbol), selected="btcusdt")
        symbols = [[event.batch.trades.symbol for event in await seen_by(each)] for each in (chosen, listed, every)]
    assert symbols == [["btcusdt"], ["ethusdt"], ["btcusdt", "ethusdt", "solusdt"]]


async def test_batches_that_wait_together_come_together_to_who_asked_for_that() -> None:
    watchers = Watchers()
    busy = Watcher(frozenset(), selected=False, coalesce=True)
    with watchers.watching(busy):
        for symbol in ("btcusdt", "ethusdt"):
            watchers.publish(batch(symbol, trades=400), selected="btcusdt")
        watchers.notify_selected(signal_pb2.GetSymbolResponse(symbol="solusdt"))
        watchers.publish(batch("solusdt"), selected="solusdt")
        events = await seen_by(busy)

    assert [event.WhichOneof("event") for event in events] == ["batches", "selected", "batches"]
    assert [[each.trades.symbol for each in event.batches.batches] for event in events] == [
        ["btcusdt", "ethusdt"],
        [],
        ["solusdt"],
    ]
    assert events[0].batches.batches[1].SerializeToString() == signals("ethusdt", trades=400).payload


async def test_batches_of_one_message_come_together_or_one_by_one_as_each_watcher_wants_them() -> None:
    watchers = Watchers()
    together_, single, listed = (
        Watcher(frozenset(), selected=False, coalesce=True),
        Watcher(frozenset(), selected=False),
        Watcher(frozenset({"ethusdt"}), selected=False, coalesce=True),
    )
    with watchers.watching(together_), watchers.watching(single), watchers.watching(listed):
        watchers.publish(CarriedSignals.of(signals("btcusdt"), signals("ethusdt", trades=3)), selected="btcusdt")
        events = [await seen_by(each) for each in (together_, single, listed)]

    assert [[each.trades.symbol for each in event.batches.batches] for event in events[0]] == [["btcusdt", "ethusdt"]]
    assert [event.batch.trades.symbol for event in events[1]] == ["btcusdt", "ethusdt"]
    assert [[each.trades.symbol for each in event.batches.batches] for event in events[2]] == [["ethusdt"]]


async def test_no_more_trades_come_together_than_a_message_holds_well() -> None:
    watchers = Watchers()
    busy = Watcher(frozenset(), selected=False, coalesce=True)
    with watchers.watching(busy):
        for trades in (COALESCED_TRADES - 1, 2, COALESCED_TRADES + 1, 1):
            watchers.publish(batch(trades=trades), selected="btcusdt")
        events = await seen_by(busy)

    assert [len(event.batches.batches) for event in events] == [1, 1, 1, 1]


async def test_a_slow_watcher_is_told_how_many_trades_it_missed() -> None:
    watchers = Watchers()
    slow = Watcher(frozenset(), selected=False)
    with watchers.watching(slow):
        for _ in range(3):
            watchers.publish(batch(trades=MAX_TRADES // 2), selected="btcusdt")
        events = await seen_by(slow)
    assert [event.WhichOneof("event") for event in events] == ["missed", "batch", "batch"]
    assert events[0].missed.trades == MAX_TRADES // 2


async def test_a_watcher_waits_for_what_comes() -> None:
    watcher = Watcher(frozenset(), selected=False)
    reading = asyncio.ensure_future(anext(watcher.events()))
    await asyncio.sleep(0)
    watcher.put(b"an event")
    assert await asyncio.wait_for(reading, 5) == b"an event"


async def test_who_stopped_watching_is_forgotten() -> None:
    watchers = Watchers()
    with watchers.watching(Watcher(frozenset(), selected=False)):
        pass
    assert len(watchers) == 0


async def test_partitions_and_repeats_are_told_to_those_who_asked_for_them() -> None:
    watchers = Watchers(partitions=2)
    plain = Watcher(frozenset(), selected=False)
    gateway = Watcher(frozenset(), selected=False, partitions=True, repeats=True)
    with watchers.watching(plain), watchers.watching(gateway):
        watchers.repeat(batch().payload, symbol="btcusdt", trades=1)
        watchers.tell_partitions(signal_pb2.OwnedPartitions(numbers=[1], count=2))
        watchers.tell_partitions()
        events = await seen_by(gateway)

        assert [event.WhichOneof("event") for event in events] == ["batch", "partitions", "partitions"]
        assert events[1] == events[2] and list(events[1].partitions.numbers) == [1]
        assert await seen_by(plain) == []


async def test_an_event_goes_at_once_while_there_is_room_and_nothing_waits_before_it() -> None:
    sent: list[signal_pb2.WatchResponse] = []
    room = 2

    def send_at_once(event: bytes) -> bool:
        if len(sent) < room:
            sent.append(signal_pb2.WatchResponse.FromString(event))
            return True
        return False

    watchers = Watchers()
    watcher = Watcher(frozenset(), selected=False, coalesce=True)
    watcher.send_at_once = send_at_once
    with watchers.watching(watcher):
        for symbol in ("btcusdt", "ethusdt", "solusdt"):
            watchers.publish(batch(symbol), selected="btcusdt")
        room = 10
        watchers.notify_selected(signal_pb2.GetSymbolResponse(symbol="bnbusdt"))  # behind what waits
        assert [event.batches.batches[0].trades.symbol for event in sent] == ["btcusdt", "ethusdt"]
        events = watcher.events()
        assert (signal_pb2.WatchResponse.FromString(await anext(events))).batches.batches[0].trades.symbol == "solusdt"
        assert (signal_pb2.WatchResponse.FromString(await anext(events))).selected.symbol == "bnbusdt"
        watchers.publish(batch("xrpusdt"), selected="bnbusdt")
        assert sent[-1].batches.batches[0].trades.symbol == "xrpusdt"
