from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.values.fixed import MAX_E8, format_e8, format_scaled, parse_e8, parse_scaled


@pytest.mark.parametrize(
    ("text", "value_e8"),
    [
        ("61837.63000000", 6_183_763_000_000),
        ("0.00000638", 638),
        ("4", 400_000_000),
        ("0", 0),
        ("90000000000.00000001", 9_000_000_000_000_000_001),
        ("1.000000000000", 100_000_000),
    ],
)
def test_decimal_text_becomes_the_exact_integer(text: str, value_e8: int) -> None:
    assert parse_e8(text) == value_e8


@pytest.mark.parametrize(
    "text", ["", ".", "1.", ".5", "-1", "+1", "1e5", "1,5", "1.5.2", " 1", "0x10", "NaN", "١", "9" * 50, "1_000"]
)
def test_what_is_no_plain_decimal_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a plain decimal number"):
        parse_e8(text)


def test_what_is_finer_than_the_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="finer than 8 decimals"):
        parse_e8("0.000000001")


def test_what_exceeds_64_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="larger than"):
        parse_e8("92233720368.54775808")


@given(st.integers(0, MAX_E8))
def test_formatting_and_parsing_are_inverse(value_e8: int) -> None:
    assert parse_e8(format_e8(value_e8)) == value_e8


@given(st.integers(-MAX_E8, MAX_E8))
def test_the_text_is_exact_plain_and_shortest(value_e8: int) -> None:
    text = format_e8(value_e8)
    assert Decimal(text) * 10**8 == value_e8
    assert "e" not in text.lower()
    assert not ("." in text and text.endswith(("0", ".")))


@given(st.integers(0, 2**192), st.sampled_from([8, 16]))
def test_numbers_of_any_size_come_back_as_they_went(value: int, decimals: int) -> None:
    text = format_scaled(value, decimals)
    assert parse_scaled(text, decimals) == value
    assert Fraction(text) * 10**decimals == value


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (1, "0.0000000000000001"), (10**16, "1"), (12 * 10**15, "1.2")])
def test_a_scaled_number_is_written_as_short_as_can_be(value: int, text: str) -> None:
    assert format_scaled(value, 16) == text


@pytest.mark.parametrize("text", ["", ".", "1.", ".5", "-1", "1e5", "NaN", "0.000000001", "9" * 81, "1_000", "١"])
def test_what_is_no_scaled_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a plain decimal number"):
        parse_scaled(text, 8)
