"""Asking the venue over REST, without a network."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from ingest.gap import Gap
from ingest.outbox import Outbox
from ingest.rest.client import Rest
from ingest.rest.refusal import RestAway


async def test_what_the_venue_said_elsewhere_keeps_rest_away_too() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        rest = Rest("binance", ["http://binance.example"], client)
        rest.stay_away(100)
        with pytest.raises(RestAway) as away:
            await rest.ping()

    assert 99 < away.value.again_after_s <= 100
    assert asked == []


async def test_a_row_that_cannot_be_read_is_kept_aside_and_its_neighbours_are_found() -> None:
    row = {"id": 5, "price": "1.5", "qty": "2", "time": 1499865549590, "isBuyerMaker": True}
    rows = [row, row | {"id": 6, "price": "0.000000001"}, row | {"id": 7}]
    no_bus: Any = None  # nothing is sent before the outbox runs
    outbox = Outbox(no_bus)

    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=rows))) as client:
        rest = Rest("binance", ["http://binance.example"], client)
        rest.keep_aside_in(outbox)
        found = await rest.trades_from("btcusdt", 5)

    assert [part.trade_id.tolist() for part in found.parts] == [[5], [7]]
    assert (found.absent, found.unreachable, found.to_the_end) == ((), (Gap(6, 6),), True)
    assert outbox.waiting == 1
