from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.fixed import MAX_E8, format_e8, parse_e8


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
