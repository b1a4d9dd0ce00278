from __future__ import annotations

import pytest

from mesh.service.errors import TooMany
from signalsvc.rpc import TokenBucket


def test_a_burst_is_taken_and_then_one_at_a_time() -> None:
    bucket = TokenBucket(per_minute=60, burst=3)
    for _ in range(3):
        bucket.take("it was done", now_s=100.0)
    with pytest.raises(TooMany, match="it was done more often than 60 times a minute") as refused:
        bucket.take("it was done", now_s=100.25)
    assert refused.value.retry_after_s == pytest.approx(0.75)
    bucket.take("it was done", now_s=101.0)
    with pytest.raises(TooMany):
        bucket.take("it was done", now_s=101.5)


def test_a_long_pause_gives_no_more_than_a_burst() -> None:
    bucket = TokenBucket(per_minute=600, burst=2)
    bucket.take("it", now_s=0.0)
    for _ in range(2):
        bucket.take("it", now_s=1e6)
    with pytest.raises(TooMany):
        bucket.take("it", now_s=1e6)
