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

from sim.trades import Trades

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


def kline_of(trades: Trades, open_us: int) -> Kline:
    """Make the kline of one symbol's trades that all lie in one interval.

    Args:
        trades: at least one, in id order.
        open_us: when the interval begins, in microseconds since 1970 UTC.

    """
    prices: list[int] = trades["price_e8"].tolist()
    quantities: list[int] = trades["quantity_e8"].tolist()
    # price times quantity can pass 64 bits, so Python's integers multiply
    quotes = list(map(operator.mul, prices, quantities))
    kline = Kline(open_us, prices[0], max(prices), min(prices), prices[-1])
    kline.first_id, kline.last_id = int(trades["trade_id"][0]), int(trades["trade_id"][-1])
    kline.count = len(prices)
    kline.volume_e8, kline.quote_e16 = sum(quantities), sum(quotes)
    is_taker_buy = (~trades["is_buyer_maker"]).tolist()
    kline.taker_buy_volume_e8 = sum(itertools.compress(quantities, is_taker_buy))
    kline.taker_buy_quote_e16 = sum(itertools.compress(quotes, is_taker_buy))
    return kline


class Klines:
    """One symbol's minutes: the open one, and those closed during the last week."""

    def __init__(self) -> None:
        self.open: Kline | None = None
        self._closed: deque[Kline] = deque(maxlen=KEPT_MINUTES)
        self._news: deque[Kline] = deque(maxlen=KEPT_MINUTES)

    def add(self, trades: Trades) -> None:
        """Take in the next trades, in id order."""
        minutes = trades["time_us"] // MINUTE_US
        bounds = [0, len(trades)]
        if minutes[0] != minutes[-1]:
            bounds[1:1] = (np.flatnonzero(np.diff(minutes)) + 1).tolist()
        for start, stop in itertools.pairwise(bounds):
            open_us = int(minutes[start]) * MINUTE_US
            part = kline_of(trades[start:stop], open_us)
            self.close_before(open_us)
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
