"""Tokens and rights, and the settings that must not leave a door open by mistake."""

from __future__ import annotations

import pytest

from gateway.settings import GatewaySettings
from mesh.service.access import Access, Right, is_loopback, rights_of
from mesh.service.settings import AccessSettings, WrongSettings, load
from signalsvc.settings import SignalSettings
from store.settings import StoreSettings
from tickmesh.v1 import signal_pb2, store_pb2

LISTENS = {GatewaySettings: "GATEWAY_HOST", SignalSettings: "SIGNAL_ADDR", StoreSettings: "STORE_ADDR"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {*GatewaySettings.model_fields, *SignalSettings.model_fields, *StoreSettings.model_fields}:
        monkeypatch.delenv(name.upper(), raising=False)


def listening(variable: str, host: str) -> str:
    return host if variable == "GATEWAY_HOST" else f"{host}:5000"


def test_what_changes_something_needs_the_right_to_write() -> None:
    rights = rights_of(signal_pb2.DESCRIPTOR.services_by_name["SignalService"])
    writes = {name.rpartition("/")[2] for name, right in rights.items() if right is Right.WRITE}
    assert writes == {"SelectSymbol", "ResetSession"}
    assert Right.READ in rights.values()
    assert Right.WRITE not in rights_of(store_pb2.DESCRIPTOR.services_by_name["StoreService"]).values()


def test_a_read_token_does_not_write() -> None:
    access = Access("both", "reads", protect_reads=True)
    assert access.problem(Right.READ, "reads") is None and access.problem(Right.WRITE, "both") is None
    assert access.problem(Right.WRITE, "reads") == "this token may only read"
    assert access.problem(Right.READ, "neither") == "wrong token"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "::ffff:127.0.0.1"])
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "[::]", "192.168.0.1", "gateway", "", "0", "127.1", "::ffff:10.0.0.1"]
)
def test_everything_else_counts_as_reached_by_others(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.168.0.1", "myhost.example"])
@pytest.mark.parametrize("kind", LISTENS)
def test_listening_to_others_without_a_token_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, kind: type[AccessSettings], host: str
) -> None:
    variable = LISTENS[kind]
    monkeypatch.setenv(variable, listening(variable, host))
    with pytest.raises(WrongSettings, match=rf"^{variable}: .*API_TOKEN.*ALLOW_ANONYMOUS=true"):
        load(kind)


@pytest.mark.parametrize("means", ["API_TOKEN=s3cret", "ALLOW_ANONYMOUS=true", "PUBLISHED_HOST=127.0.0.1"])
@pytest.mark.parametrize("kind", LISTENS)
def test_it_starts_where_somebody_has_meant_it(
    monkeypatch: pytest.MonkeyPatch, kind: type[AccessSettings], means: str
) -> None:
    variable = LISTENS[kind]
    monkeypatch.setenv(variable, listening(variable, "0.0.0.0"))
    monkeypatch.setenv(*means.split("="))
    load(kind)


def test_a_port_published_to_others_counts_and_not_where_the_container_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PUBLISHED_HOST", "0.0.0.0")
    with pytest.raises(WrongSettings, match=r"others than this machine reach 0\.0\.0\.0"):
        load(GatewaySettings)


@pytest.mark.parametrize("token", ["with space", "t\xf6ken", "tab\there", "line\n", " ", "\x7f", "x" * 1025])
@pytest.mark.parametrize("name", ["API_TOKEN", "READ_TOKEN"])
def test_a_token_that_can_never_match_stops_the_start_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, token: str
) -> None:
    monkeypatch.setenv("API_TOKEN", "right")
    monkeypatch.setenv(name, token)
    with pytest.raises(WrongSettings, match=f"{name}: what it is set to") as refused:
        load(GatewaySettings)
    assert token.strip() == "" or token not in str(refused.value)


@pytest.mark.parametrize(
    ("environment", "wrong"),
    [
        ({"READ_TOKEN": "r"}, "READ_TOKEN: expected API_TOKEN as well"),
        ({"READ_TOKEN": "same", "API_TOKEN": "same"}, "READ_TOKEN: expected another one than API_TOKEN"),
        ({"PROTECT_READS": "true"}, "PROTECT_READS: expected API_TOKEN as well"),
        ({"ALLOWED_HOSTS": "ticks.example:8080"}, "ALLOWED_HOSTS: 'ticks.example:8080' is not the name of a host"),
        ({"ALLOWED_HOSTS": "https://ticks.example"}, "is not the name of a host"),
        ({"ALLOWED_ORIGINS": "ticks.example"}, "ALLOWED_ORIGINS: 'ticks.example' is not an origin"),
        ({"ALLOWED_ORIGINS": "https://ticks.example/page"}, "is not an origin"),
    ],
)
def test_a_setting_that_would_mean_something_else_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], wrong: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(WrongSettings) as refused:
        load(GatewaySettings)
    assert wrong in str(refused.value)
    assert "same" not in str(refused.value)
