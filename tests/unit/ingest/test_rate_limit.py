"""The rate limit of a venue's REST."""

from __future__ import annotations

from ingest.http.rate_limit import RateLimit


def test_at_first_nothing_is_waited_for() -> None:
    assert RateLimit(6000).wait_s(25, 1000.0) == 0


def test_a_used_up_minute_is_waited_out() -> None:
    limit = RateLimit(6000)
    for _ in range(192):
        limit.spend(25, 1000.0)
    assert limit.wait_s(25, 1020.0) == 40.0
    assert limit.wait_s(25, 1060.0) == 0


def test_the_venues_own_count_is_believed() -> None:
    limit = RateLimit(6000)
    limit.spend(25, 1000.0)
    limit.reported(5990)
    assert limit.wait_s(25, 1010.0) == 50.0


def test_a_new_minute_begins_at_zero() -> None:
    limit = RateLimit(6000)
    limit.spend(25, 1000.0)
    limit.reported(5990)
    limit.spend(25, 1060.0)
    assert limit.wait_s(25, 1061.0) == 0


def test_retry_after_is_obeyed_and_the_longer_one_wins() -> None:
    limit = RateLimit(6000)
    limit.stay_away(120, 1000.0)
    limit.stay_away(5, 1001.0)
    assert limit.wait_s(1, 1010.0) == 110.0
    assert limit.wait_s(1, 1120.0) == 0
