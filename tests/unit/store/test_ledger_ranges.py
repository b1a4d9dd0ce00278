"""Ranges of ids behave as the sets they stand for, and the ledger says what a batch changes."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mesh.values import epochs
from mesh.values.trades import MAX_TRADE_ID
from store.ledger.ranges import NOTHING, Ids, Missing, record, within_epochs

ids = st.sets(st.integers(0, 30)).map(sorted)


def ranges(members: list[int]) -> Ids:
    return Ids.of_ids(np.array(members, np.int64))


def members(found: Ids) -> list[int]:
    return [trade_id for first, last in found for trade_id in range(first, last + 1)]


def assert_normal(found: Ids) -> None:
    pairs = list(found)
    assert all(first <= last for first, last in pairs)
    assert all(before[1] + 1 < after[0] for before, after in itertools.pairwise(pairs))


@given(ids, ids)
def test_ranges_are_the_sets_they_stand_for(left: list[int], right: list[int]) -> None:
    a, b = ranges(left), ranges(right)

    for found, wanted in (
        (a | b, set(left) | set(right)),
        (a & b, set(left) & set(right)),
        (a - b, set(left) - set(right)),
    ):
        assert_normal(found)
        assert members(found) == sorted(wanted)
    assert a.count() == len(left)
    assert a.holds(np.arange(31)).tolist() == [trade_id in left for trade_id in range(31)]


@given(ids)
def test_gaps_are_what_lies_between(some: list[int]) -> None:
    between = set(range(min(some, default=0), max(some, default=0))) - set(some)

    assert members(ranges(some).gaps()) == sorted(between)


def test_ranges_that_touch_or_overlap_in_any_order_become_one() -> None:
    assert list(Ids.of_ranges([(10, 12), (1, 5), (6, 9), (3, 4)])) == [(1, 12)]


def test_the_next_ids_lengthen_the_range_and_open_nothing() -> None:
    change = record(Ids.of_ranges([(6, 9)]), stored=Ids.of_ranges([(1, 5)]), missing=[])

    assert (list(change.forget), list(change.keep), list(change.opened)) == ([(1, 5)], [(1, 9)], [])


def test_a_jump_opens_the_hole_it_leaves() -> None:
    change = record(Ids.of_ranges([(8, 9)]), stored=Ids.of_ranges([(1, 5)]), missing=[])

    assert list(change.opened) == [(6, 7)]


def test_the_first_ids_ever_open_nothing() -> None:
    change = record(Ids.of_ranges([(500, 600)]), stored=NOTHING, missing=[])

    assert (list(change.keep), list(change.opened), change.filled) == ([(500, 600)], [], ())


def test_older_ids_open_the_hole_up_to_what_is_stored() -> None:
    change = record(Ids.of_ranges([(1, 2)]), stored=Ids.of_ranges([(5, 9)]), missing=[])

    assert list(change.opened) == [(3, 4)]


def test_found_ids_fill_their_part_of_a_hole() -> None:
    hole = Missing(42, Ids.of_ranges([(6, 9)]))

    change = record(Ids.of_ranges([(7, 8)]), stored=Ids.of_ranges([(1, 5), (10, 12)]), missing=[hole])

    assert list(change.opened) == []
    [(filled, found, rest)] = change.filled
    assert (filled.hole_id, list(found), list(rest)) == (42, [(7, 8)], [(6, 6), (9, 9)])


def test_the_last_found_ids_join_the_ranges_around_them() -> None:
    hole = Missing(42, Ids.of_ranges([(6, 9)]))

    change = record(Ids.of_ranges([(6, 9)]), stored=Ids.of_ranges([(1, 5), (10, 12)]), missing=[hole])

    assert list(change.keep) == [(1, 12)]
    assert list(change.forget) == [(1, 5), (10, 12)]
    [(_, _, rest)] = change.filled
    assert not rest


@given(st.lists(st.sets(st.integers(0, 40), min_size=1).map(sorted), max_size=6))
def test_stored_and_missing_ids_are_everything_between_the_first_and_the_last(batches: list[list[int]]) -> None:
    stored, next_id = NOTHING, 0
    holes: dict[int, Ids] = {}
    for batch in batches:
        new = ranges(batch) - stored
        change = record(new, stored=stored, missing=[Missing(n, hole) for n, hole in holes.items()])
        stored = (stored - change.forget) | change.keep
        for hole, _, rest in change.filled:
            holes[hole.hole_id] = rest
        holes[next_id], next_id = change.opened, next_id + 1

    missing = Ids.of_ranges(pair for hole in holes.values() for pair in hole)
    everything = sorted({trade_id for batch in batches for trade_id in batch})
    assert members(stored) == everything
    assert list(missing) == list(stored.gaps())
    assert sum(hole.count() for hole in holes.values()) == missing.count()


def test_nothing_is_missing_between_two_epochs_but_the_beginning_of_the_second() -> None:
    stored = Ids.of_ranges([(5, 9), (12, 20), (epochs.key_of(1, 3), epochs.key_of(1, 8))])
    assert list(within_epochs(stored.gaps())) == [(10, 11), (epochs.key_of(1, 0), epochs.key_of(1, 2))]


def test_an_epoch_that_begins_far_from_zero_began_there() -> None:
    stored = Ids.of_ranges([(5, 9), (epochs.key_of(2, 10**9), epochs.key_of(2, 10**9))])
    assert list(within_epochs(stored.gaps())) == []


def test_a_key_says_epoch_and_id() -> None:
    for epoch, trade_id in ((0, 0), (0, 7), (1, 0), (255, epochs.IDS - 1)):
        key = epochs.key_of(epoch, trade_id)
        assert (epochs.epoch_of(key), epochs.venue_id(key)) == (epoch, trade_id)
        assert key <= MAX_TRADE_ID
    assert (epochs.key_of(3, -1), epochs.venue_id(-1), epochs.epoch_of(-1)) == (-1, -1, 0)


def test_an_epoch_that_is_there_from_its_first_id_on_has_nothing_missing_before_it() -> None:
    stored = Ids.of_ranges([(5, 9), (epochs.key_of(1, 0), epochs.key_of(1, 8))])
    assert list(within_epochs(stored.gaps())) == []
