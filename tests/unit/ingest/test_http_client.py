"""Asking the venue over REST, without a network."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from ingest.binance.http_api import BinanceHttpApi
from ingest.http.errors import EndpointNotOffered, RequestRejected, VenueUnavailable
from ingest.publish.bad_frames import BadFrames
from mesh.bus.dead_letters import DeadLetterQueue
from mesh.values.id_ranges import NO_IDS, IdRanges
from tests.fixtures.binance import http_api_of


def ids(*pairs: tuple[int, int]) -> IdRanges:
    return IdRanges.from_pairs(pairs)


def says(body: bytes, status: int = 200, **headers: str) -> httpx.MockTransport:
    """Stand in for a venue that answers every question in the same way."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.MockTransport(lambda _: httpx.Response(status, headers=named, stream=Body(body)))


class Body(httpx.AsyncByteStream):
    """A body that tells how much of it was taken."""

    def __init__(self, part: bytes, *, times: int = 1) -> None:
        self._part, self._times = part, times
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self._times):
            self.sent += 1
            yield self._part


@asynccontextmanager
async def rest_of(transport: httpx.MockTransport, *, hosts: int = 1) -> AsyncIterator[BinanceHttpApi]:
    async with httpx.AsyncClient(transport=transport) as client:
        yield http_api_of(client, *(f"http://{number}.example" for number in range(hosts)))


async def test_what_the_venue_said_elsewhere_keeps_rest_away_too() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        rest = http_api_of(client, "http://binance.example")
        rest.stay_away(100)
        with pytest.raises(VenueUnavailable) as away:
            await rest.ping()

    assert 99 < away.value.again_after_s <= 100
    assert asked == []


async def test_a_row_that_cannot_be_read_is_a_dead_letter_and_its_neighbours_are_found() -> None:
    row = {"id": 5, "price": "1.5", "qty": "2", "time": 1499865549590, "isBuyerMaker": True}
    rows = [row, row | {"id": 6, "price": "0.000000001"}, row | {"id": 7}]
    no_bus: Any = None  # nothing is sent before the queue runs
    dead = DeadLetterQueue(no_bus)

    async with httpx.AsyncClient(transport=says(json.dumps(rows).encode())) as client:
        rest = http_api_of(client, "http://binance.example", on_bad_row=BadFrames("rows", dead).take)
        found = await rest.trades_from("btcusdt", 5)

    assert [part.trade_id.tolist() for part in found.parts] == [[5], [7]]
    assert (found.absent, found.unreachable, found.to_the_end) == (NO_IDS, ids((6, 6)), True)
    assert dead.waiting == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [(408, -1007), (408, 0), (500, 0), (503, -1008), (504, -1007), (599, 0), (302, 0), (204, 0), (499, 0), (400, 0)]
    + [(400, code) for code in (-1000, -1001, -1004, -1006, -1007, -1008, -1016, -1034, -1050, -5000, 7)],
)
async def test_what_passes_by_itself_is_asked_of_the_next_host_and_may_be_asked_again(status: int, code: int) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(status, stream=Body(json.dumps({"code": code, "msg": "no"}).encode()))

    async with rest_of(httpx.MockTransport(answer), hosts=2) as rest:
        for _ in range(2):
            with pytest.raises(VenueUnavailable):
                await rest.trades_from("btcusdt", 5)

    assert asked == ["0.example", "1.example"] * 2


@pytest.mark.parametrize("code", [-1121, -1100, -1130, -1102, -2011, -1020, -9999])
async def test_a_question_that_is_wrong_is_refused_at_once(code: int) -> None:
    async with rest_of(says(json.dumps({"code": code, "msg": "Invalid symbol."}).encode(), 400)) as rest:
        with pytest.raises(RequestRejected, match=str(code)) as refused:
            await rest.trades_from("btcusdt", 5)

    assert not isinstance(refused.value, EndpointNotOffered)


@pytest.mark.parametrize(("status", "code"), [(400, -1003), (400, -1015), (418, 0), (429, -1003), (429, -1121)])
async def test_who_is_told_to_slow_down_asks_nobody_for_that_long(status: int, code: int) -> None:
    body = json.dumps({"code": code, "msg": "Too many requests."}).encode()

    async with rest_of(says(body, status, Retry_After="70"), hosts=2) as rest:
        with pytest.raises(VenueUnavailable) as away:
            await rest.ping()
        with pytest.raises(VenueUnavailable, match="lasts again in"):
            await rest.ping()

    assert away.value.again_after_s == 70


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip", "br", "zstd", "deflate", "GZIP", "x"])
async def test_an_answer_that_is_encoded_though_nobody_asked_for_that_is_refused_unread(encoding: str) -> None:
    bomb = gzip.compress(gzip.compress(bytes(64 * 2**20)))

    async with rest_of(says(bomb, Content_Encoding=encoding)) as rest:
        tracemalloc.start()
        with pytest.raises(VenueUnavailable, match="expected identity"):
            await rest.trades_from("btcusdt", 5)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert peak < 4 * 2**20


async def test_rest_asks_for_identity() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, stream=Body(b"{}"))

    async with rest_of(httpx.MockTransport(answer)) as rest:
        await rest.ping()

    assert asked[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_too_large_is_not_read_to_its_end(status: int) -> None:
    body = Body(b"x" * 2**16, times=1000)

    async with rest_of(httpx.MockTransport(lambda _: httpx.Response(status, stream=body))) as rest:
        with pytest.raises(VenueUnavailable, match="an answer of more than"):
            await rest.trades_from("btcusdt", 5)

    assert body.sent < 40


@pytest.mark.parametrize("weight", ["9" * 5000, "-5", "1e3", "", "0x10", "9" * 20, "10000000"])
async def test_a_used_weight_that_is_none_is_passed_over(weight: str) -> None:
    async with rest_of(says(b"{}", X_MBX_USED_WEIGHT_1M=weight)) as rest:
        await rest.ping()
        await rest.ping()


async def test_a_used_weight_that_leaves_no_room_is_waited_for() -> None:
    async with rest_of(says(b"{}", X_MBX_USED_WEIGHT_1M="5999")) as rest:
        await rest.ping()
        with pytest.raises(VenueUnavailable):
            await rest.ping()
