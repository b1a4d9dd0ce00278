"""Fetching what the socket did not bring, from a venue that answers what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from ingest.found import Found
from ingest.outlet import Outlet
from ingest.refusal import RestAway, RestError
from ingest.repair import Repairs
from ingest.rest import Rest
from ingest.sequencer import Limits
from tests.fixtures.passed_on import PassedOn, outlet_into
from tests.fixtures.trades import columns
from tests.fixtures.waiting import eventually

NOTHING = Found((), (), (), to_the_end=True)


class Answers:
    """A venue that gives the same answer to every question."""

    def __init__(self, answer: Found | RestError) -> None:
        self.answer = answer
        self.asked: list[int] = []

    async def trades_from(self, symbol: str, from_id: int) -> Found:
        """Note the question, and answer it."""
        self.asked.append(from_id)
        if isinstance(self.answer, RestError):
            raise self.answer
        return self.answer


@asynccontextmanager
async def repairing(
    answer: Found | RestError, *, max_nothing_s: float
) -> AsyncIterator[tuple[PassedOn, Outlet, Answers]]:
    """Give what is passed on, an outlet whose gaps are repaired while inside, and the venue that is asked."""
    passed_on, rest = PassedOn(), Answers(answer)
    outlet = await outlet_into(passed_on, limits=Limits(max_nothing_s=max_nothing_s))
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        repairs = Repairs(cast("Rest", rest), outlet, tasks)
        try:
            yield passed_on, outlet, rest
        finally:
            repairs.cancel()


async def test_a_gap_seen_after_all_repairs_were_cancelled_begins_no_new_one() -> None:
    outlet = await outlet_into(PassedOn())
    rest = Answers(NOTHING)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        repairs = Repairs(cast("Rest", rest), outlet, tasks)
        repairs.cancel()
        await outlet.take(columns(1, 1))
        await outlet.take(columns(3, 1))
    assert rest.asked == []


async def test_when_the_venue_answers_but_has_nothing_of_a_gap_what_came_behind_it_goes_on() -> None:
    async with repairing(NOTHING, max_nothing_s=0.5) as (passed_on, outlet, _):
        await outlet.take(columns(1, 1))
        await outlet.take(columns(3, 2))
        await eventually(lambda: passed_on.ids == [1, 3, 4])


async def test_while_the_venue_does_not_answer_nobody_knows_and_all_waits() -> None:
    async with repairing(RestAway("nobody is there"), max_nothing_s=0.1) as (passed_on, outlet, rest):
        await outlet.take(columns(1, 1))
        await outlet.take(columns(3, 2))
        await eventually(lambda: len(rest.asked) == 4)
        assert passed_on.ids == [1]
