"""A proto that the gateway has never seen, with a servicer of its own: routes, streams, errors and document follow."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest_asyncio

from mesh.service.errors import InvalidRequest, NotFound
from mesh.service.rpc import channel, serving
from tests.fixtures.gateway import Gateway, running_gateway, serving_health
from tests.fixtures.library_proto import descriptor_set, library, message


async def read_book(request: Any, context: Any) -> Any:
    if request.name != "shelves/1/books/2":
        raise NotFound(f"no book {request.name}")
    return message("Everything")(text=request.name, price_e8=150_000_000)


async def write_book(request: Any, context: Any) -> Any:
    if not request.book.ratio:
        raise InvalidRequest("ratio is 0, expected more", field="book.ratio")
    return request.book


async def echo(request: Any, context: Any) -> Any:
    return request


async def count(request: Any, context: Any) -> AsyncIterator[Any]:
    for revision in range(request.revision):
        yield message("BookRequest")(revision=revision)
    if request.name == "lost":
        raise NotFound("the rest is lost")


def written(answer: Any) -> bytes:
    found: bytes = answer.SerializeToString()
    return found


def register(server: grpc.aio.Server) -> None:
    request, everything, known = message("BookRequest"), message("Everything"), message("WellKnown")

    def unary(behaviour: Any, asked: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(behaviour, asked.FromString, written)

    handlers = {
        "ReadBook": unary(read_book, request),
        "WriteBook": unary(write_book, request),
        "FindBooks": unary(echo, everything),
        "Echo": unary(echo, known),
        "Count": grpc.unary_stream_rpc_method_handler(count, request.FromString, written),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(library().full_name, handlers),))


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with (
        serving("127.0.0.1:0", services=[library().full_name], register=register, health=serving_health()) as port,
        channel(f"127.0.0.1:{port}") as library_channel,
        running_gateway(further={library(): library_channel}, descriptors=descriptor_set()) as running,
    ):
        yield running


async def test_its_routes_answer(gateway: Gateway) -> None:
    found = (await gateway.http.get("/v1/shelves/1/books/2")).json()
    assert (found["text"], found["price"]) == ("shelves/1/books/2", 1.5)
    written = await gateway.http.patch("/v1/books/7", json={"ratio": 0.5})
    assert (written.status_code, written.json()["text"], written.json()["ratio"]) == (200, "books/7", 0.5)


async def test_its_errors_are_answers_with_their_details(gateway: Gateway) -> None:
    missing = await gateway.http.get("/v1/shelves/1/books/3")
    assert (missing.status_code, missing.json()["message"]) == (404, "no book shelves/1/books/3")
    wrong = await gateway.http.patch("/v1/books/7", json={})
    assert (wrong.status_code, wrong.json()["details"][1]["field_violations"]) == (
        400,
        [{"field": "book.ratio", "description": "ratio is 0, expected more"}],
    )
    options = await gateway.http.options("/v1/books/7")
    assert options.headers["allow"] == "DELETE, OPTIONS, PATCH"
    unserved = await gateway.http.delete("/v1/books/7")
    assert (unserved.status_code, unserved.json()["code"]) == (501, 12)


async def test_well_known_types_go_there_and_back(gateway: Gateway) -> None:
    body = {"span": "1.500s", "mask": "pageSize", "large": 2**53 + 1, "object": {"a": [1, None, "x"]}, "value": None}
    found = (await gateway.http.post("/v1/echo", json=body)).json()
    assert {name: found[name] for name in body} == body
    path = (await gateway.http.get("/v1/echo/1.5s/pageSize/5", params={"nothing": "{}", "truth": "true"})).json()
    assert (path["span"], path["mask"], path["large"], path["nothing"], path["truth"]) == (
        "1.500s", "pageSize", 5, {}, True,
    )  # fmt: skip
    assert (await gateway.http.post("/v1/echo/value", json=[1, {"a": None}])).json() == [1, {"a": None}]


async def test_its_streams_are_streams(gateway: Gateway) -> None:
    whole = await gateway.http.get("/v1/books/x/revisions?revision=3")
    assert [json.loads(line) for line in whole.text.splitlines()] == [{"result": 0}, {"result": 1}, {"result": 2}]
    events = await gateway.http.get("/v1/books/x/revisions?revision=1", headers={"Accept": "text/event-stream"})
    assert events.text == "data: 0\n\nevent: end\ndata: {}\n\n"
    empty = await gateway.http.get("/v1/books/x/revisions")
    assert (empty.status_code, empty.text) == (200, "")
    lost = await gateway.http.get("/v1/books/lost/revisions")
    assert (lost.status_code, lost.json()["message"]) == (404, "the rest is lost")


async def test_its_comments_are_its_document(gateway: Gateway) -> None:
    document = (await gateway.http.get("/openapi.json")).json()
    paths = document["paths"]
    assert paths["/v1/books/{name}:read"]["get"]["description"] == "Read one.\n\nAt length."
    assert list(paths["/v1/books/{name}/revisions"]["get"]["responses"]["200"]["content"]) == [
        "application/x-ndjson",
        "text/event-stream",
    ]
    properties = document["components"]["schemas"]["WellKnown"]["properties"]
    assert properties["large"]["anyOf"] == [{"type": "integer", "format": "int64"}, {"type": "null"}]
