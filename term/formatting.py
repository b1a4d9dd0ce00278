"""Numbers and times as people read them; text from outside as a terminal can bear it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import ROUND_HALF_EVEN, Context, Decimal
from unicodedata import normalize
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from term.cells import cells_of, cut, width_of

NOTHING = "—"
MOST_DECIMALS = 12

_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_SECOND_US = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = (  # from which size on, how much it is, its letter, how many decimals
    (10**12, 10**12, "T", 2),
    (10**9, 10**9, "B", 2),
    (10**6, 10**6, "M", 2),
    (10**4, 10**3, "k", 1),
)


def decimals_of(number: Decimal) -> int:
    """Count the decimals `number` needs, trailing zeros left out: 2 for 0.10 is 1, for 1E-8 it is 8."""
    exponent = number.normalize(_CONTEXT).as_tuple().exponent
    return min(max(-exponent, 0), MOST_DECIMALS) if isinstance(exponent, int) else 0


def number_text(number: Decimal | int | None, decimals: int) -> str:
    """Write `number` with thousands separators and exactly `decimals` decimals, never with an exponent.

    Args:
        number: to write; None becomes a dash.
        decimals: how many.

    """
    if number is None:
        return NOTHING
    return f"{Decimal(number).quantize(Decimal(1).scaleb(-decimals), context=_CONTEXT):,f}"


def number_texts(number: Decimal | int | None, decimals: int) -> Iterator[str]:
    """Write `number` ever shorter: as `number_text` does, then with fewer decimals, then as `short_texts` does.

    Args:
        number: to write; None becomes a dash.
        decimals: how many the first text has.

    """
    yield from _with_fewer_decimals(number, decimals)
    yield from short_texts(number)


def short_texts(number: Decimal | int | None) -> Iterator[str]:
    """Write a big number ever shorter: `1.23M`, `1.2M`, `1M`; below ten thousand with as many decimals as matter."""
    if number is None:
        yield NOTHING
        return
    number = Decimal(number)
    size = abs(number)
    for limit, one, unit, decimals in _UNITS:
        if size >= limit:
            yield from (text + unit for text in _with_fewer_decimals(number / one, decimals))
            return
    yield from _with_fewer_decimals(number, 0 if size == int(size) else 2 if size >= 1 else 4)


def fitting_text(texts: Iterable[str], *, width: int) -> str:
    """Choose the first of `texts` that fits into `width` cells.

    Args:
        texts: the longest first.
        width: in cells.

    Returns:
        It, or as many # where none fits: no part of a number passes for the whole.

    """
    return next((text for text in texts if width_of(text) <= width), "#" * width)


def cut_texts(text: str, mark: str = "") -> Iterator[str]:
    """Write a text ever shorter.

    Args:
        text: without control characters.
        mark: stands at the end of what is cut.

    """
    yield text
    yield from (cut(text, width) + mark for width in range(width_of(text) - 1, -1, -1))


def signed_text(number: Decimal, decimals: int, *, width: int) -> str:
    """Write `number` into `width` cells, with its sign; zero has none.

    Args:
        number: to write.
        decimals: how many, where there is room.
        width: in cells.

    """
    text = fitting_text(number_texts(abs(number), decimals), width=width - 1)
    if not any(digit in text for digit in "123456789"):
        return text
    return ("−" if number < 0 else "+") + text


def rate_texts(per_second: float) -> Iterator[str]:
    """Write a rate ever shorter: `12.3/s`, `12/s`; from a hundred on without decimals: `12,345/s`, `12.3k/s`."""
    rate = Decimal(repr(per_second))
    return (f"{text}/s" for text in number_texts(rate, 0 if rate >= 100 else 1))


def duration_text(duration_us: int) -> str:
    """Write how long something took or takes: `0.3 ms`, `30 ms`, `2.1 s`, `45 s`, `2 min 5 s`, `3 h 20 min`, `12 d`."""
    if duration_us < 0:
        return "−" + duration_text(-duration_us)
    if duration_us < _SECOND_US:
        return f"{duration_us // 1000} ms" if duration_us >= 10_000 else f"{duration_us / 1000:.1f} ms"
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


def time_us_of(time: datetime | None) -> int | None:
    """Return a time, of UTC where it names no zone, in microseconds since 1970 UTC."""
    if time is None:
        return None
    return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)


def zone_of(name: str) -> tzinfo | None:
    """Return the time zone of a setting: None is this machine's.

    Args:
        name: `UTC`, `local`, or one such as `Europe/Berlin`.

    Raises:
        ValueError: this machine knows no such zone.
    """
    if name == "local":
        return None
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (OSError, ValueError, ZoneInfoNotFoundError) as exc:
        raise ValueError(f"found {name!r}, expected UTC, local, or a zone such as Europe/Berlin") from exc


def zone_name(zone: tzinfo | None) -> str:
    """The name that `zone_of` reads."""
    return "local" if zone is None else str(zone)


def moment(time_us: int, zone: tzinfo | None) -> datetime:
    """Return a time, to the second, as the clocks of a zone show it.

    Args:
        time_us: microseconds since 1970 UTC.
        zone: where; None for this machine's.

    """
    # The calendar's first and last years: no zone leads beyond its end.
    return datetime.fromtimestamp(min(max(time_us // _SECOND_US, -62_100_000_000), 253_370_000_000), zone)


def time_text(time_us: int | None, zone: tzinfo | None, *, named: bool = False) -> str:
    """Write a time to the microsecond.

    Args:
        time_us: to write; None becomes a dash.
        zone: where; None for this machine's.
        named: name the zone, too, as it is at that time: `CEST`.

    """
    if time_us is None:
        return NOTHING
    time = moment(time_us, zone)
    name = f" {time.tzname() or time.astimezone().tzname()}" if named else ""
    return f"{time.isoformat(' ')[:19]}.{time_us % _SECOND_US:06d}{name}"


def plain(text: str) -> str:
    """Make outside text safe for a grid of cells: every character has its own, and nothing steers the terminal."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _has_cells(c) else "·" for c in normalize("NFC", text))


def _with_fewer_decimals(number: Decimal | int | None, decimals: int) -> Iterator[str]:
    return (number_text(number, fewer) for fewer in range(decimals, -1, -1))


def _has_cells(character: str) -> bool:
    return character.isprintable() and cells_of(character) > 0
