"""Fetching over REST what the socket did not bring: gaps between trades, and what happened while nobody listened."""

from __future__ import annotations

import asyncio
import logging

from ingest import counts
from ingest.gap import Gap
from ingest.order.outlet import Outlet
from ingest.rest.client import Rest
from ingest.rest.found import Found
from ingest.rest.refusal import RestAway, RestRefused
from mesh.backoff import backoff
from mesh.logs import Seldom

log = logging.getLogger("ingest.repair")

OUT_OF_ORDER_S = 0.2
"""So long a missing trade may still come by the socket before REST is asked."""


class Repairs:
    """The repairs under way: at most one a symbol. Every gap of the outlet begins one.

    Args:
        rest: the venue.
        outlet: whose gaps are filled.
        tasks: the owner of the repairs' tasks.

    """

    def __init__(self, rest: Rest, outlet: Outlet, tasks: asyncio.TaskGroup) -> None:
        self._rest = rest
        self._outlet = outlet
        self._tasks = tasks
        self._underway: dict[str, asyncio.Task[None]] = {}
        self._to_the_end: set[str] = set()
        self._cancelled = False
        self.brought: set[str] = set()
        """The symbols of which REST's last answer brought something: it has what they wait for."""
        outlet.on_gap(self.fill)

    def fill(self, symbol: str) -> None:
        """Fetch the ids a symbol waits for."""
        if symbol not in self._underway and not self._cancelled:
            self._underway[symbol] = self._tasks.create_task(self._run(symbol), name=f"repair {symbol}")

    def catch_up(self, symbol: str) -> None:
        """Fetch all since the last trade released: when a connection opens, nobody knows what was missed."""
        self._to_the_end.add(symbol)
        self.fill(symbol)

    async def finish(self, *, within_s: float) -> None:
        """Let what is under way come to its end, and stop fetching after so long."""
        clock = asyncio.get_running_loop().time
        ends_s = clock() + within_s
        while self._underway and clock() < ends_s:
            await asyncio.wait(self._underway.values(), timeout=ends_s - clock(), return_when=asyncio.FIRST_COMPLETED)
        self.cancel()

    def cancel(self) -> None:
        """Stop fetching, also what is missed from now on."""
        self._cancelled = True
        for task in list(self._underway.values()):
            task.cancel()

    async def _run(self, symbol: str) -> None:
        try:
            await self._repair(symbol)
        finally:
            # Nothing is awaited between its last look at the gap and this: no call of `fill` falls in between.
            del self._underway[symbol]

    async def _repair(self, symbol: str) -> None:
        seldom = Seldom(every_s=10)
        delays = backoff(first_s=0.2, max_s=10)
        if symbol not in self._to_the_end:
            await asyncio.sleep(OUT_OF_ORDER_S)
        fetched = 0
        nothing_since_s: float | None = None  # since when all answers were empty
        while (from_id := self._outlet.next_id(symbol)) is not None:
            gap = self._outlet.gap(symbol)
            if gap is None and symbol not in self._to_the_end:
                break
            try:
                found = await self._rest.trades_from(symbol, from_id)
            except RestAway as exc:
                self.brought.discard(symbol)
                nothing_since_s = None
                if seldom.due(asyncio.get_running_loop().time()):
                    log.warning("%s: cannot fetch trades from %d on now: %s", symbol, from_id, exc)
                await asyncio.sleep(max(next(delays), exc.again_after_s))
                continue
            except RestRefused as exc:
                self._to_the_end.discard(symbol)
                await self._outlet.give_up(symbol, str(exc))
                continue
            if found.to_the_end:
                self._to_the_end.discard(symbol)
            await self._hand_over(symbol, found)
            fetched += found.trades
            held_back = found.next_id is not None and found.next_id > from_id == self._outlet.next_id(symbol)
            if found.next_id is not None and not held_back:
                nothing_since_s, delays = None, backoff(first_s=0.2, max_s=10)
                self.brought.add(symbol)
                continue
            self.brought.discard(symbol)
            if gap is not None:  # the socket is ahead of REST
                if nothing_since_s is None:
                    nothing_since_s = asyncio.get_running_loop().time()
                left_s = await self._outlet.nothing_since(symbol, nothing_since_s)
                await asyncio.sleep(min(next(delays), left_s))
            elif symbol in self._to_the_end:  # nothing, and yet not the end
                await asyncio.sleep(next(delays))
        self._to_the_end.discard(symbol)
        self.brought.discard(symbol)
        if fetched:
            log.info("%s: fetched %d trades up to %d", symbol, fetched, (self._outlet.next_id(symbol) or 0) - 1)

    async def _hand_over(self, symbol: str, found: Found) -> None:
        counts.REPAIRED.labels(self._outlet.venue, symbol).inc(found.trades)
        unreachable = set(found.unreachable)
        why, level = "the venue no longer tells them one by one", logging.ERROR
        if len(unreachable) > 1:  # aggregates leave hundreds
            count, ends = sum(map(len, unreachable)), (found.unreachable[0].first_id, found.unreachable[-1].last_id)
            log.error("%s: going on without %d trades between %d and %d: %s", symbol, count, *ends, why)
            level = logging.DEBUG
        for step in found.in_order:
            if isinstance(step, Gap) and self._outlet.is_far(symbol, step):
                # Rather one wrong row than so many ids without a trade: it is doubted, and asked for again.
                beyond = [part for part in found.parts if int(part.trade_id[0]) > step.last_id]
                if beyond:
                    await self._outlet.take(beyond[0], live=False)
                break
            if not isinstance(step, Gap):
                await self._outlet.take(step, live=False)
            elif step in unreachable:
                await self._outlet.unreachable(symbol, step, why, level=level)
            else:
                await self._outlet.absent(symbol, step)
