"""What the runner tells people."""

from __future__ import annotations

import pytest

from mesh.local.report import MeshStatus, Row, ServiceState, banner, duration, exports, gateway_url, mesh_lines, table

VARIABLES = {
    "NATS_URL": "nats://admin:secret@127.0.0.1:4222",
    "DATABASE_URL": "postgresql://store:secret@127.0.0.1:5433/tickmesh",
    "SIGNAL_ADDR": "127.0.0.1:50051",
    "STORE_ADDR": "127.0.0.1:50052",
    "GATEWAY_URL": "http://127.0.0.1:8080",
}


def test_the_status_table_reads_as_a_table() -> None:
    rows = [Row("nats", "RUNNING", 17, 3725, 0, 14 * 2**20), Row("store", "BACKOFF", None, 0, 12, 0)]

    assert table(rows).splitlines() == [
        "SERVICE  STATE    PID  UPTIME  RESTARTS  MEMORY",
        "nats     running  17   1h 02m  0         14 MB",
        "store    backoff  -    -       12        -",
    ]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0s"), (59, "59s"), (60, "1m 00s"), (7500, "2h 05m"), (356400, "4d 03h")]
)
def test_a_duration_is_said_in_two_units(seconds: int, said: str) -> None:
    assert duration(seconds) == said


def test_export_lines_are_safe_for_a_shell() -> None:
    assert exports({"A": "1", "B": "x; rm y"}) == "export A=1\nexport B='x; rm y'"


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:8080"), ("0.0.0.0", "http://127.0.0.1:8080"), ("::1", "http://[::1]:8080")],
)
def test_the_gateways_url_is_one_this_machine_reaches(host: str, url: str) -> None:
    assert gateway_url(host, 8080) == url


def mesh(state: str, message: str = "", venue: str = "binance", **states: str) -> MeshStatus:
    names = ("ingest", "signal", "store", "gateway")
    services = [ServiceState(name, states.get(name, "SERVING"), "why" if name in states else "") for name in names]
    return MeshStatus(state, message, venue, tuple(services))


def said(one: MeshStatus | None) -> str:
    return banner(mesh=one, variables=VARIABLES, monitor_port=8222)


def test_the_banner_is_loud_about_a_simulated_exchange() -> None:
    assert "SIMULATED EXCHANGE" in said(mesh("SIM", venue="sim"))


def test_the_banner_of_binance_is_calm() -> None:
    assert "tickmesh is live, following binance\n" in said(mesh("LIVE"))


@pytest.mark.parametrize("state", ["STALE", "BLOCKED", "OFFLINE"])
def test_a_mesh_to_which_no_trade_can_come_is_never_called_live(state: str) -> None:
    assert "is live" not in said(mesh(state, "for a reason"))
    assert f"NO TRADES COME: {state}: for a reason" in said(mesh(state, "for a reason"))
    assert "is live" not in said(None)


def test_a_quiet_market_is_called_so() -> None:
    assert "is live, following binance (no trade has come yet)" in said(mesh("QUIET", "no trade has come yet"))


def test_the_banner_ends_with_the_address_of_the_page() -> None:
    last = [line for line in said(mesh("LIVE")).splitlines() if line.strip("=")][-1]
    assert last.split() == ["page", f"{VARIABLES['GATEWAY_URL']}/"]


def test_the_banner_shows_no_password() -> None:
    assert "secret" not in said(mesh("LIVE"))


def test_the_status_names_the_feed_and_the_services_that_are_not_well() -> None:
    assert mesh_lines(mesh("LIVE")) == "feed     LIVE from binance"
    assert mesh_lines(mesh("BLOCKED", "no stream", signal="NOT_SERVING", store="DEGRADED")).splitlines() == [
        "feed     BLOCKED: no stream",
        "signal   not serving: why",
        "store    degraded: why",
    ]
    assert mesh_lines(None).startswith("feed     OFFLINE")
