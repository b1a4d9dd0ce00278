"""What each program of a local mesh is given: its own addresses and passwords, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesh.local.passwords import Passwords
from mesh.local.programs import Program, plan, service_environment

PORTS = {
    "NATS_PORT": 1,
    "NATS_MONITOR_PORT": 2,
    "POSTGRES_PORT": 3,
    "SIGNAL_PORT": 4,
    "STORE_PORT": 5,
    "GATEWAY_PORT": 6,
    "SIM_WS_PORT": 7,
    "SIM_REST_PORT": 8,
}
PASSWORDS = Passwords(
    nats={user: f"bus-password-of-{user}" for user in ("admin", "ingest", "signal", "store", "route")},
    database="database-password",
    superuser="superuser-password",
)


def environment_of(service: str, **environ: str) -> dict[str, str]:
    return service_environment(service, ports=PORTS, passwords=PASSWORDS, environ=environ)


def planned(ports: dict[str, int], *, instances: int = 1) -> dict[str, Program]:
    programs = plan(
        ports=ports,
        passwords=PASSWORDS,
        environ={},
        nats_commands={"nats": ["n"]},
        postgres_command=["p"],
        sim_log=Path("/state/sim/issued.csv"),
        instances_of_each=instances,
    )
    return {program.name: program for program in programs}


def test_with_three_nats_servers_every_service_is_given_all_and_wants_three_copies() -> None:
    ports = PORTS | {"NATS_PORT of nats-2": 11, "NATS_PORT of nats-3": 12}

    given = {
        service: service_environment(service, ports=ports, passwords=PASSWORDS, environ={"BUS_REPLICAS": "1"})
        for service in ("ingest", "signal", "store", "gateway")
    }

    for service in ("ingest", "signal", "store"):
        assert [url.rpartition(":")[2] for url in given[service]["NATS_URL"].split(",")] == ["1", "11", "12"]
        assert given[service]["BUS_REPLICAS"] == "3"
    assert "BUS_REPLICAS" not in given["gateway"]
    assert environment_of("store", BUS_REPLICAS="3")["BUS_REPLICAS"] == "1"


def test_of_two_instances_each_has_ports_of_its_own_and_the_gateway_is_told_of_all() -> None:
    others = {"SIGNAL_PORT of signal-2": 11, "STORE_PORT of store-2": 12, "METRICS_PORT of store-2": 13}

    programs = planned(PORTS | others, instances=2)

    given = {name: program.environment for name, program in programs.items()}
    assert [given[name]["SIGNAL_ADDR"] for name in ("signal", "signal-2", "gateway")] == [
        *("127.0.0.1:4", "127.0.0.1:11", "127.0.0.1:4,127.0.0.1:11")
    ]
    assert [given[name]["STORE_ADDR"] for name in ("store", "store-2", "gateway")] == [
        *("127.0.0.1:5", "127.0.0.1:12", "127.0.0.1:5,127.0.0.1:12")
    ]
    assert [given[name].get("METRICS_PORT") for name in ("store", "store-2")] == [None, "13"]
    assert list(programs) == [
        *("postgres", "nats", "gateway", "store-2", "store", "signal-2", "signal", "ingest-2", "ingest", "sim")
    ]


def test_a_standby_that_is_set_for_elsewhere_is_not_read_here() -> None:
    assert "DATABASE_READ_URL" not in environment_of("store", DATABASE_READ_URL="postgresql://elsewhere/x")


def test_programs_start_in_the_opposite_of_the_drain_order() -> None:
    assert list(planned(PORTS)) == ["postgres", "nats", "gateway", "store", "signal", "ingest", "sim"]


def test_sim_is_not_started_without_ports_for_it() -> None:
    assert "sim" not in planned({name: port for name, port in PORTS.items() if "SIM" not in name})


def test_sim_goes_on_with_the_trade_after_the_last_of_its_log() -> None:
    assert planned(PORTS)["sim"].argv[-2:] == ("--log", "/state/sim/issued.csv")


@pytest.mark.parametrize("service", ["ingest", "signal", "store"])
def test_each_service_on_the_bus_connects_as_itself(service: str) -> None:
    assert environment_of(service)["NATS_URL"] == f"nats://{service}:bus-password-of-{service}@127.0.0.1:1"


def test_only_store_is_given_the_database() -> None:
    given = {
        service for service in ("ingest", "signal", "store", "gateway") if "DATABASE_URL" in environment_of(service)
    }

    assert given == {"store"}


def test_the_gateway_is_given_no_password_at_all() -> None:
    assert "password" not in str(environment_of("gateway", API_TOKEN="t"))


def test_a_token_goes_to_those_who_ask_for_it_and_to_the_gateway_which_shows_it() -> None:
    given = {
        service
        for service in ("ingest", "signal", "store", "gateway")
        if "API_TOKEN" in environment_of(service, API_TOKEN="t")
    }

    assert given == {"signal", "store", "gateway"}


def test_a_library_of_the_users_choice_is_loaded_by_signal_only() -> None:
    given = {
        service: path
        for service in ("ingest", "signal", "store", "gateway")
        if (path := environment_of(service, LIBSIGNAL_PATH="/mine.so").get("LIBSIGNAL_PATH"))
    }

    assert given == {"signal": "/mine.so"}


def test_a_setting_of_the_user_reaches_the_service_that_reads_it() -> None:
    assert environment_of("ingest", SYMBOLS="btcusdt,ethusdt")["SYMBOLS"] == "btcusdt,ethusdt"


def test_the_addresses_of_another_mesh_in_the_users_shell_are_not_used() -> None:
    assert environment_of("store", DATABASE_URL="postgresql://elsewhere/x")["DATABASE_URL"].endswith(
        "@127.0.0.1:3/tickmesh"
    )


def test_what_no_service_reads_is_not_passed_on() -> None:
    assert "AWS_SECRET_ACCESS_KEY" not in environment_of("ingest", AWS_SECRET_ACCESS_KEY="x")


def test_ingest_is_told_where_sim_is() -> None:
    environment = environment_of("ingest")

    assert (environment["SIM_WS_URL"], environment["SIM_REST_URL"]) == ("ws://127.0.0.1:7", "http://127.0.0.1:8")


def test_each_service_has_its_own_metrics_port() -> None:
    ports = PORTS | {"METRICS_PORT of ingest": 9464, "METRICS_PORT of signal": 9465}

    environment = service_environment("signal", ports=ports, passwords=PASSWORDS, environ={"METRICS_PORT": "9464"})

    assert environment["METRICS_PORT"] == "9465"
