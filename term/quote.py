"""What is known of the selected coin: its last trade, session, rate and recent prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Literal

from term.formatting import decimals_of
from term.values import HistoryPage, Stats, Trade

# --- prices for the chart ---------------------------------------------------------------------------------------------
# Prices of the last minutes, one every quarter of a second: what the chart is drawn from.
#
# By time and not by trade, so that the chart moves as calmly in a storm of trades as in a lull. Columns of the chart
# are cut at fixed times, so that it shifts to the left and never shimmers.

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

        Args:
            price: of the trade.
            time_us: when it happened, in microseconds since 1970 UTC.

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


# ----------------------------------------------------------------------------------------------------------------------

Direction = Literal["up", "down", ""]

FLASH_US = 400_000
RATE_SECONDS = 10
_SECOND_US = 1_000_000


def direction(before: Decimal | None, now: Decimal) -> Direction:
    """Tell which way a price has changed; empty where it has not.

    Args:
        before: the price before; None where there was none.
        now: the price.

    """
    if before is None or now == before:
        return ""
    return "up" if now > before else "down"


@dataclass(frozen=True, slots=True)
class Quote:
    """The selected coin, as it stands after the last event. Times are microseconds since 1970 UTC.

    Attributes:
        price: of the last trade; None before the first one.
        previous: the price before the last change; None before there was one.
        current: whether a trade has come since the stream was opened or went on: from then on the trades know better
            than any answer.
        first: the first price seen by this program.
        direction: of the last change of the price.
        changed_us: when the price changed.
        traded_us: when the last trade arrived here.
        delay_us: how long after the venue's time it arrived, in microseconds.
        decimals: how many the prices seen need.
        live_stats: what came with the trades.
        asked_stats: what was asked for.
        recent: prices for the chart.
        per_second: pairs of a second since 1970 and the number of trades that arrived in it, oldest first.
        missed: trades that the gateway did not send here.
    """

    price: Decimal | None = None
    previous: Decimal | None = None
    current: bool = False
    first: Decimal | None = None
    direction: Direction = ""
    changed_us: int = 0
    traded_us: int | None = None
    delay_us: int | None = None
    decimals: int = 0
    live_stats: Stats = field(default_factory=Stats)
    asked_stats: Stats = field(default_factory=Stats)
    recent: RecentPrices = field(default_factory=RecentPrices)
    per_second: tuple[tuple[int, int], ...] = ()
    missed: int = 0

    @property
    def stats(self) -> Stats:
        """The statistics: what came with the trades is newer than what was asked for."""
        return self.asked_stats.merged(self.live_stats)

    def traded(self, trade: Trade, received_us: int) -> Quote:
        """Take in a trade that arrived at `received_us`.

        Args:
            trade: of the selected coin.
            received_us: when it arrived, in microseconds since 1970 UTC.

        """
        moved = direction(self.price, trade.price)
        return replace(
            self,
            price=trade.price,
            previous=self.price if moved else self.previous,
            current=True,
            first=trade.price if self.first is None else self.first,
            direction=moved or self.direction,
            changed_us=received_us if moved else self.changed_us,
            traded_us=received_us,
            delay_us=None if trade.time_us is None else received_us - trade.time_us,
            decimals=max(self.decimals, decimals_of(trade.price)),
            live_stats=self.live_stats.merged(trade.stats),
            recent=self.recent.add(trade.price, received_us if trade.time_us is None else trade.time_us),
            per_second=_counted(self.per_second, 1, received_us),
        )

    def asked(self, trade: Trade) -> Quote:
        """Show the price of the last trade while none has arrived; a change was not now, so it does not flash."""
        if self.current:
            return self
        return replace(
            self,
            price=trade.price,
            first=trade.price if self.first is None else self.first,
            direction=direction(self.price, trade.price) or self.direction,
            decimals=max(self.decimals, decimals_of(trade.price)),
        )

    def interrupted(self) -> Quote:
        """Believe what is asked for until the next trade: there may have been trades that were not sent to us."""
        return replace(self, current=False, live_stats=Stats(), asked_stats=self.stats)

    def missing(self, trades: int, now_us: int) -> Quote:
        """Take note of trades that happened but were not sent to us.

        Args:
            trades: how many.
            now_us: the time, in microseconds since 1970 UTC.

        """
        return replace(self, missed=self.missed + trades, per_second=_counted(self.per_second, trades, now_us))

    def seeded(self, page: HistoryPage) -> Quote:
        """Let the chart begin with the newest page of history, before what has been seen live."""
        recent = RecentPrices()
        for trade in reversed(page.trades):
            if trade.time_us is not None and (not self.recent.prices or trade.time_us < self.recent.oldest_us):
                recent = recent.add(trade.price, trade.time_us)
        decimals = max((decimals_of(trade.price) for trade in page.trades), default=0)
        return replace(self, recent=recent.then(self.recent), decimals=max(self.decimals, decimals))

    def change(self) -> tuple[Decimal, Decimal, bool] | None:
        """Say how far the price has moved.

        Returns:
            The difference in price and in percent, and whether it is since the session began (True) or since this
            program first saw the coin (False). None while there is no price.
        """
        since = self.first if self.stats.opened is None else self.stats.opened
        if self.price is None or since is None:
            return None
        moved = self.price - since
        return moved, (100 * moved / since if since else Decimal(0)), self.stats.opened is not None

    def flashes(self, now_us: int) -> bool:
        """Tell whether the price has changed a moment ago."""
        return bool(self.direction) and 0 <= now_us - self.changed_us < FLASH_US

    def rate(self, now_us: int) -> float:
        """Trades per second over the last ten whole seconds."""
        now_s = now_us // _SECOND_US
        return sum(count for second, count in self.per_second if 0 < now_s - second <= RATE_SECONDS) / RATE_SECONDS


def _counted(per_second: tuple[tuple[int, int], ...], trades: int, now_us: int) -> tuple[tuple[int, int], ...]:
    now_s = now_us // _SECOND_US
    if per_second and per_second[-1][0] == now_s:
        return (*per_second[:-1], (now_s, per_second[-1][1] + trades))
    return (*per_second[-RATE_SECONDS:], (now_s, trades))
