"""What is taken from the ring and from the store, joined by key: all of it, in order, once, or named as left out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.live import ring as ring_module
from gateway.live.ring import Cursor, Lagged, Ring, Rings, Run, Stored, runs_of
from mesh.values.epochs import IDS


def run(first: int, rows: int = 1, *, at_s: float = 0.0) -> Run:
    return Run(b"", 0, rows, first, at_s)


def keys_of(runs: list[Run]) -> list[int]:
    return [key for each in runs for key in range(each.first_key, each.last_key + 1)]


@given(st.lists(st.integers(1, 3), min_size=1, max_size=30), st.integers(0, 30))
def test_a_batch_is_cut_where_its_ids_are_not_consecutive(steps: list[int], skip: int) -> None:
    keys = [sum(steps[: n + 1]) for n in range(len(steps))]
    runs = list(runs_of(b"", keys, arrived_s=0.0, skip=skip))
    assert keys_of(runs) == keys[skip:]
    assert all(keys[each.first_row] == each.first_key for each in runs)


def test_what_comes_after_the_middle_of_a_run_is_found() -> None:
    ring = Ring("btcusdt")
    ring.append(run(1, 10))
    ring.append(run(11, 5))
    [rest, more] = ring.after(7, max_trades=100)
    assert (rest.first_key, rest.first_row, rest.rows, more.first_key) == (8, 7, 3, 11)
    assert ring.after(15, max_trades=100) == []


def test_what_was_made_of_several_runs_is_kept_until_the_next_trade_comes() -> None:
    ring = Ring("btcusdt")
    for restarts in (False, True):
        ring.append(run(ring.last_key + 1))
        ring.bodies["made"] = b"{}"
        if restarts:
            ring.restart()
        else:
            ring.append(run(ring.last_key + 1))
        assert ring.bodies == {}


def test_old_trades_go_but_the_last_ones_stay() -> None:
    ring = Ring("btcusdt")
    ring.append(run(1, at_s=0.0))
    ring.append(run(2, at_s=1.0))
    ring.append(run(3, at_s=100.0))
    assert (ring.first_key, ring.last_key, ring.evicted_key) == (3, 3, 2)
    ring.append(run(4, ring_module.MAX_TRADES + 1, at_s=100.0))
    assert ring.first_key == 4


def test_all_rings_together_are_bounded(monkeypatch: object) -> None:
    rings = Rings()
    ring = rings.watch("btcusdt", lambda: None)
    big = Run(bytes(ring_module.MAX_BYTES // 8), 0, 1, 0, 0.0)
    for key in range(40):
        rings.add(ring, iter([Run(big.batch, 0, 1, key, 0.0)]))
        assert ring.held_bytes <= ring_module.MAX_BYTES
    assert ring.last_key == 39


def test_a_ring_that_nobody_watches_goes_and_nobody_is_woken_for_nothing() -> None:
    rings, woken = Rings(), []

    def wake() -> None:
        woken.append(1)

    ring = rings.watch("btcusdt", wake)
    rings.flush()
    rings.add(ring, iter([run(1)]))
    rings.flush()
    rings.flush()
    assert woken == [1]
    rings.unwatch(ring, wake)
    assert rings.get("btcusdt") is None


def test_a_client_that_had_no_room_is_told_what_it_missed() -> None:
    ring = Ring("btcusdt")
    ring.append(run(1))
    cursor = Cursor(ring, 0)
    assert keys_of(cursor.take(10)) == [1]  # type: ignore[arg-type]
    for key in range(2, 7):
        ring.append(run(key, at_s=key * 6.0))
    assert cursor.take(10) == Lagged(2, 4)
    assert keys_of(cursor.take(10)) == [5, 6]  # type: ignore[arg-type]


def test_a_fresh_subscription_is_not_sent_days_of_trades() -> None:
    ring = Ring("btcusdt")
    ring.append(run(10**9))
    cursor = Cursor(ring, 5)
    assert cursor.take(10) == Lagged(6, 10**9 - 1)
    assert Cursor(ring, 5, resumed=True).take(10) is None


def test_an_epoch_begins_without_a_word_of_ids_between_that_nobody_can_know() -> None:
    ring = Ring("btcusdt")
    ring.append(run(IDS + 3))
    cursor = Cursor(ring, 7)
    assert cursor.take(10) is None and cursor.catching_up
    taken = cursor.take_stored([8, IDS + 1, IDS + 2], newest_key=IDS + 2, more=False, max_trades=10)
    assert taken == [Stored(0, 1), Stored(1, 3)]
    assert keys_of(cursor.take(10)) == [IDS + 3]  # type: ignore[arg-type]


def test_a_page_of_the_store_is_sent_in_parts_so_that_a_poor_network_brings_some_of_it() -> None:
    cursor = Cursor(Ring("btcusdt"), 0)
    taken = cursor.take_stored([*range(1, 8), 9], newest_key=20, more=True, max_trades=3)
    assert taken == [Stored(0, 3), Stored(3, 6), Stored(6, 7), Lagged(8, 8), Stored(7, 8)]
    assert cursor.key == 9 and cursor.catching_up


def test_whoever_waited_too_long_for_the_store_goes_on_with_what_is_live() -> None:
    ring = Ring("btcusdt")
    ring.append(run(9))
    cursor = Cursor(ring, 4)
    assert cursor.take(10) is None
    assert cursor.give_up() == Lagged(5, 8)
    assert keys_of(cursor.take(10)) == [9]  # type: ignore[arg-type]


def test_what_begins_anew_is_said_once() -> None:
    ring = Ring("btcusdt")
    ring.append(run(100))
    cursor = Cursor(ring, 99, resumed=True)
    ring.restart()
    ring.append(run(1))
    assert cursor.restarted() and not cursor.restarted()
    assert keys_of(cursor.take(10)) == [1]  # type: ignore[arg-type]


@settings(max_examples=300)
@given(st.data())
def test_across_the_seam_nothing_is_missing_and_nothing_is_double(data: st.DataObject) -> None:
    """The stream loses batches and the store comes later, with ids that there never were: what is sent is what was."""
    ring, stored, issued = Ring("btcusdt"), [], []  # type: ignore[var-annotated]
    resumed = data.draw(st.booleans())
    start = data.draw(st.integers(0, 5))
    cursor = Cursor(ring, start, resumed=resumed)
    sent: list[int] = []
    left_out: list[Lagged] = []

    def send(rows: list[int]) -> None:
        sent.extend(rows)

    def pump() -> None:
        while taken := cursor.take(data.draw(st.integers(1, 5))):
            left_out.append(taken) if isinstance(taken, Lagged) else send(keys_of(taken))

    def ask() -> None:
        assert cursor.key is not None
        rest = [key for key in stored if key > cursor.key]
        page = rest[: data.draw(st.integers(1, 4))]
        newest = stored[-1] if stored else -1
        at_once = data.draw(st.integers(1, 5))
        for each in cursor.take_stored(page, newest_key=newest, more=len(page) < len(rest), max_trades=at_once):
            assert isinstance(each, Lagged) or each.end - each.begin <= at_once
            left_out.append(each) if isinstance(each, Lagged) else send(page[each.begin : each.end])

    key = 0
    for _ in range(data.draw(st.integers(1, 25))):
        step = data.draw(st.sampled_from(["live", "live", "lost", "store", "pump", "ask"]))
        if step in ("live", "lost"):
            keys = [key := key + data.draw(st.sampled_from([1, 1, 1, 3])) for _ in range(data.draw(st.integers(1, 4)))]
            issued += keys
            if step == "live":
                for each in runs_of(b"", keys, arrived_s=0.0):
                    ring.append(each)
        elif step == "store":
            stored[:] = issued[: data.draw(st.integers(len(stored), len(issued)))]
        elif step == "pump":
            pump()
        elif cursor.catching_up:
            ask()
    stored[:] = issued
    pump()
    for _ in range(2 * len(issued) + 2):
        if cursor.catching_up:
            ask()
        pump()

    end = max(sent, default=start)
    assert sent == [each for each in issued if start < each <= end]
    assert not ring or end >= ring.last_key or start >= ring.last_key
    assert not any(each.first_key <= one <= each.last_key for each in left_out for one in issued)
