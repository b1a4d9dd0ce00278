"""ingest and a venue over TLS, directly and through real proxies, with an authority of the test's own."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme

from tests.fixtures.following import followed
from tests.fixtures.nats import NatsServer
from tests.fixtures.proxy import running_proxy
from tests.fixtures.scripted_venue import scripted_venue
from tests.fixtures.services import Service
from tests.fixtures.sim import running_sim
from tests.fixtures.waiting import eventually

Make = Callable[..., Service]
FAR = "venue.invalid"
"""A name that only the proxy knows."""
WAYS = {
    "none": {},
    "http": {"HTTPS_PROXY": "http://127.0.0.1:PORT"},
    "https": {"HTTPS_PROXY": "https://127.0.0.1:PORT"},  # TLS within TLS
    "socks": {"ALL_PROXY": "socks5://127.0.0.1:PORT"},
}


def slowly(*ways: str) -> list[Any]:
    """Leave some ways to the slow tests."""
    return [pytest.param(way, marks=pytest.mark.slow) for way in ways]


def served_by(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """Return what a server needs to speak TLS by one of these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
def authority() -> trustme.CA:
    """Give an authority that nobody knows."""
    return trustme.CA()


def bundle(authority: trustme.CA, folder: Path) -> str:
    """Return the path of the authority's certificate, in a folder as people have them."""
    path = folder / "our own authority's #1.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.mark.parametrize("way", ["http", "socks", *slowly("none", "https")])
async def test_a_venue_over_tls_is_followed_with_the_authority_of_ssl_cert_file(
    nats_server: NatsServer, make_service: Make, authority: trustme.CA, tmp_path: Path, way: str
) -> None:
    tls = served_by(authority, FAR, "127.0.0.1")
    proxy_tls = tls if way == "https" else None
    async with (
        running_proxy("socks" if way == "socks" else "http", tls=proxy_tls) as proxy,
        followed(nats_server, make_service, tls, SSL_CERT_FILE=bundle(authority, tmp_path)) as f,
    ):
        environment = f.service.process.environment
        urls = {name: environment[name] for name in ("BINANCE_WS_URL", "BINANCE_REST_URL")}
        assert {urlsplit(url).scheme for url in urls.values()} == {"wss", "https"}
        if way != "none":
            urls = {name: url.replace("127.0.0.1", FAR) for name, url in urls.items()}
        environment |= urls | {name: value.replace("PORT", str(proxy.port)) for name, value in WAYS[way].items()}
        await f.start()
        await f.venue.trade("btcusdt", 1)
        f.venue.know("btcusdt", 2)
        await f.venue.trade("btcusdt", 3)  # so that REST is asked for the second

        await f.publishes([1, 2, 3])

        expected = set() if way == "none" else {urlsplit(url).netloc for url in urls.values()}
        assert set(proxy.asked) == expected


@pytest.mark.parametrize("way", ["http", *slowly("none", "https", "socks")])
@pytest.mark.parametrize(
    ("certified", "known", "words"),
    [
        (FAR, False, "its certificate is not trusted: unable to get local issuer certificate; where a proxy"),
        ("other.invalid", True, "its certificate is not trusted: Hostname mismatch"),
    ],
    ids=["unknown authority", "another host's"],
)
async def test_a_certificate_that_is_not_trusted_is_said_with_what_to_do_and_the_mesh_goes_on(
    nats_server: NatsServer,
    make_service: Make,
    authority: trustme.CA,
    tmp_path: Path,
    way: str,
    certified: str,
    known: bool,
    words: str,
) -> None:
    name = "localhost" if way == "none" else FAR
    tls = served_by(authority, name if certified == FAR else certified)
    proxy_authority = authority if known else trustme.CA()
    proxy_tls = served_by(proxy_authority, "127.0.0.1") if way == "https" else None
    variables = {"SSL_CERT_FILE": bundle(authority if known else trustme.CA(), tmp_path)}
    async with (
        running_proxy("socks" if way == "socks" else "http", tls=proxy_tls) as proxy,
        scripted_venue(tls=tls) as venue,
    ):
        urls = [url.replace("127.0.0.1", name) for url in (venue.ws_url, venue.rest_url)]
        with running_sim("--rate", "0") as sim:
            service = make_service(
                "ingest",
                NATS_URL=nats_server.url_of("ingest"),
                BINANCE_WS_URL=urls[0],
                BINANCE_REST_URL=urls[1],
                SIM_WS_URL=sim.ws,
                SIM_REST_URL=sim.rest,
                **variables,
                **{each: value.replace("PORT", str(proxy.port)) for each, value in WAYS[way].items()},
            )
            service.start()
            await eventually(lambda: "connected to ws://" in service.output(), timeout_s=30)
    said = [line for line in service.output().splitlines() if words in line and "SSL_CERT_FILE" in line]
    assert len([line for line in said if urls[0] in line]) == 1, service.output()
    assert any(urlsplit(urls[1]).netloc in line and urls[0] not in line for line in said), service.output()
    assert "Traceback" not in service.output()


async def test_a_host_that_speaks_no_tls_is_named_as_such(nats_server: NatsServer, make_service: Make) -> None:
    with running_sim("--rate", "0") as sim:
        urls = [sim.rest.replace("http://", "wss://"), sim.rest.replace("http://", "https://")]
        service = make_service(
            "ingest",
            NATS_URL=nats_server.url_of("ingest"),
            BINANCE_WS_URL=urls[0],
            BINANCE_REST_URL=urls[1],
            SIM_WS_URL=sim.ws,
            SIM_REST_URL=sim.rest,
        )
        service.start()
        await eventually(lambda: "connected to ws://" in service.output(), timeout_s=30)
    said = [line for line in service.output().splitlines() if "no TLS is spoken there" in line]
    assert any(urls[0] in line for line in said), service.output()
    assert any(urlsplit(urls[1]).netloc in line and urls[0] not in line for line in said), service.output()
