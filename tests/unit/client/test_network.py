from __future__ import annotations

import asyncio
from itertools import islice
from random import Random
from socket import gaierror
from ssl import SSLCertVerificationError
from typing import Any

import pytest

from tickmesh_client import Tickmesh, WrongAddress
from tickmesh_client.network import backoff, is_loopback, reason_of, shown_url, stream_url
from tickmesh_client.transfer import CONNECT_ERRORS


@pytest.mark.parametrize(
    ("url", "stream"),
    [
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/ws?events=true"),
        ("https://mesh.example/tick/", "wss://mesh.example/tick/ws?events=true"),
        ("http://[::1]:8080/", "ws://[::1]:8080/ws?events=true"),
    ],
)
def test_the_live_stream_is_beside_the_api(url: str, stream: str) -> None:
    assert stream_url(url, "events=true") == stream


def test_a_password_is_not_shown() -> None:
    assert shown_url("https://me:secret@mesh.example:8080/tick") == "https://mesh.example:8080/tick"


@pytest.mark.parametrize(
    "url",
    [
        " http://127.0.0.1:1",
        "http://127.0.0.1:1\n",
        "http://a b:80",
        "http://127.0.0.1:1/x y",
        "http://\x00",
        "127.0.0.1:8080",
        "",
        None,
        "http://me:secret@127.0.0.1:99999",
        "http://me:secret@127.0.0.1:80 80",
    ],
)
def test_what_is_no_address_is_refused_at_once_and_no_password_is_shown(url: Any) -> None:
    with pytest.raises(WrongAddress, match=r"found the address .*, expected one such as") as caught:
        Tickmesh(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("token", [None, b"secret", 7])
def test_a_token_that_is_no_text_is_refused(token: Any) -> None:
    with pytest.raises(WrongAddress, match=f"found {type(token).__name__} as the token, expected text"):
        Tickmesh(token=token)


def test_a_handshake_that_takes_too_long_is_known_for_every_python() -> None:
    assert asyncio.TimeoutError in CONNECT_ERRORS  # before Python 3.11 it is no OSError


@pytest.mark.parametrize(
    ("url", "loopback"),
    [("http://127.0.0.1:1", True), ("http://[::1]", True), ("http://localhost:8080", True), ("http://10.0.0.1", False)],
)
def test_this_machine_is_known(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback


def test_delays_grow_to_a_limit_and_differ_by_chance() -> None:
    delays_s = list(islice(backoff(Random(1), first_s=0.5, most_s=10), 20))
    assert 0.25 <= delays_s[0] <= 0.5
    assert all(5 <= delay_s <= 10 for delay_s in delays_s[5:])
    assert len(set(delays_s)) == 20


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 80)"), "connection refused"),
        (TimeoutError(), "no answer in time"),
        (gaierror(-2, "Name or service not known"), "name or service not known"),
        (SSLCertVerificationError(1, "certificate verify failed"), "certificate verify failed"),
        (ValueError("nonsense"), "nonsense"),
        (EOFError(), "EOFError"),
    ],
    ids=repr,
)
def test_the_reason_is_the_errors_own(error: Exception, reason: str) -> None:
    assert reason in reason_of(error)
