"""Backoff, symbols, health, control messages and errors: small nouns, a few sentences each."""

from __future__ import annotations

import itertools

import grpc
import pytest

from mesh.bus import control, subjects
from mesh.service.backoff import backoff
from mesh.service.errors import BadMessage, InvalidRequest, NotFound, NotReady, TickmeshError, grpc_code
from mesh.service.health import Health
from mesh.service.logs import LogThrottle
from mesh.values.symbols import name_of, parse_symbol, parse_venue
from tickmesh.v1 import control_pb2


def test_delays_grow_to_a_limit() -> None:
    delays = list(itertools.islice(backoff(first_s=1, factor=2, max_s=8, uniform=lambda: 0.0), 6))
    assert delays == [1, 2, 4, 8, 8, 8]


def test_jitter_takes_away_at_most_a_half() -> None:
    assert next(backoff(first_s=2, uniform=lambda: 0.999)) == pytest.approx(1.0, abs=0.01)


def test_a_symbol_is_lowered() -> None:
    assert parse_symbol(" BTCUSDT ") == "btcusdt"


@pytest.mark.parametrize("text", ["", "b", "btc-usdt", "btc.usdt", "btc>", "*", "x" * 33, None, 5, ["btcusdt"]])
def test_what_is_no_symbol_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a symbol: expected 2 to 32 letters and digits"):
        parse_symbol(text)


@pytest.mark.parametrize("text", ["", "Binance", "a.b", ">", None, "1x"])
def test_what_is_no_venue_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a venue"):
        parse_venue(text)


def test_names_for_people_fall_back_to_the_asset_and_the_symbol() -> None:
    assert [name_of("btcusdt"), name_of("adausdt", base_asset="ADA"), name_of("adausdt")] == [
        "Bitcoin (BTC)",
        "ADA",
        "ADAUSDT",
    ]


def test_subjects_name_venue_and_symbol() -> None:
    assert subjects.raw_of_symbol("sim", "btcusdt") == "trades.raw.sim.btcusdt"


def test_a_service_serves_only_while_all_conditions_are_there() -> None:
    told: list[bool] = []
    health = Health("bus", "database")
    health.listen(told.append)
    health.set("bus", True)
    health.set("database", True)
    health.set("bus", False)
    assert told == [False, True, False]
    assert health.away == ["bus"]


def test_the_same_thing_is_logged_once_in_a_while() -> None:
    throttle = LogThrottle(every_s=5)
    assert [throttle.due(now_s) for now_s in (0.0, 1.0, 4.9, 5.0, 9.0, 10.1)] == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]


def test_control_messages_are_json_with_the_protos_names() -> None:
    payload = control.encode(
        control_pb2.Catalog(venue="sim", instruments=[control_pb2.Instrument(symbol="btcusdt", base_asset="BTC")])
    )
    assert b'"base_asset": "BTC"' in payload
    assert control.decode(control_pb2.Catalog, payload).instruments[0].base_asset == "BTC"


def test_a_selection_published_by_a_person_is_understood() -> None:
    assert control.decode_selection(b'{"symbol": "ETHUSDT", "by": "hand"}') == "ethusdt"


@pytest.mark.parametrize(
    "payload", [b"", b"nonsense", b"[]", b'{"symbol": 5}', b'{"symbol": "no/symbol"}', b"\xff", b"[" * 5000]
)
def test_nonsense_on_control_symbol_is_refused(payload: bytes) -> None:
    with pytest.raises(BadMessage):
        control.decode_selection(payload)


def test_a_control_message_is_limited_in_size() -> None:
    with pytest.raises(BadMessage, match="expected at most"):
        control.decode_selection(b" " * (control.MAX_CONTROL_BYTES + 1))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidRequest("x"), grpc.StatusCode.INVALID_ARGUMENT),
        (NotFound("x"), grpc.StatusCode.NOT_FOUND),
        (NotReady("x"), grpc.StatusCode.UNAVAILABLE),
        (TickmeshError("x"), grpc.StatusCode.INTERNAL),
    ],
)
def test_each_error_has_its_grpc_code(error: TickmeshError, code: grpc.StatusCode) -> None:
    assert grpc_code(error) is code
