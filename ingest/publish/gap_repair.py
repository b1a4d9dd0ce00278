"""Fetching over REST what the socket did not bring: gaps between trades, and what happened while nobody listened."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from itertools import islice

from ingest import metrics
from ingest.http.backfill import NOTHING_TOLD, BackfillResult, split_anchor
from ingest.http.errors import RequestRejected, VenueUnavailable
from ingest.messages import NewestTrade
from ingest.publish.trade_publisher import TradePublisher
from ingest.venue import MOST_AT_ONCE, HttpApi
from mesh.service.backoff import backoff
from mesh.service.logs import LogThrottle
from mesh.values.id_ranges import IdRange
from mesh.values.trades import TradeColumns, concatenate

log = logging.getLogger("ingest.publish.gap_repair")

LATER_US = 1_000_000
"""By more than this no clock of the venue is ahead of another."""

OUT_OF_ORDER_S = 0.2
"""So long a missing trade may still come by the socket before REST is asked."""


ASKED_ONE_BY_ONE = 10
"""For so many symbols at most each is asked for by itself whether it missed anything."""

_ASKED_TOGETHER = 5
"""So often symbols are asked for together while the venue does not answer; then each by itself."""


class GapRepair:
    """The repairs under way: at most one a symbol. Every gap of the trade publisher begins one.

    Args:
        http_api: the venue over REST.
        trade_publisher: whose gaps are filled.
        tasks: the owner of the repairs' tasks.

    """

    def __init__(self, http_api: HttpApi, trade_publisher: TradePublisher, tasks: asyncio.TaskGroup) -> None:
        self._http_api = http_api
        self._trade_publisher = trade_publisher
        self._tasks = tasks
        self._survey = _Survey(http_api, tasks)
        self._underway: dict[str, asyncio.Task[None]] = {}
        self._to_the_end: set[str] = set()
        self._opened_s: dict[str, float] = {}  # when it was last not known what was missed
        self._cancelled = False
        self.brought: set[str] = set()
        """The symbols of which REST's last answer brought something: it has what they wait for."""
        trade_publisher.on_gap(self.fill)
        trade_publisher.on_epoch(self.catch_up)

    def fill(self, symbol: str) -> None:
        """Fetch the ids a symbol waits for."""
        if symbol in self._underway or self._cancelled:
            return
        repair = self._run(symbol)
        try:
            self._underway[symbol] = self._tasks.create_task(repair, name=f"repair {symbol}")
        except RuntimeError:  # all tasks are ending, because one of them failed: that is the error to be told
            repair.close()
            self._cancelled = True

    def catch_up(self, symbol: str) -> None:
        """Fetch all since the last trade released: when a connection opens, nobody knows what was missed."""
        self._to_the_end.add(symbol)
        self._opened_s[symbol] = asyncio.get_running_loop().time()
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
        self._survey.cancel()
        for task in list(self._underway.values()):
            task.cancel()

    async def _run(self, symbol: str) -> None:
        try:
            await self._repair(symbol)
        finally:
            # Nothing is awaited between its last look at the gap and this: no call of `fill` falls in between.
            del self._underway[symbol]

    async def _repair(self, symbol: str) -> None:
        log_throttle = LogThrottle(every_s=10)
        delays = backoff(first_s=0.2, max_s=10)
        if symbol not in self._to_the_end:
            await asyncio.sleep(OUT_OF_ORDER_S)
        elif len(self._to_the_end) > ASKED_ONE_BY_ONE and await self._missed_nothing(symbol):
            self._to_the_end.discard(symbol)
        fetched = 0
        continuous: set[int] = set()  # epochs of which REST has our last trade
        nothing_since_s: float | None = None  # since when all answers were empty
        while (from_id := self._trade_publisher.next_id(symbol)) is not None:
            gap = self._trade_publisher.gap(symbol)
            if gap is None and symbol not in self._to_the_end:
                break
            epoch = self._trade_publisher.epoch(symbol)
            try:
                # After an absence the venue may have begun its ids again: is the last trade still the same there?
                unsure = symbol in self._to_the_end and epoch not in continuous
                if unsure and self._trade_publisher.last_trade(symbol) is not None:
                    found = await self._continued(symbol, from_id - 1)
                    if found is None:
                        continue
                    continuous.add(epoch)
                else:
                    found = await self._http_api.trades_from(symbol, from_id)
                    if await is_another_count(symbol, found, self._http_api, self._trade_publisher):
                        log.warning("%s: what REST tells from %d on is of a count that has only begun", symbol, from_id)
                        found = NOTHING_TOLD  # of the count that is followed; the new one begins by what comes live
                        continuous.discard(epoch)
            except VenueUnavailable as exc:
                self.brought.discard(symbol)
                nothing_since_s = None
                if log_throttle.due(asyncio.get_running_loop().time()):
                    log.warning("%s: cannot fetch trades from %d on now: %s", symbol, from_id, exc)
                await asyncio.sleep(max(next(delays), exc.again_after_s))
                continue
            except RequestRejected as exc:
                self._to_the_end.discard(symbol)
                await self._trade_publisher.give_up(symbol, str(exc))
                continue
            if epoch != self._trade_publisher.epoch(symbol):
                continue  # these were asked for by ids of the old count
            if found.to_the_end:
                self._to_the_end.discard(symbol)
            await self._hand_over(symbol, found)
            fetched += found.trades
            held_back = found.next_id is not None and found.next_id > from_id == self._trade_publisher.next_id(symbol)
            if found.next_id is not None and not held_back:
                nothing_since_s, delays = None, backoff(first_s=0.2, max_s=10)
                self.brought.add(symbol)
                continue
            self.brought.discard(symbol)
            if gap is not None:  # the socket is ahead of REST
                if nothing_since_s is None:
                    nothing_since_s = asyncio.get_running_loop().time()
                left_s = await self._trade_publisher.nothing_since(symbol, nothing_since_s)
                await asyncio.sleep(min(next(delays), left_s))
            elif symbol in self._to_the_end:  # nothing, and yet not the end
                await asyncio.sleep(next(delays))
        self._to_the_end.discard(symbol)
        self.brought.discard(symbol)
        if fetched:
            log.info(
                "%s: fetched %d trades up to %d", symbol, fetched, (self._trade_publisher.next_id(symbol) or 0) - 1
            )

    async def _missed_nothing(self, symbol: str) -> bool:
        """Return whether the venue's newest trade has passed; False where that is not known for certain.

        It is asked after the socket has begun to bring the symbol's trades. Should its answer lag, the next trade shows
        the gap.
        """
        epoch, last = self._trade_publisher.epoch(symbol), self._trade_publisher.last_trade(symbol)
        next_id = self._trade_publisher.next_id(symbol)
        if last is None or next_id is None:
            return False
        newest = await self._survey.newest(symbol)
        if newest is None or newest.trade_id < next_id - 1:  # it may have begun its ids again
            return False
        if newest.trade_id >= (self._trade_publisher.next_id(symbol) or 0):
            await asyncio.sleep(OUT_OF_ORDER_S)  # it may be on its way
        now_next_id = self._trade_publisher.next_id(symbol) or 0
        if self._trade_publisher.epoch(symbol) != epoch or self._trade_publisher.gap(symbol) is not None:
            return False
        # One that came after our last one says by its id alone that the count is the same.
        return newest.trade_id < now_next_id and (newest.trade_id >= next_id or newest.price_e8 == last[1])

    async def _continued(self, symbol: str, last_id: int) -> BackfillResult | None:
        """Ask for what comes after the last trade, and for that trade itself: in a new epoch it is another one.

        Returns:
            what comes after it; None where a new epoch has begun by that.

        Raises:
            VenueRequestError: no host answered, or the request is rejected.

        """
        epoch, last = self._trade_publisher.epoch(symbol), self._trade_publisher.last_trade(symbol)
        for attempt in range(2):  # no single answer begins an epoch
            anchor, found = split_anchor(await self._http_api.trades_from(symbol, last_id), last_id)
            if anchor is None and not found.parts:
                anchor = await self._newer_below(symbol, last_id)
            if anchor is None or last is None or self._trade_publisher.epoch(symbol) != epoch:
                return found
            time_us, price_e8 = int(anchor.time_us[0]), int(anchor.price_e8[0])
            same = int(anchor.trade_id[0]) == last_id and (time_us // 1000, price_e8) == (last[0] // 1000, last[1])
            if same:
                return found
            if (reported := await trades_around(symbol, self._http_api, self._trade_publisher)) is not None:
                # The count is the same one: it is the last trade that came with a wrong word.
                await self._trade_publisher.settle(symbol, reported)
                if attempt:
                    return found
            if not attempt:
                await asyncio.sleep(OUT_OF_ORDER_S)
        log.warning("%s: REST tells another trade %d than the last one that came", symbol, last_id)
        await self._trade_publisher.begin_epoch(symbol, epoch + 1, after_id=-1, held_since_s=self._opened_s[symbol])
        return None

    async def _newer_below(self, symbol: str, last_id: int) -> TradeColumns | None:
        """Return the venue's newest trade where its id is lower than ours and yet it happened later."""
        newest = await self._http_api.newest_trades(symbol)
        last = self._trade_publisher.last_trade(symbol)
        if not len(newest) or last is None or int(newest.trade_id[-1]) >= last_id:
            return None
        return newest.rows(slice(-1, None)) if int(newest.time_us[-1]) > last[0] + LATER_US else None

    async def _hand_over(self, symbol: str, found: BackfillResult) -> None:
        metrics.REPAIRED.labels(self._trade_publisher.venue, symbol).inc(found.trades)
        unreachable = set(found.unreachable)
        why, level = "the venue no longer tells them one by one", logging.ERROR
        if len(unreachable) > 1:  # aggregates leave hundreds
            count, ends = found.unreachable.size, (found.unreachable.lowest, found.unreachable.highest)
            log.error("%s: going on without %d trades between %d and %d: %s", symbol, count, *ends, why)
            level = logging.DEBUG
        for step in found.in_order:
            if isinstance(step, IdRange) and self._trade_publisher.is_far(symbol, step):
                # Rather one wrong row than so many ids without a trade: it is doubted, and asked for again.
                beyond = [part for part in found.parts if int(part.trade_id[0]) > step.last_id]
                if beyond:
                    await self._trade_publisher.take(beyond[0], live=False)
                break
            if not isinstance(step, IdRange):
                await self._trade_publisher.take(step, live=False)
            elif step in unreachable:
                await self._trade_publisher.unreachable(symbol, step, why, level=level)
            else:
                await self._trade_publisher.absent(symbol, step)


async def trades_around(symbol: str, http_api: HttpApi, trade_publisher: TradePublisher) -> TradeColumns | None:
    """Return what REST tells of the trades passed on last, None where none of them is the same there.

    Args:
        symbol: in lower case; one that is followed.
        http_api: the venue over REST.
        trade_publisher: who has passed them on.

    Raises:
        VenueRequestError: no host answered, or the request is rejected.

    """
    first_id = trade_publisher.first_recent_id(symbol)
    if first_id is None:
        return None
    found = await http_api.trades_from(symbol, first_id)
    if not found.parts:
        return None
    reported = concatenate(list(found.parts))
    return reported if trade_publisher.is_same_count(symbol, reported) else None


async def is_another_count(
    symbol: str, found: BackfillResult, http_api: HttpApi, trade_publisher: TradePublisher
) -> bool:
    """Return whether REST tells trades of a count that has begun just now, and that nobody has noticed yet.

    Args:
        symbol: in lower case; one that is followed.
        found: what REST tells of ids of the past, or of those that trades wait for.
        http_api: the venue over REST.
        trade_publisher: who has passed on the newest trades.

    Raises:
        VenueRequestError: no host answered, or the request is rejected.

    """
    if not any(map(trade_publisher.may_be_another_count, found.parts)):
        return False
    return await trades_around(symbol, http_api, trade_publisher) is None


class _Survey:
    """Asks for the newest trades of many symbols together, as one question for each has to wait for the rate limit."""

    def __init__(self, http_api: HttpApi, tasks: asyncio.TaskGroup) -> None:
        self._http_api = http_api
        self._tasks = tasks
        self._waiting: dict[str, asyncio.Future[NewestTrade | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def newest(self, symbol: str) -> NewestTrade | None:
        """Return a symbol's newest trade, None where it cannot be learnt so."""
        answer: asyncio.Future[NewestTrade | None] = asyncio.get_running_loop().create_future()
        self._waiting[symbol] = answer
        if self._asking is None or self._asking.done():
            self._asking = self._tasks.create_task(self._ask(), name="newest trades")
        return await answer

    def cancel(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self) -> None:
        await asyncio.sleep(0)  # the others that ask now are asked for as well
        while self._waiting:
            asked = {symbol: self._waiting.pop(symbol) for symbol in list(self._waiting)[:MOST_AT_ONCE]}
            found = await self._newest_of(list(asked))
            for symbol, answer in asked.items():
                if not answer.done():
                    answer.set_result(found.get(symbol))

    async def _newest_of(self, symbols: Sequence[str]) -> dict[str, NewestTrade]:
        for delay_s in islice(backoff(first_s=0.2, max_s=10), _ASKED_TOGETHER):
            try:
                return await self._http_api.newest_of(symbols)
            except VenueUnavailable as exc:
                log.debug("the newest trades of %s cannot be asked for now: %s", ", ".join(symbols), exc)
                await asyncio.sleep(max(delay_s, exc.again_after_s))
            except RequestRejected as exc:
                log.debug("the newest trades of %s are not told: %s", ", ".join(symbols), exc)
                break
        return {}
