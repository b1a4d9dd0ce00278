"""Doubles as plain decimal numbers: no exponent, and the fewest digits that read back as the same double. Pure.

    6.38e-6 is 0.00000638        1e16 is 10000000000000000.0        NaN and infinities are null

The longest is that of a double near 1e-308: less than 345 characters. Minus zero stays `-0.0`: it reads back as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

_encode = msgspec.json.Encoder().encode
_PLAIN_FROM, _PLAIN_BELOW = 1e-5, 1e16  # in between msgspec writes no exponent


def plain_texts(values: Iterable[float]) -> list[str]:
    """Return the texts of many doubles; the first costs as much as ten more, those below 1e-5 twice as much."""
    # msgspec writes the shortest text that reads back as the same double several times faster than repr
    joined = _encode(list(values)).decode()[1:-1]
    if not joined:
        return []
    texts = joined.split(",")
    first = joined.find("e")
    if first >= 0:  # only from there on they are looked at one by one
        begin = joined.count(",", 0, first)
        for n, text in enumerate(texts[begin:], begin):
            if (zeros := _SMALL(text[-3:])) and text[0] != "-":  # such are most volatilities; a call would cost as much
                texts[n] = f"{zeros}{text[0]}{text[2:-3]}"
            elif "e" in text:
                texts[n] = without_exponent(text)
    return texts


def plain_number(value: float) -> object:
    """Return what msgspec writes as the plain number of a double."""
    if _PLAIN_FROM <= abs(value) < _PLAIN_BELOW or value == 0:
        return value
    text = _encode(value).decode()  # "null" has no e
    return msgspec.Raw(without_exponent(text).encode()) if "e" in text else value


def without_exponent(text: str) -> str:
    """Write a number in exponent form as a plain one.

    >>> without_exponent("-6.38e-6")
    '-0.00000638'
    """
    mantissa, _, exponent = text.partition("e")
    if exponent in _ZEROS and text[0] != "-":
        return _ZEROS[exponent] + mantissa.replace(".", "", 1)
    sign = "-" if text[0] == "-" else ""
    whole, _, fraction = mantissa.removeprefix("-").partition(".")
    digits, point = whole + fraction, len(whole) + int(exponent)
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return f"{sign}{digits}{'0' * (point - len(digits))}.0"
    return f"{sign}{digits[:point]}.{digits[point:]}"


# What most small numbers begin with; a mantissa has one digit before its point.
_ZEROS = {f"-{places}": "0." + "0" * (places - 1) for places in range(1, 32)}
_SMALL = {f"e{exponent}": zeros for exponent, zeros in _ZEROS.items() if len(exponent) == 2}.get
