"""The audit finds the ids of rows, and those that several rows have."""

from __future__ import annotations

from store.ledger.audit import ids_of_runs


def test_runs_of_ids_in_any_order_of_time_are_the_ids() -> None:
    # By time: 5 6 7, then 3 (late), then 9; and 7 once more at another time.
    edges = [(5, True, False), (7, False, True), (3, True, True), (9, True, True), (7, True, True)]

    found, twice = ids_of_runs(edges)
    assert (list(found), list(twice)) == ([(3, 3), (5, 7), (9, 9)], [(7, 7)])


def test_ids_that_several_rows_have_are_told_apart_from_those_that_one_row_has() -> None:
    edges = [(5, True, False), (9, False, True), (7, True, True), (9, True, False), (12, False, True), (6, True, True)]
    found, twice = ids_of_runs(edges)
    assert (list(found), list(twice)) == ([(5, 12)], [(6, 7), (9, 9)])
