"""The exchange: takes trades from its source when they are due, stamps them, and remembers them.

Nothing here opens a socket or reads a clock. Whoever has both calls `advance` (time has passed) or `issue` (now,
please) and hands the batch that comes back to the clients.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sim.instruments import ListedInstrument
from sim.listing import Listing, record
from sim.pacing import SLOT, Pace, Pacer
from sim.trades import NO_TRADES, TRADE, Trades, begins_of_runs, by_symbol, joined, rows_of

# --- where trades come from -------------------------------------------------------------------------------------------
# What there is still to be traded: blocks from a source, cut into as many trades as are wanted.


class TradeSource(Protocol):
    """Where trades come from: a Market or a Tape."""

    @property
    def instruments(self) -> tuple[ListedInstrument, ...]:
        """What it trades, in the order of the index that trades carry as `symbol`; may grow from block to block."""

    def next_block(self) -> Trades:
        """Make or read the next trades, `due` never falling; an empty block is the end."""


class SourceReader:
    """The trades of a source, one after the other.

    Args:
        source: where they come from.
    """

    def __init__(self, source: TradeSource) -> None:
        self.source = source
        self.ended = False  # the source has no more
        self._block = NO_TRADES
        self._due = NO_TRADES["due"]
        self._offset = 0

    def fill(self) -> bool:
        """See to it that there is a next trade; return whether there is one. Call it before the others."""
        if self._offset == len(self._block) and not self.ended:
            self._block, self._offset = self.source.next_block(), 0
            self._due = np.ascontiguousarray(self._block["due"])
            self.ended = not len(self._block)
        return not self.ended

    @property
    def next_due(self) -> int:
        """When the next trade is due."""
        return int(self._due[self._offset])

    def due_by(self, position: int) -> int:
        """Return how many trades at hand are due by then; there may be more in the next block."""
        return int(np.searchsorted(self._due, position, side="right")) - self._offset

    def cut(self, count: int) -> Trades:
        """Return a copy of the next trades, at most `count` of them and at least one."""
        trades: Trades = rows_of(self._block[self._offset : self._offset + count]).copy().view(TRADE)
        self._offset += len(trades)
        return trades


# ----------------------------------------------------------------------------------------------------------------------

FLAT_OUT_BATCH = 1024
LARGEST_BATCH = 4096
PIECE = 256  # trades whose bookkeeping takes no batch too long


@dataclass(frozen=True, slots=True)
class IssuedBatch:
    """Trades issued together. The first one was the exchange's `first_number`-th, counted from 0 over all symbols."""

    first_number: int
    trades: Trades


class Exchange:
    """A market that issues the trades of one source. Call `advance` or `issue`, and send what comes back.

    Args:
        source: where the trades come from.
        pacer: says when they are due.
        count: how many trades to issue in all; None for no end.
        keep: how many trades of each symbol REST can still tell, at least.
        keep_times: trades keep the times they have on the tape instead of the time of issue.
    """

    def __init__(
        self,
        source: TradeSource,
        clock: Pacer,
        *,
        count: int | None = None,
        keep: int = 1_000_000,
        keep_times: bool = False,
    ) -> None:
        self.pacer = clock
        self.count = count
        self.issued = 0
        self.now_us = 0  # the exchange's own clock: never falls
        self._supply = SourceReader(source)
        self._keep = keep
        self._keep_times = keep_times
        self._recorded_origin_us: int | None = None
        self._listings: dict[str, Listing] = {}
        self._unrecorded: list[Trades] = []  # bookkeeping is cheap by the thousand, dear by the piece
        self._unrecorded_count = 0
        self._pieces: deque[Trades] = deque()  # of what was issued before `_unrecorded`, and is being recorded
        self._skipping: list[int] = []  # the indices of symbols whose ids are not those of the source

    @property
    def listings(self) -> dict[str, Listing]:
        """Return the listings by symbol, in the order of the source's instruments, with all that was issued."""
        while self.record_piece():
            pass
        if self._unrecorded:
            self._record(self._pop_unrecorded(), issued=True)
        self._list_instruments()
        return self._listings

    @property
    def instruments(self) -> tuple[ListedInstrument, ...]:
        """What is traded, in the order of the index that trades carry as `symbol`."""
        return self._supply.source.instruments

    @property
    def left(self) -> float:
        """How many trades may still be issued; infinity without `count`."""
        return math.inf if self.count is None else self.count - self.issued

    @property
    def done(self) -> bool:
        """Whether no more trades will be issued."""
        return self._supply.ended or self.left == 0

    # Issuing

    def remember(self, count: int, now_us: int) -> None:
        """Let `count` trades have happened before now, so that charts are not empty. Call it before the first issue.

        Args:
            count: how many trades.
            now_us: the time, in microseconds since 1970 UTC.

        """
        rate = self.pacer.rate if 0 < self.pacer.rate < math.inf else 50.0
        parts = []
        while count > 0 and self._supply.fill():
            parts.append(self._supply.cut(count))
            count -= len(parts[-1])
        if not parts:
            return
        trades = joined(parts)
        self.pacer.skip_to(int(trades["due"][-1]))
        if not self._keep_times:
            microseconds_per_due = 1.0 if self.pacer.pace is Pace.RECORDED else 1e6 / rate / SLOT
            before_us = ((trades["due"][-1] - trades["due"]) * microseconds_per_due).astype(np.int64)
            trades["time_us"] = now_us - 1 - before_us
        self._record(trades)

    def resume(self, logged: Iterable[Trades]) -> None:
        """Go on after trades that an earlier run has issued. Call it before the first issue.

        Raises:
            ValueError: they are not what this source makes, so another seed or tape must have made them.
        """
        for run in logged:
            block = run
            while len(block):
                until, symbol = self._begun_again(block)
                if until == 0:
                    self.begin_again(symbol)
                    continue
                block, later = block[:until], block[until:]
                if not self._supply.fill():
                    raise ValueError(f"found more than the {self.issued} trades that the source has")
                trades = self._supply.cut(len(block))
                before, block = block[: len(trades)], block[len(trades) :]
                for column in ("symbol", "price_e8", "quantity_e8", "is_buyer_maker"):
                    differs = np.flatnonzero(trades[column] != before[column])
                    if len(differs):
                        number = self.issued + int(differs[0]) + 1
                        raise ValueError(f"found another {column} in trade {number} than the source makes")
                self._list_instruments()
                for index, listing in enumerate(self._listings.values()):
                    last = np.flatnonzero(trades["symbol"] == index)[-1:]
                    if len(last):
                        listing.skipped_ids = int(before["trade_id"][last[0]] - trades["trade_id"][last[0]])
                self._note_skipping()
                trades["trade_id"], trades["time_us"] = before["trade_id"], before["time_us"]
                self.pacer.skip_to(int(trades["due"][-1]))
                self.now_us = max(self.now_us, int(trades["time_us"][-1]))
                self._record(trades, issued=True)
                self.issued += len(trades)
                block = joined([block, later])

    def advance(self, elapsed_us: int, now_us: int, *, most: int = LARGEST_BATCH) -> IssuedBatch | None:
        """Let time pass, and issue what is due by now.

        Args:
            elapsed_us: microseconds since the last call.
            now_us: the time to stamp trades with, in microseconds since 1970 UTC.
            most: how many trades to issue at most.

        Returns:
            None when nothing is due. A batch is of bounded size: see `wait_us` for whether more is due already.
        """
        self.pacer.advance(elapsed_us)
        if self.pacer.rate == 0 or not self._supply.fill():
            return None
        if self.pacer.flat_out:
            return self.issue(min(most, FLAT_OUT_BATCH), now_us)
        return self.issue(min(most, self._supply.due_by(self.pacer.position)), now_us)

    def issue(self, count: int, now_us: int) -> IssuedBatch | None:
        """Issue the next `count` trades now, or as many of them as one batch can hold.

        Args:
            count: how many trades.
            now_us: the time to stamp them with, in microseconds since 1970 UTC.

        Returns:
            None when there is nothing to issue: count is 0, or `done`.
        """
        count = min(count, LARGEST_BATCH)
        if self.left < count:
            count = int(self.left)
        if count <= 0 or not self._supply.fill():
            return None
        trades = self._supply.cut(count)
        self.now_us = max(self.now_us + 1, now_us)  # so that no aggregate spans two batches
        self.pacer.skip_to(int(trades["due"][-1]))
        self._stamp(trades)
        batch = IssuedBatch(self.issued, trades)
        self.issued += len(trades)
        self._unrecorded.append(trades)
        self._unrecorded_count += len(trades)
        return batch

    def record(self) -> None:
        """Do the bookkeeping of what was issued, where that is much by now. Call it when the trades have been sent."""
        if self._unrecorded_count >= LARGEST_BATCH:
            _ = self.listings

    def prepare_record(self) -> None:
        """Cut what was issued into pieces, for `record_piece` to do the bookkeeping of, none of which takes long."""
        if self._pieces or not self._unrecorded:
            return
        trades = by_symbol(self._pop_unrecorded())
        # the trades of a symbol stay together, because no aggregate spans two pieces
        begins = np.flatnonzero(begins_of_runs(trades["symbol"]))
        after = np.searchsorted(begins, np.arange(PIECE, len(trades), PIECE))
        self._pieces += np.split(trades, np.unique(begins[after[after < len(begins)]]))

    def record_piece(self) -> bool:
        """Do the bookkeeping of the next piece; return whether there was one."""
        if not self._pieces:
            return False
        self._record(self._pieces.popleft(), issued=True)
        return True

    def aggregate_ids(self, batch: IssuedBatch) -> npt.NDArray[np.int64]:
        """Return for each trade of a batch just issued the id of its aggregate."""
        aggregate_ids = np.empty(len(batch.trades), np.int64)
        for index, listing in enumerate(self.listings.values()):
            mine = np.flatnonzero(batch.trades["symbol"] == index)
            if len(mine):
                start = listing.history.search("trade_id", int(batch.trades["trade_id"][mine[0]]))
                aggregate_ids[mine] = listing.history.rows(start, start + len(mine))["aggregate_id"]
        return aggregate_ids

    def skip_ids(self, symbol: str, count: int) -> None:
        """Never issue the next `count` ids of a symbol.

        Args:
            symbol: in lower case.
            count: how many ids.

        Raises:
            ValueError: the symbol is not traded.

        """
        if symbol not in self.listings:
            raise ValueError(f"found symbol {symbol!r}, expected one of {' '.join(self.listings)}")
        self.listings[symbol].skipped_ids += count
        self._note_skipping()

    def begin_again(self, symbol: str) -> None:
        """Forget all past trades of a symbol; its next trade has the id 0.

        Raises:
            ValueError: the symbol is not traded.
        """
        if symbol not in self.listings:
            raise ValueError(f"found symbol {symbol!r}, expected one of {' '.join(self.listings)}")
        self.listings[symbol].begin_again(self._keep)
        self._note_skipping()

    def wait_us(self) -> float:
        """How long until the next trade is due; infinity when none will be."""
        if self.left == 0 or not self._supply.fill():
            return math.inf
        return self.pacer.wait_us(self._supply.next_due)

    def close_klines(self, now_us: int) -> None:
        """Close the minutes that have ended. A tape that keeps its times closes them by its own trades alone."""
        if not self._keep_times:
            for listing in self.listings.values():
                listing.klines.close_before(now_us)

    # Inside

    def _begun_again(self, logged: Trades) -> tuple[int, str]:
        """Return where in trades of a log the ids of a symbol begin again for the first time, and which symbol's."""
        until, whose = len(logged), ""
        for index, listing in enumerate(self.listings.values()):
            rows = np.flatnonzero(logged["symbol"] == index)
            ids = logged["trade_id"][rows]
            before = listing.last_id if listing.last_id is not None else -1
            fallen = rows[np.diff(ids, prepend=before) <= 0]
            if len(fallen) and fallen[0] < until:
                until, whose = int(fallen[0]), listing.instrument.symbol
        return until, whose

    def _note_skipping(self) -> None:
        self._skipping = [index for index, listing in enumerate(self._listings.values()) if listing.skipped_ids]

    def _stamp(self, trades: Trades) -> None:
        for index in self._skipping:
            skipped_ids = self._listings[self.instruments[index].symbol].skipped_ids
            trades["trade_id"] += np.where(trades["symbol"] == index, skipped_ids, 0)
        if self._keep_times:
            return
        if self.pacer.pace is not Pace.RECORDED:
            trades["time_us"] = self.now_us
            return
        # the tape's own distances, from the moment it started, but never later than now
        if self._recorded_origin_us is None:
            self._recorded_origin_us = self.now_us - int(trades["due"][0])
        trades["time_us"] = np.minimum(self._recorded_origin_us + trades["due"], self.now_us)

    def _pop_unrecorded(self) -> Trades:
        trades = joined(self._unrecorded)
        self._unrecorded.clear()
        self._unrecorded_count = 0
        return trades

    def _record(self, trades: Trades, *, issued: bool = False) -> None:
        self._list_instruments()
        record(list(self._listings.values()), trades, issued=issued)

    def _list_instruments(self) -> None:
        for instrument in self._supply.source.instruments[len(self._listings) :]:
            self._listings[instrument.symbol] = Listing(instrument, self._keep)
