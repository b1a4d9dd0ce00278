"""Numbers and times as people read them; text from outside as a terminal can bear it."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal

NOTHING = "—"
MOST_DECIMALS = 12

_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_SECOND_US = 1_000_000


def decimals_of(number: Decimal) -> int:
    """Count the decimals `number` needs, trailing zeros left out: 2 for 0.10 is 1, for 1E-8 it is 8."""
    exponent = number.normalize(_CONTEXT).as_tuple().exponent
    return min(max(-exponent, 0), MOST_DECIMALS) if isinstance(exponent, int) else 0


def number_text(number: Decimal | None, decimals: int) -> str:
    """Write `number` with thousands separators and exactly `decimals` decimals, never with an exponent."""
    if number is None:
        return NOTHING
    return f"{number.quantize(Decimal(1).scaleb(-decimals), context=_CONTEXT):,f}"


def signed_text(number: Decimal, decimals: int) -> str:
    """Write `number` as `number_text` does, with its sign; zero has none."""
    text = number_text(abs(number), decimals)
    if not any(digit in text for digit in "123456789"):
        return text
    return ("−" if number < 0 else "+") + text


def short_text(number: Decimal | int | None) -> str:
    """Write a big number short: `1.23M`; below ten thousand with as many decimals as matter."""
    if number is None:
        return NOTHING
    size = abs(Decimal(number))
    for limit, unit in ((Decimal(10) ** 12, "T"), (Decimal(10) ** 9, "B"), (Decimal(10) ** 6, "M")):
        if size >= limit:
            return number_text(Decimal(number) / limit, 2) + unit
    if size >= 10_000:
        return number_text(Decimal(number) / 1000, 1) + "k"
    decimals = 0 if size == int(size) else 2 if size >= 1 else 4
    return number_text(Decimal(number), decimals)


def rate_text(per_second: float) -> str:
    """Write a rate: `12.3/s`, `1,234/s`."""
    return f"{per_second:,.0f}/s" if per_second >= 100 else f"{per_second:.1f}/s"


def duration_text(duration_us: int) -> str:
    """Write how long something took or takes: `3 ms`, `2.1 s`, `45 s`, `2 min 5 s`, `3 h 20 min`, `12 d`."""
    if duration_us < 0:
        return "−" + duration_text(-duration_us)
    if duration_us < _SECOND_US:
        return f"{duration_us // 1000} ms"
    if duration_us < 10 * _SECOND_US:
        return f"{duration_us / _SECOND_US:.1f} s"
    seconds = duration_us // _SECOND_US
    return coarse_text(seconds)


def coarse_text(seconds: int) -> str:
    """Write a number of whole seconds, the two units that matter."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if not minutes:
        return f"{seconds} s"
    if not hours:
        return f"{minutes} min {seconds % 60} s" if seconds % 60 else f"{minutes} min"
    if not days:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{days} d"


def time_text(time_us: int | None) -> str:
    """Write a time in UTC to the microsecond, without naming the zone."""
    if time_us is None:
        return NOTHING
    seconds, micros = divmod(time_us, _SECOND_US)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{micros:06d}"


def plain(text: str) -> str:
    """Make outside text safe for a grid of cells: one character, one cell, nothing that steers the terminal."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _fills_one_cell(c) else "·" for c in text)


def _fills_one_cell(character: str) -> bool:
    return (
        character.isprintable()
        and not unicodedata.combining(character)
        and unicodedata.east_asian_width(character) not in "WF"
    )
