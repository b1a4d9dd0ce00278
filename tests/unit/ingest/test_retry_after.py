"""How long the venue is left alone after it said so."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.http.retry_after import LEAST_S, LONGEST_S, UNSAID_S, retry_after_s
from tests.fixtures.binance import refusals_of

NOW_S = 1_792_567_680.0
"""Wed, 21 Oct 2026 07:28:00 GMT."""


def away_s(text: str, until_s: float | None = None) -> float:
    return retry_after_s(text, now_s=NOW_S, until_s=until_s)


@pytest.mark.parametrize(
    ("text", "seconds"), [("2", 2.0), (" 2 ", 2.0), ("2.5", 2.5), ("120", 120.0), ("259200", LONGEST_S)]
)
def test_the_seconds_that_are_said_are_believed(text: str, seconds: float) -> None:
    assert away_s(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["Wed, 21 Oct 2026 07:29:30 GMT", "Wed, 21 Oct 2026 07:29:30 -0000", "Wed, 21 Oct 2026 09:29:30 +0200"],
)
def test_a_date_is_how_far_it_is_from_now(text: str) -> None:
    assert away_s(text) == 90.0


@pytest.mark.parametrize("text", ["259201", "9" * 400, "9" * 5000, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_no_ban_is_longer_than_the_longest(text: str) -> None:
    assert away_s(text) == LONGEST_S


@pytest.mark.parametrize("text", ["0", "0.0", "Wed, 21 Oct 2026 07:27:00 GMT"])
def test_who_is_told_to_wait_for_no_time_waits_a_second(text: str) -> None:
    assert away_s(text) == LEAST_S


@pytest.mark.parametrize(
    "text", ["", "-5", "1e9", "nan", "inf", "soon", "²", "٣", "60, 60", "Wed, 99 Oct 2026 07:28:00 GMT", "x" * 10**6]
)
def test_anything_else_is_a_minute(text: str) -> None:
    assert away_s(text) == UNSAID_S


def test_without_the_header_the_end_of_the_ban_counts_that_the_message_names() -> None:
    assert away_s("", NOW_S + 120) == 120.0
    assert away_s("7", NOW_S + 120) == 7.0


def test_binance_names_the_end_of_a_ban_in_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW_S)
    words = b"Way too much request weight used; IP banned until 1792567800000. Please use WebSocket Streams."
    body = b'{"code":-1003,"msg":"' + words + b'"}'

    assert refusals_of(418, body).away_s == 120.0
    assert refusals_of(418, body, [("Retry-After", "7")]).away_s == 7.0


@given(text=st.one_of(st.text(), st.from_regex(r"[A-Z][a-z]{2}, [0-9]+ [A-Z][a-z]{2} [0-9]+ [0-9:]+ .{0,6}")))
def test_whatever_is_said_it_is_between_a_second_and_three_days(text: str) -> None:
    assert LEAST_S <= away_s(text) <= LONGEST_S
