"""How long trades take from the venue to ingest, over the last minute."""

from __future__ import annotations

import pytest

from ingest.recent_lag import RecentLag


def quantiles(recent: RecentLag, *, now_s: float) -> tuple[float, float]:
    found = recent.quantiles(now_s=now_s)
    assert found is not None
    return found.p50_s, found.p99_s


def test_the_median_and_the_slowest_hundredth_are_told() -> None:
    recent = RecentLag()
    for ms in range(1, 1001):
        recent.observe(ms / 1000, now_s=100.0)
    assert quantiles(recent, now_s=101.0) == pytest.approx((0.5, 0.99), rel=0.03)


def test_what_is_older_than_a_minute_does_not_count() -> None:
    recent = RecentLag()
    recent.observe(5.0, now_s=100.0)
    recent.observe(0.1, now_s=170.0)
    assert quantiles(recent, now_s=170.0) == pytest.approx((0.1, 0.1), rel=0.03)
    assert recent.quantiles(now_s=240.0) is None


@pytest.mark.parametrize(("lag_s", "told_s"), [(-3.0, 0.0), (0.0, 0.0), (1e9, 3600.0)])
def test_clocks_that_differ_are_no_fault(lag_s: float, told_s: float) -> None:
    recent = RecentLag()
    recent.observe(lag_s, now_s=0.0)
    assert quantiles(recent, now_s=0.0) == pytest.approx((told_s, told_s), rel=0.03)
