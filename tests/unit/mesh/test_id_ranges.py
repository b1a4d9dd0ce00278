"""Ranges of ids behave as the sets of ids they stand for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.values.id_ranges import NO_IDS, IdRange, IdRanges
from mesh.values.trades import MAX_TRADE_ID

some_ids = st.sets(st.integers(0, 30)).map(sorted)
pairs = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8)


def ranges(members: list[int]) -> IdRanges:
    return IdRanges.from_ids(np.array(members, np.int64))


def members(found: IdRanges) -> list[int]:
    return [trade_id for first, last in found for trade_id in range(first, last + 1)]


def assert_normal(found: IdRanges) -> None:
    assert all(each.first_id <= each.last_id for each in found)
    assert all(before.last_id + 1 < after.first_id for before, after in itertools.pairwise(found))


@given(some_ids, some_ids)
def test_ranges_are_the_sets_they_stand_for(left: list[int], right: list[int]) -> None:
    a, b = ranges(left), ranges(right)

    for found, wanted in (
        (a | b, set(left) | set(right)),
        (a & b, set(left) & set(right)),
        (a - b, set(left) - set(right)),
    ):
        assert_normal(found)
        assert members(found) == sorted(wanted)
    assert a.size == len(left)
    assert bool(a) == bool(left)
    assert not left or (a.lowest, a.highest) == (min(left), max(left))
    assert a.contains(np.arange(31)).tolist() == [trade_id in left for trade_id in range(31)]


@given(some_ids)
def test_gaps_are_what_lies_between(some: list[int]) -> None:
    between = set(range(min(some, default=0), max(some, default=0))) - set(some)

    found = ranges(some).gaps()

    assert_normal(found)
    assert members(found) == sorted(between)


@given(pairs)
def test_pairs_in_any_order_become_their_union_and_those_that_end_before_they_begin_hold_nothing(
    some: list[tuple[int, int]],
) -> None:
    found = IdRanges.from_pairs(some)

    assert_normal(found)
    assert members(found) == sorted({trade_id for first, last in some for trade_id in range(first, last + 1)})


@given(some_ids, some_ids)
def test_sets_are_equal_when_they_hold_the_same_ids(left: list[int], right: list[int]) -> None:
    a, b = ranges(left), ranges(right)

    assert (a == b) == (left == right)
    assert (a | b) == (b | a)
    assert hash(a | b) == hash(b | a)
    assert ((a - b) | (a & b)) == a


@given(some_ids, some_ids)
def test_ranges_that_another_set_lacks_are_told_by_both_their_ends(left: list[int], right: list[int]) -> None:
    a, b = ranges(left), ranges(right)

    assert list(a.ranges_not_in(b)) == [each for each in a if each not in set(b)]


def test_ranges_that_touch_or_overlap_in_any_order_become_one() -> None:
    assert list(IdRanges.from_pairs([(10, 12), (1, 5), (6, 9), (3, 4)])) == [(1, 12)]


def test_a_range_has_its_ends_and_its_size() -> None:
    [only] = IdRanges.of(5, 9)

    assert only == IdRange(first_id=5, last_id=9)
    assert only.size == 5
    assert IdRanges.of(9, 5) == NO_IDS


def test_the_highest_ids_there_may_be_are_counted_right() -> None:
    everything = IdRanges.of(0, MAX_TRADE_ID)

    assert everything.size == MAX_TRADE_ID + 1
    assert list(everything - IdRanges.of(1, MAX_TRADE_ID - 1)) == [(0, 0), (MAX_TRADE_ID, MAX_TRADE_ID)]


def test_a_set_never_changes() -> None:
    stored = IdRanges.of(5, 9)

    with pytest.raises(ValueError, match="read-only"):
        stored.first[0] = 1
