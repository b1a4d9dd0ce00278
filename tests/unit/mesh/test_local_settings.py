"""The local runner's settings: names, defaults, and every wrong one at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesh.local.passwords import Passwords
from mesh.local.settings import LocalSettings, load_valid
from mesh.local.up import check, wrong_in_services
from mesh.service.settings import WrongSettings, load

NO_SIM_PORTS = {
    "NATS_PORT": 1,
    "NATS_MONITOR_PORT": 2,
    "POSTGRES_PORT": 3,
    "SIGNAL_PORT": 4,
    "STORE_PORT": 5,
    "GATEWAY_PORT": 6,
}
PASSWORDS = Passwords(dict.fromkeys(("admin", "ingest", "signal", "store"), "n"), "d", "s")


def test_the_ports_are_those_of_the_design() -> None:
    assert load(LocalSettings).wanted_ports() == {
        "NATS_PORT": 4222,
        "NATS_MONITOR_PORT": 8222,
        "POSTGRES_PORT": 5433,
        "SIGNAL_PORT": 50051,
        "STORE_PORT": 50052,
        "GATEWAY_PORT": 8080,
        "SIM_WS_PORT": 9443,
        "SIM_REST_PORT": 9080,
    }


def test_sim_wants_no_ports_when_binance_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENUE", "binance")

    assert "SIM_WS_PORT" not in load(LocalSettings).wanted_ports()


def test_the_three_metrics_ports_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRICS_PORT", "9464")

    ports = load(LocalSettings).wanted_ports()

    assert [ports[f"METRICS_PORT of {name}"] for name in ("ingest", "signal", "store")] == [9464, 9465, 9466]


def test_state_dir_is_absolute_whatever_the_services_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIR", "somewhere")

    assert load(LocalSettings).state_dir == Path.cwd() / "somewhere"


def test_every_wrong_setting_of_the_runner_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_PORT", "70000")
    monkeypatch.setenv("VENUE", "kraken")

    with pytest.raises(WrongSettings) as caught:
        load(LocalSettings)

    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == ["VENUE", "NATS_PORT"]


def test_every_wrong_setting_of_all_services_is_named_at_once_before_anything_starts() -> None:
    environ = {"SMA_WINDOW": "0", "SYMBOLS": "btcusdt,no symbol", "BATCH_MAX_TRADES": "many"}

    wrong = wrong_in_services(ports=NO_SIM_PORTS, passwords=PASSWORDS, environ=environ)

    assert [line.partition(":")[0] for line in wrong] == ["SYMBOLS", "SMA_WINDOW", "BATCH_MAX_TRADES"]


def test_more_instances_than_partitions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTANCES", "3")
    monkeypatch.setenv("PARTITIONS", "2")

    with pytest.raises(WrongSettings, match="INSTANCES: found 3, expected at most 2, as PARTITIONS says"):
        check({}, passwords=PASSWORDS, remembered={})


def test_another_number_of_partitions_than_the_mesh_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTITIONS", "2")

    with pytest.raises(WrongSettings, match="PARTITIONS: found 2, expected 4 as this mesh has"):
        check({}, passwords=PASSWORDS, remembered={}, partitions=4)


def test_a_value_with_quotes_and_comment_signs_is_passed_on() -> None:
    environ = {"API_TOKEN": "qui'et;\"#", "BATCH_MAX_TRADES": "many"}

    wrong = wrong_in_services(ports=NO_SIM_PORTS, passwords=PASSWORDS, environ=environ)

    assert [line.partition(":")[0] for line in wrong] == ["BATCH_MAX_TRADES"]


def test_a_wrong_setting_leaves_its_default_and_the_others_as_they_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_PORT", "many")
    monkeypatch.setenv("STORE_PORT", "7")

    settings, wrong = load_valid()

    assert (settings.nats_port, settings.store_port) == (4222, 7)
    assert [line.partition(":")[0] for line in wrong] == ["NATS_PORT"]
