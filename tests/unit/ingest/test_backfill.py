"""What an answer over REST proves."""

from __future__ import annotations

import numpy as np

from ingest.binance.aggregates import Aggregates, from_aggregates
from ingest.http.backfill import BackfillResult, from_history, from_newest
from mesh.values.id_ranges import NO_IDS, IdRange, IdRanges
from mesh.values.trades import TradeColumns
from tests.fixtures.trades import columns


def ids(*pairs: tuple[int, int]) -> IdRanges:
    return IdRanges.from_pairs(pairs)


def page(*ids: int) -> TradeColumns:
    whole = columns(min(ids), max(ids) - min(ids) + 1) if ids else columns(1, 1)
    return whole.rows(np.array(ids, np.int64) - min(ids, default=0))


def aggregates(*rows: tuple[int, int, int]) -> Aggregates:
    """Aggregates of (id, first trade, last trade)."""
    ids = np.array(rows, np.int64).reshape(-1, 3)
    return Aggregates(ids[:, 0], ids[:, 1], ids[:, 2], page(*(first for _, first, last in rows if first == last)))


def told(found: BackfillResult) -> list[list[int] | IdRange]:
    return [step if isinstance(step, IdRange) else step.trade_id.tolist() for step in found.in_order]


def test_consecutive_rows_from_the_id_on_prove_no_absence() -> None:
    found = from_history(page(5, 6, 7), from_id=5, limit=1000)
    assert (told(found), found.trades, found.next_id) == ([[5, 6, 7]], 3, 8)


def test_ids_skipped_before_and_between_the_rows_are_absent() -> None:
    found = from_history(page(7, 8, 12), from_id=5, limit=1000)
    assert told(found) == [IdRange(5, 6), [7, 8], IdRange(9, 11), [12]]


def test_a_full_page_is_not_the_end_and_a_short_one_is() -> None:
    assert not from_history(page(5, 6, 7), from_id=5, limit=3).to_the_end
    assert from_history(page(5, 6), from_id=5, limit=3).to_the_end


def test_an_empty_page_proves_nothing() -> None:
    found = from_history(page(), from_id=5, limit=1000)
    assert (told(found), found.next_id, found.unreachable, found.to_the_end) == ([], None, NO_IDS, True)


def test_rows_before_the_id_asked_for_are_none_of_ours() -> None:
    assert told(from_history(page(3, 4, 5, 6), from_id=5, limit=1000)) == [[5, 6]]


def test_a_full_page_of_rows_that_are_all_older_proves_nothing_and_has_no_next_one() -> None:
    found = from_history(page(3, 4), from_id=5, limit=2)
    assert (told(found), found.next_id, found.to_the_end) == ([], None, True)


def test_the_newest_trades_prove_what_they_reach() -> None:
    found = from_newest(page(3, 4, 7), from_id=4)
    assert (told(found), found.unreachable, found.to_the_end) == ([[4], IdRange(5, 6), [7]], NO_IDS, True)


def test_what_lies_before_the_newest_trades_is_unreachable_not_absent() -> None:
    found = from_newest(page(10, 11), from_id=4)
    assert (told(found), found.unreachable) == ([IdRange(4, 9), [10, 11]], ids((4, 9)))


def test_newest_trades_that_are_all_older_prove_nothing() -> None:
    found = from_newest(page(1, 2), from_id=4)
    assert (told(found), found.unreachable, found.next_id) == ([], NO_IDS, None)


def test_an_aggregate_of_one_trade_is_that_trade_and_one_of_more_stays_a_hole() -> None:
    answer = aggregates((70, 3, 4), (71, 5, 5), (72, 6, 6), (73, 7, 9), (74, 10, 11), (75, 12, 12))
    found = from_aggregates(answer, from_id=5, until_id=None, limit=6)
    assert told(found) == [[5, 6], IdRange(7, 11), [12]]
    assert (found.absent, found.unreachable, found.next_id) == (NO_IDS, ids((7, 11)), 13)


def test_ids_between_aggregates_that_follow_each_other_are_absent() -> None:
    found = from_aggregates(aggregates((70, 3, 3), (71, 6, 6), (72, 9, 9)), from_id=5, until_id=None, limit=1000)
    assert (found.absent, found.unreachable) == (ids((5, 5), (7, 8)), NO_IDS)


def test_ids_before_the_first_aggregate_or_beside_a_missing_one_are_not_absent() -> None:
    found = from_aggregates(aggregates((70, 6, 6), (72, 9, 9)), from_id=5, until_id=None, limit=1000)
    assert (found.absent, found.unreachable) == (NO_IDS, ids((5, 5), (7, 8)))


def test_aggregates_say_nothing_beyond_the_last_id_of_interest() -> None:
    answer = aggregates((70, 4, 6), (71, 7, 7), (72, 8, 20), (73, 21, 21))
    found = from_aggregates(answer, from_id=5, until_id=9, limit=1000)
    assert (told(found), found.next_id, found.to_the_end) == ([IdRange(5, 6), [7], IdRange(8, 9)], 10, False)


def test_aggregates_that_are_all_older_prove_nothing() -> None:
    found = from_aggregates(aggregates((70, 3, 4)), from_id=5, until_id=9, limit=1000)
    assert (told(found), found.next_id, found.to_the_end) == ([], None, True)


def test_a_full_page_of_aggregates_is_not_the_end_and_a_short_one_is() -> None:
    assert not from_aggregates(aggregates((70, 5, 5)), from_id=5, until_id=None, limit=1).to_the_end
    assert from_aggregates(aggregates((70, 5, 5)), from_id=5, until_id=None, limit=2).to_the_end
