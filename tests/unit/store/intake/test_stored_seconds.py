"""Trades counted by the second as they are stored."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mesh.values.trades import TradeColumns, TradeGroups
from store.intake.stored_seconds import StoredSeconds
from tests.fixtures.trades import columns

SECOND_US = 1_000_000
NAME = ("binance", "btcusdt")
OTHER = ("binance", "ethusdt")


def at(*seconds: float, symbol: str = "btcusdt") -> TradeColumns:
    times = np.array([int(second * SECOND_US) for second in seconds], np.int64)
    return dataclasses.replace(columns(1, len(seconds), symbol=symbol), time_us=times)


def counts_of(seconds: StoredSeconds, begin: int, end: int, *, connection: object = "one") -> dict[int, int] | None:
    found = seconds.stored(connection, NAME, begin * SECOND_US, end * SECOND_US)
    return None if found is None else {us // SECOND_US: count for us, count in found.items()}


def test_seconds_are_counted_behind_the_first_trades_of_a_symbol() -> None:
    seconds = StoredSeconds()
    for group in (at(5.0, 5.5), at(6.0, 6.999_999, 7.0), at(7.5, 6.5)):
        seconds.note("one", TradeGroups.of([group]), following={NAME})

    assert counts_of(seconds, 5, 8) is None
    assert counts_of(seconds, 6, 7) == {6: 3}
    assert counts_of(seconds, 7, 9) == {7: 2}


def test_trades_that_do_not_follow_make_it_forget_the_symbol_up_to_their_last_second() -> None:
    seconds = StoredSeconds()
    seconds.note("one", TradeGroups.of([at(1.0), at(1.0, symbol="ethusdt")]), following={NAME, OTHER})
    seconds.note("one", TradeGroups.of([at(2.0), at(2.0, 9.0, symbol="ethusdt")]), following={OTHER})
    seconds.note("one", TradeGroups.of([at(3.0), at(4.0, symbol="ethusdt")]), following={NAME, OTHER})

    assert counts_of(seconds, 2, 4) is None
    assert counts_of(seconds, 3, 4) == {3: 1}
    assert seconds.stored("one", OTHER, 2 * SECOND_US, 10 * SECOND_US) == {
        2 * SECOND_US: 1,
        4 * SECOND_US: 1,
        9 * SECOND_US: 1,
    }


def test_what_another_connection_has_stored_is_not_known() -> None:
    seconds = StoredSeconds()
    for second in (1.0, 2.0):
        seconds.note("one", TradeGroups.of([at(second)]), following={NAME})
    assert counts_of(seconds, 2, 3, connection="two") is None

    seconds.note("two", TradeGroups.of([at(3.0)]), following={NAME})
    assert counts_of(seconds, 3, 4, connection="two") is None
    seconds.note(None, TradeGroups.of([at(4.0)]), following={NAME})
    assert counts_of(seconds, 4, 5, connection=None) is None


def test_a_symbol_whose_seconds_nobody_closes_takes_no_more_and_no_more_memory() -> None:
    seconds = StoredSeconds()
    for second in range(5_000):
        seconds.note("one", TradeGroups.of([at(second)]), following={NAME})

    assert counts_of(seconds, 0, 5_000) is None
    assert counts_of(seconds, 4_999, 5_000) == {4_999: 1}
    assert len(seconds._known[NAME][1]) <= 300


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 60), min_size=1, max_size=5), st.booleans()), max_size=8),
    st.tuples(st.integers(0, 7), st.integers(0, 7)),
)
def test_whatever_comes_in_any_order_what_is_known_is_what_there_is(
    groups: list[tuple[list[int], bool]], within: tuple[int, int]
) -> None:
    seconds = StoredSeconds()
    for tenths, follows in groups:
        groups_of_one = TradeGroups.of([at(*(tenth / 10 for tenth in tenths))])
        seconds.note("one", groups_of_one, following={NAME} if follows else set())
    there = [tenth // 10 for tenths, _ in groups for tenth in tenths if within[0] <= tenth // 10 < within[1]]

    found = counts_of(seconds, *within)
    assert found is None or found == {second: there.count(second) for second in there}
