from __future__ import annotations

import pytest

from gateway.access import AdmissionRules, Denial, query_pairs, split_token
from mesh.service.access import Access

OPEN = AdmissionRules()
TOKENS = AdmissionRules(tokens=Access("s3cret", "reader"))
PROTECTED = AdmissionRules(tokens=Access("s3cret", "reader", protect_reads=True))


def refusal(
    rules: AdmissionRules, request: str = "GET /api/price", *, token: str = "", **headers: str
) -> Denial | None:
    verb, _, path = request.partition(" ")
    kind = "websocket" if verb == "WS" else "http"
    given = [(name.encode(), value.encode("latin-1")) for name, value in {"host": "127.0.0.1:8080", **headers}.items()]
    return rules.denial(kind, verb, path, given, token)


def status(rules: AdmissionRules, request: str = "GET /api/price", *, token: str = "", **headers: str) -> int | None:
    refused = refusal(rules, request, token=token, **headers)
    return refused.status if refused else None


@pytest.mark.parametrize(
    ("authorization", "parameter"), [("Bearer s3cret", ""), ("bearer  s3cret ", ""), ("", "s3cret"), ("", "reader")]
)
def test_the_token_may_come_in_the_header_or_the_query(authorization: str, parameter: str) -> None:
    assert refusal(PROTECTED, token=parameter, authorization=authorization) is None


@pytest.mark.parametrize(
    ("authorization", "parameter", "problem"),
    [
        ("", "", "needs a token"),
        ("Basic s3cret", "", "needs a token"),
        ("Bearer wrong", "s3cret", "wrong token"),
        ("", "wröng", "wrong token"),
        ("Bearer s3cre", "", "wrong token"),
        ("Bearer w\xe4hrung", "", "wrong token"),
    ],
)
def test_anything_else_is_refused(authorization: str, parameter: str, problem: str) -> None:
    refused = refusal(PROTECTED, token=parameter, authorization=authorization)
    assert refused is not None
    assert (refused.status, refused.headers) == (401, {"WWW-Authenticate": "Bearer"})
    assert problem in refused.problem


@pytest.mark.parametrize(
    ("request_line", "none", "reader", "writer"),
    [
        ("GET /api/price", None, None, None),
        ("GET /metrics", None, None, None),
        ("OPTIONS /api/symbol", None, None, None),
        ("POST /api/symbol", 401, 403, None),
        ("DELETE /api/symbol", 401, 403, None),
        ("WS /ws", 401, None, None),
    ],
)
def test_who_may_do_what_where_a_token_is_set(
    request_line: str, none: int | None, reader: int | None, writer: int | None
) -> None:
    assert [status(TOKENS, request_line, token=token) for token in ("", "reader", "s3cret")] == [none, reader, writer]


@pytest.mark.parametrize("path", ["/api/price", "/metrics", "/docs", "/openapi.json", "/pages"])
def test_reading_needs_one_of_the_tokens_where_it_is_protected(path: str) -> None:
    assert [status(PROTECTED, f"GET {path}", token=token) for token in ("", "wrong", "reader", "s3cret")] == [
        401,
        401,
        None,
        None,
    ]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/page/main.js"])
def test_health_and_the_page_need_no_token(path: str) -> None:
    assert status(PROTECTED, f"GET {path}") is None


def test_without_a_token_set_none_is_needed() -> None:
    assert [status(OPEN, line) for line in ("GET /api/price", "POST /api/symbol", "WS /ws")] == [None] * 3


@pytest.mark.parametrize("line", ["POST /api/symbol", "WS /ws"])
@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("localhost:8080", "http://LOCALHOST:3000"),
        ("[::1]:8080", "http://[::1]"),
    ],
)
def test_pages_of_the_same_host_may(line: str, host: str, origin: str) -> None:
    assert refusal(OPEN, line, host=host, origin=origin) is None


@pytest.mark.parametrize("line", ["POST /api/symbol", "WS /ws"])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://[", "http://127.0.0.1.evil.example"])
def test_pages_of_other_hosts_may_not(line: str, origin: str) -> None:
    refused = refusal(OPEN, line, origin=origin)
    assert refused is not None and refused.status == 403 and "may not use this" in refused.problem


def test_an_allowed_origin_may_whatever_host_a_proxy_asks_by() -> None:
    rules = AdmissionRules(origins=("https://ticks.example",))
    assert status(rules, "POST /api/symbol", origin="https://Ticks.example") is None
    assert status(rules, "POST /api/symbol", origin="http://ticks.example") == 403
    assert status(rules, "POST /api/symbol", origin="https://ticks.example.evil") == 403


@pytest.mark.parametrize(
    "line", ["GET /api/price", "POST /api/symbol", "WS /ws", "GET /healthz", "OPTIONS /api/symbol"]
)
@pytest.mark.parametrize(
    "host", ["evil.example:8080", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "1.1.1.1.nip.io"]
)
def test_a_name_that_was_made_to_lead_here_is_refused_though_the_page_is_of_that_host(line: str, host: str) -> None:
    assert status(OPEN, line, host=host, origin=f"http://{host}") == 421


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]:8080", "10.1.2.3:8080", "localhost:1", "LOCALHOST.", "tickmesh.localhost", "0.0.0.0:8080"],
)
def test_addresses_and_names_of_loopback_may_be_asked(host: str) -> None:
    assert refusal(OPEN, host=host) is None


def test_names_that_are_allowed_may_be_asked() -> None:
    rules = AdmissionRules(hosts=("ticks.example", "*.mesh.example"))
    hosts = (
        "ticks.example:443",
        "TICKS.example.",
        "a.mesh.example",
        "a.b.mesh.example",
        "mesh.example",
        "x.ticks.example",
    )
    assert [status(rules, host=host) for host in hosts] == [None, None, None, None, 421, 421]
    assert status(AdmissionRules(hosts=("*",)), host="anything.example") is None


@pytest.mark.parametrize("host", ["", "a/b", "user@127.0.0.1", "127.0.0.1:port", "[::1", "127.0.0.1#x", "?"])
def test_what_is_no_host_is_refused(host: str) -> None:
    assert status(OPEN, host=host) == 400


def test_two_hosts_are_refused_and_none_is_that_of_no_browser() -> None:
    twice = [(b"host", b"127.0.0.1"), (b"host", b"evil.example")]
    refused = OPEN.denial("http", "GET", "/", twice, "")
    assert refused is not None and refused.status == 400
    assert OPEN.denial("http", "GET", "/", [], "") is None


def test_the_token_is_taken_out_of_the_parameters() -> None:
    assert split_token(query_pairs(b"symbol=a%20b&token=x&empty=")) == ("x", [("symbol", "a b"), ("empty", "")])


@pytest.mark.parametrize("query", [b"a=%ff", b"&".join(b"a=1" for _ in range(101))])
def test_an_unreadable_query_is_refused(query: bytes) -> None:
    with pytest.raises(ValueError):
        query_pairs(query)
