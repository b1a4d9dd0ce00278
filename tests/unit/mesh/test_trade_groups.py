"""Trades of several symbols behind each other are the groups that they were made of."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.values.trades import TradeColumns, TradeGroups
from tests.fixtures.trades import columns

NAMES = ("btcusdt", "ethusdt", "a1")


def of_symbol(symbol: str, first_id: int, count: int) -> TradeColumns:
    return replace(columns(first_id, count), symbol=symbol, received_time_us=first_id)


def told(groups: list[TradeColumns]) -> list[list[object]]:
    return [[one.tolist() if isinstance(one, np.ndarray) else one for one in astuple(group)] for group in groups]


lists = st.lists(st.builds(of_symbol, st.sampled_from(NAMES), st.integers(0, 2**40), st.integers(1, 5)), max_size=5)


@given(lists)
def test_each_group_is_the_one_it_was_made_of(each: list[TradeColumns]) -> None:
    groups = TradeGroups.of(each)

    assert told(list(groups)) == told(each)
    assert told(groups[1:]) == told(each[1:])
    assert groups.lengths.tolist() == [len(group) for group in each]
    assert TradeGroups.of(groups) is groups


@given(
    st.lists(
        st.tuples(st.builds(of_symbol, st.sampled_from(NAMES), st.integers(0, 9), st.integers(1, 5)), st.booleans())
    )
)
def test_those_chosen_are_in_their_order(each: list[tuple[TradeColumns, bool]]) -> None:
    groups = TradeGroups.of([group for group, _ in each])

    chosen = groups.chosen(np.array([is_wanted for _, is_wanted in each], np.bool_))
    assert told(list(chosen)) == told([group for group, is_wanted in each if is_wanted])


def test_there_is_none_behind_the_last() -> None:
    with pytest.raises(IndexError):
        TradeGroups.of([of_symbol("a1", 1, 1)])[1]
