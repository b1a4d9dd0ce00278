from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import AsyncGenerator, Callable, Generator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import Any, assert_type

import msgspec
import pytest

from tickmesh_client import (
    AsyncListing,
    AsyncTickmesh,
    Candle,
    ClientError,
    Coverage,
    ExtraMissing,
    Listing,
    NotAllowed,
    NotFound,
    RequestRefused,
    Status,
    SymbolCandle,
    Tick,
    Tickmesh,
    TimedOut,
    Trade,
    Unavailable,
    Unreachable,
    WrongAddress,
    WrongAnswer,
    calls,
)
from tickmesh_client.calls import Answer, Attempts, result_of

PRICE = (
    b'{"venue":"sim","symbol":"btcusdt","price":61837.63,"quantity":0.00000638,"trade_id":9007199254740993,'
    b'"timestamp":"2023-11-14T22:13:20.123456Z","epoch":0,"of_a_newer_gateway":[1]}'
)


def refusal(status: int, message: str = "", **details: Any) -> Answer:
    violations = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "field_violations": [details]}]
    body = {"code": 3, "message": message, "details": violations if details else []}
    return Answer(status, {}, msgspec.json.encode(body))


def trades_page(*ids: int, next_token: str = "") -> Answer:
    rows = [msgspec.structs.replace(trade(), trade_id=number) for number in ids]
    return Answer(200, {"x-next-page-token": next_token}, msgspec.json.Encoder(decimal_format="number").encode(rows))


def trade() -> Trade:
    time = datetime(2026, 1, 2, tzinfo=UTC)
    return Trade("sim", "btcusdt", 1, Decimal("1.5"), Decimal(2), time, "BUY")


def test_numbers_are_read_to_the_last_digit() -> None:
    price = result_of(calls.price(""), Answer(200, {}, PRICE))
    assert (price.price, price.quantity, price.trade_id) == (Decimal("61837.63"), Decimal("0.00000638"), 2**53 + 1)
    assert price.timestamp == datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)


@pytest.mark.parametrize("body", [b"<html>", b"\xff", b"[]", b'{"price":1}', b"", b"[" * 100_000])
def test_what_no_gateway_says_is_an_error_that_names_the_path(body: bytes) -> None:
    with pytest.raises(WrongAnswer, match="/api/price"):
        result_of(calls.price(""), Answer(200, {}, body))


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (refusal(404, "'nope' is not followed"), NotFound, ("", "", "")),
        (refusal(401, "found no token, expected one"), NotAllowed, ("", "no token", "one")),
        (refusal(403, "another host"), NotAllowed, ("", "", "")),
        (
            refusal(400, "interval is '7m', expected one of 1s, 1m"),
            RequestRefused,
            ("", "'7m'", "one of 1s, 1m"),
        ),
        (
            refusal(400, "wrong - at $.symbol", field="symbol", description="expected a string, found 5"),
            RequestRefused,
            ("symbol", "5", "a string"),
        ),
        (
            refusal(400, "wrong", field="limit", description="found 'many', expected a number"),
            RequestRefused,
            ("limit", "'many'", "a number"),
        ),
    ],
)  # fmt: skip
def test_a_refusal_says_which_field_is_wrong_what_was_found_and_what_expected(
    answer: Answer, kind: type[RequestRefused], words: tuple[str, str, str]
) -> None:
    with pytest.raises(RequestRefused) as caught:
        result_of(calls.price(""), answer)
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.field, error.found, error.expected) == (answer.status, *words)


def test_an_answer_of_something_else_than_a_gateway_is_said_to_be_one() -> None:
    with pytest.raises(RequestRefused, match=r"status 404 at /api/price.* is this the address of a gateway"):
        result_of(calls.price(""), Answer(404, {}, b"<html>nginx</html>"))
    with pytest.raises(WrongAnswer, match="status 302"):
        result_of(calls.price(""), Answer(302, {"location": "/login"}, b""))


@pytest.mark.parametrize(("said", "waits_s"), [("7", 7.0), ("", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)])
def test_a_gateway_that_is_busy_says_when_to_ask_again(said: str, waits_s: float | None) -> None:
    with pytest.raises(Unavailable) as caught:
        result_of(calls.price(""), Answer(503, {"retry-after": said}, b""))
    assert (caught.value.status, caught.value.retry_after_s) == (503, waits_s)


def test_what_may_pass_is_tried_again_as_often_as_told_and_waits_as_long_as_asked() -> None:
    attempts = Attempts(3, Random(1))
    assert 0.1 <= attempts.delay_after(Unreachable("refused")) <= 0.2
    assert 0.2 <= attempts.delay_after(Unavailable("busy", status=503)) <= 0.4
    assert attempts.delay_after(Unavailable("busy", status=429, retry_after_s=9)) == 9
    with pytest.raises(Unreachable, match="refused"):
        attempts.delay_after(Unreachable("refused"))


@pytest.mark.parametrize(
    "error",
    [TimedOut("slow"), Unavailable("broken", status=500), Unavailable("later", status=503, retry_after_s=3600)],
)
def test_what_does_not_pass_is_not_tried_again(error: Unreachable | Unavailable) -> None:
    with pytest.raises(type(error)):
        Attempts(3, Random(1)).delay_after(error)


def test_a_page_asks_for_no_more_than_is_wanted() -> None:
    query = calls.trades("btcusdt", start=None, end=None, venue="", limit=1500)
    first, second = query.page("", 0), query.page("there", 1000)
    assert first is not None
    assert second is not None
    assert first.parameters == {"symbol": "btcusdt", "order": "desc", "page_size": "1000"}
    assert second.parameters == {"symbol": "btcusdt", "order": "desc", "page_size": "500", "page_token": "there"}
    assert query.page("there", 1500) is None


def test_a_page_that_leads_to_itself_does_not_go_on_for_ever() -> None:
    call = calls.trades("", start=None, end=None, venue="", limit=None).page("here", 1000)
    assert call is not None
    with pytest.raises(WrongAnswer, match="leads to itself"):
        call.read(trades_page(1, next_token="here"))


def test_candles_rise_from_a_start_and_fall_without_one_unless_told_otherwise() -> None:
    start = "2026-01-02T00:00:00Z"
    asked = [calls.candles(start=each) for each in (start, None)]
    told = [calls.candles(start=start, order="desc"), calls.candles(order="asc", open=True)]
    assert [query.parameters["order"] for query in asked + told] == ["asc", "desc", "desc", "asc"]
    assert [query.newest_first for query in asked + told] == [False, True, True, False]
    assert ["open" in query.parameters for query in asked + told] == [False, False, False, True]


def test_rows_that_are_a_member_of_the_answer_are_read_and_their_next_page_too() -> None:
    call = calls.instruments("btc", limit=2).page("", 0)
    assert call is not None
    row = {"symbol": "btcusdt", "base_asset": "BTC", "quote_asset": "USDT", "status": "TRADING"}
    rows = [row | {"tick_size": 0.01, "step_size": 0.00001}]
    body = msgspec.json.encode({"instruments": rows, "next_page_token": "there", "venue": "sim"})
    page = call.read(Answer(200, {}, body))
    assert (page.rows[0].step_size, page.next_token) == (Decimal("0.00001"), "there")
    assert call.parameters == {"q": "btc", "page_size": "2"}


def test_times_are_asked_for_in_utc_and_to_the_microsecond() -> None:
    start = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2)))
    query = calls.trades("", start=start, end="2026-01-03T00:00:00Z", venue="sim", limit=None)
    times = {"start_time": "2026-01-02T01:04:05.000006Z", "end_time": "2026-01-03T00:00:00Z"}
    assert query.parameters == {"venue": "sim", "order": "desc", **times}


def test_a_time_without_a_zone_and_a_negative_limit_are_refused() -> None:
    with pytest.raises(ValueError, match="start is 2026-01-02 00:00:00 without a zone"):
        calls.candles("", interval="1m", start=datetime(2026, 1, 2), end=None, venue="", limit=None)  # noqa: DTZ001
    with pytest.raises(ValueError, match="limit is -1, expected a whole number of 0 or more"):
        calls.trades("", start=None, end=None, venue="", limit=-1)


@pytest.mark.parametrize("kind", [Tickmesh, AsyncTickmesh])
def test_a_method_shows_its_own_parameters_and_documentation(kind: type[Tickmesh | AsyncTickmesh]) -> None:
    shown = inspect.signature(kind.trade)
    assert list(shown.parameters) == ["self", *inspect.signature(calls.trade).parameters]
    assert (kind.trade.__name__, kind.trade.__doc__) == ("trade", calls.trade.__doc__)
    assert list(inspect.signature(kind().trade).parameters) == list(inspect.signature(calls.trade).parameters)


def test_types_are_those_of_the_call() -> None:
    """Tell `make types`, which reads it, what the methods return."""

    async def _ask(mesh: AsyncTickmesh, blocking: Tickmesh) -> None:
        assert_type(await mesh.trade("btcusdt", 7, epoch=0), Trade)
        assert_type(blocking.trade("btcusdt", 7, epoch=0), Trade)
        assert_type(mesh.candles(limit=1), AsyncListing[Candle])
        assert_type(blocking.candles(limit=1), Listing[Candle])
        assert_type(mesh.live("btcusdt"), AsyncGenerator[Trade, None])
        assert_type(blocking.live("btcusdt"), Generator[Trade, None, None])
        assert_type(mesh.live("btcusdt", "ticks"), AsyncGenerator[Tick, None])
        assert_type(mesh.live("btcusdt", "candles", interval="1s"), AsyncGenerator[SymbolCandle, None])
        assert_type(mesh.live(channel="status"), AsyncGenerator[Status, None])
        assert_type(blocking.live(["btcusdt"], "coverage"), Generator[Coverage, None, None])
        assert_type(blocking.live("btcusdt", channel="ticks", fields=["vwap"]), Generator[Tick, None, None])


@pytest.mark.parametrize(
    ("ask", "problem"),
    [
        (lambda mesh: mesh.trades(order=""), "order is '', expected 'asc' or 'desc'"),
        (lambda mesh: mesh.candles(order="up"), "order is 'up', expected 'asc' or 'desc'"),
        (lambda mesh: mesh.candles(interval=""), "interval is '', expected a length"),
        (lambda mesh: mesh.trades(start=""), "start is '', expected a datetime"),
        (lambda mesh: mesh.trades(end=date(2024, 1, 31)), r"end is datetime.date\(2024, 1, 31\), expected a datetime"),
        (lambda mesh: mesh.instruments(limit=2.5), "limit is 2.5, expected a whole number"),
        (lambda mesh: mesh.trade("", 7), "found the symbol '' and the trade id 7"),
        (lambda mesh: mesh.trade("btcusdt", "7/next"), "the trade id '7/next', expected a symbol and a number"),
        (lambda mesh: mesh.export("trades", "x.csv", interval="1m"), "interval is '1m' with trades"),
        (lambda mesh: type(mesh)(retries=-1), "retries is -1, expected 0 or more"),
        (lambda mesh: type(mesh)(timeout_s=0), "timeout_s is 0, expected more than 0"),
        (lambda mesh: type(mesh)(timeout_s=float("inf")), "timeout_s is inf, expected .* at most 86400"),
        (lambda mesh: type(mesh)(timeout_s=float("nan")), "timeout_s is nan, expected more than 0"),
    ],
)
def test_what_would_be_read_as_something_else_is_refused(ask: Callable[[Any], object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ask(Tickmesh())


@pytest.mark.parametrize("url", ["http://x?token=secret", "http://x/#secret"])
def test_an_address_with_more_than_a_path_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(WrongAddress, match="found a query or fragment in the address") as caught:
        Tickmesh(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", [Tickmesh, AsyncTickmesh])
@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:8080", "http://", "http://x:0", "http://[::1", "http://a..b:80"])
def test_an_address_that_cannot_be_one_is_refused_at_once(kind: type[Tickmesh | AsyncTickmesh], url: str) -> None:
    with pytest.raises(WrongAddress, match=r"expected one such as http://127.0.0.1:8080"):
        kind(url)


def test_a_token_that_no_header_can_carry_is_refused_without_showing_it() -> None:
    with pytest.raises(WrongAddress) as caught:
        Tickmesh(token="geh€im")
    assert "geh" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        WrongAddress("no address"),
        Unreachable("nothing answers", reason="connection refused"),
        TimedOut("no answer", reason="no answer in time"),
        RequestRefused("wrong", status=400, code=3, field="symbol", found="'x'", expected="another"),
        NotFound("no such thing", status=404),
        NotAllowed("no token", status=401),
        Unavailable("later", status=503, retry_after_s=1.0),
        WrongAnswer("no answer of a gateway"),
        ExtraMissing("found no pandas"),
    ],
)
def test_an_error_passes_from_a_process_of_a_pool_to_its_caller(error: ClientError) -> None:
    for passed in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # our own
        assert type(passed) is type(error)
        assert (str(passed), vars(passed)) == (str(error), vars(error))
