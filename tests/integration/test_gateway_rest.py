"""The REST half of the gateway, over real sockets on both of its sides."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from random import Random
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
import pytest_asyncio
from websockets.exceptions import InvalidStatus

from gateway.access import AdmissionRules
from mesh.service.access import Access
from mesh.service.errors import TooMany
from mesh.service.rpc import channel
from mesh.service.wrong_tokens import PER_MINUTE
from term.client import Client
from term.events import Event, Loaded, LoadHistory
from term.values import HistoryPage
from tests.fixtures.gateway import (
    Gateway,
    SmallSignal,
    SmallStore,
    running_app,
    running_gateway,
    running_signal,
    running_store,
    serving_health,
)
from tests.fixtures.waiting import eventually


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running_gateway() as running:
        yield running


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/api/price",
            '{"venue":"sim","symbol":"btcusdt","price":61837.63,"quantity":0.00000638,"trade_id":9007199254740993,'
            '"timestamp":"2023-11-14T22:13:20.123Z","epoch":0}',
        ),
        (
            "/api/stats?symbol=ethusdt",
            '{"venue":"sim","symbol":"ethusdt","moving_average":61836.9,"high":61840,"low":61830.00000001,'
            '"window_high":1,"window_low":0.00000001,"count":7,"volume":0.031,"timestamp":"2023-11-14T22:13:20.123Z",'
            '"open":61835,"vwap":61836.25,"exponential_average":0.0,"window_vwap":0.0,"deviation":0.0,'
            '"bollinger_upper":0.0,"bollinger_middle":0.0,"bollinger_lower":0.0,"buy_share":0.0,"flow_imbalance":0.0,'
            '"trade_rate":null,"volatility":0.0}',
        ),
        (
            "/api/candles?interval=5m",
            '[{"time":"2023-11-14T22:14:00Z","open":61837.63,"high":61838,"low":61837,"close":61837.63000001,'
            '"volume":90000000001.5,"quote_volume":8100000000000000000000.000000015,"taker_buy_volume":0,"count":3,'
            '"first_trade_id":7,"last_trade_id":9,"interval":"5m","revision":0,"rsi":50.5,"atr":0.0,"macd":0.0,'
            '"macd_signal":0.0,"macd_histogram":0.0,"ema":0.0,"sma":null,"average_gain":0.0,"average_loss":0.0,'
            '"macd_fast":0.0,"macd_slow":0.0,"epoch":0,"closed":true}]',
        ),
        (
            "/api/history?limit=2",
            '[{"venue":"sim","symbol":"btcusdt","trade_id":250,"price":2.50000001,"quantity":0.00000638,'
            '"timestamp":"2023-11-14T22:17:30Z","side":"SELL","epoch":0},'
            '{"venue":"sim","symbol":"btcusdt","trade_id":249,"price":2.49000001,"quantity":0.00000638,'
            '"timestamp":"2023-11-14T22:17:29Z","side":"SELL","epoch":0}]',
        ),
        ("/api/symbol", '{"symbol":"btcusdt","name":"Bitcoin (BTC)","venue":"sim","status":""}'),
        (
            "/api/coins",
            '[{"symbol":"btcusdt","name":"Bitcoin (BTC)","status":"","followed":true},'
            '{"symbol":"ethusdt","name":"Ethereum (ETH)","status":"","followed":true},'
            '{"symbol":"solusdt","name":"Solana (SOL)","status":"","followed":true}]',
        ),
        ("/healthz", '{"status":"ok"}'),
        (
            "/readyz",
            '{"status":"ready","upstreams":{"tickmesh.v1.SignalService":"SERVING","tickmesh.v1.StoreService":"SERVING"}}',
        ),
    ],
)
async def test_an_endpoint_answers_exactly(gateway: Gateway, path: str, body: str) -> None:
    response = await gateway.http.get(path)
    assert (response.status_code, response.headers["content-type"], response.text) == (200, "application/json", body)


async def test_selecting_a_symbol_answers_and_lasts(gateway: Gateway) -> None:
    response = await gateway.http.post("/api/symbol", json={"symbol": "ETHUSDT"})
    assert response.text == '{"symbol":"ethusdt","name":"Ethereum (ETH)","venue":"sim","status":""}'
    assert (await gateway.http.get("/api/symbol")).json()["symbol"] == "ethusdt"


async def test_a_session_is_reset_by_its_verb(gateway: Gateway) -> None:
    response = await gateway.http.post("/api/session:reset", json={"symbol": "ethusdt"})
    assert (response.status_code, response.text) == (200, '{"symbol":"ethusdt"}')


async def test_pages_lead_to_the_next_until_there_is_none(gateway: Gateway) -> None:
    ids: list[int] = []
    url: Any = "/api/history?symbol=ethusdt"
    while url:
        response = await gateway.http.get(url)
        ids += [trade["trade_id"] for trade in response.json()]
        assert response.links.get("next", {}).get("url", "").endswith(response.headers.get("x-next-page-token", ""))
        url = response.links.get("next", {}).get("url")
    assert (ids, gateway.store.asked.symbol) == (list(range(250, 0, -1)), "ethusdt")


async def test_trades_answers_with_the_whole_message(gateway: Gateway) -> None:
    response = await gateway.http.get("/api/trades?page_size=1")
    assert list(response.json()) == ["trades", "next_page_token"] and "link" not in response.headers


async def test_parameters_reach_the_upstream(gateway: Gateway) -> None:
    await gateway.http.get(
        "/api/history?venue=sim&start_time=2024-01-31T12:00:00Z&end_time=2024-01-31T13:00:00%2B01:00"
    )
    asked = gateway.store.asked
    assert (asked.venue, asked.start_time.seconds, asked.end_time.seconds) == ("sim", 1706702400, 1706702400)


@pytest.mark.parametrize("path", ["/api/history", "/api/trades", "/api/candles"])
async def test_whatever_is_listed_takes_both_names_of_its_parameters(gateway: Gateway, path: str) -> None:
    for start, end, size in (("start_time", "end_time", "page_size"), ("start", "end", "limit")):
        query = {start: "2024-01-31T12:00:00Z", end: "2024-01-31T13:00:00Z", size: "24"}
        response = await gateway.http.get(path, params=query)
        asked = gateway.store.asked
        assert response.status_code == 200
        assert [getattr(asked, name).seconds for name in (start, end)] == [1706702400, 1706706000]
        assert getattr(asked, size) == 24


@pytest.mark.parametrize(
    ("request_line", "status", "code", "message"),
    [
        ("GET /api/price?symbol=nope", 404, 5, "'nope' is not followed"),
        ("GET /api/price?symbol=solusdt", 503, 14, "solusdt has not traded yet"),
        ("GET /api/price?simbol=x", 400, 3, "parameter 'simbol': unknown; known are symbol"),
        ("GET /api/history?limit=many", 400, 3, "found 'many'"),
        ("GET /api/history?limit=1&limit=2", 400, 3, "given 2 times"),
        ("GET /api/price?symbol=%ff", 400, 3, "query cannot be read"),
        ("GET /api/prize", 404, 5, "near are /api/price"),
        ("GET /ws", 426, 9, "/ws speaks WebSocket"),
        ("DELETE /api/symbol", 405, 12, "DELETE is not for /api/symbol, which knows GET, HEAD, OPTIONS, POST"),
        ("POST /healthz", 405, 12, "knows GET, HEAD, OPTIONS"),
        ("TRACE /docs", 405, 12, "TRACE is not for /docs"),
    ],
)
async def test_a_wrong_request_is_told_what_is_wrong(
    gateway: Gateway, request_line: str, status: int, code: int | None, message: str
) -> None:
    verb, _, path = request_line.partition(" ")
    response = await gateway.http.request(verb, path)
    assert response.status_code == status
    if code is not None:
        body = response.json()
        assert (list(body), body["code"]) == (["code", "message", "details"], code)
        assert message in body["message"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b'{"symbol":"nope"}', 400, "the venue does not trade 'nope'"),
        (b'{"symbol":5}', 400, "expected a string, found 5 - at $.symbol"),
        (b'{"simbol":"x"}', 400, "unknown field 'simbol'; known are symbol"),
        (b'{"symbol":', 400, "body is not JSON: input data was truncated"),
        (b"symbol=ethusdt", 400, "body is not JSON: invalid character (byte 0)"),
        ("{}".encode("utf-16"), 400, "body is not JSON: invalid character (byte 0)"),
        (b'{"symbol":1e99999999999999999999}', 400, "body is not JSON"),
        (b"\xff", 400, "body is not JSON"),
        (b"[]", 400, "expected an object, found [] - at $"),
        (b" " * 65_537, 413, "expected at most 65536"),
    ],
)
async def test_a_wrong_body_is_told_what_is_wrong(gateway: Gateway, body: bytes, status: int, message: str) -> None:
    response = await gateway.http.post("/api/symbol", content=body, headers={"content-type": "application/json"})
    assert (response.status_code, message in response.json()["message"]) == (status, True), response.text


async def test_a_body_that_grows_too_large_is_refused_on_the_way(gateway: Gateway) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 10_000

    response = await gateway.http.post("/api/symbol", content=endless(), headers={"content-type": "application/json"})
    assert response.status_code == 413


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json", None]
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
async def test_json_is_read_with_and_without_a_byte_order_mark(gateway: Gateway, kind: str | None, mark: bytes) -> None:
    headers = {"content-type": kind} if kind else {}
    response = await gateway.http.post("/api/symbol", content=mark + b'{"symbol":"ethusdt"}', headers=headers)
    assert (response.status_code, gateway.signal.selected) == (200, "ethusdt")


@pytest.mark.parametrize("path", ["/api/symbol", "/api/session:reset"])
@pytest.mark.parametrize(
    "kind",
    ["text/plain", "text/plain; x=application/json", "application/x-www-form-urlencoded", "multipart/form-data", ""],
)
async def test_a_type_that_a_page_of_another_site_can_send_is_refused(gateway: Gateway, kind: str, path: str) -> None:
    response = await gateway.http.post(path, content=b'{"symbol":"ethusdt"}', headers={"content-type": kind})
    assert (response.status_code, gateway.signal.selected) == (415, "btcusdt")
    assert "send it with `Content-Type: application/json`" in response.json()["message"]
    assert response.headers["accept-post"] == "application/json"


async def test_two_types_are_refused_when_one_of_them_is(gateway: Gateway) -> None:
    headers = [("content-type", "application/json"), ("content-type", "text/plain")]
    response = await gateway.http.post("/api/symbol", content=b"{}", headers=headers)
    assert response.status_code == 415


async def test_a_page_of_another_host_cannot_select(gateway: Gateway) -> None:
    response = await gateway.http.post(
        "/api/symbol", json={"symbol": "ethusdt"}, headers={"origin": "http://evil.example"}
    )
    assert (response.status_code, gateway.signal.selected) == (403, "btcusdt")


async def test_head_has_no_body_and_options_names_the_verbs(gateway: Gateway) -> None:
    head, options = await gateway.http.head("/api/price"), await gateway.http.options("/api/symbol")
    assert (head.status_code, head.content, head.headers["content-type"]) == (200, b"", "application/json")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")


async def test_candles_are_asked_for_in_the_words_charts_use(gateway: Gateway) -> None:
    response = await gateway.http.get(
        "/api/candles?symbol=ethusdt&interval=1h&start=2023-11-14T00:00:00Z&end=2023-11-15T00:00:00Z&limit=24"
    )
    asked = gateway.store.asked
    assert (asked.symbol, asked.interval, asked.limit) == ("ethusdt", "1h", 24)
    assert (asked.start.seconds, asked.end.seconds) == (1_699_920_000, 1_700_006_400)
    assert response.headers["x-next-page-token"] == "there is more"


class Named(HTMLParser):
    """The addresses that a page names, and what it has of its own."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self._tag = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "action", "data")]
        self.inline += [name for name, _ in attrs if name == "style" or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self._tag in ("script", "style") and data.strip():
            self.inline.append(data)


async def test_all_that_the_documentation_page_names_is_served_from_here(gateway: Gateway) -> None:
    page = await gateway.http.get("/docs")
    named = Named(page.text)
    assert page.headers["content-security-policy"].startswith("default-src 'self'; img-src 'self' data:; base-uri")
    assert named.inline == []
    for address in named.addresses:
        assert not urlsplit(address).netloc and not address.startswith("/"), "relative, to work behind a proxy's path"
        answer = await gateway.http.get(urljoin("/docs", address))
        assert (answer.status_code, bool(answer.content)) == (200, True), address
        assert ("immutable" in answer.headers["cache-control"]) is address.startswith("page/")
    assert {"openapi.json", "asyncapi.json"} <= set(named.addresses)
    scripts = [address for address in named.addresses if address.endswith(".js")]
    assert [script.partition("-")[2] for script in scripts] == ["swagger-ui-bundle.js", "start.js"]
    answers = [await gateway.http.get(f"/{script}", headers={"Accept-Encoding": "gzip"}) for script in scripts]
    assert {answer.headers["content-type"] for answer in answers} == {"text/javascript; charset=utf-8"}
    assert {answer.headers["content-encoding"] for answer in answers} == {"gzip"}
    assert int(answers[0].headers["content-length"]) < 500_000 < len(answers[0].content)

    document = (await gateway.http.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0" and "/api/price" in document["paths"]
    assert urljoin("http://mesh.example/x/openapi.json", document["servers"][0]["url"]) == "http://mesh.example/x/"


async def test_the_documents_that_the_documentation_page_names_are_asked_for_with_its_own_token() -> None:
    token = "a&<\"b'"
    rules = AdmissionRules(tokens=Access(token, protect_reads=True))
    async with running_gateway(admission=rules) as gateway:
        page = await gateway.http.get("/docs", params={"token": token})
        addresses = Named(page.text).addresses
        assert page.status_code == 200 and token not in page.text and len(addresses) >= 6
        for address in addresses:
            assert (await gateway.http.get(urljoin("/docs", address))).status_code == 200, address
        assert {(await gateway.http.get(path)).status_code for path in ("/docs", "/openapi.json")} == {401}


async def test_the_app_itself_tells_the_document_that_is_served(gateway: Gateway) -> None:
    assert gateway.app.openapi() == (await gateway.http.get("/openapi.json")).json()


async def test_every_documented_get_answers_as_documented(gateway: Gateway) -> None:
    document = (await gateway.http.get("/openapi.json")).json()
    for path, item in document["paths"].items():
        if "get" in item and path not in ("/ws", "/api/watch"):
            response = await gateway.http.get(path.format(symbol="btcusdt", trade_id=7))
            content = item["get"]["responses"]["200"]["content"]
            assert response.status_code == 200, path
            if "*/*" not in content:  # an export is of the format that was asked for
                assert_like(document, response, next(iter(content.values()))["schema"])


def assert_like(document: Any, response: httpx.Response, schema: Any) -> None:
    if not response.headers["content-type"].startswith("application/json"):
        return
    found = response.json()
    schema = schema.get("anyOf", [schema])[0]  # a field that is a message may be null
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if schema["type"] == "object":
        assert set(schema.get("required", [])) <= set(found) <= set(schema["properties"]), response.url
    else:
        assert isinstance(found, list), response.url


@pytest.mark.parametrize(
    "path", ["/api/trades/ethusdt/7?epoch=0", "/api/candles", "/api/history?limit=2", "/api/trades"]
)
async def test_an_answer_that_the_client_has_is_not_sent_again(gateway: Gateway, path: str) -> None:
    first = await gateway.http.get(path)
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await gateway.http.get(path, headers={"If-None-Match": given})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag), given
        assert again.headers.get("link") == first.headers.get("link")
        assert "content-type" not in again.headers
    other = await gateway.http.get(path, headers={"If-None-Match": f'"{tag}", {tag[:-1]}'})
    assert (other.status_code, other.content) == (200, first.content)
    head = await gateway.http.head(path, headers={"If-None-Match": tag})
    assert (head.status_code, head.headers["etag"]) == (304, tag)


async def test_a_long_answer_is_packed_for_who_takes_that(gateway: Gateway) -> None:
    async with gateway.http.stream("GET", "/api/trades", headers={"Accept-Encoding": "br, gzip"}) as short:
        sent = b"".join([part async for part in short.aiter_raw()])
    plain = await gateway.http.get("/api/trades", headers={"Accept-Encoding": "identity"})
    assert (short.headers["content-encoding"], short.headers["content-length"]) == ("gzip", str(len(sent)))
    assert gzip.decompress(sent) == plain.content
    assert len(sent) * 4 < len(plain.content)
    assert "content-encoding" not in plain.headers
    assert short.headers["etag"] != plain.headers["etag"]
    for response in (short, plain):
        assert response.headers["vary"] == "Accept-Encoding"
    again = await gateway.http.get("/api/trades", headers={"If-None-Match": short.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("/api/trades", "gzip;q=0"),
        ("/api/trades", "gzip;Q=0.0"),
        ("/api/trades", "br, gzip;\tq=0;x=1"),
        ("/api/trades", "deflate, br"),
        ("/api/trades", ""),
        ("/api/price", "gzip"),
    ],
)
async def test_an_answer_that_is_short_or_for_somebody_else_is_not_packed(
    gateway: Gateway, path: str, taken: str
) -> None:
    answer = await gateway.http.get(path, headers={"Accept-Encoding": taken})
    assert answer.status_code == 200
    assert "content-encoding" not in answer.headers


async def test_an_answer_that_changed_is_sent_whole_whatever_the_client_has(gateway: Gateway) -> None:
    first = await gateway.http.get("/api/symbol")
    await gateway.http.post("/api/symbol", json={"symbol": "ethusdt"})
    then = await gateway.http.get("/api/symbol", headers={"If-None-Match": first.headers["etag"]})
    assert (then.status_code, then.json()["symbol"]) == (200, "ethusdt")
    posted = await gateway.http.post("/api/symbol", json={"symbol": "ethusdt"}, headers={"If-None-Match": "*"})
    unknown = await gateway.http.get("/api/trades/ethusdt/251", headers={"If-None-Match": "*"})
    assert ("etag" in posted.headers, posted.status_code) == (False, 200)
    assert ("etag" in unknown.headers, unknown.status_code, unknown.headers["cache-control"]) == (
        False,
        404,
        "no-store",
    )


async def test_a_trade_by_its_id_is_the_trade_itself_and_an_unknown_one_says_why(gateway: Gateway) -> None:
    found = (await gateway.http.get("/api/trades/ethusdt/7?epoch=0")).json()
    assert (found["symbol"], found["trade_id"], found["price"]) == ("ethusdt", 7, 0.07000001)
    assert (gateway.store.asked.HasField("epoch"), gateway.store.asked.venue) == (True, "")

    unknown = await gateway.http.get("/api/trades/ethusdt/251")
    assert (unknown.status_code, unknown.json()["message"]) == (404, "trade 251 was never received")
    text = (await gateway.http.get("/metrics")).text
    assert 'path="/api/trades/{symbol}/{trade_id}",status="404"' in text, "a label per path would never end"


async def test_what_the_venue_lists_is_searched_and_has_decimal_sizes_and_its_age(gateway: Gateway) -> None:
    found = (await gateway.http.get("/api/instruments", params={"q": "BTC/usdt", "limit": 5})).json()
    assert found == {
        "instruments": [
            {
                "symbol": "btcusdt",
                "base_asset": "BTC",
                "quote_asset": "USDT",
                "tick_size": 0.01,
                "step_size": 0.00001,
                "status": "TRADING",
            }
        ],
        "next_page_token": "",
        "venue": "sim",
        "listed_time": "2023-11-14T22:13:20Z",
        "stale": True,
    }
    assert (gateway.store.asked.q, gateway.store.asked.limit) == ("BTC/usdt", 5)


async def test_the_trades_after_an_id_are_a_page_with_rising_ids(gateway: Gateway) -> None:
    found = (await gateway.http.get("/api/trades/ethusdt/247/next?page_size=2")).json()
    assert [trade["trade_id"] for trade in found["trades"]] == [248, 249]
    assert (found["newest_trade_id"], found["newest_epoch"]) == (250, 0)
    assert (await gateway.http.get("/api/trades/ethusdt/-1/next")).status_code == 200
    assert (gateway.store.asked.trade_id, gateway.store.asked.symbol) == (-1, "ethusdt")


async def test_metrics_count_requests(gateway: Gateway) -> None:
    await gateway.http.get("/api/price")
    text = (await gateway.http.get("/metrics")).text
    assert 'tickmesh_gateway_http_requests_total{path="/api/price",status="200"}' in text


async def test_readiness_names_the_service_without_which_no_live_price_can_be_answered(gateway: Gateway) -> None:
    gateway.signal_health.set("bus", False)

    async def not_ready() -> Any:
        response = await gateway.http.get("/readyz")
        return response.status_code == 503 and response

    response = await eventually(not_ready)
    assert response.json()["upstreams"]["tickmesh.v1.SignalService"] == "NOT_SERVING"
    assert response.json()["message"] == "not ready: SignalService is NOT_SERVING"
    assert response.headers["Retry-After"] == "1"


async def test_readiness_does_not_fall_with_the_database_and_says_that_history_is_away(gateway: Gateway) -> None:
    gateway.store_health.set("bus", False)

    async def told() -> bool:
        response = await gateway.http.get("/readyz")
        assert response.status_code == 200
        return bool(response.json()["upstreams"]["tickmesh.v1.StoreService"] == "NOT_SERVING")

    assert await eventually(told)


async def test_an_upstream_that_hangs_is_a_timeout() -> None:
    async with running_gateway(call_limit_s=0.1) as gateway:
        gateway.signal.delay_s = 30
        response = await gateway.http.get("/api/price")
        assert (response.status_code, response.json()["code"]) == (504, 4)
        assert "SignalService did not answer within 0.1 s" in response.json()["message"]


async def test_a_gateway_alone_is_alive_but_not_ready_and_recovers() -> None:
    signal, store = SmallSignal(), SmallStore()
    async with running_signal(signal, serving_health()) as signal_port:
        pass  # now nobody is there
    async with (
        running_store(store, serving_health()) as store_port,
        channel(f"127.0.0.1:{signal_port}") as signal_channel,
        channel(f"127.0.0.1:{store_port}") as store_channel,
        running_app(signal_channel, store_channel) as (_, _, port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
    ):
        alive, ready, price = await asyncio.gather(*map(http.get, ("/healthz", "/readyz", "/api/price")))
        assert (alive.status_code, ready.status_code, price.status_code) == (200, 503, 503)
        assert ready.json()["upstreams"]["tickmesh.v1.SignalService"] == "UNREACHABLE"
        assert price.json()["message"] == "SignalService is away; /readyz tells when it is back"
        assert (await http.get("/api/history")).status_code == 200
        async with running_signal(signal, serving_health(), f"127.0.0.1:{signal_port}"):

            async def back() -> bool:
                return (await http.get("/readyz")).status_code == 200

            await eventually(back)
            assert (await http.get("/api/price")).status_code == 200


async def test_too_often_is_429_and_says_when_it_may_be_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def too_often(*_: object) -> None:
        raise TooMany("a session was reset too often", retry_after_s=6.2)

    monkeypatch.setattr(SmallSignal, "ResetSession", too_often)
    async with running_gateway() as gateway:
        response = await gateway.http.post("/api/session:reset", json={})
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    found = response.json()
    assert (found["code"], found["message"]) == (8, "a session was reset too often")
    assert found["details"][1]["retry_delay"] == "6.200s"


async def test_with_a_token_reading_is_open_and_changing_is_not() -> None:
    async with running_gateway(admission=AdmissionRules(tokens=Access("s3cret"))) as gateway:

        async def select(**options: Any) -> int:
            return (await gateway.http.post("/api/symbol", json={"symbol": "ethusdt"}, **options)).status_code

        assert (await gateway.http.get("/api/price")).status_code == 200
        assert await select() == 401
        assert await select(headers={"authorization": "Bearer wrong"}) == 401
        assert gateway.signal.selected == "btcusdt"
        assert await select(headers={"authorization": "Bearer s3cret"}) == 200
        assert await select(params={"token": "s3cret"}) == 200


async def test_many_wrong_tokens_are_told_to_wait_and_a_right_one_is_answered_all_the_same() -> None:
    async with running_gateway(admission=AdmissionRules(tokens=Access("s3cret"))) as gateway:

        async def select(token: str, http: httpx.AsyncClient = gateway.http) -> httpx.Response:
            bearer = {"authorization": f"Bearer {token}"} if token else {}
            return await http.post("/api/symbol", json={"symbol": "ethusdt"}, headers=bearer)

        found = [await select(f"guess{n}") for n in range(PER_MINUTE + 10)]
        assert [one.status_code for one in found[:PER_MINUTE]] == [401] * PER_MINUTE
        told = found[-1]
        assert told.status_code == 429 and "wrong token" in told.json()["message"]
        assert told.headers["retry-after"].isdigit() and told.headers["connection"] == "close"
        with pytest.raises(InvalidStatus) as refused:
            await gateway.ws("?token=guess")
        assert refused.value.response.status_code == 429
        assert (await select("s3cret")).status_code == 200  # nobody is locked out by who shares his address
        assert (await select("")).status_code == 401
        elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
        async with httpx.AsyncClient(transport=elsewhere, base_url=gateway.http.base_url) as other:
            assert (await select("guess", other)).status_code == 401
        assert "tickmesh_wrong_tokens_total" in (await gateway.http.get("/metrics")).text


async def test_the_status_of_the_mesh_is_told_from_the_newest_reports_of_both_services(gateway: Gateway) -> None:
    gateway.signal.board.take("control.status.ingest", ingest_report(seconds=100, state="FEED_STATE_LIVE"))
    gateway.store.board.take("control.status.ingest", ingest_report(seconds=101, state="FEED_STATE_GAP"))
    gateway.signal.board.take("control.status.signal", b'{"service": "signal", "serving": true}')

    async def told() -> Any:
        response = await gateway.http.get("/api/status")
        assert response.status_code == 200
        return response.json()["state"] == "GAP" and response.json()

    body = await eventually(told)
    assert (body["venue"], body["message"]) == ("binance", "waiting for trades 5 to 9")
    short = (await gateway.http.get("/api/status?without_symbols=true")).json()
    assert ([one["symbol"] for one in body["symbols"]], short["symbols"]) == (["btcusdt"], [])
    assert (short["state"], short["message"]) == (body["state"], body["message"])
    reports = {one["service"]: one["report"] for one in body["services"]}
    assert (reports["store"], reports["signal"]["feed"], reports["ingest"]["feed"]["symbols"]) == (None, None, [])
    assert {one["service"]: one["state"] for one in body["services"]} == {
        "ingest": "SERVING",
        "signal": "SERVING",
        "store": "UNREACHABLE",
        "gateway": "SERVING",
    }

    async def measured() -> bool:
        text = (await gateway.http.get("/metrics")).text
        return (
            'tickmesh_feed_state{state="GAP"} 1.0' in text
            and 'tickmesh_feed_state{state="LIVE"} 0.0' in text
            and 'tickmesh_service_restarts{service="ingest"} 4.0' in text
            and 'tickmesh_service_restarts{service="gateway"}' not in text
            and "process_start_time_seconds " in text
        )

    assert await eventually(measured)


async def test_nobody_is_told_a_number_of_restarts_that_nobody_counted(gateway: Gateway) -> None:
    gateway.signal.board.take("control.status.ingest", ingest_report(seconds=100, state="FEED_STATE_GAP"))

    async def told() -> bool:
        services = (await gateway.http.get("/api/status")).json()["services"]
        restarts = {one["service"]: one["report"]["restarts"] for one in services if one["report"]}
        return restarts == {"ingest": 4, "gateway": None}

    assert await eventually(told)


async def test_readiness_says_why_prices_may_stand_still_all_the_same(gateway: Gateway) -> None:
    assert "warnings" not in (await gateway.http.get("/readyz")).json()
    report = json.loads(ingest_report(seconds=100, state="FEED_STATE_GAP"))
    epoch = {"name": "epoch", "state": "STATE_DEGRADED", "message": "has binance begun its ids again?"}
    report["conditions"] = [{"name": "bus", "state": "STATE_OK"}, epoch]
    gateway.signal.board.take("control.status.ingest", json.dumps(report).encode())

    async def told() -> bool:
        response = await gateway.http.get("/readyz")
        assert response.status_code == 200
        return bool(response.json().get("warnings") == ["has binance begun its ids again?"])

    assert await eventually(told)


async def test_the_status_is_answered_with_nobody_behind_the_gateway() -> None:
    async with (
        channel("127.0.0.1:1") as signal_channel,
        channel("127.0.0.1:1") as store_channel,
        running_app(signal_channel, store_channel) as (_, _, port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
    ):

        async def told() -> bool:
            response = await http.get("/api/status")
            assert (response.status_code, response.json()["state"]) == (200, "OFFLINE")
            [gateway] = [one for one in response.json()["services"] if one["service"] == "gateway"]
            return bool(gateway["message"] == "gateway does not serve: signal: signal does not answer")

        assert await eventually(told)


def ingest_report(*, seconds: int, state: str) -> bytes:
    symbols = [{"symbol": "btcusdt", "state": state}]
    feed = {"venue": "binance", "state": state, "message": "waiting for trades 5 to 9", "symbols": symbols}
    time = f"2026-01-01T00:{seconds // 60:02d}:{seconds % 60:02d}Z"
    report = {"service": "ingest", "serving": True, "restarts": 4, "reported_time": time, "feed": feed}
    return json.dumps(report).encode()


async def test_the_terminal_client_reads_the_history_page_by_page(gateway: Gateway) -> None:
    events: asyncio.Queue[Event] = asyncio.Queue()
    url = f"http://127.0.0.1:{gateway.port}"
    async with Client(url, emit=events.put_nowait, arrived=lambda: None, now_us=lambda: 0, random=Random(1)) as client:
        await client.perform(LoadHistory(0, "btcusdt"))
        first = await events.get()
        assert isinstance(first, Loaded) and isinstance(first.content, HistoryPage) and first.content.next_token
        await client.perform(LoadHistory(0, "btcusdt", first.content.next_token))
        second = await events.get()
        assert isinstance(second, Loaded) and isinstance(second.content, HistoryPage)
        ids = [trade.trade_id for page in (first.content, second.content) for trade in page.trades]
        assert ids == sorted(set(ids), key=lambda one: -(one or 0))


async def test_a_client_says_how_long_it_waits(gateway: Gateway) -> None:
    gateway.signal.delay_s = 60
    response = await gateway.http.get("/api/price", headers={"Grpc-Timeout": "20m"})
    assert (response.status_code, response.json()["message"]) == (504, "SignalService did not answer within 0.02 s")


@pytest.mark.parametrize("value", ["", "1", "0S", "-1S", "1s", "123456789S", "1.5S", "\u0661S".encode()])
async def test_a_time_that_is_none_is_refused(gateway: Gateway, value: Any) -> None:
    response = await gateway.http.get("/api/price", headers={"Grpc-Timeout": value})
    assert response.status_code == 400 and "500m is half a second" in response.json()["message"]


async def test_no_client_waits_longer_than_the_gateway_does() -> None:
    async with running_gateway(call_limit_s=0.02) as gateway:
        gateway.signal.delay_s = 60
        response = await gateway.http.get("/api/price", headers={"Grpc-Timeout": "99999999H"})
        assert (response.status_code, response.json()["message"]) == (504, "SignalService did not answer within 0.02 s")


async def test_a_request_has_a_name_that_the_service_is_told_and_the_answer_has(gateway: Gateway) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    response = await gateway.http.get("/api/price", headers={"X-Request-Id": "a-1", "traceparent": trace})
    assert response.headers["x-request-id"] == gateway.signal.metadata["x-request-id"] == "a-1"
    assert gateway.signal.metadata["traceparent"] == trace


@pytest.mark.parametrize("given", [None, "", "x" * 129, "two words", "caf\u00e9".encode()])
async def test_a_request_without_a_usable_name_is_given_one(gateway: Gateway, given: Any) -> None:
    headers = {} if given is None else {"X-Request-Id": given}
    response = await gateway.http.get("/api/price", headers=headers)
    assert response.headers["x-request-id"] == gateway.signal.metadata["x-request-id"] != given
    assert len(response.headers["x-request-id"]) == 32


@pytest.mark.parametrize("path", ["/nothing", "/api/price?x=1", "/healthz", "/ws"])
async def test_every_answer_has_the_name_of_its_request(gateway: Gateway, path: str) -> None:
    assert (await gateway.http.get(path, headers={"X-Request-Id": "b"})).headers["x-request-id"] == "b"


async def test_the_services_errors_come_with_their_kind_and_field(gateway: Gateway) -> None:
    unknown = (await gateway.http.get("/api/price?symbol=xrpusdt")).json()["details"]
    assert unknown == [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "NOT_FOUND", "domain": "tickmesh.v1"}
    ]
