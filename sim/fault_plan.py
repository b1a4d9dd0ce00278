"""The plan of what goes wrong: faults waiting for their moment, and those that last.

Pure: the number of trades issued and a steady clock come in. Whoever issues trades asks `strike` before every batch,
keeps the batch within `room`, so that a fault meets exactly its trades, and sends what `tamper` makes of it.
"""

from __future__ import annotations

import heapq
import itertools
import random
import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from sim.faults import (
    GARBLINGS,
    Certain,
    Disconnect,
    Drop,
    Duplicate,
    Expire,
    Fault,
    Garble,
    Garbling,
    Misstate,
    Random,
    Refuse,
    Reorder,
    RestFault,
    RestStatus,
    Shutdown,
    Silence,
    SkippedIds,
    SlowFrames,
    SlowRest,
    Strike,
    WindowFault,
)
from sim.instruments import ListedInstrument
from sim.trades import Trades, joined

STRUCK_KEPT: Final = 1000
LASTING_KEPT: Final = 1000  # windows of trades, and of requests, at once; the oldest end early
HELD_AT_MOST_S: Final = 2.0  # a new order needs all its trades; when they do not come, the others do not wait for ever


@dataclass(frozen=True, slots=True)
class Sent:
    """What clients are sent of a batch: trades in the order of sending, and the damaged ones by (symbol index, id)."""

    trades: Trades
    garbled: dict[tuple[int, int], Garbling] = field(default_factory=dict)


@dataclass(slots=True)
class _ActiveWindow:
    fault: WindowFault
    end: int  # number of the first trade it does not touch


@dataclass(slots=True)
class _ActiveRestFault:
    fault: RestFault
    until_s: float
    left: int


class FaultPlan:
    """Which faults wait, which have struck and which last. Ask `strike` before every batch, then `room` and `tamper`.

    Args:
        seed: decides what is random: the new order of trades, the way of garbling, what `random` becomes.

    Attributes:
        struck: what has struck, the newest thousand: kind, number of trades issued before it, and seconds.
    """

    def __init__(self, seed: int) -> None:
        self.struck: deque[dict[str, object]] = deque(maxlen=STRUCK_KEPT)
        self._seed = seed
        self._origin_s: float | None = None  # of the first `strike`
        self._order = itertools.count()
        self._by_trade: list[tuple[float, int, int, Fault]] = []  # (number, order, times left, fault)
        self._by_time: list[tuple[float, int, int, Fault]] = []  # (seconds, order, times left, fault)
        self._windows: list[_ActiveWindow] = []
        self._spells: list[_ActiveRestFault] = []
        self._held: list[Trades] = []
        self._held_garbled: dict[tuple[int, int], Garbling] = {}
        self._held_symbol: int | None = None  # index of the only symbol to reorder
        self._held_until_s = 0.0

    @property
    def waiting(self) -> int:
        """How many faults have yet to strike."""
        return len(self._by_trade) + len(self._by_time)

    def add(self, faults: Iterable[Fault], *, number: int, now_s: float) -> None:
        """Take faults whose `at_trade` and `at_s` count from `number` trades issued and from now.

        Args:
            faults: to wait for their moment.
            number: how many trades have been issued.
            now_s: seconds of a steady clock.

        """
        for fault in faults:
            self._wait(fault, number + (fault.at_trade or 0), now_s + (fault.at_s or 0), fault.times)

    def forget_before(self, number: int) -> None:
        """Let what waits for trades that an earlier run has issued be over."""
        while self._by_trade and self._by_trade[0][0] < number:
            at, _, times, fault = heapq.heappop(self._by_trade)
            self._again(fault, at, times)

    def clear(self) -> None:
        """End all faults and forget those to come; what is held back comes out with `release`."""
        self._by_trade.clear()
        self._by_time.clear()
        self._windows.clear()
        self._spells.clear()
        self._held_until_s = 0.0

    # What strikes

    def strike(self, number: int, now_s: float) -> list[Strike]:
        """Let strike what is due after `number` trades issued; return what the sockets or the exchange must suffer.

        Args:
            number: how many trades have been issued.
            now_s: seconds of a steady clock.

        """
        strikes: list[Strike] = []
        origin_s = self._origin_s = now_s if self._origin_s is None else self._origin_s
        for queue, reached in ((self._by_trade, number), (self._by_time, now_s)):
            while queue and queue[0][0] <= reached:
                at, _, times, fault = heapq.heappop(queue)
                self._again(fault, at, times)
                certain = _pick(fault, self._seed, number) if isinstance(fault, Random) else fault
                self.struck.append({"kind": certain.kind, "trade": number, "at_s": round(now_s - origin_s, 3)})
                if isinstance(certain, WindowFault):
                    self._windows.append(_ActiveWindow(certain, number + certain.count))
                    del self._windows[:-LASTING_KEPT]
                elif isinstance(certain, RestStatus | SlowRest):
                    once = 1 if certain.for_s is None else 10**18
                    until_s = float("inf") if certain.for_s is None else now_s + certain.for_s
                    self._spells.append(_ActiveRestFault(certain, until_s, certain.requests or once))
                    del self._spells[:-LASTING_KEPT]
                else:
                    strikes.append(certain)
        return strikes

    def room(self, number: int) -> int:
        """Return how many trades the next batch may hold."""
        ends = [window.end for window in self._windows]
        if self._by_trade:
            ends.append(int(self._by_trade[0][0]))
        return max(1, min(ends) - number) if ends else 10**9

    # Trades

    def tamper(self, number: int, trades: Trades, now_s: float, instruments: Sequence[ListedInstrument]) -> Sent:
        """Return what is sent of the batch that begins with trade `number`.

        Args:
            number: of the batch's first trade, counted from 0 over all symbols.
            trades: the batch.
            now_s: seconds of a steady clock.
            instruments: in the order of the index that trades carry as `symbol`.

        """
        if not self._windows and not self._held:
            return Sent(trades)
        end = number + len(trades)
        garbled: dict[tuple[int, int], Garbling] = {}
        reordering = False
        for window in self._windows:
            fault = window.fault
            index = next(
                (index for index, instrument in enumerate(instruments) if instrument.symbol == fault.symbol), None
            )
            touched = np.full(len(trades), fault.symbol is None) | (trades["symbol"] == index)
            if isinstance(fault, Drop):
                trades = trades[~touched]
            elif isinstance(fault, Duplicate):
                trades = np.repeat(trades, np.where(touched, 1 + fault.copies, 1))
            elif isinstance(fault, Misstate):
                trades = trades.copy()
                trades["trade_id"][touched] += fault.id_by
                trades["time_us"][touched] += int(fault.time_by_s * 1e6)
            elif isinstance(fault, Garble):
                for symbol, trade_id in trades[touched][["symbol", "trade_id"]].tolist():
                    garbled[symbol, trade_id] = fault.how or GARBLINGS[self._toss(trade_id) % len(GARBLINGS)]
            else:
                reordering = True
                self._held_symbol = index
        self._windows = [window for window in self._windows if window.end > end]
        if not reordering and not self._held:
            return Sent(trades, garbled)
        self._held.append(trades)
        self._held_garbled |= garbled
        self._held_until_s = now_s + HELD_AT_MOST_S
        if any(isinstance(window.fault, Reorder) for window in self._windows):
            return Sent(trades[:0])
        return self._let_go()

    def release(self, now_s: float) -> Sent | None:
        """Return trades that were held back for a new order which has not come together in time."""
        return self._let_go() if self._held and now_s >= self._held_until_s else None

    # REST

    def touch_rest(self, path: str, now_s: float) -> list[RestFault]:
        """Return the faults that a request for `path` meets.

        Args:
            path: of the request.
            now_s: seconds of a steady clock.

        """
        self._spells = [spell for spell in self._spells if spell.left and now_s < spell.until_s]
        met: list[RestFault] = []
        for spell in self._spells:
            if spell.fault.path is None or path.endswith(spell.fault.path):
                spell.left -= 1
                met.append(spell.fault)
        return met

    # Inside

    def _wait(self, fault: Fault, at_trade: float, at_s: float, times: int) -> None:
        queue, at = (self._by_time, at_s) if fault.at_trade is None else (self._by_trade, at_trade)
        heapq.heappush(queue, (at, next(self._order), times, fault))

    def _again(self, fault: Fault, at: float, times: int) -> None:
        if times > 1 and fault.every:
            self._wait(fault, at + fault.every, at + fault.every, times - 1)

    def _toss(self, number: int) -> int:
        return zlib.crc32(f"{self._seed}:{number}".encode())

    def _let_go(self) -> Sent:
        trades = joined(self._held)
        garbled = self._held_garbled
        self._held, self._held_garbled = [], {}
        places = np.flatnonzero((self._held_symbol is None) | (trades["symbol"] == self._held_symbol))
        if len(places) < 2:
            return Sent(trades, garbled)
        seed = np.random.SeedSequence([self._seed, int(trades["trade_id"][0])])
        words = np.random.PCG64(seed).random_raw(len(places))
        order = np.argsort(words, kind="stable")
        if (order == np.arange(len(order))).all():
            order = order[::-1]
        reordered = trades.copy()
        reordered[places] = trades[places[order]]
        return Sent(reordered, garbled)


def _pick(order: Random, seed: int, number: int) -> Certain:
    """Choose one of the order's kinds and its size; the same for the same seed and number of trades issued."""
    dice = random.Random(f"{seed}:{number}")  # noqa: S311 - repeatable is what is wanted
    kind = dice.choice(order.of)
    count = dice.randint(1, order.most_trades)
    seconds = round(dice.uniform(0, order.most_s), 2)
    made: dict[str, Certain] = {
        "drop": Drop(count=count),
        "duplicate": Duplicate(count=count, copies=dice.randint(1, 3)),
        "reorder": Reorder(count=count + 1),
        "garble": Garble(count=count),
        "hole": SkippedIds(symbol=order.symbol, count=count),
        "disconnect": Disconnect(for_s=seconds),
        "refuse": Refuse(for_s=seconds, status=dice.choice([403, 429, 503])),
        "silence": Silence(pongs=dice.random() < 0.5),
        "shutdown": Shutdown(lead_s=seconds),
        "expire": Expire(),
        "slow_frames": SlowFrames(for_s=seconds, delay_s=0.01 + seconds / 10),
        "rest": RestStatus(for_s=seconds, status=dice.choice([429, 418, 451, 403, 500, 503]), retry_after_s=1),
        "slow_rest": SlowRest(for_s=seconds, delay_s=0.01 + seconds / 4),
    }
    return made[kind]
