from __future__ import annotations

from typing import Any

import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.errors import BadField, BadInput
from gateway.transcode.rules import Route, routes
from tests.fixtures.library_proto import library, message
from tickmesh.v1 import signal_pb2, store_pb2

OURS = routes(
    [signal_pb2.DESCRIPTOR.services_by_name["SignalService"], store_pb2.DESCRIPTOR.services_by_name["StoreService"]]
)
LIBRARY = routes([library()])


def route(verb: str, template: str, among: tuple[Route, ...] = OURS) -> Route:
    (found,) = [route for route in among if (route.verb, route.template.text) == (verb, template)]
    return found


def test_the_originals_endpoints_are_routes() -> None:
    found = {(route.verb, route.template.text): route.method.name for route in OURS}
    assert found.items() >= {
        ("GET", "/api/price"): "GetPrice",
        ("GET", "/api/stats"): "GetStats",
        ("GET", "/api/history"): "ListTrades",
        ("GET", "/api/symbol"): "GetSymbol",
        ("POST", "/api/symbol"): "SelectSymbol",
        ("GET", "/api/coins"): "ListCoins",
        ("POST", "/api/session:reset"): "ResetSession",
        ("GET", "/api/trades"): "ListTrades",
    }.items()  # fmt: skip


def test_the_rpcs_path_is_its_full_name() -> None:
    assert route("GET", "/api/price").rpc == "/tickmesh.v1.SignalService/GetPrice"


def test_an_rpc_without_a_rule_has_no_route() -> None:
    assert not [route for route in LIBRARY if route.method.name == "Unmapped"]


def test_additional_bindings_are_routes_of_their_own() -> None:
    assert [route.template.text for route in LIBRARY if route.method.name == "ReadBook"] == [
        "/v1/{name=shelves/*/books/*}",
        "/v1/books/{name}:read",
        "/v1/anything/{name=**}",
    ]


def test_query_parameters_fill_the_request() -> None:
    pairs = [("symbol", "ethusdt"), ("limit", "5"), ("start_time", "2024-01-31T12:34:56.5Z"), ("pageToken", "x y")]
    assert route("GET", "/api/history").request({}, pairs) == store_pb2.ListTradesRequest(
        symbol="ethusdt", limit=5, page_token="x y", start_time=Timestamp(seconds=1706704496, nanos=500_000_000)
    )


def test_query_parameters_reach_into_messages_and_repeat() -> None:
    pairs = [
        ("numbers", "1"),
        ("numbers", "-2"),
        ("inner.text", "deep"),
        ("inner.inner.price", "0.5"),
        ("colours", "BLUE"),
        ("moments", "1970-01-01T00:00:01Z"),
        ("truth", "true"),
        ("level", "1.5"),
        ("raw", "+/8="),
        ("ratio", "1e3"),
        ("maybe", "0"),
    ]
    everything = message("Everything")
    assert route("GET", "/v1/books", LIBRARY).request({}, pairs) == everything(
        numbers=[1, -2],
        inner=everything(text="deep", inner=everything(price_e8=50_000_000)),
        colours=[1],
        moments=[Timestamp(seconds=1)],
        truth=True,
        level_e8=[150_000_000],
        raw=b"\xfb\xff",
        ratio=1000.0,
        maybe=0,
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("page_size", "ten", "a whole number from -2147483648 to 2147483647"),
        ("page_size", "", "a whole number from -2147483648 to 2147483647"),
        ("page_size", "1_000", "a whole number from -2147483648 to 2147483647"),
        ("page_size", " 1", "a whole number from -2147483648 to 2147483647"),
        ("page_size", "١", "a whole number from -2147483648 to 2147483647"),
        ("limit", "2147483648", "a whole number from -2147483648 to 2147483647"),
        ("start_time", "yesterday", "a time as 2024-01-31T12:34:56.789Z"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name_with_what_was_found_and_expected(
    name: str, value: str, expected: str
) -> None:
    with pytest.raises(BadField) as caught:
        route("GET", "/api/history").request({}, [(name, value)])
    assert str(caught.value) == f"parameter {name!r}: expected {expected}, found {value!r}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("truth", "yes"),
        ("colour", "PINK"),
        ("ratio", "nan"),
        ("ratio", "1e999"),
        ("price", "1e5"),
        ("raw", "?"),
        ("small_unsigned", "-1"),
    ],
)
def test_every_kind_of_parameter_is_strict(name: str, value: str) -> None:
    with pytest.raises(BadField, match=f"parameter '{name}': expected .*, found '"):
        route("GET", "/v1/books", LIBRARY).request({}, [(name, value)])


def test_an_unknown_parameter_is_refused_naming_the_known_ones() -> None:
    with pytest.raises(BadField, match=r"parameter 'simbol': unknown; known are symbol$"):
        route("GET", "/api/price").request({}, [("simbol", "ethusdt")])


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(BadField, match="parameter 'symbol': given 2 times, expected once"):
        route("GET", "/api/price").request({}, [("symbol", "a"), ("symbol", "b")])


def test_a_wrong_parameter_is_named_in_the_details() -> None:
    with pytest.raises(BadField) as caught:
        route("GET", "/api/history").request({}, [("limit", "x")])
    assert caught.value.details[0]["field_violations"][0]["field"] == "limit"  # type: ignore[index]


def test_a_star_body_is_the_whole_request() -> None:
    request = route("POST", "/api/symbol").request({}, [], b'{"symbol": "ethusdt"}')
    assert request == signal_pb2.SelectSymbolRequest(symbol="ethusdt")


def test_with_a_star_body_there_are_no_query_parameters() -> None:
    with pytest.raises(BadField, match="parameter 'symbol': unknown; this takes no parameters"):
        route("POST", "/api/symbol").request({}, [("symbol", "ethusdt")], b"{}")


def test_an_empty_body_is_an_empty_object() -> None:
    assert route("POST", "/api/session:reset").request({}, [], b" ") == signal_pb2.ResetSessionRequest()


def test_a_field_body_leaves_the_rest_to_path_and_query() -> None:
    found = route("PATCH", "/v1/{book.text=books/*}", LIBRARY).request(
        {"book.text": "books/9"}, [("revision", "3")], b'{"small": 4}'
    )
    assert found == message("BookRequest")(book=message("Everything")(text="books/9", small=4), revision=3)


def test_a_field_of_the_body_is_no_query_parameter() -> None:
    with pytest.raises(BadField, match="unknown; known are name, revision"):
        route("PATCH", "/v1/{book.text=books/*}", LIBRARY).request({"book.text": "x"}, [("book.small", "3")], b"{}")


def test_a_path_variable_is_no_query_parameter() -> None:
    names = [p.name for p in route("DELETE", "/v1/books/{name}", LIBRARY).parameters]
    assert "name" not in names and "revision" in names


def test_a_body_where_none_belongs_is_refused() -> None:
    with pytest.raises(BadInput, match="GET /api/price takes no body, found 2 bytes"):
        route("GET", "/api/price").request({}, [], b"{}")


def test_a_custom_verb_and_a_response_body() -> None:
    lend = route("LEND", "/v1/books:lend", LIBRARY)
    page = message("Page")(items=[message("Everything")(text="x")], next_page_token="y")
    assert lend.hides_next_page and [item["text"] for item in lend.encode(page)] == ["x"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"get": "/v1/{nothing}"}, "path variable 'nothing' names no scalar field"),
        ({"post": "/v1/x", "body": "nothing"}, "names the field 'nothing'"),
        ({"get": "/v1/x", "response_body": "nothing"}, "names the field 'nothing'"),
        ({"post": "/v1/x", "body": "name"}, "the body 'name', which is no message"),
        ({"get": "v1"}, "does not begin with a slash"),
        ({}, "has no path"),
    ],
)
def test_a_rule_that_cannot_be_served_is_refused(rule: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        routes([service_with(rule)])


def test_an_rpc_that_takes_a_stream_cannot_have_a_rule() -> None:
    with pytest.raises(ValueError, match="takes a stream"):
        routes([service_with({"get": "/v1/x"}, client_streaming=True)])


def service_with(rule: dict[str, str], **method: Any) -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="one_rule.proto", package="one.rule", syntax="proto3")
    request = file.message_type.add(name="Request")
    request.field.add(name="name", number=1, type="TYPE_STRING", label="LABEL_OPTIONAL")
    service = file.service.add(name="Service")
    added = service.method.add(name="Do", input_type=".one.rule.Request", output_type=".one.rule.Request", **method)
    added.options.Extensions[annotations_pb2.http].SetInParent()
    for name, value in rule.items():
        setattr(added.options.Extensions[annotations_pb2.http], name, value)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName("one.rule.Service")
