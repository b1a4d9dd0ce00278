"""Fetching what the socket did not bring, from a venue that answers what the test says."""

from __future__ import annotations

import asyncio
from typing import cast

from ingest.found import Found
from ingest.repair import Repairs
from ingest.rest import Rest
from tests.fixtures.passed_on import PassedOn, outlet_into
from tests.fixtures.trades import columns

NOTHING = Found((), (), (), to_the_end=True)


class Answers:
    """A venue that gives the same answer to every question."""

    def __init__(self, answer: Found) -> None:
        self.answer = answer
        self.asked: list[int] = []

    async def trades_from(self, symbol: str, from_id: int) -> Found:
        """Note the question, and answer it."""
        self.asked.append(from_id)
        return self.answer


async def test_a_gap_seen_after_all_repairs_were_cancelled_begins_no_new_one() -> None:
    outlet = await outlet_into(PassedOn())
    rest = Answers(NOTHING)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        repairs = Repairs(cast("Rest", rest), outlet, tasks)
        repairs.cancel()
        await outlet.take(columns(1, 1))
        await outlet.take(columns(3, 1))
    assert rest.asked == []
