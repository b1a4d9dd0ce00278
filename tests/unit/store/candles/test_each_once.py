"""One statement may not write a candle twice, so candles that come more than once are written one after the other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from store.candles.rows import _each_once

ROWS = st.lists(
    st.tuples(
        st.just("binance"), st.sampled_from("ab"), st.sampled_from(["1s", "1m"]), st.integers(0, 1), st.integers()
    )
)


@given(ROWS)
def test_each_candle_is_once_in_a_group_and_its_rows_stay_in_order(rows: list[tuple[str, str, str, int, int]]) -> None:
    groups = _each_once(rows)

    assert all(len({row[:4] for row in group}) == len(group) > 0 for group in groups)
    for name in {row[:4] for row in rows}:
        in_groups = [row for group in groups for row in group if row[:4] == name]
        assert in_groups == [row for row in rows if row[:4] == name]
