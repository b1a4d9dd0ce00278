"""When to pass on what has arrived."""

from __future__ import annotations

import pytest

from ingest.pace import MAX_LINGER_S, MIN_LINGER_S, Pace


def busy(frames_a_s: float) -> tuple[Pace, float]:
    pace, now_s = Pace(), 100.0
    for _ in range(1000):
        now_s += 0.005
        pace.worked(round(frames_a_s * 0.005), now_s)
    return pace, now_s


def test_the_first_frame_passes_at_once() -> None:
    assert Pace().linger_s(0.0) == 0


def test_a_quiet_socket_never_lingers() -> None:
    pace, now_s = busy(400)
    assert pace.linger_s(now_s) == 0


def test_a_socket_of_a_thousand_frames_a_second_lingers_the_least() -> None:
    pace, now_s = busy(1000)
    assert pace.linger_s(now_s) == pytest.approx(MIN_LINGER_S)


def test_a_busy_socket_lingers_a_few_milliseconds_since_the_last_time() -> None:
    pace, now_s = busy(20_000)
    assert MAX_LINGER_S * 0.9 < pace.linger_s(now_s) <= MAX_LINGER_S
    assert pace.linger_s(now_s + MAX_LINGER_S) == 0


def test_a_socket_that_fell_quiet_passes_on_at_once_again() -> None:
    pace, now_s = busy(20_000)
    pace.worked(1, now_s + 1.0)
    assert pace.linger_s(now_s + 1.0) == 0
