from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import BadField, BadInput
from gateway.transcode import json
from mesh.values.fixed import format_scaled
from tests.fixtures.library_proto import message
from tickmesh.v1 import store_pb2, trade_pb2

Everything = message("Everything")


def written(value: Any) -> Any:
    return msgspec.json.decode(text(value))


def text(value: Any) -> bytes:
    return json.to_bytes(json.encoder(value.DESCRIPTOR)(value))


def read(body: str, kind: Any = Everything) -> Any:
    return json.decoder(kind.DESCRIPTOR)(json.parse(body.encode()), "$")


def test_a_trade_is_written_with_our_names_and_exact_numbers() -> None:
    trade = trade_pb2.Trade(
        venue="sim",
        symbol="btcusdt",
        trade_id=2**53 + 1,
        price_e8=6_183_763_000_000,
        quantity_e8=638,
        timestamp=Timestamp(seconds=1_700_000_000, nanos=123_000_000),
        side=trade_pb2.SIDE_BUY,
    )
    assert text(trade) == (
        b'{"venue":"sim","symbol":"btcusdt","trade_id":9007199254740993,"price":61837.63,"quantity":0.00000638,'
        b'"timestamp":"2023-11-14T22:13:20.123Z","side":"BUY","epoch":0}'
    )


def test_defaults_are_written_and_unset_messages_are_null() -> None:
    assert text(trade_pb2.Trade()) == (
        b'{"venue":"","symbol":"","trade_id":0,"price":0,"quantity":0,"timestamp":null,"side":"UNSPECIFIED","epoch":0}'
    )


def test_an_empty_everything_has_every_field_but_the_oneofs() -> None:
    assert written(Everything()) == {
        "truth": False,
        "small": 0,
        "large": 0,
        "small_unsigned": 0,
        "large_unsigned": 0,
        "zigzag": 0,
        "price": 0,
        "ratio": 0.0,
        "text": "",
        "raw": "",
        "colour": "UNSPECIFIED",
        "when": None,
        "inner": None,
        "maybe": None,
        "numbers": [],
        "level": [],
        "colours": [],
        "children": [],
        "moments": [],
        "counts": {},
        "shelves": {},
        "answers": {},
        "total": 0,
    }


def test_the_fields_stand_in_the_protos_order() -> None:
    names = list(written(Everything(left="x")))
    fields = [field.name for field in Everything.DESCRIPTOR.fields if field.name != "right"]
    assert names == [name.removesuffix("_e8").removesuffix("_decimal") for name in fields]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_in_json_is_null(number: float) -> None:
    assert written(Everything(ratio=number))["ratio"] is None


def test_an_unknown_enum_number_stays_a_number() -> None:
    assert written(Everything(colour=7, colours=[1, -3, 7]))["colours"] == ["BLUE", "RED", 7]


def test_maps_have_text_keys() -> None:
    value = Everything(counts={"a": 1}, answers={True: "yes"})
    value.shelves[-4].text = "x"
    found = written(value)
    assert (found["counts"], found["answers"], found["shelves"]["-4"]["text"]) == ({"a": 1}, {"true": "yes"}, "x")


def test_repeated_decimals_are_exact() -> None:
    assert b'"level":[0.00000001,-1.5,90000000000]' in text(Everything(level_e8=[1, -150_000_000, 9 * 10**18]))


@pytest.mark.parametrize("number", ["0", "12.5", "-0.0000000000000001", "8100000000000000000000.000000015"])
def test_a_decimal_of_any_size_is_written_as_the_number_it_is(number: str) -> None:
    assert f'"total":{number}}}'.encode() in text(Everything(total_decimal=number))


@pytest.mark.parametrize("wrong", ["1e5", "x", "01", "1.", '1,"admin":true', "NaN"])
def test_a_decimal_that_is_no_number_never_gets_into_an_answer(wrong: str) -> None:
    with pytest.raises(ValueError):
        text(Everything(total_decimal=wrong))


@pytest.mark.parametrize("body", ['{"total": 12.50}', '{"total": "12.5"}', '{"total": 125e-1}'])
def test_a_decimal_is_read_under_its_short_name(body: str) -> None:
    assert read(body).total_decimal == "12.5"


def test_a_candle_is_written_in_the_order_charts_take_it() -> None:
    candle = trade_pb2.Candle(
        time=Timestamp(seconds=1_700_000_040),
        open_e8=6_183_763_000_000,
        high_e8=6_183_800_000_000,
        low_e8=6_183_700_000_000,
        close_e8=6_183_763_000_001,
        volume_decimal="1.5",
        quote_volume_decimal="92755.9645",
        taker_buy_volume_decimal="0",
        count=3,
        first_trade_id=7,
        last_trade_id=9,
        interval="1m",
        rsi=50.5,
        atr=math.nan,
        macd=math.nan,
        macd_signal=math.nan,
        macd_histogram=math.nan,
        ema=math.nan,
        sma=math.nan,
        average_gain=0.25,
        average_loss=0.25,
        macd_fast=math.nan,
        macd_slow=math.nan,
        closed=True,
    )
    assert text(candle) == (
        b'{"time":"2023-11-14T22:14:00Z","open":61837.63,"high":61838,"low":61837,"close":61837.63000001,"volume":1.5,'
        b'"quote_volume":92755.9645,"taker_buy_volume":0,"count":3,"first_trade_id":7,"last_trade_id":9,'
        b'"interval":"1m","revision":0,"rsi":50.5,"atr":null,"macd":null,"macd_signal":null,"macd_histogram":null,'
        b'"ema":null,"sma":null,"average_gain":0.25,"average_loss":0.25,"macd_fast":null,"macd_slow":null,"epoch":0,'
        b'"closed":true}'
    )


def test_one_field_of_an_answer_can_stand_alone() -> None:
    page = store_pb2.ListTradesResponse(next_page_token="x", trades=[trade_pb2.Trade(trade_id=4)])
    encode = json.field_encoder(page.DESCRIPTOR.fields_by_name["trades"])
    assert [trade["trade_id"] for trade in msgspec.json.decode(json.to_bytes(encode(page)))] == [4]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("[]", "expected an object, found [] - at $"),
        ('{"colour": "PINK"}', "expected one of UNSPECIFIED, BLUE, RED, found 'PINK' - at $.colour"),
        ('{"colour": 9}', "expected one of UNSPECIFIED, BLUE, RED, found 9 - at $.colour"),
        ('{"truth": 1}', "expected true or false, found 1 - at $.truth"),
        ('{"truth": "true"}', "expected true or false, found 'true' - at $.truth"),
        (
            '{"small": 2147483648}',
            "expected a whole number from -2147483648 to 2147483647, found 2147483648 - at $.small",
        ),
        ('{"small": true}', "expected a whole number from -2147483648 to 2147483647, found true - at $.small"),
        ('{"small_unsigned": -1}', "expected a whole number from 0 to 4294967295, found -1 - at $.small_unsigned"),
        ('{"small": 1.5}', "found 1.5 - at $.small"),
        ('{"small": 1e999999}', "at $.small"),
        ('{"price": 0.000000001}', "expected a decimal number with at most 8 places"),
        ('{"price": "1e5"}', "expected a decimal number with at most 8 places, found '1e5' - at $.price"),
        ('{"price": 92233720369}', "expected a decimal number with at most 8 places, found 92233720369 - at $.price"),
        ('{"total": "x"}', "expected a plain decimal number, found 'x' - at $.total"),
        ('{"total": true}', "expected a plain decimal number, found true - at $.total"),
        ('{"text": 5}', "expected a string, found 5 - at $.text"),
        ('{"ratio": "x"}', "expected a number, found 'x' - at $.ratio"),
        ('{"ratio": 1e400}', "expected a number"),
        ('{"raw": "?"}', "expected base64 text, found '?' - at $.raw"),
        ('{"when": 5}', "expected a time as 2024-01-31T12:34:56.789Z, found 5 - at $.when"),
        ('{"inner": {"text": []}}', "expected a string, found [] - at $.inner.text"),
        ('{"numbers": 5}', "expected a list, found 5 - at $.numbers"),
        ('{"numbers": [1, "x"]}', "found 'x' - at $.numbers[1]"),
        ('{"children": [{}, {"small": {}}]}', "found {} - at $.children[1].small"),
        ('{"counts": []}', "expected an object, found [] - at $.counts"),
        ('{"counts": {"a": "b"}}', "found 'b' - at $.counts.a"),
        (
            '{"shelves": {"x": {}}}',
            "key: expected a whole number from -2147483648 to 2147483647, found 'x' - at $.shelves.x",
        ),
        ('{"answers": {"perhaps": ""}}', "key: expected true or false, found 'perhaps' - at $.answers.perhaps"),
        ('{"left": "a", "right": 1}', "only one of 'left' and 'right' may be given - at $"),
        ('{"txt": 5}', "unknown field 'txt'; known are truth, small"),
        ('{"price_e8": 5}', "unknown field 'price_e8'"),
    ],
)
def test_a_wrong_body_is_refused_with_what_was_found_and_where(body: str, problem: str) -> None:
    with pytest.raises(BadField) as caught:
        read(body)
    assert problem in str(caught.value)


@pytest.mark.parametrize("body", ["", "{", "{'a': 1}", "\x00", '{"a": 01}', "[" * 100_000])
def test_what_is_not_json_is_refused(body: str) -> None:
    with pytest.raises(BadInput, match="body is not JSON"):
        json.parse(body.encode())


def test_a_body_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(BadInput, match="body is not JSON"):
        json.parse(b'{"a": "\xff"}')


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"small": 1.0, "large": "9007199254740993", "large_unsigned": 18446744073709551615}',
         {"small": 1, "large": 2**53 + 1, "large_unsigned": 2**64 - 1}),
        ('{"price": 61837.63}', {"price_e8": 6_183_763_000_000}),
        ('{"price": "-0.00000001"}', {"price_e8": -1}),
        ('{"price": 1e2}', {"price_e8": 10**10}),
        ('{"smallUnsigned": 3, "small_unsigned": 3}', {"small_unsigned": 3}),
        ('{"colour": "COVER_COLOUR_BLUE"}', {"colour": 1}),
        ('{"colour": -3}', {"colour": -3}),
        ('{"raw": "-_8"}', {"raw": b"\xfb\xff"}),
        ('{"ratio": "NaN"}', None),
        ('{"maybe": 0}', {"maybe": 0}),
        ('{"text": null, "when": null}', {}),
    ],
)  # fmt: skip
def test_what_proto3_json_allows_is_understood(body: str, expected: dict[str, Any] | None) -> None:
    found = read(body)
    if expected is None:
        assert math.isnan(found.ratio)
    else:
        assert found == Everything(**expected)


OUR_NAMES = ("price", "level", "total", "colour")
"""What is not as proto3 JSON has it."""

_int64 = st.integers(-(2**63), 2**63 - 1)
_leaf: dict[str, st.SearchStrategy[Any]] = {
    "truth": st.booleans(),
    "small": st.integers(-(2**31), 2**31 - 1),
    "large": _int64,
    "small_unsigned": st.integers(0, 2**32 - 1),
    "large_unsigned": st.integers(0, 2**64 - 1),
    "zigzag": _int64,
    "price_e8": st.integers(-(2**63) + 1, 2**63 - 1),
    "ratio": st.floats(allow_nan=False, allow_infinity=False),
    "text": st.text(st.characters(exclude_categories=["Cs"])),
    "total_decimal": st.integers(0, 2**192).map(lambda value: format_scaled(value, 16)),
    "raw": st.binary(max_size=20),
    "colour": st.sampled_from([0, 1, -3]),
    "when": st.builds(Timestamp, seconds=st.integers(0, 2**33), nanos=st.integers(0, 999_999_999)),
    "maybe": st.integers(-5, 5),
    "numbers": st.lists(_int64, max_size=3),
    "level_e8": st.lists(st.integers(-(2**63) + 1, 2**63 - 1), max_size=3),
    "colours": st.lists(st.sampled_from([0, 1, -3]), max_size=3),
    "counts": st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), _int64, max_size=3),
    "answers": st.dictionaries(st.booleans(), st.just("x")),
}
_flat = st.fixed_dictionaries({}, optional=_leaf).map(lambda members: Everything(**members))


def _with(outer: Any, inner: Any, children: list[Any]) -> Any:
    if inner is not None:
        outer.inner.CopyFrom(inner)
    outer.children.extend(children)
    return outer


_everything = st.builds(_with, _flat, st.none() | _flat, st.lists(_flat, max_size=2))


@given(_everything)
@settings(max_examples=100)
def test_whatever_is_written_reads_back(value: Any) -> None:
    for holder in (value, value.inner, *value.children):
        if holder is not value.inner or value.HasField("inner"):
            holder.total_decimal = holder.total_decimal or "0"
    assert read(text(value).decode()) == value


@given(_everything)
@settings(max_examples=100)
def test_what_google_writes_is_read_alike(value: Any) -> None:
    # decimals aside, which proto3 JSON does not know
    for holder in (value, value.inner, *value.children):
        if holder is not value.inner or value.HasField("inner"):
            holder.ClearField("price_e8")
            holder.ClearField("level_e8")
            holder.ClearField("total_decimal")
    theirs = json_format.MessageToJson(value)
    assert read(theirs) == json_format.Parse(theirs, Everything()) == value


@given(_flat)
@settings(max_examples=100)
def test_what_is_written_google_reads_alike(value: Any) -> None:
    value.ClearField("price_e8")
    value.ClearField("level_e8")
    value.ClearField("colour")
    value.ClearField("colours")
    value.ClearField("total_decimal")
    ours = {name: member for name, member in written(value).items() if name not in OUR_NAMES}
    assert json_format.ParseDict(ours, Everything()) == value
