"""ingest behind a real proxy, HTTP or SOCKS, with every way to say so in the environment, right and wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fixtures.following import Followed, followed
from tests.fixtures.nats import NatsServer
from tests.fixtures.proxy import running_proxy
from tests.fixtures.services import Service
from tests.fixtures.sim import running_sim
from tests.fixtures.waiting import eventually

Make = Callable[..., Service]
FAR = "venue.invalid"
"""A name that only the proxy knows: what arrives has come through it, REST and WebSocket alike."""
LOGIN = ("me", "p@ss/w#rd:1")
QUOTED = "me:p%40ss%2Fw%23rd%3A1"


def slowly(*cases: tuple[object, ...]) -> list[Any]:
    """Leave to the slow tests what `test_proxies.py` says of too."""
    return [pytest.param(*case, marks=pytest.mark.slow) for case in cases]


def far(url: str) -> str:
    return url.replace("127.0.0.1", FAR)


async def follows_through(
    server: NatsServer, make: Make, kind: str, variables: dict[str, str], *, login: tuple[str, str] | None = None
) -> None:
    """Let ingest follow a venue that only a proxy reaches, by socket and by REST."""
    async with running_proxy(kind, login=login) as proxy, followed(server, make) as f:
        environment = f.service.process.environment
        ways = {urlsplit(environment[name]).netloc for name in ("BINANCE_WS_URL", "BINANCE_REST_URL")}
        for name in ("BINANCE_WS_URL", "BINANCE_REST_URL"):
            environment[name] = far(environment[name])
        environment |= {name: value.replace("PORT", str(proxy.port)) for name, value in variables.items()}
        await f.start()
        await f.venue.trade("btcusdt", 1)
        f.venue.know("btcusdt", 2)
        await f.venue.trade("btcusdt", 3)  # so that REST is asked for the second
        await f.publishes([1, 2, 3])
        assert set(proxy.asked) == {far(way) for way in ways}


@pytest.mark.parametrize(
    ("kind", "variables"),
    [
        ("http", {"HTTP_PROXY": "http://127.0.0.1:PORT"}),
        ("http", {"http_proxy": "127.0.0.1:PORT"}),  # no scheme
        *slowly(
            ("http", {"ALL_PROXY": "//127.0.0.1:PORT/"}),
            ("http", {"all_proxy": "HTTP://localhost:PORT", "HTTP_PROXY": "", "https_proxy": ""}),
            ("http", {"http_proxy": "http://127.0.0.1:PORT", "HTTP_PROXY": "foo://wrong"}),  # lower case comes first
            (
                "http",
                {"ALL_PROXY": "http://127.0.0.1:PORT", "NO_PROXY": "example.org, ,10.0.0.0/8,[::1]:x,.invalid.org"},
            ),
        ),
        ("socks", {"ALL_PROXY": "socks5://127.0.0.1:PORT"}),
        *slowly(
            ("socks", {"all_proxy": "socks5h://127.0.0.1:PORT"}),
            ("socks", {"ALL_PROXY": "socks://127.0.0.1:PORT/"}),  # as desktops write it
            ("socks", {"SOCKS_PROXY": "socks5://127.0.0.1:PORT"}),
        ),
    ],
    ids=str,
)
async def test_a_proxy_of_the_environment_is_used_for_rest_and_websocket_alike(
    nats_server: NatsServer, make_service: Make, kind: str, variables: dict[str, str]
) -> None:
    await follows_through(nats_server, make_service, kind, variables)


@pytest.mark.parametrize(("kind", "scheme"), [("http", "http"), ("socks", "socks5")])
async def test_a_proxys_user_and_password_may_hold_anything_that_is_escaped(
    nats_server: NatsServer, make_service: Make, kind: str, scheme: str
) -> None:
    variables = {"ALL_PROXY": f"{scheme}://{QUOTED}@127.0.0.1:PORT"}
    await follows_through(nats_server, make_service, kind, variables, login=LOGIN)


async def test_a_venue_on_this_machine_is_never_asked_through_a_proxy(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with running_proxy("http") as proxy, followed(nats_server, make_service) as f:
        f.service.process.environment |= {"ALL_PROXY": f"http://127.0.0.1:{proxy.port}", "HTTP_PROXY": "foo://wrong"}
        await f.start()
        await f.venue.trade("btcusdt", 1)
        await f.publishes([1])
        assert proxy.asked == []


WRONG: list[Any] = [
    ({"ALL_PROXY": "foo://x:1"}, "ALL_PROXY=foo://x:1 cannot be used: 'foo' is no kind of proxy"),
    *slowly(
        ({"HTTP_PROXY": "http://me:secret@:1"}, "HTTP_PROXY=http://***@:1 cannot be used: it names no host"),
        (
            {"http_proxy": "http://host:port"},
            "http_proxy=http://host:*** cannot be used: its port or its brackets are none",
        ),
        ({"HTTP_PROXY": "http://me:secret"}, "HTTP_PROXY=http://me:*** cannot be used: its port"),
        ({"HTTP_PROXY": "http://h:0"}, "HTTP_PROXY=http://h:0 cannot be used: it names no port"),
        ({"HTTP_PROXY": "http://h h:1"}, "HTTP_PROXY=http://h h:1 cannot be used: it holds a space"),
        ({"HTTP_PROXY": "http://[::1:3128"}, "HTTP_PROXY=http://[::1:3128 cannot be used: its port or its brackets"),
    ),
    ({"SSL_CERT_FILE": "/nowhere.pem"}, "SSL_CERT_FILE=/nowhere.pem cannot be used: No such file or directory"),
    *slowly(
        ({"SSL_CERT_FILE": "/etc/hostname"}, "SSL_CERT_FILE=/etc/hostname cannot be used: "),
        ({"REQUESTS_CA_BUNDLE": "/nowhere.pem"}, "REQUESTS_CA_BUNDLE=/nowhere.pem cannot be used: No such file"),
        ({"SSL_CERT_DIR": "/nowhere"}, "SSL_CERT_DIR=/nowhere cannot be used: no folder is at '/nowhere'"),
    ),
    ({"SSLKEYLOGFILE": "/nowhere/keys"}, "SSLKEYLOGFILE=/nowhere/keys cannot be written: No such file or directory"),
]


@pytest.mark.parametrize(("variables", "words"), WRONG, ids=str)
async def test_what_cannot_be_used_is_named_in_one_line_and_auto_falls_back(
    nats_server: NatsServer, make_service: Make, variables: dict[str, str], words: str
) -> None:
    with running_sim("--rate", "0") as sim:
        service = make_service(
            "ingest",
            NATS_URL=nats_server.url_of("ingest"),
            VENUE_TIMEOUT_S="3",
            BINANCE_WS_URL=f"ws://{FAR}:9",
            BINANCE_REST_URL=f"http://{FAR}:9",
            SIM_WS_URL=sim.ws,
            SIM_REST_URL=sim.rest,
            **variables,
        )
        service.start()
        await eventually(lambda: "connected to ws://" in service.output(), timeout_s=30)
        lines = [line for line in service.output().splitlines() if words in line and '"error"' in line]
        assert len(lines) == 1, service.output()
        assert "Traceback" not in service.output()
        assert "secret" not in service.output()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "url", "words"),
    [
        ("http", "http://me:wrong@127.0.0.1:PORT", "407"),
        ("socks", "socks5://me:wrong@127.0.0.1:PORT", "uthentication"),
        ("socks", "socks5://127.0.0.1:PORT", ""),
        ("http", "socks5://127.0.0.1:PORT", ""),  # it is of another kind
        ("socks", "http://127.0.0.1:PORT", ""),
        ("", "http://127.0.0.1:9", ""),  # nobody is there
        ("", "socks5://127.0.0.1:9", ""),
    ],
)
async def test_a_proxy_that_does_not_let_us_through_is_named_without_its_password(
    nats_server: NatsServer, make_service: Make, kind: str, url: str, words: str
) -> None:
    async with running_proxy(kind or "http", login=LOGIN) as proxy:
        with running_sim("--rate", "0") as sim:
            value = url.replace("PORT", str(proxy.port))
            service = make_service(
                "ingest",
                NATS_URL=nats_server.url_of("ingest"),
                VENUE_TIMEOUT_S="3",
                BINANCE_WS_URL=f"ws://{FAR}:9",
                BINANCE_REST_URL=f"http://{FAR}:9",
                SIM_WS_URL=sim.ws,
                SIM_REST_URL=sim.rest,
                ALL_PROXY=value,
            )
            service.start()
            await eventually(lambda: "connected to ws://" in service.output(), timeout_s=30)
    place = value.rpartition("@")[2].rpartition("://")[2]
    said = [line for line in service.output().splitlines() if "through the proxy of ALL_PROXY=" in line]
    assert any(f"ws://{FAR}:9: " in line and place in line and words in line for line in said), service.output()
    assert any(f"{FAR}:9: " in line and "ws://" not in line and place in line for line in said), service.output()
    assert "wrong" not in service.output()


@pytest.mark.slow
async def test_following_through_a_proxy_that_goes_away_it_says_which_and_goes_on_when_it_is_back(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed(nats_server, make_service) as f:
        environment = f.service.process.environment
        for name in ("BINANCE_WS_URL", "BINANCE_REST_URL"):
            environment[name] = far(environment[name])
        async with running_proxy("socks") as proxy:
            environment["ALL_PROXY"] = f"socks5://127.0.0.1:{proxy.port}"
            await f.start()
            await f.venue.trade("btcusdt", 1)
            await f.publishes([1])
        await _waits(f)


async def _waits(f: Followed) -> None:
    await eventually(lambda: f.says("through the proxy of ALL_PROXY=socks5://127.0.0.1:"), timeout_s=30)
    assert f.service.process.running
