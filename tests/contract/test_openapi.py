"""The OpenAPI document says what the gateway does: every rule of the protos, every field, nothing dangling."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from gateway import manual
from gateway.app import SERVICES
from gateway.transcode import openapi
from gateway.transcode.comments import read_comments, shipped_descriptors
from gateway.transcode.fields import is_oneof_member, public_name
from gateway.transcode.rules import Route, routes

ROUTES = routes(SERVICES)


@cache
def document(*, token_needed: bool = False) -> dict[str, Any]:
    return openapi.document(
        ROUTES,
        read_comments(shipped_descriptors()),
        info=manual.INFO,
        own_paths=manual.own_paths(token_needed=token_needed),
        own_tags=[manual.TAG],
        examples=manual.EXAMPLES,
        token_needed=token_needed,
    )


def operations() -> list[dict[str, Any]]:
    return [operation for item in document()["paths"].values() for operation in item.values()]


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for member in value.values():
            yield from walk(member)
    elif isinstance(value, list):
        for member in value:
            yield from walk(member)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.verb} {route.template.text}")
def test_every_route_is_there_with_its_parameters_and_comment(route: Route) -> None:
    operation = document()["paths"][route.template.shown][route.verb.lower()]
    assert [p["name"] for p in operation["parameters"] if p["in"] == "query"] == [p.name for p in route.parameters]
    assert operation["description"] and all(p["description"] for p in operation["parameters"])


def test_the_other_names_of_a_parameter_are_marked_alike_everywhere() -> None:
    """Whoever lists something is told one name: `page_size`, `start_time`, `end_time`."""
    found = {
        path: {parameter["name"] for parameter in item["get"]["parameters"] if parameter.get("deprecated")}
        for path, item in document()["paths"].items()
        if "get" in item and any(p["name"] == "page_token" for p in item["get"].get("parameters", ()))
    }
    others = {"limit", "start", "end"}
    assert found.pop("/api/instruments") == {"limit"}
    assert found == {"/api/history": others, "/api/trades": others, "/api/candles": others}


def test_every_method_of_the_services_is_documented() -> None:
    documented = {route.method.full_name for route in ROUTES}
    methods = {method.full_name for service in SERVICES for method in service.methods}
    over_grpc_alone = {"tickmesh.v1.SignalService.WatchDirectly"}  # it leads past HTTP
    assert methods - over_grpc_alone == documented and over_grpc_alone < methods


def test_the_gateways_own_paths_are_there() -> None:
    assert {"/ws", "/healthz", "/readyz", "/metrics"} <= set(document()["paths"])


def test_operation_ids_are_unique_and_words() -> None:
    ids = [operation["operationId"] for operation in operations()]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"\w+", name) for name in ids)


def test_every_tag_used_is_described() -> None:
    described = {tag["name"] for tag in document()["tags"] if tag["description"]}
    assert {tag for operation in operations() for tag in operation["tags"]} == described


def test_every_reference_leads_to_a_schema() -> None:
    schemas = document()["components"]["schemas"]
    found = {node["$ref"] for node in walk(document()) if "$ref" in node}
    assert found and found <= {f"#/components/schemas/{name}" for name in schemas}


def test_every_answer_says_what_it_is_and_every_operation_can_fail() -> None:
    for operation in operations():
        assert all(answer["description"] for answer in operation["responses"].values())
    assert all("default" in op["responses"] for op in operations() if op["tags"] != [manual.TAG["name"]])


def test_messages_have_all_their_fields_with_our_names_and_the_protos_comments() -> None:
    schemas = document()["components"]["schemas"]
    answers = {route.method.output_type for route in ROUTES if not route.response_body and not route.gives_bytes}
    for message in answers:
        schema = schemas[message.name]
        assert list(schema["properties"]) == [public_name(field) for field in message.fields]
        assert schema["required"] == [public_name(field) for field in message.fields if not is_oneof_member(field)]
        assert all(field["description"] for field in schema["properties"].values())


def test_a_trade_is_described_as_it_is_written() -> None:
    trade = document()["components"]["schemas"]["Trade"]["properties"]
    assert trade["price"]["type"] == "number"
    assert trade["trade_id"]["type"] == "integer"
    assert trade["side"]["enum"] == ["UNSPECIFIED", "BUY", "SELL"]
    assert trade["timestamp"]["anyOf"][0] == {"type": "string", "format": "date-time"}


def test_history_is_a_list_whose_next_page_is_in_a_header() -> None:
    answer = document()["paths"]["/api/history"]["get"]["responses"]["200"]
    assert answer["content"]["application/json"]["schema"]["type"] == "array"
    assert "X-Next-Page-Token" in answer["headers"]


def test_a_token_is_asked_for_only_where_one_is_needed() -> None:
    paths = document(token_needed=True)["paths"]
    assert "security" in paths["/api/symbol"]["post"] and "security" in paths["/ws"]["get"]
    assert "security" not in paths["/api/symbol"]["get"]
    assert "securitySchemes" not in document()["components"]


def test_an_answer_that_can_be_asked_for_again_is_documented_with_its_tag() -> None:
    paths = document()["paths"]
    assert "ETag" in paths["/api/trades/{symbol}/{trade_id}"]["get"]["responses"]["304"]["headers"]
    assert {"ETag", "Link"} <= set(paths["/api/history"]["get"]["responses"]["200"]["headers"])
    tagged = {(path, verb) for path, item in paths.items() for verb in item if "304" in item[verb]["responses"]}
    assert not tagged & {("/api/watch", "get"), ("/api/export/trades", "get"), ("/api/symbol", "post"), ("/ws", "get")}


def test_every_answer_is_documented_with_the_name_of_its_request() -> None:
    described = document()["paths"]["/api/history"]["get"]["responses"]
    assert all("X-Request-Id" in answer["headers"] for answer in described.values()) and len(described) == 3


def test_examples_are_where_a_symbol_or_a_trade_is_asked_for() -> None:
    paths, schemas = document()["paths"], document()["components"]["schemas"]
    trade = {p["name"]: p.get("example") for p in paths["/api/trades/{symbol}/{trade_id}"]["get"]["parameters"]}
    assert (trade["symbol"], trade["trade_id"], trade["epoch"]) == ("ethusdt", 7, None)
    body = paths["/api/symbol"]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert schemas[body.rpartition("/")[2]]["properties"]["symbol"]["examples"] == ["ethusdt"]
    assert "examples" not in schemas["Trade"]["properties"]["symbol"]


def test_a_request_may_have_null_for_any_field_and_no_body_at_all() -> None:
    body = document()["paths"]["/api/session:reset"]["post"]["requestBody"]
    message = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    properties = document()["components"]["schemas"][message]["properties"]
    assert not body["required"]
    assert properties and all({"type": "null"} in schema["anyOf"] for schema in properties.values())
