"""What the runner tells people."""

from __future__ import annotations

import pytest

from mesh.local.report import Row, banner, duration, exports, gateway_url, table

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


def test_the_banner_is_loud_about_a_simulated_exchange() -> None:
    assert "SIMULATED EXCHANGE" in banner(venue="sim", variables=VARIABLES, monitor_port=8222)


def test_the_banner_of_binance_is_calm() -> None:
    assert "following binance" in banner(venue="binance", variables=VARIABLES, monitor_port=8222)


def test_the_banner_shows_no_password() -> None:
    assert "secret" not in banner(venue=None, variables=VARIABLES, monitor_port=8222)
