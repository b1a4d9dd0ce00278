"""The ledger says what stored and lost ids change."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mesh.values import epochs
from mesh.values.id_ranges import NO_IDS, IdRange, IdRanges
from mesh.values.trades import MAX_TRADE_ID
from store.ledger.ranges import Hole, record, within_epochs


def ranges(members: list[int]) -> IdRanges:
    return IdRanges.from_ids(np.array(members, np.int64))


def members(found: IdRanges) -> list[int]:
    return [trade_id for first, last in found for trade_id in range(first, last + 1)]


def test_the_next_ids_lengthen_the_range_and_open_nothing() -> None:
    change = record(IdRanges.from_pairs([(6, 9)]), stored=IdRanges.from_pairs([(1, 5)]), holes=[])

    assert (list(change.removed), list(change.written), list(change.opened)) == ([(1, 5)], [(1, 9)], [])


def test_a_jump_opens_the_hole_it_leaves() -> None:
    change = record(IdRanges.from_pairs([(8, 9)]), stored=IdRanges.from_pairs([(1, 5)]), holes=[])

    assert list(change.opened) == [(6, 7)]


def test_the_first_ids_ever_open_nothing() -> None:
    change = record(IdRanges.from_pairs([(500, 600)]), stored=NO_IDS, holes=[])

    assert (list(change.written), list(change.opened), change.filled) == ([(500, 600)], [], ())


def test_older_ids_open_the_hole_up_to_what_is_stored() -> None:
    change = record(IdRanges.from_pairs([(1, 2)]), stored=IdRanges.from_pairs([(5, 9)]), holes=[])

    assert list(change.opened) == [(3, 4)]


def test_found_ids_fill_their_part_of_a_hole() -> None:
    hole = Hole(42, IdRange(6, 9))

    change = record(IdRanges.from_pairs([(7, 8)]), stored=IdRanges.from_pairs([(1, 5), (10, 12)]), holes=[hole])

    assert list(change.opened) == []
    [(filled, found, rest)] = change.filled
    assert (filled.hole_id, list(found), list(rest)) == (42, [(7, 8)], [(6, 6), (9, 9)])


def test_the_last_found_ids_join_the_ranges_around_them() -> None:
    hole = Hole(42, IdRange(6, 9))

    change = record(IdRanges.from_pairs([(6, 9)]), stored=IdRanges.from_pairs([(1, 5), (10, 12)]), holes=[hole])

    assert list(change.written) == [(1, 12)]
    assert list(change.removed) == [(1, 5), (10, 12)]
    [(_, _, rest)] = change.filled
    assert not rest


@given(st.lists(st.sets(st.integers(0, 40), min_size=1).map(sorted), max_size=6))
def test_stored_and_missing_ids_are_everything_between_the_first_and_the_last(batches: list[list[int]]) -> None:
    stored, hole_ids = NO_IDS, itertools.count()
    holes: dict[int, IdRange] = {}
    for batch in batches:
        new = ranges(batch) - stored
        change = record(new, stored=stored, holes=[Hole(n, hole) for n, hole in holes.items()])
        stored = (stored - change.removed) | change.written
        for hole, _, rest in change.filled:
            del holes[hole.hole_id]
            holes |= {next(hole_ids): piece for piece in rest}
        holes |= {next(hole_ids): opened for opened in change.opened}

    missing = IdRanges.from_pairs(holes.values())
    everything = sorted({trade_id for batch in batches for trade_id in batch})
    assert members(stored) == everything
    assert list(missing) == list(stored.gaps())
    assert sum(hole.size for hole in holes.values()) == missing.size


def test_nothing_is_missing_between_two_epochs_but_the_beginning_of_the_second() -> None:
    stored = IdRanges.from_pairs([(5, 9), (12, 20), (epochs.key_of(1, 3), epochs.key_of(1, 8))])
    assert list(within_epochs(stored.gaps())) == [(10, 11), (epochs.key_of(1, 0), epochs.key_of(1, 2))]


def test_an_epoch_that_begins_far_from_zero_began_there() -> None:
    stored = IdRanges.from_pairs([(5, 9), (epochs.key_of(2, 10**9), epochs.key_of(2, 10**9))])
    assert list(within_epochs(stored.gaps())) == []


def test_a_key_says_epoch_and_id() -> None:
    for epoch, trade_id in ((0, 0), (0, 7), (1, 0), (255, epochs.IDS - 1)):
        key = epochs.key_of(epoch, trade_id)
        assert (epochs.epoch_of(key), epochs.venue_id(key)) == (epoch, trade_id)
        assert key <= MAX_TRADE_ID
    assert (epochs.key_of(3, -1), epochs.venue_id(-1), epochs.epoch_of(-1)) == (-1, -1, 0)


def test_an_epoch_that_is_there_from_its_first_id_on_has_nothing_missing_before_it() -> None:
    stored = IdRanges.from_pairs([(5, 9), (epochs.key_of(1, 0), epochs.key_of(1, 8))])
    assert list(within_epochs(stored.gaps())) == []
