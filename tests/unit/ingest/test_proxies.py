"""Which proxy leads where, by what an environment says."""

from __future__ import annotations

import pytest

from ingest.network import Network
from ingest.proxies import Proxies, UnusableProxyError, is_excepted, masked, parse

REST, STREAM = "https://api.binance.com", "wss://stream.binance.com:9443"


def to(url: str, **environ: str) -> str | None:
    proxy = Proxies.of(environ).to(url)
    return proxy.url if proxy else None


@pytest.mark.parametrize("url", [REST, STREAM])
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "SOCKS_PROXY", "socks_proxy"])
def test_each_variable_counts_in_either_case(url: str, name: str) -> None:
    assert to(url, **{name: "http://proxy:3128"}) == "http://proxy:3128"


def test_a_variable_for_other_urls_does_not_count() -> None:
    assert to(REST, HTTP_PROXY="http://proxy:1", WSS_PROXY="http://proxy:2") is None
    assert to(STREAM, HTTP_PROXY="http://proxy:1") is None
    assert to(STREAM, WSS_PROXY="http://proxy:2", HTTPS_PROXY="http://proxy:3") == "http://proxy:2"


def test_lower_case_comes_first_and_empty_takes_away() -> None:
    assert to(REST, HTTPS_PROXY="http://upper:1", https_proxy="http://lower:1") == "http://lower:1"
    assert to(REST, HTTPS_PROXY="http://upper:1", https_proxy="") is None
    assert to(REST, HTTPS_PROXY="", ALL_PROXY=" ") is None


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("proxy:3128", "http://proxy:3128"),
        ("//proxy:3128/", "http://proxy:3128"),
        ("proxy", "http://proxy:80"),
        ("HTTPS://Proxy", "https://proxy:443"),
        ("socks5://proxy", "socks5h://proxy:1080"),
        ("socks://proxy:9/", "socks5h://proxy:9"),
        ("me@proxy:1", "http://me:@proxy:1"),
        ("http://me:p%40ss@proxy:1", "http://me:p%40ss@proxy:1"),
        ("http://me:p@ss@proxy:1", "http://me:p%40ss@proxy:1"),
        ("http://me:100%@proxy:1", "http://me:100%25@proxy:1"),
        ("http://[::1]:3128", "http://[::1]:3128"),
        ("http://bücher.example:1", "http://xn--bcher-kva.example:1"),
        ("http://proxy:1/path?query", "http://proxy:1"),
    ],
)
def test_a_value_is_read_as_it_is_meant(value: str, url: str) -> None:
    assert parse("ALL_PROXY", value).url == url


@pytest.mark.parametrize(
    "value",
    [
        *("foo://secret@x:1", "http://", "http://secret@", "http://secret@:1", "http://me:secret", "http://x:99999"),
        *(
            "http://x:-1",
            "http://x:0",
            "http://secret@x y:1",
            "http://x\r\ny:1",
            "http://[::1:1",
            "socks4://secret@x:1",
        ),
        *("http://me:sec#ret@x:1", "http://" + "a" * 70 + "ü.example", "://x", ":", "\\\\proxy:1", "http://a..ü:1"),
    ],
)
def test_what_is_none_is_named_with_its_variable_and_without_a_password(value: str) -> None:
    with pytest.raises(
        UnusableProxyError, match=r"ALL_PROXY=.* cannot be used: .*; set it right, or unset it"
    ) as refused:
        Proxies.of({"ALL_PROXY": value}).to(REST)
    assert "secret" not in str(refused.value)
    assert "ret@" not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("http://me:secret@proxy:1", "http://***@proxy:1"),
        ("me:secret@proxy:1", "***@proxy:1"),
        ("http://me:secret", "http://me:***"),
        ("proxy:3128", "proxy:3128"),
        ("http://proxy", "http://proxy"),
    ],
)
def test_a_value_is_shown_without_its_password(value: str, shown: str) -> None:
    assert masked(value) == shown


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9", "ws://127.1.2.3:9", "http://[::1]:9", "ws://localhost:9", "http://a.localhost"]
)
def test_this_machine_is_behind_no_proxy(url: str) -> None:
    assert to(url, ALL_PROXY="http://proxy:1", HTTP_PROXY="foo://wrong") is None


@pytest.mark.parametrize(
    ("no_proxy", "host", "excepted"),
    [
        ("*", "a.example", True),
        ("x, *", "a.example", True),
        ("a.example", "a.example", True),
        ("A.Example", "a.example", True),
        ("example", "a.example", True),
        (".example", "a.example", True),
        ("*.example", "a.example", True),
        ("b.example a.example", "a.example", True),
        ("a.example:443", "a.example", True),
        ("a.example:80", "a.example", False),
        ("ample", "a.example", False),
        ("https://a.example", "a.example", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.1/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "ten.example", False),
        ("fd00::/8", "fd00::1", True),
        ("[fd00::1]", "fd00::1", True),
        ("[fd00::1]:443", "fd00::1", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("", "a.example", False),
        (",,;: .,/,[],10.0.0.0/99,[::1", "a.example", False),
    ],
)
def test_no_proxy_names_hosts_ends_of_names_and_networks(no_proxy: str, host: str, excepted: bool) -> None:
    assert is_excepted(host, 443, no_proxy) is excepted


def test_every_problem_is_told_once() -> None:
    network = Network.of({"ALL_PROXY": "foo://x", "SSL_CERT_FILE": "/nowhere.pem"})
    assert len(network.problems_to(REST, STREAM, REST)) == 2
    assert len(network.problems_to("ws://127.0.0.1:9")) == 1  # to which no proxy leads
