from __future__ import annotations

import pytest

from ingest.settings import IngestSettings
from mesh.service.settings import WrongSettings, load
from mesh.values.venue_hosts import problem, venue_of

VARIABLES = ("VENUE", "VENUE_NAME", "BINANCE_WS_URL", "BINANCE_REST_URL", "SIM_WS_URL", "SIM_REST_URL")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("host", "venue"),
    [
        ("stream.binance.com", "binance"),
        ("STREAM.Binance.COM.", "binance"),
        ("api3.binance.com", "binance"),
        ("data-stream.binance.vision", "binance"),
        ("stream.binance.us", "binanceus"),
        ("api.binance.us", "binanceus"),
        ("testnet.binance.vision", "binancetestnet"),
        ("stream.testnet.binance.vision", "binancetestnet"),
        ("demo-stream.binance.com", "binancedemo"),
        ("demo-api.binance.com", "binancedemo"),
        ("wbs.mexc.com", "mexc"),
        ("127.0.0.1", None),
        ("stream.binance.com.example", None),
        ("notbinance.us", None),
        ("", None),
    ],
)
def test_a_host_belongs_to_the_venue_it_is_known_for(host: str, venue: str | None) -> None:
    assert venue_of(host) == venue


@pytest.mark.parametrize(
    "host",
    [
        "fstream.binance.com",
        "dstream.binance.com",
        "fapi.binance.com",
        "dapi1.binance.com",
        "eapi.binance.com",
        "fstream-auth.binance.com",
        "demo-fapi.binance.com",
        "stream.binancefuture.com",
    ],
)
@pytest.mark.parametrize("venue", ["binance", "binancefutures", "sim"])
def test_futures_and_options_are_refused_under_every_name(host: str, venue: str) -> None:
    assert "futures or options" in (problem([f"wss://{host}:443"], venue) or "")


def refused() -> str:
    with pytest.raises(WrongSettings) as exc:
        load(IngestSettings)
    return str(exc.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BINANCE_WS_URL", "wss://stream.binance.us:9443"),
        ("BINANCE_WS_URL", "wss://stream.binance.com:9443,wss://stream.binance.us:9443"),
        ("BINANCE_REST_URL", "https://api.binance.us"),
    ],
)
def test_another_venues_hosts_are_refused_under_binances_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    words = refused()
    assert words.startswith(f"{variable}: ")
    assert "to follow it set VENUE_NAME=binanceus" in words


def test_under_its_own_name_another_venue_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENUE_NAME", "binanceus")
    monkeypatch.setenv("BINANCE_WS_URL", "wss://stream.binance.us:9443")
    monkeypatch.setenv("BINANCE_REST_URL", "https://api.binance.us")
    assert load(IngestSettings).venue_name == "binanceus"


def test_one_way_in_of_another_venue_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENUE_NAME", "binanceus")
    monkeypatch.setenv("BINANCE_WS_URL", "wss://stream.binance.us:9443")
    assert "BINANCE_REST_URL: api.binance.com is a host of binance" in refused()  # the default one


def test_a_host_that_nobody_knows_may_have_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENUE_NAME", "mirror")
    monkeypatch.setenv("BINANCE_WS_URL", "wss://mirror.example")
    monkeypatch.setenv("BINANCE_REST_URL", "http://127.0.0.1:9")
    assert load(IngestSettings).venue_name == "mirror"


@pytest.mark.parametrize("name", ["sim", "Binance", "binance.us", "binance us", "1binance", "b" * 17, "币安"])
def test_a_name_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("VENUE_NAME", name)
    monkeypatch.setenv("BINANCE_WS_URL", "wss://mirror.example")
    monkeypatch.setenv("BINANCE_REST_URL", "https://mirror.example")
    assert refused().startswith(f"VENUE_NAME: '{name}' is ")


def test_a_real_venue_is_not_followed_as_the_simulated_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_WS_URL", "wss://stream.binance.com:9443")
    assert "SIM_WS_URL: stream.binance.com is a host of binance" in refused()


def test_what_is_refused_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINANCE_WS_URL", "wss://me:hunter2@stream.binance.us")
    assert "hunter2" not in refused()
