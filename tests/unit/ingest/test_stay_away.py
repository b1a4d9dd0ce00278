"""How long the venue is left alone after it said so."""

from __future__ import annotations

import pytest

from ingest.binance.stay_away import LONGEST_S, UNSAID_S, stay_away_s


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("2", 2.0), ("120", 120.0), ("259200", LONGEST_S)])
def test_the_seconds_that_are_said_are_believed(text: str, seconds: float) -> None:
    assert stay_away_s(text) == seconds


@pytest.mark.parametrize("text", ["259201", "9" * 400])
def test_no_ban_is_longer_than_the_longest(text: str) -> None:
    assert stay_away_s(text) == LONGEST_S


@pytest.mark.parametrize("text", ["", "-5", "1.5", "soon", "²", "٣", "60, 60", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_anything_else_is_a_minute(text: str) -> None:
    assert stay_away_s(text) == UNSAID_S
