"""What one symbol has traded, newest million or so, for REST to answer from: chunks of columns, the oldest dropped."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from sim.trades import Trades

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

    def append(self, trades: Trades, aggregate_ids: npt.NDArray[np.int64]) -> None:
        """Take in the next trades.

        Args:
            trades: in id order, newer than all before.
            aggregate_ids: of each trade the id of the aggregate it belongs to, shape (n,).
        """
        done = 0
        while done < len(trades):
            used = (self.end - self.start) % ROWS_PER_CHUNK
            if used == 0:
                self._chunks.append(np.empty(ROWS_PER_CHUNK, ROW))
            count = min(ROWS_PER_CHUNK - used, len(trades) - done)
            into = self._chunks[-1][used : used + count]
            for column in _COPIED:
                into[column] = trades[column][done : done + count]
            into["aggregate_id"] = aggregate_ids[done : done + count]
            self.end += count
            done += count
        while self.end - self.start - ROWS_PER_CHUNK >= self._keep:
            del self._chunks[0]
            self.start += ROWS_PER_CHUNK

    def search(self, column: str, value: int) -> int:
        """Return the position of the oldest kept row whose `column` is at least `value`; `end` if none is."""
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
        """Return the kept rows of positions `start` to before `stop`."""
        start, stop = max(start, self.start), min(stop, self.end)
        parts = []
        while start < stop:
            chunk, offset = divmod(start - self.start, ROWS_PER_CHUNK)
            count = min(stop - start, ROWS_PER_CHUNK - offset)
            parts.append(self._chunks[chunk][offset : offset + count])
            start += count
        return np.concatenate(parts) if parts else np.empty(0, ROW)
