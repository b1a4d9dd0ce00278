"""The seeded market: every instrument a walk of its own, merged order by order.

Same seed, same trades: ids, prices, quantities and sides, on every machine and whatever the clock. Therefore all is
integer arithmetic on the raw words of PCG64, whose stream numpy promises never to change (its distributions it does
not), and no trade has been a float. An instrument's trades depend on the seed and the instrument alone, not on the
other instruments.

The unit of the market is the taker's order. It is filled by one or more trades at once, rarely by hundreds: that is
where the bursts of a real exchange come from. Prices walk from order to order by about 2e-5 of themselves.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from sim.instruments import ListedInstrument
from sim.pacing import SLOT, Pace
from sim.trades import NO_TRADES, TRADE, Trades, joined, rows_of

ORDERS_PER_BLOCK: Final = 2048
FINE: Final = 16  # the walk's unit is 2**-16 ticks, so that cheap instruments move too
STEP_SHARE: Final = 100_000  # one step of the walk is this part of the price

Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


def _table(shares: Sequence[tuple[int, int]]) -> Integers:
    table = np.repeat([value for value, _ in shares], [share for _, share in shares]).astype(np.int64)
    assert len(table) == 1 << 16, len(table)
    return table


# How many trades fill an order, by 16 random bits. 735 trades in one millisecond were seen on the real exchange.
ORDER_LENGTHS: Final = _table(
    [
        *((1, 38000), (2, 11000), (3, 6000), (4, 3600), (6, 3000), (9, 2000)),
        *((14, 1200), (25, 600), (60, 120), (160, 14), (735, 2)),
    ]
)
MEAN_LENGTH_E6: Final = int(ORDER_LENGTHS.sum()) * 1_000_000 >> 16
# Gaps between orders: exponential, with a mean that makes trades come one a slot on average.
_GAP_SHAPE: Final = np.array([-math.log((i + 0.5) / 65536) * 1000 for i in range(65536)]).astype(np.int64)
GAPS: Final[Integers] = 1 + _GAP_SHAPE * (MEAN_LENGTH_E6 * SLOT // 1_000_000) // (int(_GAP_SHAPE.sum()) >> 16)


def _field(words: Words, shift: int, bits: int) -> Integers:
    return ((words >> np.uint64(shift)) & np.uint64((1 << bits) - 1)).astype(np.int64)


class InstrumentWalk:
    """One instrument's endless orders. `orders(n)` gives the next n: their lengths, and their trades in that order."""

    def __init__(self, instrument: ListedInstrument, index: int, seed: int) -> None:
        self._instrument = instrument
        self._index = index
        self._bits = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(instrument.symbol.encode())]))
        self._price_fine = (instrument.start_price_e8 // instrument.tick_e8) << FINE
        self._next_id = instrument.first_trade_id
        self._lengths = np.empty(0, np.int64)  # of orders that are made, and how many of these are given already
        self._given = 0
        self._trades = NO_TRADES
        self._ends = np.zeros(1, np.int64)  # where in the trades each order begins, and the last one ends

    def orders(self, count: int) -> tuple[Integers, Trades]:
        """Return the next `count` orders: how many trades each has, shape (count,), and all their trades."""
        if len(self._lengths) - self._given < count:
            self._make(count)
        first, self._given = self._given, self._given + count
        return self._lengths[first : self._given], self._trades[self._ends[first] : self._ends[self._given]]

    def _make(self, count: int) -> None:
        lengths, trades = [self._lengths[self._given :]], [self._trades[self._ends[self._given] :]]
        while sum(map(len, lengths)) < count:
            more_lengths, more_trades = self._more()
            lengths.append(more_lengths)
            trades.append(more_trades)
        self._lengths, self._trades, self._given = np.concatenate(lengths), joined(trades), 0
        self._ends = np.append(0, np.cumsum(self._lengths))

    def _more(self) -> tuple[Integers, Trades]:
        instrument, words = self._instrument, self._bits.random_raw(ORDERS_PER_BLOCK)
        lengths = ORDER_LENGTHS[_field(words, 0, 16)]
        # 16 coin tosses are near enough to a normal step: mean 0, deviation 2.
        steps = sum(_field(words, 16 + bit, 1) for bit in range(16)) - 8
        fine = self._price_fine + np.cumsum(steps * max(1, self._price_fine // STEP_SHARE))
        self._price_fine = max(int(fine[-1]), 64 << FINE)
        is_buyer_maker = _field(words, 32, 1)

        count = int(lengths.sum())
        fill_words = self._bits.random_raw(count)
        # A long order eats its way through the book: a tick further for about every eighth fill.
        further = (_field(fill_words, 0, 3) == 0).astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        run = np.cumsum(further)
        depth = run - np.repeat(run[starts], lengths)
        maker = np.repeat(is_buyer_maker, lengths)
        ticks = np.repeat(fine >> FINE, lengths) + np.where(maker == 1, -depth, depth + 1)
        # Quantities: a thousand sizes on each of 8 scales, small ones the most common.
        scale = np.minimum(_field(fill_words, 3, 3), _field(fill_words, 6, 3))
        quantity = ((_field(fill_words, 9, 10) + 1) * instrument.typical_steps << scale) >> 4

        trades = np.zeros(count, TRADE)
        trades["symbol"] = self._index
        trades["trade_id"] = np.arange(self._next_id, self._next_id + count)
        trades["price_e8"] = np.maximum(ticks, 1) * instrument.tick_e8
        trades["quantity_e8"] = np.maximum(quantity, 1) * instrument.step_e8
        trades["is_buyer_maker"] = maker == 1
        self._next_id += count
        return lengths, trades


class Market:
    """The instruments' walks merged into one endless sequence of trades, a block at a time."""

    def __init__(self, seed: int, instruments: Sequence[ListedInstrument], pace: Pace = Pace.BURSTS) -> None:
        assert instruments and pace is not Pace.RECORDED
        self.instruments = tuple(instruments)
        self._walks = [InstrumentWalk(instrument, index, seed) for index, instrument in enumerate(instruments)]
        self._bits = np.random.PCG64(np.random.SeedSequence([seed]))
        self._bounds = np.cumsum([instrument.weight for instrument in instruments])
        self._pace = pace
        self._due = 0

    def next_block(self) -> Trades:
        """Make the next thousands of trades: `time_us` is 0, `due` is set for the pace."""
        words = self._bits.random_raw(ORDERS_PER_BLOCK)
        pick = _field(words, 0, 32) * int(self._bounds[-1]) >> 32
        symbol = np.searchsorted(self._bounds, pick, side="right")
        counts = np.bincount(symbol, minlength=len(self._walks)).tolist()
        orders = [walk.orders(count) for walk, count in zip(self._walks, counts, strict=True)]
        lengths = np.empty(ORDERS_PER_BLOCK, np.int64)
        lengths[np.argsort(symbol, kind="stable")] = np.concatenate([of_walk for of_walk, _ in orders])
        made = joined([trades for _, trades in orders])
        block = np.empty(len(made), TRADE)
        rows_of(block)[np.argsort(np.repeat(symbol, lengths), kind="stable")] = rows_of(made)
        if self._pace is Pace.EVEN:
            gaps = np.full(len(block), SLOT)
        else:
            gaps = np.zeros(len(block), np.int64)
            gaps[np.cumsum(lengths) - lengths] = GAPS[_field(words, 32, 16)]
        block["due"] = self._due + np.cumsum(gaps)
        self._due = int(block["due"][-1])
        return block
