"""Minute klines, exact: what @kline_1m and REST klines tell. Longer intervals are made of minutes.

As on Binance a minute without trades has a kline too: flat at the last close, n = 0 and first and last trade id -1.
"""

from __future__ import annotations

import itertools
import operator
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from sim.trades import Trades, begins_of_runs

MINUTE_US: Final = 60_000_000
INTERVALS_US: Final = {
    **{f"{n}m": n * MINUTE_US for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": n * 60 * MINUTE_US for n in (1, 2, 4, 6, 8, 12)},
    "1d": 1440 * MINUTE_US,
}
KEPT_MINUTES: Final = 7 * 1440


@dataclass(slots=True)
class Kline:
    """One interval. Prices and volumes are scaled by 1e8, quote volumes (price times quantity) by 1e16."""

    open_us: int
    open_e8: int
    high_e8: int
    low_e8: int
    close_e8: int
    first_id: int = -1
    last_id: int = -1
    count: int = 0
    volume_e8: int = 0
    quote_e16: int = 0
    taker_buy_volume_e8: int = 0
    taker_buy_quote_e16: int = 0

    def add(self, later: Kline) -> None:
        """Take in what happened after this kline's last trade."""
        if not later.count:
            return
        if not self.count:
            self.open_e8, self.high_e8, self.low_e8 = later.open_e8, later.high_e8, later.low_e8
            self.first_id = later.first_id
        self.high_e8 = max(self.high_e8, later.high_e8)
        self.low_e8 = min(self.low_e8, later.low_e8)
        self.close_e8 = later.close_e8
        self.last_id = later.last_id
        self.count += later.count
        self.volume_e8 += later.volume_e8
        self.quote_e16 += later.quote_e16
        self.taker_buy_volume_e8 += later.taker_buy_volume_e8
        self.taker_buy_quote_e16 += later.taker_buy_quote_e16


def klines_of(trades: Trades) -> tuple[list[int], list[Kline]]:
    """Make the klines of trades, one for each run of trades of one symbol and one minute.

    Args:
        trades: of any number of symbols, one symbol after the other, each in id order.

    Returns:
        the row at which each run begins, and its kline.

    """
    minutes, symbols = trades["time_us"] // MINUTE_US, trades["symbol"]
    starts = np.flatnonzero(begins_of_runs(symbols, minutes))
    stops = np.append(starts[1:], len(trades))
    ids, prices = trades["trade_id"], np.ascontiguousarray(trades["price_e8"])
    quantities: list[int] = trades["quantity_e8"].tolist()
    # price times quantity can pass 64 bits, so Python's integers multiply
    quotes = list(map(operator.mul, prices.tolist(), quantities))
    is_taker_buy: list[bool] = (~trades["is_buyer_maker"]).tolist()
    klines = [
        Kline(*first_to_last)
        for first_to_last in zip(
            (minutes[starts] * MINUTE_US).tolist(),
            prices[starts].tolist(),
            np.maximum.reduceat(prices, starts).tolist(),
            np.minimum.reduceat(prices, starts).tolist(),
            prices[stops - 1].tolist(),
            ids[starts].tolist(),
            ids[stops - 1].tolist(),
            (stops - starts).tolist(),
            strict=True,
        )
    ]
    for kline, start, stop in zip(klines, starts.tolist(), stops.tolist(), strict=True):
        of_run = slice(start, stop)
        kline.volume_e8, kline.quote_e16 = sum(quantities[of_run]), sum(quotes[of_run])
        kline.taker_buy_volume_e8 = sum(itertools.compress(quantities[of_run], is_taker_buy[of_run]))
        kline.taker_buy_quote_e16 = sum(itertools.compress(quotes[of_run], is_taker_buy[of_run]))
    return starts.tolist(), klines


class Klines:
    """One symbol's minutes: the open one, and those closed during the last week."""

    def __init__(self) -> None:
        self.open: Kline | None = None
        self._closed: deque[Kline] = deque(maxlen=KEPT_MINUTES)
        self._news: deque[Kline] = deque(maxlen=KEPT_MINUTES)

    def add(self, part: Kline) -> None:
        """Take in the kline of the next trades, all of one minute."""
        self.close_before(part.open_us)
        if self.open is None:
            self.open = part
        else:
            self.open.add(part)

    def close_before(self, now_us: int) -> None:
        """Close every minute that ends at or before `now_us`."""
        minute_us = now_us - now_us % MINUTE_US
        while self.open is not None and self.open.open_us < minute_us:
            closed = self.open
            self._closed.append(closed)
            self._news.append(closed)
            # after a long silence only the week that is kept gets its flat klines
            next_us = max(closed.open_us + MINUTE_US, minute_us - KEPT_MINUTES * MINUTE_US)
            self.open = Kline(next_us, *[closed.close_e8] * 4)

    def pop_closed(self) -> list[Kline]:
        """Return the klines closed since the last call."""
        news = list(self._news)
        self._news.clear()
        return news

    def of_interval(self, interval_us: int, *, start_us: int | None, end_us: int | None, limit: int) -> list[Kline]:
        """Return klines of an interval, oldest first.

        Args:
            interval_us: how long one is, in microseconds: one of `INTERVALS_US`.
            start_us: the earliest opening, in microseconds since 1970 UTC; None for the newest ones.
            end_us: the latest opening; None for no bound.
            limit: how many at most: the oldest of those that open within the bounds, or without `start_us` the newest.
        """
        found: list[Kline] = []
        minutes = [*self._closed, self.open] if self.open is not None else []
        for minute in minutes:
            open_us = minute.open_us - minute.open_us % interval_us
            if (start_us is not None and open_us < start_us) or (end_us is not None and open_us > end_us):
                continue
            if not found or found[-1].open_us != open_us:
                found.append(Kline(open_us, minute.open_e8, minute.high_e8, minute.low_e8, minute.close_e8))
            found[-1].add(minute)
        return found[:limit] if start_us is not None else found[-limit:]
