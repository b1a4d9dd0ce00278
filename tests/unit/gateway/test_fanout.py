from __future__ import annotations

from gateway.live.fanout import Chunk, ClientFanout, ClientLimits, ClientQueue
from gateway.live.subscription import Subscription


def trades(first: int, count: int = 1) -> Chunk:
    return Chunk(f"{first}+{count} ".encode(), trades=count)


def selected(symbol: str) -> Chunk:
    return Chunk(symbol.encode(), trades=0, kind="selected")


def join(fanout: ClientFanout, *symbols: str, everything: bool = False) -> ClientQueue:
    return fanout.connect(lambda: None, Subscription(frozenset(symbols) or None, everything=everything, events=True))


def taken(reader: ClientQueue) -> tuple[int, bytes]:
    missed, chunks = reader.take(10**6)
    return missed, b"".join(chunk.data for chunk in chunks)


def test_a_reader_gets_what_is_published_in_order() -> None:
    fanout = ClientFanout()
    reader = join(fanout, "btcusdt")
    for number in range(3):
        fanout.publish("btcusdt", trades(number))
    assert taken(reader) == (0, b"0+1 1+1 2+1 ")


def test_all_readers_share_one_chunk() -> None:
    fanout = ClientFanout()
    readers = [join(fanout, "btcusdt"), join(fanout, everything=True)]
    fanout.publish("btcusdt", chunk := trades(1))
    assert all(reader.take(1)[1][0] is chunk for reader in readers)


def test_a_reader_gets_its_symbols_only() -> None:
    fanout = ClientFanout()
    reader = join(fanout, "btcusdt", "ethusdt")
    for number, symbol in enumerate(["btcusdt", "solusdt", "ethusdt"]):
        fanout.publish(symbol, trades(number))
    assert taken(reader) == (0, b"0+1 2+1 ")


def test_a_reader_without_symbols_follows_the_selection() -> None:
    fanout = ClientFanout()
    reader = join(fanout)
    fanout.publish("btcusdt", trades(0))
    fanout.select("btcusdt")
    fanout.publish("btcusdt", trades(1))
    fanout.select("ethusdt")
    fanout.publish("btcusdt", trades(2))
    fanout.publish("ethusdt", trades(3))
    assert taken(reader) == (0, b"1+1 3+1 ")


def test_nobody_wants_a_symbol_after_its_reader_left() -> None:
    fanout = ClientFanout()
    reader = join(fanout, "btcusdt")
    wanted_before = fanout.audience("btcusdt")
    fanout.leave(reader)
    fanout.leave(reader)
    assert (wanted_before, fanout.audience("btcusdt"), len(fanout)) == ((reader,), (), 0)


def test_a_slow_reader_loses_the_oldest_and_is_told_how_many() -> None:
    fanout = ClientFanout(ClientLimits(queued=4))
    reader = join(fanout, "btcusdt")
    for number in range(10):
        fanout.publish("btcusdt", trades(number))
    assert taken(reader) == (6, b"6+1 7+1 8+1 9+1 ")


def test_what_was_told_as_lost_is_not_told_again() -> None:
    fanout = ClientFanout(ClientLimits(queued=1))
    reader = join(fanout, "btcusdt")
    fanout.publish("btcusdt", trades(0))
    fanout.publish("btcusdt", trades(1))
    taken(reader)
    fanout.publish("btcusdt", trades(2))
    assert taken(reader) == (0, b"2+1 ")


def test_a_slow_reader_lags_alone() -> None:
    fanout = ClientFanout(ClientLimits(queued=2))
    slow, quick = join(fanout, "btcusdt"), join(fanout, "btcusdt")
    got = []
    for number in range(5):
        fanout.publish("btcusdt", trades(number))
        got.append(taken(quick))
    assert (got, taken(slow)) == ([(0, f"{n}+1 ".encode()) for n in range(5)], (3, b"3+1 4+1 "))


def test_a_chunk_counts_as_many_trades_as_it_holds() -> None:
    fanout = ClientFanout(ClientLimits(queued=10))
    reader = join(fanout, "btcusdt")
    for number in range(3):
        fanout.publish("btcusdt", trades(number, 5))
    assert taken(reader) == (5, b"1+5 2+5 ")


def test_a_chunk_larger_than_the_queue_still_gets_through() -> None:
    fanout = ClientFanout(ClientLimits(queued=3))
    reader = join(fanout, "btcusdt")
    fanout.publish("btcusdt", trades(0, 5))
    assert taken(reader) == (0, b"0+5 ")


def test_take_stops_near_the_number_asked_for() -> None:
    fanout = ClientFanout()
    reader = join(fanout, "btcusdt")
    for number in range(4):
        fanout.publish("btcusdt", trades(number, 2))
    first, then = reader.take(3), taken(reader)
    assert (len(first[1]), then) == (2, (0, b"2+2 3+2 "))


def test_lost_control_messages_come_first_the_latest_of_each_kind() -> None:
    fanout = ClientFanout(ClientLimits(queued=2))
    reader = join(fanout, everything=True)
    for chunk in (selected("btc "), Chunk(b"waiting ", 0, "status"), selected("eth "), trades(1), trades(2)):
        reader.offer(chunk)
    assert taken(reader) == (0, b"waiting eth 1+1 2+1 ")


def test_a_reader_that_never_catches_up_is_overrun_and_keeps_nothing() -> None:
    fanout = ClientFanout(ClientLimits(queued=2, missed=3))
    woken = []
    reader = fanout.connect(lambda: woken.append(reader.overrun), Subscription(frozenset(["btcusdt"])))
    for number in range(8):
        fanout.publish("btcusdt", trades(number))
    assert (woken, reader.missed_in_a_row) == ([False] * 5 + [True], 6)
    assert reader.take(10)[1] == []


def test_a_reader_that_catches_up_now_and_then_is_never_overrun() -> None:
    fanout = ClientFanout(ClientLimits(queued=2, missed=3))
    reader = join(fanout, "btcusdt")
    for number in range(100):
        fanout.publish("btcusdt", trades(number))
        if number % 4 == 3:
            taken(reader)
    assert (reader.overrun, reader.missed_total) == (False, 50)


def test_control_messages_are_for_everybody() -> None:
    fanout = ClientFanout()
    readers = [join(fanout), join(fanout, "btcusdt"), join(fanout, everything=True)]
    fanout.notify(selected("eth"))
    assert [taken(reader) for reader in readers] == [(0, b"eth")] * 3


def test_events_are_only_for_readers_that_want_them() -> None:
    fanout = ClientFanout()
    plain = fanout.connect(lambda: None, Subscription())
    curious = fanout.connect(lambda: None, Subscription(events=True))
    fanout.notify(selected("ethusdt"))
    assert taken(plain) == (0, b"")
    assert taken(curious) == (0, b"ethusdt")


def test_what_everybody_missed_is_told_to_readers_that_want_no_events_too() -> None:
    fanout = ClientFanout()
    plain = fanout.connect(lambda: None, Subscription())
    fanout.notify(Chunk(b"missed 9", trades=0, kind="lagged", missed=9))
    assert taken(plain) == (0, b"missed 9")


def test_news_of_missed_trades_that_are_lost_themselves_add_up() -> None:
    fanout = ClientFanout(ClientLimits(queued=2, missed=10**6))
    reader = join(fanout, "btcusdt")
    for missed in (5, 7):
        fanout.notify(Chunk(b"lagged", trades=0, kind="lagged", missed=missed))
    for number in range(3):
        fanout.publish("btcusdt", trades(number))
    assert taken(reader) == (5 + 7 + 1, b"1+1 2+1 ")


def test_what_readers_of_the_same_hold_counts_once() -> None:
    fanout = ClientFanout(ClientLimits(queued=10))
    same = [fanout.connect(lambda: None, Subscription(frozenset({"btcusdt"}))) for _ in range(3)]
    fanout.connect(lambda: None, Subscription(frozenset({"ethusdt"})))
    for _ in range(4):
        fanout.publish("btcusdt", Chunk(b"x" * 100, trades=1))
    fanout.publish("ethusdt", Chunk(b"y" * 7, trades=1))
    assert fanout.queued_bytes == 407
    same[0].take(100)
    assert fanout.queued_bytes == 407
    for reader in same:
        reader.take(2)
    assert (fanout.queued_bytes, same[1].queued_bytes) == (207, 200)


def test_what_is_lost_or_overrun_is_no_longer_held() -> None:
    fanout = ClientFanout(ClientLimits(queued=2, missed=3))
    reader = fanout.connect(lambda: None, Subscription(everything=True))
    for held in (100, 200, 200, 200, 200):
        fanout.publish("btcusdt", Chunk(b"x" * 100, trades=1))
        assert reader.queued_bytes == held
    fanout.publish("btcusdt", Chunk(b"x" * 100, trades=1))
    assert (reader.overrun, reader.queued_bytes) == (True, 0)
