from __future__ import annotations

import numpy as np
import pytest

from sim.listing import ROW, ROWS_PER_CHUNK, Rows, TradeHistory


def trades(first_id: int, count: int) -> Rows:
    rows = np.zeros(count, ROW)
    rows["trade_id"] = np.arange(first_id, first_id + count)
    rows["time_us"] = rows["trade_id"] * 10
    rows["aggregate_id"] = rows["trade_id"] // 3
    return rows


def filled(count: int, *, keep: int = 1_000_000, piece: int = 1000) -> TradeHistory:
    history = TradeHistory(keep)
    for first in range(0, count, piece):
        history.append(trades(100 + first, min(piece, count - first)))
    return history


def test_rows_come_back_as_they_were_appended() -> None:
    history = filled(40_000)

    assert history.rows(0, history.end)["trade_id"].tolist() == list(range(100, 40_100))


@pytest.mark.parametrize("at", [0, 1, ROWS_PER_CHUNK - 1, ROWS_PER_CHUNK, ROWS_PER_CHUNK + 1, 39_999])
def test_search_finds_the_position_of_an_id(at: int) -> None:
    assert filled(40_000).search("trade_id", 100 + at) == at


def test_search_of_an_id_in_a_hole_finds_the_next_one() -> None:
    history = TradeHistory(1000)
    for part in (trades(1, 3), trades(10, 3)):
        history.append(part)

    assert history.rows(*2 * [history.search("trade_id", 7)]).size == 0
    assert history.rows(history.search("trade_id", 7), 4)["trade_id"].tolist() == [10]


def test_search_beyond_the_newest_finds_the_end() -> None:
    history = filled(10)

    assert history.search("trade_id", 10_000) == history.end == 10


def test_search_before_the_oldest_finds_the_oldest() -> None:
    assert filled(10).search("trade_id", 1) == 0


def test_the_oldest_rows_are_dropped_and_enough_are_kept() -> None:
    history = filled(200_000, keep=50_000)

    assert 50_000 <= history.end - history.start < 50_000 + 2 * ROWS_PER_CHUNK
    assert history.search("trade_id", 0) == history.start
    assert history.rows(0, history.start + 1)["trade_id"].tolist() == [100 + history.start]


def test_an_empty_history_has_no_rows() -> None:
    history = TradeHistory(10)

    assert history.search("trade_id", 5) == 0
    assert len(history.rows(0, 10)) == 0


def test_the_first_row_of_an_aggregate_is_found_across_chunks() -> None:
    history = filled(40_000)
    rows = history.rows(0, history.end)

    for aggregate in (40, 5000, 5495, 13_000):
        expected = int(np.flatnonzero(rows["aggregate_id"] == aggregate)[0])
        assert history.search("aggregate_id", aggregate) == expected
