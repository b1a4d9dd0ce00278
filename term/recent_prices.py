"""Prices of the last minutes, one every quarter of a second: what the chart is drawn from.

By time and not by trade, so that the chart moves as calmly in a storm of trades as in a lull. Columns of the chart are
cut at fixed times, so that it shifts to the left and never shimmers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

BUCKET_US = 250_000
MAX_BUCKETS = 1200
_BUCKETS_PER_COLUMN = (1, 2, 4, 8, 20, 40, 80, 120, 240, 600, MAX_BUCKETS)


@dataclass(frozen=True, slots=True)
class RecentPrices:
    """The last price of each quarter of a second, oldest first, none left out.

    Attributes:
        newest: the number of the last bucket, counted from 1970 in steps of `BUCKET_US`.
        prices: the last price of each bucket; the last one is that of `newest`.
    """

    newest: int = 0
    prices: tuple[Decimal, ...] = ()

    def add(self, price: Decimal, time_us: int) -> RecentPrices:
        """Add the price of a trade at `time_us`.

        A bucket without trades repeats the one before it; a jump in time starts over.
        """
        bucket = time_us // BUCKET_US
        ahead = bucket - self.newest
        if not self.prices or abs(ahead) >= MAX_BUCKETS:
            return RecentPrices(bucket, (price,))
        if ahead <= 0:  # late trades count as the newest: what matters is the last price told
            return self if price == self.prices[-1] else RecentPrices(self.newest, (*self.prices[:-1], price))
        held = (self.prices[-1],) * (ahead - 1)
        return RecentPrices(bucket, (*self.prices, *held, price)[-MAX_BUCKETS:])

    def then(self, newer: RecentPrices) -> RecentPrices:
        """Go on with the prices of `newer`."""
        joined = self
        oldest = newer.newest - len(newer.prices) + 1
        for bucket, price in enumerate(newer.prices, start=oldest):
            joined = joined.add(price, bucket * BUCKET_US)
        return joined

    def columns(self, width: int) -> tuple[Sequence[Decimal], int]:
        """Thin the prices out to at most `width` columns, the last price of each.

        Returns:
            The prices, oldest first, and how many microseconds a column stands for.
        """
        if not self.prices or width < 1:
            return (), BUCKET_US
        oldest = self.newest - len(self.prices) + 1
        for step in _BUCKETS_PER_COLUMN:
            if self.newest // step - oldest // step < width:
                break
        last_of_column = {(oldest + i) // step: price for i, price in enumerate(self.prices)}
        return tuple(last_of_column.values()), step * BUCKET_US

    @property
    def oldest_us(self) -> int:
        """When the oldest bucket began."""
        return (self.newest - len(self.prices) + 1) * BUCKET_US

    @property
    def span_us(self) -> int:
        """How long a time the prices cover."""
        return len(self.prices) * BUCKET_US
