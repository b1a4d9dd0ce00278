from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from random import Random
from urllib.request import getproxies_environment

import pytest

from term.__main__ import main
from term.client import STREAM_OPTIONS, Client
from term.events import Connecting, Disconnected, Event, LoadCoins, RequestFailed, RoundTripSeen
from tests.fixtures.fake_gateway import FakeGateway
from tickmesh_client import WrongAddress


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in getproxies_environment():
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)


def client(url: str, events: asyncio.Queue[Event] | None = None) -> Client:
    emit = (events or asyncio.Queue[Event]()).put_nowait
    return Client(url, emit=emit, arrived=lambda: None, now_us=lambda: 0, random=Random(1))


@asynccontextmanager
async def cancelled_at_the_end(doing: Coroutine[None, None, None]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(doing)
        yield
        task.cancel()


@pytest.mark.parametrize(
    "url", ["ftp://x", "127.0.0.1:8080", "http://", "http://x:0", "http://x:99999", "http://[::1", "http://a..b:80"]
)
@pytest.mark.parametrize("by_environment", [True, False])
def test_a_bad_url_ends_with_an_error(url: str, by_environment: bool, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, environment = ([], {"TICKMESH_URL": url}) if by_environment else (["--url", url], {})
    with pytest.raises(SystemExit, match="2"):
        main(arguments, environment)
    assert f"found the address {url!r}, expected one such as http://" in capsys.readouterr().err


@pytest.mark.parametrize("token", ["été", "two\nlines", " t0ken", "\udcff"])
@pytest.mark.parametrize("by_environment", [True, False])
def test_a_token_that_no_header_can_carry_ends_with_an_error_that_does_not_show_it(
    token: str, by_environment: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, environment = ([], {"API_TOKEN": token}) if by_environment else (["--token", token], {})
    with pytest.raises(SystemExit, match="2"):
        main(arguments, environment)
    said = capsys.readouterr().err
    assert "argument --token: found a character that no header can carry, expected visible ASCII" in said
    assert token not in said


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ALL_PROXY", "socks4://127.0.0.1:1", "Unknown scheme for proxy URL"),
        ("HTTP_PROXY", "foo://x:1", "Unknown scheme for proxy URL"),
        ("HTTP_PROXY", "http://[::1", "Invalid port"),
    ],
)
def test_an_environment_that_leads_nowhere_is_refused_with_a_reason(
    name: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(WrongAddress, match=f"found no way to http://mesh.example: .*{reason}"):
        client("http://me:secret@mesh.example")


def test_certificates_that_are_not_there_matter_where_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    with pytest.raises(WrongAddress, match="found no certificates in SSL_CERT_FILE=/nonexistent: No such file"):
        client("https://mesh.example")
    monkeypatch.setenv("SSLKEYLOGFILE", "/nonexistent/keys")
    client("http://mesh.example")


def test_for_a_gateway_on_this_machine_the_environments_proxy_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    client("http://localhost:8080")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("socks_proxy", "socks5://127.0.0.1:1", "connection refused"),
        ("ALL_PROXY", "socks5h://127.0.0.1:1", "connection refused"),  # as for REST
        ("HTTP_PROXY", "http://a..b:1", "no name that a host can have"),
        ("HTTP_PROXY", "foo://x:1", "scheme foo isn't supported"),
    ],
)
async def test_a_proxy_that_the_stream_cannot_use_is_a_reason_to_try_again(
    name: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: asyncio.Queue[Event] = asyncio.Queue()
    follower = client("http://mesh.example", events)
    monkeypatch.setenv(name, value)
    async with cancelled_at_the_end(follower.follow()):
        assert await events.get() == Connecting()
        lost = await events.get()
    assert isinstance(lost, Disconnected)
    assert reason in lost.reason


async def test_a_name_that_cannot_be_written_out_is_a_failed_request() -> None:
    events: asyncio.Queue[Event] = asyncio.Queue()
    await client("http://xn--a.example", events).perform(LoadCoins())
    assert isinstance(events.get_nowait(), RequestFailed)


async def test_what_a_ping_takes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STREAM_OPTIONS, "ping_interval", 0.01)
    gateway, events = FakeGateway(), asyncio.Queue[Event]()
    await gateway.start()
    async with asyncio.timeout(20), cancelled_at_the_end(client(gateway.url, events).follow()):
        await gateway.connected.wait()
        while not isinstance(told := await events.get(), RoundTripSeen):
            await gateway.trade(61_000.0)
    assert 0 < told.took_us < 20_000_000
    await gateway.stop()


def test_help_names_every_option_and_key(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"], {})
    text = capsys.readouterr().out
    assert all(word in text for word in ("--url", "--token", "--no-color", "TICKMESH_URL", "API_TOKEN", "exit codes"))
