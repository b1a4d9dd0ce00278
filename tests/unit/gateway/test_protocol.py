"""What clients of the `/ws` protocol say, understood or answered with what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.live.protocol import (
    MalformedRequest,
    Ping,
    Subscribe,
    Unsubscribe,
    begins_protocol,
    parse_channels,
    parse_request,
    read_json,
    request_id,
)
from mesh.values.epochs import IDS

SUBSCRIBE: dict[str, Any] = {"op": "subscribe", "channel": "trades", "symbols": ["BTCUSDT", "ethusdt", "btcusdt"]}
CANDLES = SUBSCRIBE | {"channel": "candles"}
SYMBOLS = ("btcusdt", "ethusdt")


def test_the_requests_that_there_are() -> None:
    assert parse_request(SUBSCRIBE) == Subscribe("trades", SYMBOLS)
    assert parse_request(SUBSCRIBE | {"rate": 2}) == Subscribe("trades", SYMBOLS, rate=2.0)
    assert parse_request(SUBSCRIBE | {"mode": "newest"}) == Subscribe("trades", SYMBOLS, (), "newest", 4.0)
    assert parse_request(SUBSCRIBE | {"mode": "newest", "rate": 2}) == Subscribe("trades", SYMBOLS, (), "newest", 2.0)
    assert parse_request(CANDLES) == Subscribe("candles", SYMBOLS, interval="1m")
    assert parse_request(CANDLES | {"interval": "3m"}) == Subscribe("candles", SYMBOLS, interval="3m")
    assert parse_request(CANDLES | {"interval": "60m"}) == Subscribe("candles", SYMBOLS, interval="1h")
    assert parse_channels([("channels", "trades,candles"), ("symbols", "btcusdt"), ("interval", "1h")]) == [
        Subscribe("trades", ("btcusdt",)),
        Subscribe("candles", ("btcusdt",), interval="1h"),
    ]
    assert parse_request({"op": "unsubscribe", "id": "x", "subscription": 3}) == Unsubscribe(3)
    assert parse_request({"op": "ping"}) == Ping()


def test_where_to_resume_is_an_id_with_or_without_its_epoch() -> None:
    resume = {"btcusdt": 101, "ETHUSDT": {"trade_id": 7, "epoch": 2}}
    found = parse_request(SUBSCRIBE | {"resume_from": resume})
    assert isinstance(found, Subscribe)
    assert found.resume_after == {"btcusdt": 101, "ethusdt": 2 * IDS + 7}


def test_where_to_resume_may_have_a_venue() -> None:
    resume = {"btcusdt": {"trade_id": 101}, "ETHUSDT": {"trade_id": 7, "venue": "sim"}}
    found = parse_request(SUBSCRIBE | {"resume_from": resume})
    assert isinstance(found, Subscribe)
    assert found.resume_venues == {"ethusdt": "sim"}


@pytest.mark.parametrize(
    ("message", "field", "found"),
    [
        ([], "", "[]"),
        ({}, "op", "nothing"),
        ({"op": "shout"}, "op", "'shout'"),
        ({"op": ["ping"]}, "op", '["ping"]'),
        ({"op": "ping", "id": 1.5}, "id", "1.5"),
        ({"op": "ping", "id": "x" * 65}, "id", "'" + "x" * 56 + "..."),
        ({"op": "ping", "Id": 1}, "Id", "1"),
        ({"op": "unsubscribe"}, "subscription", "nothing"),
        ({"op": "unsubscribe", "subscription": True}, "subscription", "true"),
        (SUBSCRIBE | {"channel": "depth"}, "channel", "'depth'"),
        (SUBSCRIBE | {"fields": ["vwap"]}, "fields", '["vwap"]'),
        (SUBSCRIBE | {"interval": "1m"}, "interval", "'1m'"),
        (CANDLES | {"interval": "3M"}, "interval", "'3M'"),
        (CANDLES | {"interval": "1441m"}, "interval", "'1441m'"),
        (CANDLES | {"interval": 60}, "interval", "60"),
        (CANDLES | {"fields": ["vwap"]}, "fields", '["vwap"]'),
        (CANDLES | {"mode": "newest"}, "mode", "'newest'"),
        (SUBSCRIBE | {"interval": "every"}, "interval", "'every'"),
        ({"op": "subscribe", "channel": "status", "symbols": "every"}, "symbols", "'every'"),
        (CANDLES | {"resume_from": {"btcusdt": 1}}, "resume_from", '{"btcusdt":1}'),
        (SUBSCRIBE | {"channel": "ticks", "fields": []}, "fields", "0 fields"),
        (SUBSCRIBE | {"channel": "ticks", "fields": ["vwap", "wvap"]}, "fields[1]", "'wvap'"),
        (SUBSCRIBE | {"symbols": "btcusdt"}, "symbols", "'btcusdt'"),
        (SUBSCRIBE | {"symbols": []}, "symbols", "0 symbols"),
        (SUBSCRIBE | {"symbols": [f"s{n}" for n in range(65)]}, "symbols", "65 symbols"),
        (SUBSCRIBE | {"symbols": ["btcusdt", 5]}, "symbols[1]", "5"),
        (SUBSCRIBE | {"symbols": ["a/b"]}, "symbols[0]", "'a/b'"),
        (SUBSCRIBE | {"mode": "some"}, "mode", "'some'"),
        (SUBSCRIBE | {"rate": 0.5}, "rate", "0.5"),
        (SUBSCRIBE | {"mode": "newest", "rate": 1000}, "rate", "1000"),
        (SUBSCRIBE | {"mode": "newest", "rate": True}, "rate", "true"),
        (SUBSCRIBE | {"mode": "newest", "resume_from": {"btcusdt": 1}}, "resume_from", '{"btcusdt":1}'),
        (SUBSCRIBE | {"resume_from": [1]}, "resume_from", "[1]"),
        (SUBSCRIBE | {"resume_from": {"solusdt": 1}}, "resume_from.solusdt", "1"),
        (SUBSCRIBE | {"resume_from": {"btcusdt": -1}}, "resume_from.btcusdt", "-1"),
        (SUBSCRIBE | {"resume_from": {"btcusdt": IDS}}, "resume_from.btcusdt", str(IDS)),
        (SUBSCRIBE | {"resume_from": {"btcusdt": {"epoch": 1}}}, "resume_from.btcusdt.trade_id", "nothing"),
        (SUBSCRIBE | {"resume_from": {"btcusdt": {"trade_id": 1, "epoch": 256}}}, "resume_from.btcusdt.epoch", "256"),
        (SUBSCRIBE | {"resume_from": {"btcusdt": {"trade_id": 1, "venue": 7}}}, "resume_from.btcusdt.venue", "7"),
        (SUBSCRIBE | {"resume_from": {"btcusdt": {"trade_id": 1, "venue": "a."}}}, "resume_from.btcusdt.venue", "'a.'"),
    ],
)
def test_what_is_wrong_is_named(message: object, field: str, found: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        parse_request(message)
    assert (caught.value.field, caught.value.found) == (field, found)
    assert caught.value.expected


@given(st.text() | st.from_regex(r"\{.*\}"))
def test_any_text_is_understood_or_wrong(text: str) -> None:
    begins_protocol(text)
    try:
        parse_request(read_json(text))
    except MalformedRequest as exc:
        assert exc.expected


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["trade_id", "epoch", "btcusdt"]), inner)
    ),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys([*SUBSCRIBE, "id", "fields", "mode", "rate", "resume_from"], JSON))
)
def test_any_members_are_understood_or_wrong(members: dict[str, Any]) -> None:
    message = SUBSCRIBE | members
    request_id(message)
    try:
        found = parse_request(message)
    except MalformedRequest as exc:
        assert exc.expected and len(exc.found) <= 60 and len(exc.field) < 80
    else:
        assert found is not None


def test_only_an_object_with_an_op_begins_the_protocol() -> None:
    assert begins_protocol('{"op":1}')
    assert not any(map(begins_protocol, (None, "", '"op"', '{"op"', '["op"]', '{"o":"op"}')))


def test_a_handshake_asks_for_channels() -> None:
    assert parse_channels([("symbols", "btcusdt")]) is None
    assert parse_channels([("channels", "")]) == []
    asked = [("channels", "trades"), ("symbols", "BTCUSDT,ethusdt"), ("mode", "newest"), ("rate", "0.5")]
    assert parse_channels(asked) == [Subscribe("trades", SYMBOLS, (), "newest", 0.5)]
    both = [("channels", "trades,ticks"), ("symbols", "btcusdt"), ("fields", "vwap,moving_average")]
    assert parse_channels(both) == [
        Subscribe("trades", ("btcusdt",)),
        Subscribe("ticks", ("btcusdt",), ("moving_average", "vwap")),
    ]


@pytest.mark.parametrize(
    ("pairs", "field"),
    [
        ([("channels", "depth"), ("symbols", "btcusdt")], "channel"),
        ([("channels", "trades"), ("symbols", "btcusdt"), ("fields", "vwap")], "fields"),
        ([("channels", "trades")], "symbols"),
        ([("channels", "trades"), ("channels", "trades")], "channels"),
        ([("channels", "trades"), ("symbols", "btcusdt"), ("rate", "nan")], "rate"),
        ([("channels", "trades"), ("symbols", "btcusdt"), ("events", "true")], "events"),
    ],
)
def test_what_is_wrong_with_a_handshake_is_named(pairs: list[tuple[str, str]], field: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        parse_channels(pairs)
    assert caught.value.field == field
