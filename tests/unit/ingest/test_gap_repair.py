"""Fetching what the socket did not bring, from a venue that answers what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import pytest
from prometheus_client import REGISTRY

from ingest.http.backfill import BackfillResult
from ingest.http.errors import RequestRejected, VenueRequestError, VenueUnavailable
from ingest.messages import NewestTrade
from ingest.publish.gap_repair import ASKED_ONE_BY_ONE, GapRepair
from ingest.publish.sequencer import WaitingLimits
from ingest.publish.trade_publisher import TradePublisher
from ingest.venue import HttpApi
from mesh.values.id_ranges import NO_IDS
from mesh.values.trades import TradeColumns
from tests.fixtures.passed_on import PassedOn, trade_publisher_into
from tests.fixtures.trades import columns
from tests.fixtures.waiting import eventually

NOTHING = BackfillResult((), NO_IDS, NO_IDS, to_the_end=True)


class Answers:
    """A venue that gives the same answer to every question; `asked_s` is when it was asked."""

    def __init__(self, answer: BackfillResult | VenueRequestError) -> None:
        self.answer = answer
        self.newest: dict[str, NewestTrade] = {}
        self.newest_refusals: list[VenueRequestError] = []
        self.asked_s: list[float] = []
        self.asked: list[str] = []

    async def trades_from(self, symbol: str, from_id: int) -> BackfillResult:
        """Note the question, and answer it."""
        self.asked_s.append(asyncio.get_running_loop().time())
        self.asked.append(symbol)
        await asyncio.sleep(0)  # an answer takes a moment
        if isinstance(self.answer, VenueRequestError):
            raise self.answer
        return self.answer

    async def newest_of(self, symbols: Sequence[str]) -> dict[str, NewestTrade]:
        """Return what is known of the newest trades."""
        if self.newest_refusals:
            raise self.newest_refusals.pop()
        return {symbol: self.newest[symbol] for symbol in symbols if symbol in self.newest}

    async def newest_trades(self, symbol: str) -> TradeColumns:
        """Say that nothing was traded."""
        return columns(0, 0)


@dataclass(frozen=True, slots=True)
class Repaired:
    """A trade publisher whose gaps are repaired, what it passed on, and the venue that is asked."""

    trade_publisher: TradePublisher
    passed_on: PassedOn
    rest: Answers
    gap_repair: GapRepair


@asynccontextmanager
async def repairing(
    answer: BackfillResult | VenueRequestError, *, max_nothing_s: float = 5, max_held_s: float = 60
) -> AsyncIterator[Repaired]:
    """Give a trade publisher whose gaps are repaired while inside, from a venue with this one answer."""
    passed_on, rest = PassedOn(), Answers(answer)
    trade_publisher = await trade_publisher_into(
        passed_on, limits=WaitingLimits(max_nothing_s=max_nothing_s, max_held_s=max_held_s)
    )
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        gap_repair = GapRepair(cast("HttpApi", rest), trade_publisher, tasks)
        try:
            yield Repaired(trade_publisher, passed_on, rest, gap_repair)
        finally:
            gap_repair.cancel()


async def test_of_many_symbols_only_those_are_asked_for_one_by_one_that_may_have_missed_something() -> None:
    async with repairing(NOTHING) as one:
        odd = {
            "missed1usdt": NewestTrade(5, 0),
            "lowerusdt": NewestTrade(3, 0),  # it may have begun its ids again
            "otherusdt": NewestTrade(4, 1),  # so may this one: its last trade is another one than ours
            "unknownusdt": None,
        }
        whole = [f"coin{number}usdt" for number in range(ASKED_ONE_BY_ONE)]
        for symbol in (*odd, *whole):
            await one.trade_publisher.follow(symbol)
            await one.trade_publisher.take(columns(0, 5, symbol=symbol))
            newest = odd.get(symbol, NewestTrade(4, int(columns(4, 1).price_e8[0])))
            if newest is not None:
                one.rest.newest[symbol] = newest
        for symbol in (*odd, *whole):
            one.gap_repair.catch_up(symbol)
        await one.gap_repair.finish(within_s=10)
        assert set(one.rest.asked) == set(odd)


async def test_where_nobody_answered_many_are_asked_for_together_again_and_one_by_one_where_that_is_refused() -> None:
    for refusal, alone in ((VenueUnavailable("busy"), False), (RequestRejected("one of them is not listed"), True)):
        async with repairing(NOTHING) as one:
            symbols = [f"coin{number}usdt" for number in range(ASKED_ONE_BY_ONE + 1)]
            for symbol in symbols:
                await one.trade_publisher.follow(symbol)
                await one.trade_publisher.take(columns(0, 5, symbol=symbol))
                one.rest.newest[symbol] = NewestTrade(4, int(columns(4, 1).price_e8[0]))
                one.gap_repair.catch_up(symbol)
            one.rest.newest_refusals.append(refusal)
            await one.gap_repair.finish(within_s=10)
            assert set(one.rest.asked) == (set(symbols) if alone else set())


async def test_a_symbol_whose_newest_trade_the_socket_brings_meanwhile_has_missed_nothing() -> None:
    async with repairing(NOTHING) as one:
        symbols = [f"coin{number}usdt" for number in range(ASKED_ONE_BY_ONE + 1)]
        for symbol in symbols:
            await one.trade_publisher.follow(symbol)
            await one.trade_publisher.take(columns(0, 5, symbol=symbol))
            one.rest.newest[symbol] = NewestTrade(6, 0)
            one.gap_repair.catch_up(symbol)
        await asyncio.sleep(0)  # now they ask
        for symbol in symbols[1:]:
            await one.trade_publisher.take(columns(5, 3, symbol=symbol))
        await one.gap_repair.finish(within_s=10)
        assert set(one.rest.asked) == {symbols[0]}


async def test_a_gap_seen_after_all_repairs_were_cancelled_begins_no_new_one() -> None:
    async with repairing(NOTHING) as one:
        one.gap_repair.cancel()
        await one.trade_publisher.take(columns(0, 2))
        await one.trade_publisher.take(columns(3, 1))
    assert one.rest.asked_s == []


async def test_a_gap_seen_while_all_tasks_end_is_no_error_of_its_own() -> None:
    trade_publisher = await trade_publisher_into(PassedOn())

    async def passes_on_what_has_arrived() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await trade_publisher.take(columns(0, 2))
            await trade_publisher.take(columns(3, 1))

    async def fails() -> None:
        raise LookupError("the error to be told")

    rest = Answers(NOTHING)
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as tasks:
            GapRepair(cast("HttpApi", rest), trade_publisher, tasks)
            tasks.create_task(passes_on_what_has_arrived())
            await asyncio.sleep(0)
            tasks.create_task(fails())
    assert [type(one) for one in caught.value.exceptions] == [LookupError]
    assert rest.asked_s == []


async def test_what_is_under_way_may_come_to_its_end_before_all_is_cancelled() -> None:
    async with repairing(BackfillResult((columns(2, 1),), NO_IDS, NO_IDS, to_the_end=True)) as one:
        await one.trade_publisher.take(columns(0, 2))
        await one.trade_publisher.take(columns(3, 3))
        await one.gap_repair.finish(within_s=10)
        assert one.passed_on.ids == [0, 1, 2, 3, 4, 5]
        assert one.gap_repair.brought == set()  # nothing is missing any more


async def test_what_takes_longer_is_cancelled_and_it_is_known_whether_the_venue_was_bringing_it() -> None:
    for answer, brought in (
        (BackfillResult((columns(2, 1),), NO_IDS, NO_IDS, to_the_end=False), {"btcusdt"}),
        (NOTHING, set()),
    ):
        async with repairing(answer) as one:
            await one.trade_publisher.take(columns(0, 2))
            await one.trade_publisher.take(columns(100, 1))
            await eventually(lambda: len(one.rest.asked_s) > 1)
            await one.gap_repair.finish(within_s=0)
            assert one.gap_repair.brought == brought


async def test_when_the_venue_answers_but_has_nothing_of_a_gap_what_came_behind_it_goes_on() -> None:
    async with repairing(NOTHING, max_nothing_s=0.5) as one:
        await one.trade_publisher.take(columns(0, 2))
        await one.trade_publisher.take(columns(3, 3))
        await eventually(lambda: one.passed_on.ids == [0, 1, 3, 4, 5])


async def test_no_gap_is_given_up_for_a_lone_trade_that_the_venue_which_answers_has_not_either() -> None:
    async with repairing(NOTHING, max_nothing_s=0.2) as one:
        await one.trade_publisher.take(columns(0, 2))
        await one.trade_publisher.take(columns(1050, 1))
        await eventually(lambda: one.trade_publisher.doubts("btcusdt"))
        assert one.trade_publisher.progress()[0].doubt.startswith("trade 1050 came, but REST has told neither it nor")
        await one.trade_publisher.take(columns(2, 2))
        assert one.passed_on.ids == [0, 1, 2, 3]
        assert not one.trade_publisher.doubts("btcusdt")


async def test_nor_for_one_that_waits_past_the_bounds_while_the_venue_does_not_answer() -> None:
    async with repairing(VenueUnavailable("nobody is there"), max_held_s=0.1) as one:
        await one.trade_publisher.take(columns(0, 2))
        await one.trade_publisher.take(columns(1050, 1))
        bounds = asyncio.create_task(one.trade_publisher.keep_bounds())
        await eventually(lambda: one.trade_publisher.doubts("btcusdt"))
        bounds.cancel()
        await one.trade_publisher.take(columns(2, 2))
        assert one.passed_on.ids == [0, 1, 2, 3]


async def test_while_the_venue_does_not_answer_nobody_knows_and_all_waits() -> None:
    async with repairing(VenueUnavailable("nobody is there"), max_nothing_s=0.1) as one:
        await one.trade_publisher.take(columns(0, 2))
        await one.trade_publisher.take(columns(3, 2))
        await eventually(lambda: len(one.rest.asked_s) == 4)
        assert one.passed_on.ids == [0, 1]


async def test_a_venue_that_says_nothing_and_not_that_it_has_nothing_is_not_asked_again_at_once() -> None:
    async with repairing(BackfillResult((), NO_IDS, NO_IDS, to_the_end=False)) as one:
        await one.trade_publisher.take(columns(0, 2))
        one.gap_repair.catch_up("btcusdt")
        await eventually(lambda: len(one.rest.asked_s) >= 3)
    assert one.rest.asked_s[2] - one.rest.asked_s[0] > 0.2


async def test_trades_of_the_past_say_nothing_of_the_delay() -> None:
    async with repairing(BackfillResult((columns(2, 3),), NO_IDS, NO_IDS, to_the_end=True)) as one:
        await one.trade_publisher.take(columns(0, 2))
        before = delays_observed()
        one.gap_repair.catch_up("btcusdt")
        await eventually(lambda: one.passed_on.ids == [0, 1, 2, 3, 4])
        assert delays_observed() == before


def delays_observed() -> float:
    return REGISTRY.get_sample_value("tickmesh_ingest_lag_seconds_count") or 0.0
