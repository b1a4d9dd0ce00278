"""What an answer proves although some of its rows cannot be read."""

from __future__ import annotations

import numpy as np
import pytest

from ingest.binance.answers import spoiled
from ingest.http.backfill import from_history, from_newest, without_spoiled
from mesh.values.id_ranges import NO_IDS, IdRanges
from mesh.values.trades import TradeColumns
from tests.fixtures.trades import columns


def ids(*pairs: tuple[int, int]) -> IdRanges:
    return IdRanges.from_pairs(pairs)


def page(*ids: int) -> TradeColumns:
    return columns(min(ids), max(ids) - min(ids) + 1).rows(np.array(ids, np.int64) - min(ids))


@pytest.mark.parametrize(
    ("rows", "places"),
    [
        ([(4, True), (5, True)], NO_IDS),
        ([(4, True), (6, False), (9, True)], ids((6, 6))),
        ([(4, True), (5, False), (8, False), (9, True)], ids((5, 5), (8, 8))),
        ([(4, True), (5, False), (None, False), (9, True)], ids((5, 8))),
        ([(4, True), (5, False), (5, False), (9, True)], ids((5, 8))),
        ([(4, True), (4, False), (9, True)], ids((5, 8))),
        ([(4, True), (None, False), (5, True)], NO_IDS),
        ([(None, False), (9, True)], ids((0, 8))),
        ([(4, True), (5, False)], NO_IDS),
        ([(4, True), (10**18, False)], NO_IDS),
    ],
)
def test_a_bad_row_is_where_it_says_or_anywhere_between_its_neighbours(
    rows: list[tuple[int | None, bool]], places: IdRanges
) -> None:
    assert spoiled(rows) == places


def test_what_a_bad_row_may_be_is_unreachable_and_never_absent() -> None:
    found = without_spoiled(from_history(page(5, 9, 10), from_id=3, limit=1000), ids((7, 7)))
    assert (found.absent, found.unreachable) == (ids((3, 4), (6, 6), (8, 8)), ids((7, 7)))
    assert (found.trades, found.next_id) == (3, 11)


def test_bad_rows_before_the_id_asked_for_are_none_of_ours() -> None:
    found = without_spoiled(from_history(page(5, 6), from_id=4, limit=1000), ids((0, 4)))
    assert (found.absent, found.unreachable) == (NO_IDS, ids((4, 4)))


def test_what_the_newest_trades_do_not_reach_stays_unreachable() -> None:
    found = without_spoiled(from_newest(page(10, 13), from_id=4), ids((5, 5), (11, 12)))
    assert (found.absent, found.unreachable) == (NO_IDS, ids((4, 9), (11, 12)))


def test_without_bad_rows_all_stays_as_it_was() -> None:
    found = from_history(page(5, 9), from_id=3, limit=1000)
    assert (without_spoiled(found, NO_IDS).absent, without_spoiled(found, NO_IDS).unreachable) == (
        found.absent,
        found.unreachable,
    )
