"""Alerts: a price above or below a level, a move within a time, or silence; once, or again after it has turned back."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal

from term.formatting import coarse_text, decimals_of, number_text

HYSTERESIS = Decimal("0.001")
"""An alert that rings again must first be left by this part of its level."""
MAX_SAMPLES = 300
MAX_ALERTS = 100
MOST = Decimal(10) ** 18
"""No coin costs as much, and no number of more digits can be shown."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_FORM = re.compile(  # signs that are too many come from typing after `btcusdt > `, with which a new one begins
    r"(?P<symbol>[^\s<>]+) +(?:[<> ]*(?P<side>[<>]) *(?P<level>\d[\d,_]*\.?\d*)"
    r"|[<> ]*(?P<percent>\d+\.?\d*) *% *(?:in +)?(?P<within>\d+)(?P<unit>[smhd])"
    r"|[<> ]*stale +(?P<silence>\d+)(?P<silence_unit>[smhd]))(?P<again> +again)?"
)
FORM = "btcusdt > 62000, btcusdt < 60000, btcusdt 5% in 10m, btcusdt stale 30s; and `again` to ring more than once"


@dataclass(frozen=True, slots=True)
class Alert:
    """What to watch a coin for.

    Attributes:
        symbol: of the coin.
        kind: `>`, `<`, `%` or `stale`.
        value: the level, or the percent.
        within_s: in which time, of `%` and `stale`.
        again: whether it rings more than once.
        armed: whether it may ring now.
        samples: of `%`: pairs of a time in microseconds and the price then, oldest first.
    """

    symbol: str
    kind: str
    value: Decimal = Decimal(0)
    within_s: int = 0
    again: bool = False
    armed: bool = True
    samples: tuple[tuple[int, Decimal], ...] = ()

    @property
    def text(self) -> str:
        """What `parse` reads."""
        what = {
            ">": f"> {self.value:f}",
            "<": f"< {self.value:f}",
            "%": f"{self.value:f}% in {self.within_s}s",
            "stale": f"stale {self.within_s}s",
        }[self.kind]
        return f"{self.symbol} {what}{' again' if self.again else ''}"

    def checked(self, price: Decimal | None, traded_us: int, now_us: int) -> tuple[Alert, str]:
        """Look at a coin.

        Args:
            price: of its last trade; None before the first.
            traded_us: when that arrived, or when one began to wait for it, in microseconds since 1970 UTC.
            now_us: the time.

        Returns:
            The alert as it is then, and why it rings; empty when it does not.
        """
        if self.kind == "stale":
            quiet_s = (now_us - traded_us) // 1_000_000
            return self._rung(quiet_s >= self.within_s, quiet_s < self.within_s, f"no trade for {coarse_text(quiet_s)}")
        if price is None:
            return self, ""
        if self.kind == "%":
            return self._moved(price, now_us)
        sign = 1 if self.kind == ">" else -1
        left = sign * (self.value * (1 - sign * HYSTERESIS) - price) > 0
        side = "above" if self.kind == ">" else "below"
        return self._rung(
            sign * (price - self.value) > 0, left, f"{side} {number_text(self.value, decimals_of(self.value))}"
        )

    def _moved(self, price: Decimal, now_us: int) -> tuple[Alert, str]:
        if not price:  # there is no percent of it
            return self, ""
        since_us = now_us - self.within_s * 1_000_000
        samples = tuple(sample for sample in self.samples if sample[0] >= since_us)
        if not samples or now_us - samples[-1][0] >= self.within_s * 1_000_000 // MAX_SAMPLES:
            samples = (*samples, (now_us, price))
        prices = [sample[1] for sample in samples]
        up, down = (100 * (price - before) / before for before in (min(prices), max(prices)))
        moved = up if up >= -down else down
        text = f"{moved:+.2f} % in {coarse_text((now_us - samples[0][0]) // 1_000_000)}"
        alert, why = replace(self, samples=samples)._rung(abs(moved) >= self.value, abs(moved) < self.value / 2, text)
        return (replace(alert, samples=((now_us, price),)) if why else alert), why

    def _rung(self, reached: bool, left: bool, why: str) -> tuple[Alert, str]:
        if self.armed and reached:
            return replace(self, armed=False), why
        return (replace(self, armed=True) if self.again and left and not self.armed else self), ""


def parse(text: str, symbol: str = "") -> Alert:
    """Read an alert as people write it.

    Args:
        text: like `btcusdt > 62000 again`.
        symbol: whose alert it is when the text names none.

    Raises:
        ValueError: it is none, or has a number that nothing can reach; the message says what is expected.
    """
    text = text.strip().lower()
    read = _FORM.fullmatch(text) or _FORM.fullmatch(f"{symbol} {text}")
    if read is None:
        raise ValueError(f"found the alert {text!r}, expected one such as {FORM}")
    again = bool(read["again"])
    if read["side"]:
        return Alert(read["symbol"], read["side"], _number(read["level"]), again=again)
    if read["percent"]:
        within_s = int(_number(read["within"])) * _UNITS[read["unit"]]
        return Alert(read["symbol"], "%", _number(read["percent"]), within_s, again)
    within_s = int(_number(read["silence"])) * _UNITS[read["silence_unit"]]
    return Alert(read["symbol"], "stale", within_s=within_s, again=again)


def _number(text: str) -> Decimal:
    number = Decimal(re.sub("[,_]", "", text))
    if not 1 / MOST <= number <= MOST:
        raise ValueError(f"found {text} in the alert, expected a number between 1e-18 and 1e18")
    return number
