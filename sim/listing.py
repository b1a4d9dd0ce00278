"""One symbol on the exchange: its instrument, what it traded, its klines, its holes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from sim.instruments import ListedInstrument
from sim.klines import Klines, klines_of
from sim.trades import Trades, begins_of_runs, by_symbol

# --- the trades that REST can tell ------------------------------------------------------------------------------------
# What one symbol has traded, newest million or so, for REST to answer from: chunks of columns, the oldest dropped.

ROWS_PER_CHUNK: Final = 1 << 14

ROW: Final = np.dtype(
    [
        ("trade_id", "i8"),
        ("price_e8", "i8"),
        ("quantity_e8", "i8"),
        ("time_us", "i8"),
        ("aggregate_id", "i8"),
        ("is_buyer_maker", "?"),
    ]
)
_ALIKE_IN_AN_AGGREGATE: Final = ("price_e8", "is_buyer_maker", "time_us")
_COPIED: Final = ("trade_id", "price_e8", "quantity_e8", "time_us", "is_buyer_maker")

Rows = npt.NDArray[np.void]


class TradeHistory:
    """Rows by position: 0 is the first ever appended, `start` the oldest still here, `end` one past the newest.

    At least `keep` rows stay. trade_id, aggregate_id and time_us never fall from row to row.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._chunks: list[Rows] = []
        self.start = 0
        self.end = 0

    def append(self, rows: Rows) -> None:
        """Take in the next trades, in id order, newer than all before."""
        done = 0
        while done < len(rows):
            used = (self.end - self.start) % ROWS_PER_CHUNK
            if used == 0:
                self._chunks.append(np.empty(ROWS_PER_CHUNK, ROW))
            count = min(ROWS_PER_CHUNK - used, len(rows) - done)
            self._chunks[-1][used : used + count] = rows[done : done + count]
            self.end += count
            done += count
        while self.end - self.start - ROWS_PER_CHUNK >= self._keep:
            del self._chunks[0]
            self.start += ROWS_PER_CHUNK

    def search(self, column: str, value: int) -> int:
        """Return the position of the oldest kept row whose `column` is at least `value`; `end` if none is.

        Args:
            column: one whose values never fall from row to row.
            value: to look for.

        """
        low, high = 0, len(self._chunks)
        while low < high:  # the chunks whose first row is still below
            middle = (low + high) // 2
            if int(self._chunks[middle][column][0]) < value:
                low = middle + 1
            else:
                high = middle
        if low == 0:
            return self.start
        first = self.start + (low - 1) * ROWS_PER_CHUNK
        filled = self._chunks[low - 1][column][: self.end - first]
        return first + int(np.searchsorted(filled, value))

    def rows(self, start: int, stop: int) -> Rows:
        """Return the kept rows of positions `start` to before `stop`.

        Args:
            start: the first position.
            stop: the position after the last one.

        """
        start, stop = max(start, self.start), min(stop, self.end)
        parts = []
        while start < stop:
            chunk, offset = divmod(start - self.start, ROWS_PER_CHUNK)
            count = min(stop - start, ROWS_PER_CHUNK - offset)
            parts.append(self._chunks[chunk][offset : offset + count])
            start += count
        return np.concatenate(parts) if parts else np.empty(0, ROW)


# ----------------------------------------------------------------------------------------------------------------------

HOLES_KEPT = 10_000


class Listing:
    """One symbol on the exchange: its instrument, what it traded, its klines."""

    def __init__(self, instrument: ListedInstrument, keep: int) -> None:
        self.instrument = instrument
        self.history = TradeHistory(keep)
        self.klines = Klines()
        self.first_id: int | None = None  # of the trades issued, not of those before the start
        self.last_id: int | None = None
        self.issued = 0
        self.skipped_ids = 0
        self.absent: deque[tuple[int, int]] = deque(maxlen=HOLES_KEPT)  # first and last id of each hole, newest kept
        self.begun_again = 0  # how often the ids have
        self.absent_before: deque[tuple[int, int, int]] = deque(maxlen=HOLES_KEPT)
        """How often they had, first and last id of holes of that time."""
        self.next_aggregate = instrument.first_trade_id // 3 + 1

    def begin_again(self, keep: int) -> None:
        """Forget what was traded; the next trade has the id 0."""
        newest = self.history.rows(self.history.end - 1, self.history.end)
        last_id = int(newest["trade_id"][0]) if len(newest) else self.instrument.first_trade_id + self.skipped_ids - 1
        if self.last_id is not None and not len(newest):
            last_id = self.last_id  # begun again just now
        self.skipped_ids -= last_id + 1
        self.absent_before += [(self.begun_again, first, last) for first, last in self.absent]
        self.absent.clear()
        self.begun_again += 1
        self.last_id = -1
        self.history, self.klines = TradeHistory(keep), Klines()
        self.next_aggregate = 0

    def add(self, rows: Rows, *, issued: bool) -> None:
        """Remember the next trades; `record` notes their klines and holes.

        Args:
            rows: the trades, at least one, in id order.
            issued: as for `record`.

        """
        if issued:
            self.first_id = int(rows["trade_id"][0]) if self.first_id is None else self.first_id
            self.last_id = int(rows["trade_id"][-1])
            self.issued += len(rows)
        self.next_aggregate = int(rows["aggregate_id"][-1]) + 1
        self.history.append(rows)


def record(listings: Sequence[Listing], trades: Trades, *, issued: bool) -> None:
    """Remember the next trades of all symbols together: for each symbol alone only what numpy cannot do for all.

    Those of one symbol, price, side and time that follow each other are one aggregate.

    Args:
        listings: by the index that trades carry as `symbol`.
        trades: at least one, those of each symbol in id order.
        issued: whether they count as issued; trades of before the start do not.

    """
    trades = by_symbol(trades)
    symbols = trades["symbol"]
    starts = np.flatnonzero(begins_of_runs(symbols))
    stops = np.append(starts[1:], len(trades))
    traded = [listings[index] for index in symbols[starts].tolist()]

    rows = np.empty(len(trades), ROW)
    for column in _COPIED:
        rows[column] = trades[column]
    aggregates = np.cumsum(begins_of_runs(symbols, *(trades[column] for column in _ALIKE_IN_AN_AGGREGATE)))
    first_aggregates = np.array([listing.next_aggregate for listing in traded])
    rows["aggregate_id"] = aggregates + np.repeat(first_aggregates - aggregates[starts], stops - starts)

    if issued:
        ids = trades["trade_id"]
        befores = np.append(0, ids[:-1])
        befores[starts] = [
            first - 1 if listing.last_id is None else listing.last_id
            for listing, first in zip(traded, ids[starts].tolist(), strict=True)
        ]
        for place in np.flatnonzero(ids - befores > 1).tolist():
            listings[symbols[place]].absent.append((int(befores[place]) + 1, int(ids[place]) - 1))
    for start, kline in zip(*klines_of(trades), strict=True):
        listings[symbols[start]].klines.add(kline)
    for listing, start, stop in zip(traded, starts.tolist(), stops.tolist(), strict=True):
        listing.add(rows[start:stop], issued=issued)
