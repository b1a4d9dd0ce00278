from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from store.candles.rows import late_ranges

SECOND_US = 1_000_000


def test_nothing_is_late_while_its_second_is_open() -> None:
    assert late_ranges(np.array([5 * SECOND_US, 6 * SECOND_US]), 5 * SECOND_US + 999_999) == []


def test_late_trades_near_each_other_share_a_range_of_whole_seconds() -> None:
    late = np.array([3_700_000, 1_200_000, 500 * SECOND_US, 900 * SECOND_US])
    assert late_ranges(late, 600 * SECOND_US) == [(SECOND_US, 4 * SECOND_US), (500 * SECOND_US, 501 * SECOND_US)]


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=30), st.integers(0, 10**10))
def test_every_trade_of_a_closed_second_is_in_one_range_and_no_range_is_open(
    times_us: list[int], reached_us: int
) -> None:
    ranges = late_ranges(np.array(times_us), reached_us)
    for time_us in times_us:
        inside = sum(begin_us <= time_us < end_us for begin_us, end_us in ranges)
        assert inside == (time_us // SECOND_US < reached_us // SECOND_US)
    assert all(end_us <= reached_us for _, end_us in ranges)
