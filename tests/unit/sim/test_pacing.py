from __future__ import annotations

import math

import pytest

from sim.pacing import SLOT, Pace, Pacer, parse_rate


def test_a_second_moves_the_position_by_the_rate() -> None:
    clock = Pacer(Pace.EVEN, 500)

    clock.advance(1_000_000)

    assert clock.position == 500 * SLOT


def test_a_recorded_pace_is_the_time_itself() -> None:
    clock = Pacer(Pace.RECORDED, 500)

    clock.advance(1_000_000)

    assert clock.position == 1_000_000


def test_rate_zero_stands_still_also_on_a_recorded_tape() -> None:
    clock = Pacer(Pace.RECORDED, 0)

    clock.advance(1_000_000)

    assert clock.position == 0
    assert clock.wait_us(1) == math.inf


def test_flat_out_never_waits() -> None:
    assert Pacer(Pace.EVEN, math.inf).wait_us(10**12) == 0


def test_the_wait_is_the_distance_at_the_present_rate() -> None:
    clock = Pacer(Pace.EVEN, 100)

    assert clock.wait_us(SLOT) == pytest.approx(10_000)


def test_a_trade_issued_early_keeps_the_next_one_at_its_distance() -> None:
    clock = Pacer(Pace.EVEN, 100)

    clock.skip_to(5 * SLOT)

    assert clock.wait_us(6 * SLOT) == pytest.approx(10_000)


@pytest.mark.parametrize(("text", "rate"), [("50", 50), ("0", 0), ("0.5", 0.5), (7, 7), ("max", math.inf)])
def test_a_rate_is_a_number_or_max(text: float | str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "fast", "", "1000001", 1e305])
def test_anything_else_is_refused(text: float | str) -> None:
    with pytest.raises(ValueError, match=r"expected a number from 0 to 1000000, or max"):
        parse_rate(text)
