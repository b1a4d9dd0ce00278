from __future__ import annotations

import pytest

from gateway.access import origin_problem, query_pairs, split_token, token_problem


@pytest.mark.parametrize(
    ("headers", "parameter"),
    [({"authorization": "Bearer s3cret"}, ""), ({"authorization": "bearer  s3cret "}, ""), ({}, "s3cret")],
)
def test_the_token_may_come_in_the_header_or_the_query(headers: dict[str, str], parameter: str) -> None:
    assert token_problem("s3cret", headers, parameter) is None


@pytest.mark.parametrize(
    ("headers", "parameter", "problem"),
    [
        ({}, "", "needs the token"),
        ({"authorization": "Basic s3cret"}, "", "needs the token"),
        ({"authorization": "Bearer wrong"}, "s3cret", "wrong token"),
        ({}, "wröng", "wrong token"),
    ],
)
def test_anything_else_is_refused(headers: dict[str, str], parameter: str, problem: str) -> None:
    assert problem in str(token_problem("s3cret", headers, parameter))


def test_without_a_token_set_none_is_needed() -> None:
    assert token_problem(None, {}, "") is None


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:8080"},
        {"host": "127.0.0.1:8080", "origin": "http://127.0.0.1:8080"},
        {"host": "localhost:8080", "origin": "http://LOCALHOST:3000"},
        {"host": "[::1]:8080", "origin": "http://[::1]"},
    ],
)
def test_programs_and_pages_of_the_same_host_may(headers: dict[str, str]) -> None:
    assert origin_problem(headers) is None


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://[", "http://127.0.0.1.evil.example"])
def test_pages_of_other_hosts_may_not(origin: str) -> None:
    assert "may not use this" in str(origin_problem({"host": "127.0.0.1:8080", "origin": origin}))


def test_the_token_is_taken_out_of_the_parameters() -> None:
    assert split_token(query_pairs(b"symbol=a%20b&token=x&empty=")) == ("x", [("symbol", "a b"), ("empty", "")])


@pytest.mark.parametrize("query", [b"a=%ff", b"&".join(b"a=1" for _ in range(101))])
def test_an_unreadable_query_is_refused(query: bytes) -> None:
    with pytest.raises(ValueError):
        query_pairs(query)
