"""The candles that subscriptions of `/ws` are sent: asked of the store once for all clients, only when trades came.

The open candle is what `/api/candles?open=true` answers, so that it is right also when this gateway has just started,
after a repair and after a restart of signal.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from gateway.live.feeds import ChannelFeed, Told
from gateway.live.history import StoredTrades
from gateway.live.ring import Rings
from gateway.transcode import json
from mesh.values import epochs
from mesh.values.candles import parse_interval
from tickmesh.v1.trade_pb2 import Candle

log = logging.getLogger("gateway.live.candles")

EVERY_S = 0.2
"""How often the store is asked at most while trades come; the page draws as often."""
QUIET_S = 1.0
"""How often while none come: an interval also ends by the clock, and repairs change closed candles."""
WATCHED = 5
"""So many of the last candles are asked for each time: the open one, and closed ones, whose revisions may rise."""
LOOK_BACK = 61
"""So many of the last candles are asked for now and then: a repair fills a hole of minutes when the venue answers."""
LOOK_BACK_S = 5.0
LOOK_BACK_PARTS = 1440
"""Of so many stored candles at most, however many of them an interval consists of: they are summed up each time."""
KEPT = 256
"""So many closed candles a client may be behind."""

_candle = json.encoder(Candle.DESCRIPTOR)


@dataclass(frozen=True, slots=True)
class CandleChange:
    """One candle as it is now, written once for all.

    Attributes:
        number: rises by one with each change of the feed.
        time_us: when the candle begins.
        closed: whether it is closed.
        first_key: of its first trade.
        last_key: of its last trade.
        body: the candle as JSON.

    """

    number: int
    time_us: int
    closed: bool
    first_key: int
    last_key: int
    body: bytes


class CandleChanges:
    """The last changes of one symbol's candles: the closed ones, and the open one as it is now. Pure.

    Args:
        look_back: how many of the last candles are known, so that a change of them is noticed.

    """

    def __init__(self, look_back: int = LOOK_BACK) -> None:
        self.newest: CandleChange | None = None
        """The last candle; None when there is none."""
        self.number = 0
        """Of the last change."""
        self._closed: deque[CandleChange] = deque(maxlen=KEPT)
        self._lost = 0  # the number of the last closed candle that is not kept any more
        self._open: CandleChange | None = None
        self._known: dict[int, bytes] = {}
        self._unclosed: set[int] = set()  # those of `_known` that have yet to close: several while signal is away
        self._look_back = look_back

    @property
    def from_us(self) -> int:
        """From which time on candles may have changed."""
        times = sorted(self._known)
        return times[self._settled(times, WATCHED)] if times else 0

    @property
    def back_us(self) -> int:
        """From which time on candles are known: closed ones change seldom."""
        return min(self._known, default=0)

    def take(self, candles: Sequence[Candle]) -> bool:
        """Note what has changed; return whether anything has.

        Args:
            candles: those since `from_us` or `back_us`, in the order of time.

        Raises:
            ValueError: one of them cannot be written as JSON.

        """
        before = self.number
        for candle in candles:
            time_us, known = candle.time.ToMicroseconds(), candle.SerializeToString(deterministic=True)
            if self._known.get(time_us) != known:
                self._add(candle, time_us)
                self._known[time_us] = known
                (self._unclosed.discard if candle.closed else self._unclosed.add)(time_us)
        times = sorted(self._known)
        for time_us in times[: self._settled(times, self._look_back)]:
            del self._known[time_us]
            self._unclosed.discard(time_us)
        return self.number != before

    def _settled(self, times: list[int], count: int) -> int:
        """Return how many of the known candles are before the last `count`, and before what has yet to close."""
        settled = len(times) - count
        if self._unclosed:
            # From the last one that closed before them on: between may be some that were not seen while they were open.
            settled = max(len(times) - KEPT, min(settled, times.index(min(self._unclosed)) - 1))
        return max(0, settled)

    def since(self, number: int) -> list[CandleChange] | None:
        """Return the changes after one; None when some of the closed candles are not kept any more."""
        if number < self._lost:
            return None
        found = [change for change in self._closed if change.number > number]
        return found + ([self._open] if self._open is not None and self._open.number > number else [])

    def _add(self, candle: Candle, time_us: int) -> None:
        first, last = (epochs.key_of(candle.epoch, each) for each in (candle.first_trade_id, candle.last_trade_id))
        body = json.to_bytes(_candle(candle))
        self.number += 1
        change = CandleChange(self.number, time_us, candle.closed, first, last, body)
        if not candle.closed:
            self._open = change
        else:
            if len(self._closed) == KEPT:
                self._lost = self._closed[0].number
            self._closed.append(change)
            if self._open is not None and self._open.time_us <= time_us:
                self._open = None
        if self.newest is None or time_us >= self.newest.time_us:
            self.newest = change


class CandleFeed(ChannelFeed):
    """The candles of one symbol and interval.

    Args:
        symbol: in lower case.
        interval: their length, that of a stored one or a multiple.
        stored: where they are asked for.
        rings: tell when trades have come.

    """

    def __init__(self, symbol: str, interval: str, *, stored: StoredTrades, rings: Rings) -> None:
        super().__init__("candles", symbol, interval)
        self._symbol = symbol
        self._interval = interval
        self._look_back = max(WATCHED, min(LOOK_BACK, LOOK_BACK_PARTS // parse_interval(interval).parts))
        self._looked_back_s = -math.inf
        self._changes = CandleChanges(self._look_back)
        self._stored = stored
        self._rings = rings

    def newest(self) -> Told:
        """Return the newest candle."""
        newest = self._changes.newest
        return Told(b"[]") if newest is None else Told(b"[%b]" % newest.body, newest.first_key, newest.last_key)

    def since(self, number: int) -> Told | None:
        """Return the candles that have changed after a change; None when some of the closed ones are not kept."""
        found = self._changes.since(number)
        if not found:
            return None if found is None else Told(b"")
        body = b"[%b]" % b",".join([each.body for each in found])
        return Told(body, min(each.first_key for each in found), max(each.last_key for each in found))

    async def follow(self) -> None:
        """Ask for the candles, at once when trades have come, until cancelled."""
        traded = asyncio.Event()
        ring = self._rings.watch(self._symbol, traded.set)
        try:
            while True:
                traded.clear()
                if await self._ask():
                    self.wake()
                await asyncio.sleep(EVERY_S)
                newest = self._changes.newest
                if ring.last_key <= (-1 if newest is None else newest.last_key):  # else the store is behind
                    with suppress(TimeoutError):
                        await asyncio.wait_for(traded.wait(), QUIET_S - EVERY_S)
        finally:
            self._rings.unwatch(ring, traded.set)

    async def _ask(self) -> bool:
        now_s = asyncio.get_running_loop().time()
        back = now_s >= self._looked_back_s + LOOK_BACK_S
        begin_us = self._changes.back_us if back else self._changes.from_us
        from_us = begin_us if self.answered else None
        found = await self._stored.candles(self._symbol, self._interval, from_us, count=self._look_back)
        self.current = found is not None
        if found is None:
            return False
        self._looked_back_s = now_s if back else self._looked_back_s
        first, self.answered = not self.answered, True
        try:
            return self._changes.take(found) or first
        except ValueError:
            log.exception("a candle of %s cannot be written as JSON", self._symbol)
            self.current = False
            return False
        finally:
            self.number = self._changes.number
