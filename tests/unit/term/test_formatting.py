from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from term.formatting import (
    decimals_of,
    duration_text,
    fitting_text,
    number_text,
    number_texts,
    plain,
    rate_texts,
    short_texts,
    signed_text,
    time_text,
    time_us_of,
    zone_of,
)


@pytest.mark.parametrize(
    ("number", "decimals", "text"),
    [
        ("61837.63", 2, "61,837.63"),
        ("1E-8", 8, "0.00000001"),
        ("1E+6", 2, "1,000,000.00"),
        ("0.5", 0, "0"),
        ("9007199254740993.00000001", 8, "9,007,199,254,740,993.00000001"),
        ("-0.125", 2, "-0.12"),
    ],
)
def test_a_number_has_separators_and_never_an_exponent(number: str, decimals: int, text: str) -> None:
    assert number_text(Decimal(number), decimals) == text


def test_an_unknown_number_is_a_dash() -> None:
    assert (number_text(None, 2), next(short_texts(None)), time_text(None, UTC)) == ("—", "—", "—")


@pytest.mark.parametrize(
    ("number", "decimals"), [("0.10", 1), ("1E-8", 8), ("100", 0), ("1E+3", 0), ("0", 0), ("1E-18", 12)]
)
def test_decimals_are_those_that_matter(number: str, decimals: int) -> None:
    assert decimals_of(Decimal(number)) == decimals


@pytest.mark.parametrize(("number", "text"), [("1.5", "+1.50"), ("-1.5", "−1.50"), ("0", "0.00"), ("-0.001", "0.00")])
def test_a_change_has_its_sign(number: str, text: str) -> None:
    assert signed_text(Decimal(number), 2, width=13) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("0.00012", "0.0001"),
        ("9", "9"),
        ("12.345", "12.34"),
        ("9999.5", "9,999.50"),
        ("12345", "12.3k"),
        ("1234567", "1.23M"),
        ("12345678901", "12.35B"),
        ("5E+15", "5,000.00T"),
    ],
)
def test_a_big_number_is_short(number: str, text: str) -> None:
    assert next(short_texts(Decimal(number))) == text


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (20, "123,456,789.12345678"),
        (19, "123,456,789.1234568"),
        (14, "123,456,789.12"),
        (13, "123,456,789.1"),
        (12, "123,456,789"),
        (10, "123.46M"),
        (6, "123.5M"),
        (5, "123M"),
        (3, "###"),
        (0, ""),
    ],
)
def test_a_number_fits_by_losing_decimals_then_digits_and_never_its_size(width: int, text: str) -> None:
    assert fitting_text(number_texts(Decimal("123456789.12345678"), 8), width=width) == text


@pytest.mark.parametrize(("width", "text"), [(13, "−61,837.12346"), (8, "−61,837"), (6, "−61.8k"), (3, "##")])
def test_a_change_fits_with_its_sign(width: int, text: str) -> None:
    assert signed_text(Decimal("-61837.12345678"), 8, width=width) == text


@pytest.mark.parametrize("width", [9, 11, 14])
@pytest.mark.parametrize("number", ["0", "1E-12", "0.1", "9.99999999", "9999.99999999", "999999.99999999", "999999E+8"])
def test_a_number_that_was_made_to_fit_is_off_by_no_more_than_its_last_digit(number: str, width: int) -> None:
    text = fitting_text(number_texts(Decimal(number), 12), width=width)
    digits = text.rstrip("kMBT").replace(",", "")
    one = {"k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}.get(text[-1], 1)
    last = Decimal(1).scaleb(-len(digits.partition(".")[2]))
    assert len(text) <= width
    assert abs(Decimal(digits) * one - Decimal(number)) <= last * one


@pytest.mark.parametrize(("rate", "text"), [(0, "0.0/s"), (12.34, "12.3/s"), (1234.5, "1,234/s")])
def test_a_rate_is_per_second(rate: float, text: str) -> None:
    assert next(rate_texts(rate)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0.4 ms"),
        (0.0031, "3.1 ms"),
        (2.14, "2.1 s"),
        (45, "45 s"),
        (125, "2 min 5 s"),
        (120, "2 min"),
        (12_000, "3 h 20 min"),
        (1_036_800, "12 d"),
        (-0.012, "−12 ms"),
    ],
)
def test_a_duration_has_the_units_that_matter(seconds: float, text: str) -> None:
    assert duration_text(round(seconds * 1_000_000)) == text


def test_a_time_is_exact_to_the_microsecond() -> None:
    assert time_text(1_720_215_298_241_906, UTC) == "2024-07-05 21:34:58.241906"


def test_a_time_is_that_of_its_zone_and_says_which_one_where_two_are_alike() -> None:
    berlin, hour_us = zone_of("Europe/Berlin"), 3_600_000_000
    twice = 1_729_987_200_000_000  # 2024-10-27 00:00 UTC
    texts = [time_text(twice + hours * hour_us, berlin, named=True) for hours in range(2)]
    assert texts == ["2024-10-27 02:00:00.000000 CEST", "2024-10-27 02:00:00.000000 CET"]


@pytest.mark.parametrize("zone", ["UTC", "local", "America/New_York", "Pacific/Kiritimati"])
def test_the_first_and_the_last_times_there_are_can_be_written_in_every_zone(zone: str) -> None:
    ends = (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert [len(time_text(time_us_of(end), zone_of(zone))) for end in ends] == [26, 26]


def test_this_machines_zone_is_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    text = time_text(1_720_215_298_241_906, zone_of("local"), named=True)
    monkeypatch.undo()
    time.tzset()
    assert text == "2024-07-06 03:04:58.241906 IST"


@pytest.mark.parametrize("name", ["", "Berlin", "../etc/passwd", "Europe", "+02:00"])
def test_a_zone_that_nobody_knows_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected UTC, local, or a zone such as Europe/Berlin"):
        zone_of(name)


def test_text_from_outside_cannot_steer_the_terminal() -> None:
    assert plain("a\x1b[2Jb\n京é") == "a·[2Jb·京é"
