from __future__ import annotations

from collections.abc import Sequence

from gateway.live.fanout import (
    GATHERED_MESSAGES,
    LOOKED_AT_TOGETHER,
    Chunk,
    ClientFanout,
    ClientLimits,
    ClientQueue,
    RoundTimer,
)
from gateway.live.subscription import Subscription


def trades(first: int, count: int = 1) -> Chunk:
    return Chunk(f"{first}+{count} ".encode(), trades=count)


def selected(symbol: str) -> Chunk:
    return Chunk(symbol.encode(), trades=0, kind="selected")


def publish(fanout: ClientFanout, symbol: str, chunk: Chunk) -> None:
    fanout.publish(symbol, chunk)
    fanout.flush()


def notify(fanout: ClientFanout, chunk: Chunk) -> None:
    fanout.notify(chunk)
    fanout.flush()


def join(fanout: ClientFanout, *symbols: str, everything: bool = False) -> ClientQueue:
    return fanout.connect(lambda: None, Subscription(frozenset(symbols) or None, everything=everything, events=True))


def taken(reader: ClientQueue) -> tuple[int, bytes]:
    missed, chunks = reader.take(10**6)
    return missed, b"".join(chunk.data for chunk in chunks)


def test_a_reader_gets_what_is_published_in_order() -> None:
    fanout = ClientFanout()
    reader = join(fanout, "btcusdt")
    for number in range(3):
        publish(fanout, "btcusdt", trades(number))
    assert taken(reader) == (0, b"0+1 1+1 2+1 ")


def test_all_readers_share_one_chunk() -> None:
    fanout = ClientFanout()
    readers = [join(fanout, "btcusdt"), join(fanout, everything=True)]
    publish(fanout, "btcusdt", chunk := trades(1))
    assert all(reader.take(1)[1][0] is chunk for reader in readers)


def test_a_reader_gets_its_symbols_only() -> None:
    fanout = ClientFanout()
    reader = join(fanout, "btcusdt", "ethusdt")
    for number, symbol in enumerate(["btcusdt", "solusdt", "ethusdt"]):
        publish(fanout, symbol, trades(number))
    assert taken(reader) == (0, b"0+1 2+1 ")


def test_a_reader_without_symbols_follows_the_selection() -> None:
    fanout = ClientFanout()
    reader = join(fanout)
    publish(fanout, "btcusdt", trades(0))
    fanout.select("btcusdt")
    publish(fanout, "btcusdt", trades(1))
    fanout.select("ethusdt")
    publish(fanout, "btcusdt", trades(2))
    publish(fanout, "ethusdt", trades(3))
    assert taken(reader) == (0, b"1+1 3+1 ")


def test_all_symbols_have_the_same_audience_while_every_reader_wants_everything() -> None:
    fanout = ClientFanout()
    nobody = fanout.common_audience
    join(fanout, everything=True)
    everybody = fanout.common_audience
    reader = join(fanout, "btcusdt")
    differing = fanout.common_audience
    fanout.leave(reader)
    assert (nobody, differing) == ((), None)
    assert everybody and everybody == fanout.common_audience == fanout.audience("ethusdt")


def test_nobody_wants_a_symbol_after_its_reader_left() -> None:
    fanout = ClientFanout()
    reader = join(fanout, "btcusdt")
    wanted_before = fanout.wanted("btcusdt")
    fanout.leave(reader)
    fanout.leave(reader)
    assert (wanted_before, fanout.wanted("btcusdt"), len(fanout)) == (True, False, 0)


def test_a_slow_reader_loses_the_oldest_and_is_told_how_many() -> None:
    fanout = ClientFanout(ClientLimits(queued=4))
    reader = join(fanout, "btcusdt")
    for number in range(10):
        publish(fanout, "btcusdt", trades(number))
    assert taken(reader) == (6, b"6+1 7+1 8+1 9+1 ")


def test_what_was_told_as_lost_is_not_told_again() -> None:
    fanout = ClientFanout(ClientLimits(queued=1))
    reader = join(fanout, "btcusdt")
    publish(fanout, "btcusdt", trades(0))
    publish(fanout, "btcusdt", trades(1))
    taken(reader)
    publish(fanout, "btcusdt", trades(2))
    assert taken(reader) == (0, b"2+1 ")


def test_a_slow_reader_lags_alone() -> None:
    fanout = ClientFanout(ClientLimits(queued=2))
    slow, quick = join(fanout, "btcusdt"), join(fanout, "btcusdt")
    got = []
    for number in range(5):
        publish(fanout, "btcusdt", trades(number))
        got.append(taken(quick))
    assert (got, taken(slow)) == ([(0, f"{n}+1 ".encode()) for n in range(5)], (3, b"3+1 4+1 "))


def test_a_chunk_counts_as_many_trades_as_it_holds() -> None:
    fanout = ClientFanout(ClientLimits(queued=10))
    reader = join(fanout, "btcusdt")
    for number in range(3):
        publish(fanout, "btcusdt", trades(number, 5))
    assert taken(reader) == (5, b"1+5 2+5 ")


def test_a_chunk_larger_than_the_queue_still_gets_through() -> None:
    fanout = ClientFanout(ClientLimits(queued=3))
    reader = join(fanout, "btcusdt")
    publish(fanout, "btcusdt", trades(0, 5))
    assert taken(reader) == (0, b"0+5 ")


def test_take_stops_near_the_number_asked_for() -> None:
    fanout = ClientFanout()
    reader = join(fanout, "btcusdt")
    for number in range(4):
        publish(fanout, "btcusdt", trades(number, 2))
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
        publish(fanout, "btcusdt", trades(number))
    assert (woken, reader.missed_in_a_row) == ([False] * 5 + [True], 6)
    assert reader.take(10)[1] == []


def test_a_reader_that_loses_much_in_a_burst_is_overrun_only_after_it_has_not_caught_up_for_long() -> None:
    fanout = ClientFanout(ClientLimits(queued=2, missed=3, catch_up_s=10.0))
    reader = fanout.connect(lambda: None, Subscription(frozenset(["btcusdt"])))
    for now_s in (100.0, 105.0, 109.9):
        for _ in range(20):
            publish(fanout, "btcusdt", Chunk(b"one", trades=1, arrived_s=now_s))
        assert not reader.overrun
    publish(fanout, "btcusdt", Chunk(b"one", trades=1, arrived_s=111.0))
    assert reader.overrun


def test_a_reader_that_catches_up_now_and_then_is_never_overrun() -> None:
    fanout = ClientFanout(ClientLimits(queued=2, missed=3))
    reader = join(fanout, "btcusdt")
    for number in range(100):
        publish(fanout, "btcusdt", trades(number))
        if number % 4 == 3:
            taken(reader)
    assert (reader.overrun, reader.missed_total) == (False, 50)


def test_control_messages_are_for_everybody() -> None:
    fanout = ClientFanout()
    readers = [join(fanout), join(fanout, "btcusdt"), join(fanout, everything=True)]
    notify(fanout, selected("eth"))
    assert [taken(reader) for reader in readers] == [(0, b"eth")] * 3


def test_events_are_only_for_readers_that_want_them() -> None:
    fanout = ClientFanout()
    plain = fanout.connect(lambda: None, Subscription())
    curious = fanout.connect(lambda: None, Subscription(events=True))
    notify(fanout, selected("ethusdt"))
    assert taken(plain) == (0, b"")
    assert taken(curious) == (0, b"ethusdt")


def test_what_everybody_missed_is_told_to_readers_that_want_no_events_too() -> None:
    fanout = ClientFanout()
    plain = fanout.connect(lambda: None, Subscription())
    notify(fanout, Chunk(b"missed 9", trades=0, kind="lagged", missed=9))
    assert taken(plain) == (0, b"missed 9")


def test_news_of_missed_trades_that_are_lost_themselves_add_up() -> None:
    fanout = ClientFanout(ClientLimits(queued=2, missed=10**6))
    reader = join(fanout, "btcusdt")
    for missed in (5, 7):
        notify(fanout, Chunk(b"lagged", trades=0, kind="lagged", missed=missed))
    for number in range(3):
        publish(fanout, "btcusdt", trades(number))
    assert taken(reader) == (5 + 7 + 1, b"1+1 2+1 ")


def test_what_readers_of_the_same_hold_counts_once() -> None:
    fanout = ClientFanout(ClientLimits(queued=10))
    same = [fanout.connect(lambda: None, Subscription(frozenset({"btcusdt"}))) for _ in range(3)]
    fanout.connect(lambda: None, Subscription(frozenset({"ethusdt"})))
    for _ in range(4):
        publish(fanout, "btcusdt", Chunk(b"x" * 100, trades=1))
    publish(fanout, "ethusdt", Chunk(b"y" * 7, trades=1))
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
        publish(fanout, "btcusdt", Chunk(b"x" * 100, trades=1))
        assert reader.queued_bytes == held
    publish(fanout, "btcusdt", Chunk(b"x" * 100, trades=1))
    assert (reader.overrun, reader.queued_bytes) == (True, 0)


class Socket:
    """What takes frames while it has room."""

    def __init__(self, *, room: bool = True) -> None:
        self.room = room
        self.written: list[bytes] = []

    def write(self, frames: bytes) -> bool:
        if self.room:
            self.written.append(frames)
        return self.room

    def join(self, fanout: ClientFanout, *symbols: str) -> ClientQueue:
        return fanout.connect(lambda: None, Subscription(frozenset(symbols)), socket=self)


def write_to_all(sockets: Sequence[Socket], frames: bytes) -> list[int]:
    return [place for place, socket in enumerate(sockets) if not socket.write(frames)]


def test_what_was_gathered_is_written_in_one_piece_that_all_share() -> None:
    sent = []
    fanout = ClientFanout(on_sent=lambda trades, size: sent.append((trades, size)), write=write_to_all)
    sockets = [Socket(), Socket()]
    for socket in sockets:
        socket.join(fanout, "btcusdt", "ethusdt")
    for number, symbol in enumerate(["btcusdt", "ethusdt", "solusdt", "btcusdt"]):
        fanout.publish(symbol, trades(number))
    fanout.flush()
    assert [socket.written for socket in sockets] == [[b"0+1 1+1 3+1 "]] * 2
    assert sockets[0].written[0] is sockets[1].written[0]
    assert sent == [(6, 24)]


def test_many_clients_are_written_to_some_at_a_time_and_reported_together() -> None:
    count, sent, written = 5 * LOOKED_AT_TOGETHER + 1, [], []

    def write(sockets: Sequence[Socket], frames: bytes) -> list[int]:
        written.append(list(sockets))
        return write_to_all(sockets, frames)

    fanout = ClientFanout(on_sent=lambda trades, size: sent.append((trades, size)), write=write)
    sockets = [Socket(room=number % 100 != 7) for number in range(count)]
    readers = [socket.join(fanout, "btcusdt") for socket in sockets]

    publish(fanout, "btcusdt", trades(1, 2))

    without_room = [number for number in range(count) if not sockets[number].room]
    assert max(map(len, written)) == LOOKED_AT_TOGETHER
    assert [socket for some in written for socket in some] == sockets
    assert [number for number in range(count) if readers[number].behind] == without_room
    assert sent == [(2 * (count - len(without_room)), len(b"1+2 ") * (count - len(without_room)))]


def test_a_client_without_room_gets_the_same_in_the_same_order_later() -> None:
    fanout = ClientFanout(write=write_to_all)
    quick, slow = Socket(), Socket(room=False)
    quick.join(fanout, "btcusdt")
    reader = slow.join(fanout, "btcusdt")
    publish(fanout, "btcusdt", trades(0))
    slow.room = True
    publish(fanout, "btcusdt", trades(1))  # there is room, but what is older has to go first
    assert (slow.written, taken(reader)) == ([], (0, b"0+1 1+1 "))
    publish(fanout, "btcusdt", trades(2))
    assert (slow.written, quick.written) == ([b"2+1 "], [b"0+1 ", b"1+1 ", b"2+1 "])


def test_a_client_that_comes_does_not_get_what_was_gathered_before() -> None:
    fanout = ClientFanout(write=write_to_all)
    first, second = Socket(), Socket()
    first.join(fanout, "btcusdt")
    fanout.publish("btcusdt", trades(0))
    second.join(fanout, "btcusdt")
    publish(fanout, "btcusdt", trades(1))
    assert (b"".join(first.written), second.written) == (b"0+1 1+1 ", [b"1+1 "])


def test_a_client_that_is_let_go_while_others_are_written_to_gets_nothing_more() -> None:
    def write(sockets: Sequence[object], frames: bytes) -> Sequence[int]:
        fanout.leave(gone)
        return range(len(sockets))

    fanout = ClientFanout(write=write)
    gone = fanout.connect(lambda: None, Subscription(frozenset({"btcusdt"})))
    publish(fanout, "btcusdt", trades(0))
    assert gone.queued_bytes == 0


def test_no_more_is_gathered_than_a_write_may_join() -> None:
    fanout = ClientFanout(write=write_to_all)
    (socket := Socket()).join(fanout, "btcusdt")
    for number in range(GATHERED_MESSAGES + 1):
        fanout.publish("btcusdt", trades(number))
    assert socket.written == [b"".join(trades(number).data for number in range(GATHERED_MESSAGES))]


def test_what_has_waited_for_too_long_is_missed_instead_of_told_late() -> None:
    fanout = ClientFanout(ClientLimits(age_s=1.0))
    reader = join(fanout, "btcusdt")
    for arrived_s in (10.0, 10.5, 11.0):
        publish(fanout, "btcusdt", Chunk(f"{arrived_s} ".encode(), trades=3, arrived_s=arrived_s))
        notify(fanout, Chunk(f"selected at {arrived_s} ".encode(), trades=0, kind="selected", arrived_s=arrived_s))
    missed, chunks = reader.take(100, now_s=11.6)
    assert (missed, b"".join(chunk.data for chunk in chunks)) == (6, b"selected at 10.5 11.0 selected at 11.0 ")


def test_a_reader_may_have_limits_of_its_own() -> None:
    fanout = ClientFanout()
    newest_only = fanout.connect(lambda: None, Subscription(everything=True), limits=ClientLimits(queued=1))
    for number in range(3):
        publish(fanout, "btcusdt", trades(number))
    assert taken(newest_only) == (2, b"2+1 ")


def test_rounds_that_take_no_time_do_not_wait() -> None:
    timer = RoundTimer(share=0.5)
    assert timer.wait_s(7.0) == 0
    timer.ended(7.0, 7.0)
    assert timer.wait_s(7.0) == 0


def test_a_round_waits_for_as_long_as_the_one_before_took_but_never_for_long() -> None:
    timer = RoundTimer(share=0.5, max_wait_s=0.02)
    timer.ended(7.0, 7.005)
    assert (round(timer.wait_s(7.006), 9), timer.wait_s(7.02)) == (0.004, 0)
    timer.ended(8.0, 9.0)
    assert round(timer.wait_s(9.0), 9) == 0.02
