from __future__ import annotations

import json
from typing import Any

import pytest

from sim.client_session import ClientSession, HangUp, TargetError, VenueLimits, parse_target


def opened(target: str = "/ws", limits: VenueLimits | None = None) -> ClientSession:
    return ClientSession(target, 0.0, limits or VenueLimits(messages_per_s=1000))


def ask(connection: ClientSession, **request: object) -> Any:
    return json.loads(connection.receive_text(json.dumps(request), 0.0))


@pytest.mark.parametrize(
    ("target", "parsed"),
    [
        ("/ws", (False, [], False)),
        ("/ws/btcusdt@trade", (False, ["btcusdt@trade"], False)),
        ("/ws/btcusdt@trade/ethusdt@trade", (False, ["btcusdt@trade", "ethusdt@trade"], False)),
        ("/stream", (True, [], False)),
        ("/stream?streams=btcusdt@trade/ethusdt@kline_1m", (True, ["btcusdt@trade", "ethusdt@kline_1m"], False)),
        ("/stream?streams=btcusdt%40trade&timeUnit=MICROSECOND", (True, ["btcusdt@trade"], True)),
        ("/ws/btcusdt@trade?timeUnit=microsecond", (False, ["btcusdt@trade"], True)),
        ("/ws?timeUnit=MILLISECOND", (False, [], False)),
    ],
)
def test_a_target_names_the_framing_the_streams_and_the_unit(target: str, parsed: tuple[bool, list[str], bool]) -> None:
    assert parse_target(target) == parsed


@pytest.mark.parametrize(("target", "status"), [("/", 404), ("/wsx", 404), ("/ws?timeUnit=NANOSECOND", 400)])
def test_another_target_is_refused(target: str, status: int) -> None:
    with pytest.raises(TargetError) as caught:
        opened(target)

    assert caught.value.status == status


def test_more_streams_than_allowed_are_refused_at_the_door() -> None:
    with pytest.raises(TargetError, match="found 3 streams, expected at most 2"):
        opened("/ws/a@trade/b@trade/c@trade", VenueLimits(streams=2))


def test_subscribe_is_answered_with_null_and_followed() -> None:
    connection = opened()

    answer = ask(connection, method="SUBSCRIBE", params=["btcusdt@trade", "ethusdt@aggTrade"], id=1)

    assert answer == {"result": None, "id": 1}
    assert connection.view.trades == {"btcusdt"}
    assert connection.view.aggregates == {"ethusdt"}


def test_subscribing_twice_follows_once() -> None:
    connection = opened("/ws/btcusdt@trade")

    ask(connection, method="SUBSCRIBE", params=["btcusdt@trade"], id=1)

    assert ask(connection, method="LIST_SUBSCRIPTIONS", id=2)["result"] == ["btcusdt@trade"]


def test_unsubscribe_stops_a_stream_and_forgives_one_never_subscribed() -> None:
    connection = opened("/stream?streams=btcusdt@trade/ethusdt@trade")

    answer = ask(connection, method="UNSUBSCRIBE", params=["btcusdt@trade", "xrpusdt@trade"], id="a")

    assert answer == {"result": None, "id": "a"}
    assert ask(connection, method="LIST_SUBSCRIPTIONS", id=None) == {"result": ["ethusdt@trade"], "id": None}
    assert connection.view.trades == {"ethusdt"}


def test_an_unknown_symbol_or_an_upper_case_one_is_acknowledged() -> None:
    connection = opened()

    assert ask(connection, method="SUBSCRIBE", params=["nosuch@trade", "BTCUSDT@trade"], id=1)["result"] is None
    assert "BTCUSDT" not in connection.view.trades


def test_the_combined_property_can_be_read_and_set() -> None:
    connection = opened("/ws/btcusdt@trade")

    assert ask(connection, method="GET_PROPERTY", params=["combined"], id=1) == {"result": False, "id": 1}
    assert ask(connection, method="SET_PROPERTY", params=["combined", True], id=2) == {"result": None, "id": 2}
    assert connection.view.combined


@pytest.mark.parametrize(
    ("text", "code", "msg", "request_id"),
    [
        ("{", 3, "Invalid JSON: expected value at line 1 column 2", None),
        (b"\xff", 3, "Invalid JSON: expected value at line 1 column 1", None),
        ("[]", 2, "Invalid request: expected a JSON object", None),
        ('{"id":1}', 2, "Invalid request: missing field `method`", 1),
        ('{"method":"SUBSCRIBE","params":["a@trade"]}', 2, "Invalid request: request ID must be an", None),
        ('{"method":"SUBSCRIBE","params":["a@trade"],"id":1.5}', 2, "Invalid request: request ID must be an", None),
        ('{"method":"SUBSCRIBE","params":["a@trade"],"id":true}', 2, "Invalid request: request ID must be an", None),
        (f'{{"method":"GET_PROPERTY","id":"{"x" * 37}"}}', 2, "Invalid request: request ID must be an", None),
        ('{"method":"BUY","id":4}', 2, "Invalid request: unknown variant `BUY`, expected one of `SUBSCRIBE`", 4),
        ('{"method":"SUBSCRIBE","id":4}', 2, "Invalid request: params must be a list of stream names", 4),
        ('{"method":"SUBSCRIBE","params":[1],"id":4}', 2, "Invalid request: params must be a list of stream", 4),
        ('{"method":"SUBSCRIBE","params":"a","id":4}', 2, "Invalid request: params must be a list", 4),
        ('{"method":"LIST_SUBSCRIPTIONS","params":["a"],"id":4}', 2, "Invalid request: too many parameters", 4),
        ('{"method":"GET_PROPERTY","params":["colour"],"id":4}', 0, "Unknown property", 4),
        ('{"method":"GET_PROPERTY","params":[],"id":4}', 2, "Invalid request: property name must be a string", 4),
        ('{"method":"SET_PROPERTY","params":["combined",1],"id":4}', 1, "Invalid value type: expected Boolean", 4),
        ('{"method":"SET_PROPERTY","params":["combined",true,1],"id":4}', 2, "Invalid request: too many", 4),
    ],
)
def test_a_bad_request_is_answered_with_its_code(text: str | bytes, code: int, msg: str, request_id: object) -> None:
    answer = json.loads(opened().receive_text(text, 0.0))

    assert (answer["code"], answer["id"]) == (code, request_id)
    assert answer["msg"].startswith(msg)


def test_a_bad_request_changes_nothing() -> None:
    connection = opened("/ws/btcusdt@trade", VenueLimits(messages_per_s=100, streams=2))

    answer = ask(connection, method="SUBSCRIBE", params=["a@trade", "b@trade"], id=1)

    assert answer["code"] == 2
    assert list(connection.streams) == ["btcusdt@trade"]


def test_a_sixth_message_within_a_second_ends_the_connection() -> None:
    connection = opened(limits=VenueLimits())
    connection.receive_ping(0.0)
    connection.receive_pong(b"unasked", 0.1)
    for _ in range(3):
        connection.receive_text('{"method":"LIST_SUBSCRIPTIONS","id":1}', 0.2)

    with pytest.raises(HangUp) as caught:
        connection.receive_ping(0.9)

    assert caught.value.code == 1008


def test_five_messages_every_second_are_allowed() -> None:
    connection = opened(limits=VenueLimits())

    for second in range(10):
        for _ in range(5):
            connection.receive_ping(float(second))


def test_the_venue_pings_every_twenty_seconds() -> None:
    connection = opened(limits=VenueLimits())

    payloads = [connection.poll(float(second)) for second in range(41)]

    assert [second for second, payload in enumerate(payloads) if payload] == [20, 40]


def test_a_missing_pong_ends_the_connection_a_minute_later() -> None:
    connection = opened(limits=VenueLimits())
    connection.poll(20.0)

    connection.poll(79.9)
    with pytest.raises(HangUp, match="pong timeout"):
        connection.poll(80.0)


def test_a_pong_with_the_same_payload_answers_its_ping_and_all_before() -> None:
    connection = opened(limits=VenueLimits())
    connection.poll(20.0)
    payload = connection.poll(40.0)
    assert payload

    connection.receive_pong(payload, 41.0)

    assert connection.poll(99.0)


def test_an_unasked_pong_answers_nothing() -> None:
    connection = opened(limits=VenueLimits())
    connection.poll(20.0)

    connection.receive_pong(b"", 21.0)

    with pytest.raises(HangUp):
        connection.poll(80.0)


def test_a_connection_lives_a_day_at_most() -> None:
    connection = opened(limits=VenueLimits(pong_within_s=10**9))

    connection.poll(86_399.0)
    with pytest.raises(HangUp, match="maximum age"):
        connection.poll(86_400.0)
