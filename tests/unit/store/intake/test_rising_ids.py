"""Groups of trades whose ids rise, looked at all together, are those that each one alone gives."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mesh.values.trades import TradeColumns, TradeGroups
from store.intake.trade_writer import _all_rising
from tests.fixtures.trades import columns

IDS = st.lists(st.integers(0, 9), min_size=1, max_size=4)


def trades(ids: list[int]) -> TradeColumns:
    return dataclasses.replace(columns(1, len(ids)), trade_id=np.array(ids, np.int64))


@given(st.lists(IDS | st.just([1, 2, 3]), max_size=4))
def test_the_ids_of_each_group_rise_and_are_those_that_came(groups: list[list[int]]) -> None:
    rising = _all_rising([trades(ids) for ids in groups])

    assert [group.trade_id.tolist() for group in rising] == [sorted(set(ids)) for ids in groups]


def test_of_trades_with_the_same_id_the_first_one_stays() -> None:
    [group] = _all_rising([dataclasses.replace(trades([5, 5, 4]), price_e8=np.array([7, 8, 9], np.int64))])

    assert (group.trade_id.tolist(), group.price_e8.tolist()) == ([4, 5], [9, 7])


def test_what_rises_already_is_left_as_it_is() -> None:
    groups = TradeGroups.of([trades([7, 8]), trades([1, 2])])

    assert _all_rising(groups) is groups
