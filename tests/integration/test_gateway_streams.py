"""Streaming RPCs over REST: messages as they come, errors that do not look like an end, clients that go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from gateway.access import AdmissionRules
from mesh.service.access import Access
from mesh.service.errors import NotReady
from tests.fixtures.gateway import Gateway, batch, running_gateway
from tests.fixtures.waiting import eventually

WATCH = "/api/watch?all_symbols=true"
ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
EVENTS = {"Accept": "text/event-stream"}


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running_gateway(heartbeat_s=0.05, max_streams=2) as running:
        yield running


class Lines:
    """The lines of one answer; heartbeats are left out unless they are asked for."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()

    async def next(self, *, heartbeats: bool = False) -> str:
        async with asyncio.timeout(20):
            async for line in self._lines:
                if heartbeats or line.strip(":"):
                    return line
        return "the end"


async def test_each_message_is_a_line_of_ndjson(gateway: Gateway) -> None:
    async with gateway.http.stream("GET", WATCH) as response:
        assert (response.status_code, response.headers["content-type"]) == (200, "application/x-ndjson")
        lines = Lines(response)
        selected = json.loads(await lines.next())["result"]["selected"]
        gateway.signal.push(batch("btcusdt", 7, 2))
        trades = json.loads(await lines.next())["result"]["batches"]["batches"][0]["trades"]
    assert (selected["symbol"], trades["trade_id"], trades["price"]) == ("btcusdt", [7, 8], [7, 8])


async def test_each_message_is_a_server_sent_event_for_who_asks_for_them(gateway: Gateway) -> None:
    async with gateway.http.stream("GET", WATCH, headers=EVENTS) as response:
        assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
        field, _, data = (await Lines(response).next()).partition(": ")
    assert (field, json.loads(data)["selected"]["symbol"]) == ("data", "btcusdt")


async def test_an_event_has_no_id_and_whoever_names_one_is_told_what_comes_now(gateway: Gateway) -> None:
    async with gateway.http.stream("GET", WATCH, headers=EVENTS | {"Last-Event-ID": "7"}) as response:
        lines = Lines(response)
        assert (await lines.next()).startswith('data: {"selected"')
        assert await lines.next(heartbeats=True) == ""  # the event's end
        gateway.signal.push(batch("btcusdt", 8))
        assert (await lines.next()).startswith('data: {"batches"')


@pytest.mark.parametrize(("accept", "heartbeat"), [("*/*", ""), ("text/event-stream", ":")])
async def test_a_quiet_stream_shows_that_it_lives(gateway: Gateway, accept: str, heartbeat: str) -> None:
    async with gateway.http.stream("GET", WATCH, headers={"Accept": accept}) as response:
        lines = Lines(response)
        await lines.next()
        if heartbeat:
            assert await lines.next(heartbeats=True) == ""  # the event's end
        assert await lines.next(heartbeats=True) == heartbeat


async def test_a_client_that_goes_ends_the_rpc(gateway: Gateway) -> None:
    async with gateway.http.stream("GET", WATCH) as response:
        await Lines(response).next()
        assert gateway.signal.watchers
    await eventually(lambda: not gateway.signal.watchers)


async def test_only_so_many_streams_are_open_and_one_that_ends_makes_room(gateway: Gateway) -> None:
    async with gateway.http.stream("GET", WATCH):
        async with gateway.http.stream("GET", WATCH):
            refused = await gateway.http.get(WATCH)
            assert (refused.status_code, refused.json()["code"]) == (429, 8) and "retry-after" in refused.headers
        await eventually(lambda: len(gateway.signal.watchers) == 1)
        async with gateway.http.stream("GET", WATCH) as response:
            assert response.status_code == 200


async def test_an_error_before_the_first_message_is_an_answer_as_any_other(gateway: Gateway) -> None:
    gateway.signal.problem = NotReady("no venue yet")
    response = await gateway.http.get(WATCH, headers=EVENTS)
    assert (response.status_code, response.json()["message"]) == (503, "no venue yet")


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
async def test_an_error_on_the_way_is_told_and_does_not_look_like_an_end(gateway: Gateway, accept: str) -> None:
    async with gateway.http.stream("GET", WATCH, headers={"Accept": accept}) as response:
        lines = Lines(response)
        await lines.next()
        gateway.signal.fail(NotReady("the engine is away"))
        line = await lines.next()
        if accept == "text/event-stream":
            assert line == "event: error"
            line = '{"error":' + (await lines.next()).removeprefix("data: ") + "}"
        assert json.loads(line)["error"] == {
            "code": 14,
            "message": "the engine is away",
            "details": [{"@type": ERROR_INFO, "reason": "NOT_READY", "domain": "tickmesh.v1"}],
        }
        with pytest.raises(httpx.RemoteProtocolError):
            await lines.next()


@pytest.mark.parametrize(("accept", "rest"), [("*/*", ["the end"]), ("text/event-stream", ["event: end", "data: {}"])])
async def test_the_end_of_the_rpc_is_the_end_of_the_answer(gateway: Gateway, accept: str, rest: list[str]) -> None:
    async with gateway.http.stream("GET", WATCH, headers={"Accept": accept}) as response:
        lines = Lines(response)
        await lines.next()
        gateway.signal.fail(None)
        assert [await lines.next() for _ in rest] == rest


async def test_a_gateway_that_stops_says_so_to_its_streams(gateway: Gateway) -> None:
    async with gateway.http.stream("GET", WATCH) as response:
        lines = Lines(response)
        await lines.next()
        gateway.app.state.streams.drain()
        assert json.loads(await lines.next())["error"]["message"] == "the gateway is stopping; ask again"
    assert (await gateway.http.get(WATCH)).status_code == 503


async def test_a_stream_ends_when_its_client_said_it_would(gateway: Gateway) -> None:
    async with gateway.http.stream("GET", WATCH, headers={"Grpc-Timeout": "100m"}) as response:
        lines = Lines(response)
        await lines.next()
        error = json.loads(await lines.next())["error"]
    assert (error["code"], error["message"]) == (4, "SignalService did not answer within 0.1 s")


async def test_a_client_may_wait_as_long_as_the_header_can_say(gateway: Gateway) -> None:
    async with gateway.http.stream("GET", WATCH, headers={"Grpc-Timeout": "99999999H"}) as response:
        lines = Lines(response)
        await lines.next()
        gateway.signal.push(batch("btcusdt", 251))
        assert "batches" in json.loads(await lines.next())["result"]


async def test_head_opens_no_stream_and_another_type_is_refused(gateway: Gateway) -> None:
    head = await gateway.http.head(WATCH)
    assert (head.status_code, head.headers["content-type"], gateway.signal.watchers) == (
        200,
        "application/x-ndjson",
        set(),
    )
    html = await gateway.http.get(WATCH, headers={"Accept": "text/html"})
    assert (html.status_code, html.json()["code"]) == (406, 3) and "text/event-stream" in html.json()["message"]


async def test_a_stream_needs_a_token_wherever_there_is_one() -> None:
    async with running_gateway(admission=AdmissionRules(Access(api_token="s" * 16))) as gateway:
        assert (await gateway.http.get(WATCH)).status_code == 401
        assert (await gateway.http.get(WATCH, headers={"Origin": "http://evil.example"})).status_code == 403
        async with gateway.http.stream("GET", f"{WATCH}&token={'s' * 16}") as response:
            assert response.status_code == 200
