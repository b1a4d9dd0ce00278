"""One symbol on the exchange: its instrument, what it traded, its klines, its holes."""

from __future__ import annotations

from collections import deque

import numpy as np

from sim.instruments import ListedInstrument
from sim.klines import Klines
from sim.trade_history import TradeHistory
from sim.trades import Trades

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
        self._next_aggregate = instrument.first_trade_id // 3 + 1

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
        self._next_aggregate = 0

    def record(self, trades: Trades, *, issued: bool) -> None:
        """Remember the next trades. Those of one price, side and time that follow each other are one aggregate."""
        begins = np.ones(len(trades), np.bool_)
        if len(trades) > 1:
            price, maker, time_us = trades["price_e8"], trades["is_buyer_maker"], trades["time_us"]
            begins[1:] = (price[1:] != price[:-1]) | (maker[1:] != maker[:-1]) | (time_us[1:] != time_us[:-1])
        aggregate_ids = self._next_aggregate - 1 + np.cumsum(begins)
        self._next_aggregate = int(aggregate_ids[-1]) + 1
        if issued:
            ids = trades["trade_id"]
            before = int(ids[0]) - 1 if self.last_id is None else self.last_id
            for place in np.flatnonzero(np.diff(ids, prepend=before) > 1).tolist():
                self.absent.append((1 + (int(ids[place - 1]) if place else before), int(ids[place]) - 1))
            self.first_id = int(ids[0]) if self.first_id is None else self.first_id
            self.last_id = int(ids[-1])
            self.issued += len(trades)
        self.history.append(trades, aggregate_ids)
        self.klines.add(trades)
