"""The rate limit of a venue's REST."""

from __future__ import annotations

from ingest.http.rate_limit import RateLimit
from mesh.bus.leases import MAX_INSTANCES


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


def test_all_instances_at_one_address_together_stay_below_what_it_may_spend() -> None:
    """Each has two requests on their way at most, and learns from every answer what all of them have spent."""
    allowed, weight, spent = 6000, 25, 0
    limits = [RateLimit(allowed) for _ in range(MAX_INSTANCES)]
    while any(limit.wait_s(weight, 1010.0) == 0 for limit in limits):
        # The worst order: all of them ask before any answer has come.
        asking = [limit for limit in limits for _ in range(2) if limit.wait_s(weight, 1010.0) == 0]
        for limit in asking:
            limit.spend(weight, 1010.0)
        spent += weight * len(asking)
        for limit in asking:
            limit.reported(spent)
    assert spent <= allowed
    assert spent >= 0.8 * allowed - weight
