"""Partitions come to an ingest and go: what is followed begins anew, and none is let go before its trades have left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ingest import service
from ingest.service import FeedReport, Following
from ingest.settings import IngestSettings
from mesh.bus.partitions import WHOLE, Partition, partitions
from mesh.service.health import Health
from mesh.service.lifecycle import Stop
from tests.fixtures.waiting import eventually


class OnePublisher:
    """In place of the writer of a stream."""

    def __init__(self, bus: Any, stream: str, **_: Any) -> None:
        self.stream = stream
        self.running = False

    async def open(self) -> None:
        """Nothing is to be found out."""

    async def run(self) -> None:
        self.running = True
        try:
            await asyncio.Event().wait()
        finally:
            self.running = False


class Venues:
    """In place of following a venue: notes which streams are written meanwhile, and which still are at the end."""

    def __init__(self) -> None:
        self.log: list[list[str]] = []
        self.written_at_the_end: list[list[str]] = []
        self.wind_down_s = 0.0

    async def follow(self, *given: Any) -> Any:
        _, stop, _, _, venue, publishers, _, _, changed = given
        self.log.append([publisher.stream for publisher in publishers.values()])
        waiting = [asyncio.ensure_future(each.wait()) for each in (changed, stop)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(self.wind_down_s)
        self.written_at_the_end.append([one.stream for one in publishers.values() if one.running])
        return None if stop.asked else venue


@pytest.fixture
def venues(monkeypatch: pytest.MonkeyPatch) -> Venues:
    made = Venues()
    monkeypatch.setattr(service, "_follow", made.follow)
    monkeypatch.setattr(service, "Publisher", OnePublisher)
    monkeypatch.setattr(service, "_GATHER_S", 0.01)
    return made


@asynccontextmanager
async def following(count: int) -> AsyncIterator[tuple[Following, Stop]]:
    settings, stop, anything = IngestSettings(venue="sim", partitions=count), Stop(), None
    nothing: Any = anything
    one = Following(settings, stop, Health("venue"), nothing, nothing, FeedReport())
    running = asyncio.create_task(one.run(nothing))
    try:
        yield one, stop
    finally:
        stop.ask()
        await running


def work(one: Following, partition: Partition, stop: Stop) -> asyncio.Task[None]:
    nothing: Any = None
    return asyncio.create_task(one.work(partition, nothing, stop))


async def test_the_only_partition_is_followed_until_it_is_asked_to_stop(venues: Venues) -> None:
    async with following(1) as (one, stop):
        working = work(one, WHOLE, stop)
        await eventually(lambda: venues.log == [["RAW"]])
        stop.ask()
        await working
    assert venues.log == venues.written_at_the_end == [["RAW"]]


async def test_partitions_that_come_together_are_followed_together_and_one_goes_when_its_trades_have_left(
    venues: Venues,
) -> None:
    async with following(4) as (one, _):
        stops = [Stop() for _ in range(3)]
        working = [work(one, partition, stop) for partition, stop in zip(partitions(4), stops, strict=False)]
        await eventually(lambda: venues.log == [["RAW_0", "RAW_1", "RAW_2"]])

        venues.wind_down_s = 0.05
        stops[1].ask()
        await working[1]

        await eventually(lambda: venues.log[1:] == [["RAW_0", "RAW_2"]])
        for stop in stops:
            stop.ask()
        await asyncio.gather(*working)
    assert venues.written_at_the_end == venues.log == [["RAW_0", "RAW_1", "RAW_2"], ["RAW_0", "RAW_2"]]


async def test_a_lost_partition_is_written_no_more_at_once_and_the_others_go_on(venues: Venues) -> None:
    async with following(2) as (one, _):
        stop = Stop()
        kept, lost = (work(one, partition, stop) for partition in partitions(2))
        await eventually(lambda: venues.log == [["RAW_0", "RAW_1"]])

        lost.cancel()

        await eventually(lambda: venues.log[1:] == [["RAW_0"]])
        assert lost.cancelled()
        assert venues.written_at_the_end == [["RAW_0"]]
        stop.ask()
        await kept
