"""The types that proto3 JSON has a form of its own for, against protobuf's own json_format."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import BadInput
from gateway.transcode import json as ours
from gateway.transcode.rules import Route, routes
from tests.fixtures.library_proto import library, message

WellKnown = message("WellKnown")
ROUTES = {
    (route.verb, route.template.text): route for route in routes([library()]) if route.method.name in ("Echo", "Forget")
}


def read(body: str) -> Any:
    return ours.decoder(WellKnown.DESCRIPTOR)(ours.parse(body.encode()), "$")


def written(value: Any) -> Any:
    return json.loads(ours.to_bytes(ours.encoder(value.DESCRIPTOR)(value)))


def unpacked(value: Any) -> dict[str, Any]:
    """Return a message by its content: the bytes in an Any have the members of a map in no order."""
    return json_format.MessageToDict(value)


def packed(value: Any) -> Any:
    holder = WellKnown()
    holder.any.Pack(value)
    return holder.any


def _duration(nanos: int) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(nanos)
    return duration


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=8,
)
_value: st.SearchStrategy[Any] = _json.map(lambda value: json_format.ParseDict(value, Value()))  # type: ignore[arg-type]
_spans = st.integers(-(10**18), 10**18).map(_duration)


def wrapper(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return values.map(lambda value: {"value": value})


_inside = st.one_of(
    st.builds(Timestamp, seconds=st.integers(0, 2**33)),
    _spans,
    _value,
    st.builds(WellKnown, span=_spans, text=wrapper(_text)),
).map(packed)
_fields: dict[str, Any] = {
    "when": st.builds(Timestamp, seconds=st.integers(0, 2**33), nanos=st.integers(0, 999_999_999)),
    "span": _spans,
    "mask": st.lists(st.sampled_from(["page_size", "a", "inner.start_time"])).map(lambda paths: {"paths": paths}),
    "truth": wrapper(st.booleans()),
    "raw": wrapper(st.binary(max_size=5)),
    "ratio": wrapper(st.floats(allow_nan=False, allow_infinity=False)),
    "small_ratio": wrapper(st.floats(width=32, allow_nan=False, allow_infinity=False)),
    "small": wrapper(st.integers(-(2**31), 2**31 - 1)),
    "large": wrapper(st.integers(-(2**63), 2**63 - 1)),
    "text": wrapper(_text),
    "small_unsigned": wrapper(st.integers(0, 2**32 - 1)),
    "large_unsigned": wrapper(st.integers(0, 2**64 - 1)),
    "object": st.dictionaries(_text, _json, max_size=3).map(lambda value: json_format.ParseDict(value, Struct())),
    "value": _value,
    "list": st.lists(_value, max_size=3).map(lambda values: {"values": values}),
    "any": _inside,
    "nothing": st.just({}),
    "spans": st.lists(_spans, max_size=3),
    "values": st.lists(_value, max_size=3),
    "by_name": st.dictionaries(_text, _value, max_size=3),
}
_all = st.fixed_dictionaries({}, optional=_fields).map(lambda members: WellKnown(**members))


@given(_all)
@settings(max_examples=150)
def test_what_is_written_google_reads_alike(value: Any) -> None:
    assert unpacked(json_format.ParseDict(written(value), WellKnown())) == unpacked(value)


@given(_all)
@settings(max_examples=150)
def test_what_google_writes_is_read_alike(value: Any) -> None:
    assert unpacked(read(json_format.MessageToJson(value))) == unpacked(value)


def test_they_are_written_as_proto3_json_has_it() -> None:
    value = WellKnown(span=_duration(1_500_000_000), mask={"paths": ["page_size", "a.b"]}, large={"value": 2**53 + 1})
    value.any.Pack(_duration(1))
    found = {name: member for name, member in written(value).items() if member}
    assert found == {
        "span": "1.500s",
        "mask": "pageSize,a.b",
        "large": 2**53 + 1,
        "any": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "0.000000001s"},
    }


def test_what_is_not_set_is_null_and_numbers_that_json_has_not_are_null() -> None:
    assert set(map(str, written(WellKnown()).values())) == {"None", "[]", "{}"}
    assert written(Value(number_value=float("inf"))) is None
    assert json.dumps(written(Value(number_value=1e-7))) == "1e-07"
    assert ours.to_bytes(ours.encoder(Value.DESCRIPTOR)(Value(number_value=1e-7))) == b"0.0000001"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('{"span": "1.5"}', "expected a duration as 1.5s, found '1.5' - at $.span"),
        ('{"span": 1.5}', "expected a duration as 1.5s, found 1.5 - at $.span"),
        ('{"span": "999999999999s"}', "expected a duration as 1.5s, found '999999999999s' - at $.span"),
        ('{"span": "1.0000000001s"}', "expected a duration as 1.5s"),
        ('{"mask": "page_size"}', "expected names of fields as startTime,pageSize, found 'page_size' - at $.mask"),
        ('{"mask": ["pageSize"]}', "expected names of fields as startTime,pageSize"),
        ('{"small": 2147483648}', "from -2147483648 to 2147483647, found 2147483648 - at $.small"),
        ('{"truth": "yes"}', "expected true or false, found 'yes' - at $.truth"),
        ('{"object": [1]}', "expected an object, found [1] - at $.object"),
        ('{"object": {"a": [1e999]}}', "expected a number that a double can hold, found 1E+999 - at $.object.a[0]"),
        ('{"list": {}}', "expected a list, found {} - at $.list"),
        ('{"any": {"a": 1}}', "expected an @type as type.googleapis.com/tickmesh.v1.Trade, found null - at $.any"),
        ('{"any": {"@type": "x/no.Such"}}', "'x/no.Such' is no type that is known here - at $.any.@type"),
        ('{"any": {"@type": "x/google.protobuf.Duration"}}', "expected @type and value, found '@type' - at $.any"),
        ('{"any": {"@type": "x/google.protobuf.Duration", "value": 1}}', "found 1 - at $.any.value"),
        ('{"nothing": {"a": 1}}', "unknown field 'a'; known are none - at $.nothing"),
        ('{"null": 1}', "expected null, found 1 - at $.null"),
        ('{"spans": [null]}', "expected a duration as 1.5s, found null - at $.spans[0]"),
        ('{"object": ' + '{"a":' * 40 + "1" + "}" * 41, "body has more than 30 levels"),
    ],
)  # fmt: skip
def test_what_they_are_not_is_refused_with_its_place(body: str, problem: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(body)
    assert problem in str(caught.value)


def test_the_deepest_body_can_be_sent_on() -> None:
    value = read('{"value": ' + "[" * 29 + "]" * 29 + "}")
    assert WellKnown.FromString(value.SerializeToString()) == value
    value = read('{"object": ' + '{"a":' * 28 + "{}" + "}" * 29)
    assert WellKnown.FromString(value.SerializeToString()) == value


def route(verb: str, path: str) -> Route:
    return ROUTES[verb, path]


def test_they_come_in_queries_and_paths_too() -> None:
    pairs = [
        ("when", "1970-01-01T00:00:01Z"),
        ("ratio", "0.5"),
        ("text", ""),
        ("object", '{"a": [1, null]}'),
        ("value", "null"),
        ("list", "[true]"),
        ("any", '{"@type": "type.googleapis.com/google.protobuf.Int32Value", "value": 5}'),
        ("nothing", "{}"),
        ("spans", "1s"),
        ("spans", "-0.5s"),
        ("values", '"x"'),
    ]
    path = {"span": "1.5s", "mask": "pageSize,a", "large": "9007199254740993"}
    found = route("GET", "/v1/echo/{span}/{mask}/{large}").request(path, pairs)
    assert json_format.MessageToDict(found) == {
        "when": "1970-01-01T00:00:01Z",
        "span": "1.500s",
        "mask": "pageSize,a",
        "ratio": 0.5,
        "large": "9007199254740993",
        "text": "",
        "object": {"a": [1.0, None]},
        "value": None,
        "list": [True],
        "any": {"@type": "type.googleapis.com/google.protobuf.Int32Value", "value": 5},
        "nothing": {},
        "spans": ["1s", "-0.500s"],
        "values": ["x"],
    }


@pytest.mark.parametrize(
    ("name", "text"), [("object", "[]"), ("object", "{"), ("list", "x"), ("span", "1"), ("any", "5")]
)
def test_a_wrong_parameter_is_named(name: str, text: str) -> None:
    with pytest.raises(BadInput, match=f"parameter '{name}'"):
        route("GET", "/v1/echo").request({}, [(name, text)])


def test_they_can_be_the_whole_body_and_the_whole_answer() -> None:
    assert route("POST", "/v1/echo/value").request({}, [], b"[1]") == WellKnown(value=json_format.Parse("[1]", Value()))
    forget = route("POST", "/v1/forget")
    assert forget.request({}, [], b'{"a": 1}') == json_format.Parse('{"a": 1}', Struct())
    assert forget.encode(message("WellKnown")().nothing) == {}
