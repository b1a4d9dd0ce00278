"""Asking the venue over REST, without a network."""

from __future__ import annotations

import httpx
import pytest

from ingest.refusal import RestAway
from ingest.rest import Rest


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
