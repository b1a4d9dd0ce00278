"""Decimal text <-> integers scaled by 1e8, exactly: no float ever touches a price on this way."""

from __future__ import annotations

SCALE = 10**8
DECIMALS = 8
MAX_E8 = 2**63 - 1
_MAX_TEXT = 40
_MAX_SCALED_TEXT = 80


def parse_e8(text: str, *, most: int = MAX_E8) -> int:
    """Read a plain decimal number, `"61837.63000000"`, as an integer scaled by 1e8.

    Args:
        text: the number.
        most: the largest there may be; what 64 bits hold unless told otherwise.

    Raises:
        ValueError: not a plain decimal number, below zero, finer than 1e-8, or larger than `most`.

    """
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if not (whole and digits.isascii() and digits.isdigit()) or len(text) > _MAX_TEXT or text.endswith("."):
        raise ValueError(f"{text[:_MAX_TEXT]!r} is not a plain decimal number")
    if len(fraction) > DECIMALS:
        if fraction[DECIMALS:].strip("0"):
            raise ValueError(f"{text!r} is finer than {DECIMALS} decimals")
        fraction = fraction[:DECIMALS]
    value = int(whole + fraction.ljust(DECIMALS, "0"))
    if value > most:
        raise ValueError(f"{text!r} is larger than {format_e8(most)}")
    return value


def format_e8(value_e8: int) -> str:
    """Write an integer scaled by 1e8 as the shortest plain decimal number: `61837.63`, `0.00000638`, `-1`."""
    sign = "-" if value_e8 < 0 else ""
    whole, fraction = divmod(abs(value_e8), SCALE)
    if not fraction:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{fraction:08d}".rstrip("0")


def parse_scaled(text: str, decimals: int) -> int:
    """Read what `format_scaled` wrote.

    Args:
        text: a plain decimal number, not below zero.
        decimals: how many decimals the integer is scaled by.

    Raises:
        ValueError: not a plain decimal number, below zero, finer than `decimals` places, or absurdly long.

    """
    whole, point, fraction = text.partition(".")
    digits = whole + fraction
    plain = bool(whole) and bool(fraction) == bool(point) and digits.isascii() and digits.isdigit()
    if not plain or len(fraction) > decimals or len(text) > _MAX_SCALED_TEXT:
        raise ValueError(f"{text[:_MAX_SCALED_TEXT]!r} is not a plain decimal number with at most {decimals} places")
    return int(digits + "0" * (decimals - len(fraction)))


def format_scaled(value: int, decimals: int) -> str:
    """Write an integer of any size, not below zero and scaled by 10^decimals, as the shortest plain decimal number.

    Args:
        value: the scaled integer.
        decimals: how many decimals it is scaled by.

    """
    digits = str(value).rjust(decimals + 1, "0")
    return f"{digits[:-decimals]}.{digits[-decimals:]}".rstrip("0").rstrip(".")
