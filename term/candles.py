"""The candles of the shown coin: what was fetched of them, the one that moves, and lines computed from them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

from term.values import Bar, CandlePage

INTERVALS = {
    "1s": 1,
    "5s": 5,
    "15s": 15,
    "1m": 60,
    "3m": 180,
    "5m": 300,
    "15m": 900,
    "30m": 1800,
    "1h": 3600,
    "2h": 7200,
    "4h": 14_400,
    "12h": 43_200,
    "1d": 86_400,
    "3d": 259_200,
    "1w": 604_800,
}
"""Their lengths in seconds."""
PAGE_CANDLES = 500
MAX_CANDLES = 20_000
BOLLINGER_CANDLES = 20
DAY_US = 86_400_000_000

Line = Sequence[float | None]
_Lines = Callable[[Sequence[Bar], int, int], Line]
"""The values of the rows from one to before another: of thousands a screen shows a few dozen."""


@dataclass(frozen=True, slots=True)
class Candles:
    """Candles of one interval, oldest first, none twice.

    Attributes:
        rows: at most `MAX_CANDLES`.
        next_token: what asks for those before them; empty when there are none.
        fetched: whether any request has been answered, or has failed.
        streams: how often the stream of them has begun.
        ahead: whether there are newer ones, which had to go when those before the rows came.
        error: why the last request got no answer.
    """

    rows: tuple[Bar, ...] = ()
    next_token: str = ""
    fetched: bool = False
    streams: int = 0
    ahead: bool = False
    error: str = ""

    def with_page(self, page: CandlePage, *, older: bool = False) -> Candles:
        """Take in an answer.

        Args:
            page: the answer: the newest candles, or those before the rows.
            older: it is those before the rows.

        """
        if self.ahead and not older:
            return self  # they do not follow the rows
        first_us = page.candles[0].time_us if page.candles and not older else 0
        apart = first_us and all(row.time_us != first_us for row in self.rows)  # some between may be missing
        rows = _joined((row for row in self.rows if not apart or row.time_us > first_us), page.candles)
        token = page.next_token if older or apart or not self.fetched else self.next_token
        ahead = self.ahead or len(rows) > MAX_CANDLES
        return Candles(rows[:MAX_CANDLES], token, fetched=True, streams=self.streams, ahead=ahead)

    def followed_by(self, candles: Sequence[Bar], *, first: bool = False) -> Candles:
        """Take in candles of the stream.

        Args:
            candles: that have closed or changed, oldest first.
            first: they are the first ones of a stream: before them some may have been missed.

        """
        if self.ahead:
            return replace(self, streams=self.streams + first)
        before = bisect_left(self.rows, candles[0].time_us, key=lambda candle: candle.time_us)
        rows = (*self.rows[:before], *_joined(self.rows[before:], candles))
        token = self.next_token if len(rows) <= MAX_CANDLES else ""  # what it asks for no longer ends at the rows
        return replace(self, rows=rows[-MAX_CANDLES:], next_token=token, streams=self.streams + first)

    def back_at(self, time_us: int) -> int:
        """How many candles are newer than a time.

        Args:
            time_us: microseconds since 1970 UTC.

        """
        return len(self.rows) - bisect_right(self.rows, time_us, key=lambda candle: candle.time_us)

    def window(self, count: int, back: int) -> tuple[Bar, ...]:
        """Return `count` candles, the last of which is `back` candles before the newest.

        Args:
            count: how many at most.
            back: how many newer ones are left out.

        """
        end = max(len(self.rows) - back, min(count, len(self.rows)))
        return self.rows[max(end - count, 0) : end]

    def wants_more(self, count: int, back: int) -> bool:
        """Tell whether the oldest of a window is near the oldest row, and there are older ones.

        Args:
            count: how many candles the window has.
            back: how many newer ones are left out.

        """
        return bool(self.next_token) and back + 2 * count >= len(self.rows)


def _joined(rows: Iterable[Bar], others: Iterable[Bar]) -> tuple[Bar, ...]:
    """Of each candle the latest state: an answer and the stream cross, and store is a moment behind."""
    joined = {candle.time_us: candle for candle in rows}
    for candle in others:
        if candle.time_us not in joined or candle.state >= joined[candle.time_us].state:
            joined[candle.time_us] = candle
    return tuple(joined[time_us] for time_us in sorted(joined))


# --- lines -----------------------------------------------------------------------------------------------------------


def vwap(rows: Sequence[Bar], first: int = 0, end: int | None = None) -> Line:
    """The volume-weighted average price since the day (UTC) began; of candles of a day or more, of each one.

    Args:
        rows: candles, oldest first.
        first: from which of them on it is wanted: what is before is only looked at as far back as that day reaches.
        end: up to which.

    """
    shown = rows[first:end]
    begin, day = first, shown[0].time_us // DAY_US if shown else 0
    while begin and rows[begin - 1].time_us // DAY_US == day:
        begin -= 1
    quote = volume = Decimal(0)
    line: list[float | None] = []
    for candle in rows[begin:end]:
        if candle.time_us // DAY_US != day:
            day, quote, volume = candle.time_us // DAY_US, Decimal(0), Decimal(0)
        quote, volume = quote + candle.quote_volume, volume + candle.volume
        line.append(float(quote / volume) if volume and quote else None)
    return line[first - begin :]


def bollinger(rows: Sequence[Bar], deviations: float, first: int = 0, end: int | None = None) -> Line:
    """The mean of `BOLLINGER_CANDLES` closes, so many standard deviations further.

    Args:
        rows: candles, oldest first.
        deviations: how many standard deviations; negative for the lower band.
        first: from which of them on it is wanted.
        end: up to which.

    """
    begin = max(first - BOLLINGER_CANDLES + 1, 0)
    closes = [float(candle.close) for candle in rows[begin:end]]
    line: list[float | None] = [None] * min(BOLLINGER_CANDLES - 1, len(closes))
    for last in range(BOLLINGER_CANDLES, len(closes) + 1):
        window = closes[last - BOLLINGER_CANDLES : last]
        mean = sum(window) / len(window)
        line.append(mean + deviations * (sum((close - mean) ** 2 for close in window) / len(window)) ** 0.5)
    return line[first - begin :]


def _band(deviations: float, rows: Sequence[Bar], first: int, end: int) -> Line:
    return bollinger(rows, deviations, first, end)


def _indicator(name: str) -> _Lines:
    return lambda rows, first, end: [candle.indicators.get(name) for candle in rows[first:end]]


OVERLAYS: dict[str, tuple[str, tuple[_Lines, ...]]] = {
    "s": ("SMA", (_indicator("sma"),)),
    "e": ("EMA", (_indicator("ema"),)),
    "v": ("VWAP", (vwap,)),
    "b": ("Bollinger", (partial(_band, 2), partial(_band, -2))),
}
"""By the key that switches them: their name, and the lines over the prices."""
PANES: dict[str, tuple[str, tuple[_Lines, ...]]] = {
    "r": ("RSI", (_indicator("rsi"),)),
    "m": ("MACD", (_indicator("macd"), _indicator("macd_signal"))),
}
"""Likewise, in a pane of their own below."""
SWITCHED = OVERLAYS | PANES
