"""When to pass on what has arrived."""

from __future__ import annotations

import pytest

from ingest.websocket.coalescer import MAX_LINGER_S, Coalescer


def busy(frames_a_s: float) -> tuple[Coalescer, float]:
    pace, now_s = Coalescer(), 100.0
    for _ in range(1000):
        now_s += 0.01
        pace.worked(round(frames_a_s * 0.01), now_s)
    return pace, now_s


def test_the_first_frame_passes_at_once() -> None:
    assert Coalescer().linger_s(0.0) == 0


@pytest.mark.parametrize(("frames_a_s", "least_s", "most_s"), [(100, 0.0003, 0.0004), (1000, 0.001, 0.0012)])
def test_a_quiet_socket_lingers_shorter_than_its_frames_are_apart(
    frames_a_s: float, least_s: float, most_s: float
) -> None:
    pace, now_s = busy(frames_a_s)
    assert least_s < pace.linger_s(now_s) < most_s
    assert pace.linger_s(now_s + most_s) == 0


@pytest.mark.parametrize("frames_a_s", [20_000, 100_000])
def test_a_busy_socket_lingers_a_few_milliseconds_since_the_last_time(frames_a_s: float) -> None:
    pace, now_s = busy(frames_a_s)
    assert MAX_LINGER_S * 0.9 < pace.linger_s(now_s) <= MAX_LINGER_S
    assert pace.linger_s(now_s + MAX_LINGER_S) == 0


def test_four_times_the_frames_linger_twice_as_long() -> None:
    (slow, slow_s), (fast, fast_s) = busy(1_000), busy(4_000)
    assert fast.linger_s(fast_s) == pytest.approx(2 * slow.linger_s(slow_s), rel=0.01)


def test_a_socket_that_fell_quiet_passes_on_at_once_again() -> None:
    pace, now_s = busy(20_000)
    pace.worked(1, now_s + 1.0)
    assert pace.linger_s(now_s + 1.01) == 0
