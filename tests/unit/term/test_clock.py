from __future__ import annotations

from itertools import pairwise

from term.app import Clock


def test_a_step_back_does_not_turn_time_back_and_a_step_ahead_is_followed() -> None:
    wall_ns, steady_ns = 10_000_000_000, 5_000_000_000
    clock = Clock(lambda: wall_ns, lambda: steady_ns)
    seen = [clock.now_us()]
    for stepped_s in (1, -3600, 1, 1, 7200):
        wall_ns += stepped_s * 1_000_000_000
        steady_ns += 1_000_000_000
        seen.append(clock.now_us())
    assert [later - earlier for earlier, later in pairwise(seen[:-1])] == [1_000_000] * 4
    assert seen[-1] == wall_ns // 1000
