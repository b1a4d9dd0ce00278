"""Trades of several streams become one list of each symbol, without a hole and without a double."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.live import seams
from gateway.live.seams import Seams
from mesh.values import epochs
from tests.fixtures.gateway import batch
from tickcodec.ticks import TickFrames
from tickmesh.v1 import signal_pb2

KEY = ("sim", "btcusdt")
FRAMES = TickFrames([], max_rows=1)


class Told:
    """What clients were told, by seams that streams give their batches to."""

    def __init__(self) -> None:
        self.seams = Seams()
        self.ids: list[int] = []

    def give(self, stream: object, first_id: int, count: int = 1, *, is_new: bool = True) -> None:
        self.take(stream, batch("btcusdt", first_id, count), is_new=is_new)

    def take(self, stream: object, given: signal_pb2.SignalBatch, *, is_new: bool = True) -> None:
        response = signal_pb2.WatchResponse(batch=given).SerializeToString()
        for found in FRAMES.find(response) or ():
            if self.seams.take(stream, response, found, is_new=is_new):
                self._tell(response)
        self.release()

    def release(self) -> None:
        for response in self.seams.released():
            self._tell(response)

    def _tell(self, response: bytes) -> None:
        # What a batch repeats in part, whoever tells it leaves out.
        ids = signal_pb2.WatchResponse.FromString(response).batch.trades.trade_id
        self.ids += [id_ for id_ in ids if not self.ids or id_ > self.ids[-1]]


def test_the_end_of_the_first_stream_comes_before_what_the_second_one_has_sent_already() -> None:
    told = Told()
    told.give("one", 1, 5)
    told.give("two", 9, 2)
    told.give("two", 11)
    assert (told.ids, told.seams.gap(KEY)) == ([1, 2, 3, 4, 5], (5, 9))
    told.give("one", 6, 2)
    told.give("one", 8)
    assert (told.ids, told.seams.gap(KEY)) == (list(range(1, 12)), None)


def test_what_was_told_from_elsewhere_closes_the_gap() -> None:
    told = Told()
    told.give("one", 1, 5)
    told.give("two", 9, 2)
    told.seams.told(KEY, 7, 0)
    told.release()
    assert told.seams.gap(KEY) == (7, 9)
    told.seams.told(KEY, 8, 0)
    told.release()
    assert (told.ids, bool(told.seams)) == ([1, 2, 3, 4, 5, 9, 10], False)


def test_ids_that_a_stream_itself_leaves_out_are_not_waited_for() -> None:
    told = Told()
    told.give("one", 1)
    told.give("one", 7)
    assert told.ids == [1, 7]


def test_nothing_is_waited_for_across_the_end_of_an_epoch() -> None:
    told = Told()
    told.give("one", 5)
    again = batch("btcusdt", 1)
    again.trades.trade_id[0] = epochs.key_of(1, 3)
    told.take("two", again)
    assert told.ids == [5, epochs.key_of(1, 3)]


def test_the_last_trade_before_a_stream_began_is_told_only_where_it_is_lacking() -> None:
    told = Told()
    told.give("one", 5, is_new=False)
    assert told.ids == []
    told.give("one", 6)
    told.give("two", 6, is_new=False)
    told.give("two", 7, is_new=False)
    assert told.ids == [6, 7]


def test_too_much_that_is_held_is_known_by_the_symbol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seams, "MAX_HELD_BYTES", 100)
    told = Told()
    told.give("one", 1)
    assert told.seams.overfull is None
    told.give("two", 9, 2)
    assert told.seams.overfull == KEY


@given(st.data())
def test_however_streams_overlap_and_interleave_each_trade_is_told_once_and_in_order(data: st.DataObject) -> None:
    told, last = Told(), 40
    told.give("first", 1)
    streams: list[list[tuple[int, int]]] = []
    reached = 1
    while reached < last:  # each owner goes on anywhere up to the trade after those that the one before has sent
        begin = data.draw(st.integers(max(1, reached - 8), reached + 1))
        end = min(last, data.draw(st.integers(max(begin, reached + 1), reached + 15)))
        cuts = sorted({begin, *data.draw(st.lists(st.integers(begin, end), max_size=4)), end + 1})
        streams.append([(a, b - a) for a, b in itertools.pairwise(cuts)])
        reached = end
    while any(streams):
        n = data.draw(st.sampled_from([n for n, rest in enumerate(streams) if rest]))
        told.give(n, *streams[n].pop(0))
    assert told.ids == list(range(1, last + 1))
    assert told.seams.gap(KEY) is None
