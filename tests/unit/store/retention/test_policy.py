"""Retention's arithmetic: which day is the first to be kept, and how far one step goes, by time and by id."""

from __future__ import annotations

import datetime as dt

import numpy as np

from mesh.values.trades import Int64s
from store.retention.policy import first_kept, last_expired, step_end

NOON = dt.datetime(2026, 3, 15, 12, 34, 56, tzinfo=dt.UTC)
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


def ids(*each: int) -> Int64s:
    return np.array(each, np.int64)


def test_whole_days_before_today_are_kept() -> None:
    assert first_kept(NOON, 1) == dt.datetime(2026, 3, 14, tzinfo=dt.UTC)
    assert first_kept(NOON, 30) == dt.datetime(2026, 2, 13, tzinfo=dt.UTC)


def test_days_begin_by_utc_whatever_the_clock_on_the_wall_says() -> None:
    late_in_tokyo = dt.datetime(2026, 3, 15, 3, 0, tzinfo=dt.timezone(dt.timedelta(hours=9)))

    assert first_kept(late_in_tokyo, 1) == dt.datetime(2026, 3, 13, tzinfo=dt.UTC)


def test_a_step_ends_with_the_hour_or_day_of_the_oldest_trade() -> None:
    assert step_end(NOON, NOON + DAY, HOUR) == dt.datetime(2026, 3, 15, 13, tzinfo=dt.UTC)
    assert step_end(NOON, NOON + 2 * DAY, DAY) == dt.datetime(2026, 3, 16, tzinfo=dt.UTC)


def test_a_step_never_goes_beyond_what_is_kept() -> None:
    assert step_end(NOON, NOON + dt.timedelta(minutes=1), HOUR) == NOON + dt.timedelta(minutes=1)


def test_a_trade_at_the_full_hour_belongs_to_the_hour_it_begins() -> None:
    assert step_end(dt.datetime(2026, 3, 15, 13, tzinfo=dt.UTC), NOON + DAY, HOUR).hour == 14


def test_ids_are_cut_at_the_highest_old_one() -> None:
    assert last_expired(ids(3, 1, 2), ids(5, 4)) == 3
    assert last_expired(ids(3, 1, 2), ids()) == 3
    assert last_expired(ids(), ids(1)) is None


def test_an_old_time_on_a_new_id_takes_no_other_ids_with_it() -> None:
    assert last_expired(ids(1, 2, 3, 2000), ids(4, 5)) == 3
    assert last_expired(ids(2000), ids(*range(1, 1000))) is None


def test_a_new_time_on_an_old_id_holds_back_no_others() -> None:
    assert last_expired(ids(1, 2, 4, 5), ids(3, 6, 7)) == 5


def test_in_doubt_no_id_is_expired() -> None:
    assert last_expired(ids(2000), ids(1)) is None
