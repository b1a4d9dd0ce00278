"""Looking for the aggregates around a trade."""

from __future__ import annotations

import numpy as np
import pytest

from ingest.binance.aggregates import Aggregates, AggregateSearch
from tests.fixtures.trades import columns

PAGE = 100
SIZES = np.random.default_rng(3).choice([1, 1, 1, 2, 5, 40], 20_000)
SIZES[4000:9000] = 60  # a time of wide aggregates: what one page tells of the density misleads
LAST = 1_000_000 + np.cumsum(SIZES)
FIRST = LAST - SIZES + 1
OLDEST = 500
"""The id of the oldest aggregate there is."""


def answer(aggregate_id: int | None = None) -> Aggregates:
    start = len(LAST) - PAGE if aggregate_id is None else max(aggregate_id - OLDEST, 0)
    rows = slice(start, start + PAGE)
    ids = np.arange(len(LAST), dtype=np.int64)[rows] + OLDEST
    return Aggregates(ids, FIRST[rows], LAST[rows], columns(1, 1))


def looked_for(trade_id: int) -> tuple[Aggregates, int]:
    search, page, looks = AggregateSearch(trade_id, PAGE), answer(), 0
    while (aggregate_id := search.next_aggregate_id(page)) is not None:
        page, looks = answer(aggregate_id), looks + 1
        assert looks < 20
    return page, looks


@pytest.mark.parametrize("row", [0, 1, 17, 3999, 4000, 6500, 9000, 12_345, 19_899, 19_900, 19_999])
def test_the_page_that_holds_a_trade_is_found(row: int) -> None:
    page, _ = looked_for(int(LAST[row]))
    assert page.first_id[0] <= LAST[row] <= page.last_id[-1]


def test_a_trade_of_the_newest_page_needs_no_look() -> None:
    assert looked_for(int(LAST[-5]))[1] == 0


def test_a_trade_newer_than_all_aggregates_is_not_looked_for() -> None:
    assert looked_for(int(LAST[-1]) + 1)[1] == 0


def test_a_trade_older_than_all_aggregates_ends_with_the_oldest() -> None:
    page, _ = looked_for(5)
    assert page.aggregate_id[0] == OLDEST


def test_where_there_are_no_aggregates_nothing_is_looked_for() -> None:
    nothing = np.array([], np.int64)
    assert AggregateSearch(5, PAGE).next_aggregate_id(Aggregates(nothing, nothing, nothing, columns(1, 1))) is None
