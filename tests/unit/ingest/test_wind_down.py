"""The end of ingest's work, where the bus takes nothing any more."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from ingest import service
from ingest.http.backfill import BackfillResult
from ingest.publish.gap_repair import GapRepair
from ingest.service import wind_down
from ingest.venue import HttpApi
from mesh.values.id_ranges import NO_IDS
from tests.fixtures.passed_on import PassedOn, trade_publisher_into
from tests.fixtures.trades import columns
from tests.fixtures.waiting import eventually


class FullBus(PassedOn):
    """Takes nothing from the moment it is full."""

    full = False
    waits = False

    def offer(self, *args: Any, **options: Any) -> bool:
        return not self.full and super().offer(*args, **options)

    async def wait_for_room(self) -> None:
        self.waits = True
        await asyncio.Event().wait()


class Answers:
    """A venue that has what is asked for."""

    async def trades_from(self, symbol: str, from_id: int) -> BackfillResult:
        return BackfillResult((columns(from_id, 2),), NO_IDS, NO_IDS, to_the_end=True)


async def test_a_line_that_waits_behind_a_repair_which_waits_for_the_bus_does_not_hang_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "REPAIRED_WITHIN_S", 0.1)
    bus = FullBus()
    trade_publisher = await trade_publisher_into(bus)
    await trade_publisher.follow("ethusdt")
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        gap_repair = GapRepair(cast("HttpApi", Answers()), trade_publisher, tasks)
        await trade_publisher.take(columns(1, 2))
        bus.full = True
        await trade_publisher.take(columns(5, 1))
        await eventually(lambda: bus.waits)

        async def line() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await trade_publisher.take(columns(1, 1, symbol="ethusdt"))  # what had arrived

        loop = tasks.create_task(line())
        await asyncio.sleep(0)
        await wind_down([loop], gap_repair)
        await asyncio.wait([loop])
    assert bus.ids == [1, 2]
