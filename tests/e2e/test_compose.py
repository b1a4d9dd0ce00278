"""The mesh from images, as `docker compose --profile sim up --build --wait` makes it: `make docker-test`.

Where no engine can be started these tests are skipped, saying why; with DOCKER_REQUIRED=1 they fail instead.
"""

from __future__ import annotations

import json
import os
import signal
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from websockets.asyncio.client import connect

from tests.fixtures.compose import ComposeMesh, engine_problem, run, running_compose
from tests.fixtures.waiting import eventually

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]

GRPCURL = Path(sysconfig.get_path("scripts")) / "grpcurl"
OURS = ("ingest", "signal", "store", "gateway", "sim")
AWAY = (OSError, httpx.HTTPError, psycopg.OperationalError)


@pytest.fixture(scope="module")
def mesh() -> Iterator[ComposeMesh]:
    problem = engine_problem()
    if problem and os.environ.get("DOCKER_REQUIRED") == "1":
        pytest.fail(f"DOCKER_REQUIRED=1, but {problem}")
    if problem:
        pytest.skip(f"THE IMAGES ARE NOT TRIED: {problem}")
    with running_compose() as mesh:
        yield mesh


async def is_ready(mesh: ComposeMesh) -> None:
    await eventually(lambda: mesh.get("/readyz").status_code == 200, timeout_s=90, not_yet=AWAY)


async def until_selected(mesh: ComposeMesh, symbol: str) -> None:
    await eventually(lambda: mesh.get("/api/symbol").json()["symbol"] == symbol)


async def holds_all_that_was_issued(mesh: ComposeMesh) -> None:
    """Let the exchange pause; the database then has every id from the first it ever saw to the last issued, once."""
    httpx.post(f"{mesh.sim_url}/sim/rate", json={"rate": 0}, timeout=5, trust_env=False).raise_for_status()
    try:
        issued = httpx.get(f"{mesh.sim_url}/sim/status", timeout=5, trust_env=False).json()["symbols"]

        def all_stored() -> bool:
            stored = mesh.stored()
            assert stored.keys() == issued.keys()
            for symbol, (first, last, rows, ids) in stored.items():
                assert (last, rows, ids) == (issued[symbol]["last_id"], last - first + 1, rows), symbol
            return True

        await eventually(all_stored, timeout_s=90, not_yet=AWAY)
    finally:
        httpx.post(f"{mesh.sim_url}/sim/rate", json={"rate": 50}, timeout=5, trust_env=False)


def test_every_port_is_published_on_loopback_where_the_readme_says(mesh: ComposeMesh) -> None:
    published = {
        (name, port["host_ip"], port["published"], port["target"])
        for name, service in mesh.config().items()
        for port in service.get("ports", [])
    }
    assert published == {
        ("nats", "127.0.0.1", "4222", 4222),
        ("nats", "127.0.0.1", "8222", 8222),
        ("timescaledb", "127.0.0.1", "5433", 5432),
        ("signal", "127.0.0.1", "50051", 50051),
        ("store", "127.0.0.1", "50052", 50052),
        ("gateway", "127.0.0.1", "8080", 8080),
        ("sim", "127.0.0.1", "9443", 9443),
        ("sim", "127.0.0.1", "9080", 9080),
    }


@pytest.mark.parametrize("service", [*OURS, "nats", "timescaledb"])
def test_a_container_may_do_little(mesh: ComposeMesh, service: str) -> None:
    host = mesh.inspect(service)["HostConfig"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["SecurityOpt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0


@pytest.mark.parametrize("service", OURS)
def test_a_service_runs_as_nobody_in_particular_and_beside_no_compiler(mesh: ComposeMesh, service: str) -> None:
    said = mesh.compose("exec", "-T", service, "sh", "-c", "id -u; command -v cc gcc g++ cmake || true")
    assert said.split() == ["10001"]


async def test_the_readmes_words_are_answered(mesh: ComposeMesh) -> None:
    await eventually(lambda: mesh.get("/api/price").status_code == 200, not_yet=AWAY)
    answers = {path: mesh.get(f"/api/{path}").json() for path in ("price", "stats", "history", "symbol", "coins")}
    assert answers["price"]["price"] > 0
    assert answers["stats"]["low"] <= answers["stats"]["moving_average"] <= answers["stats"]["high"]
    assert {"symbol", "price", "timestamp"} <= answers["history"][0].keys()
    assert {"symbol", "name"} <= answers["symbol"].keys()
    assert len(answers["coins"]) == 6
    assert {answers[path]["venue"] for path in ("price", "stats", "symbol")} == {"sim"}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json", "/metrics"])
def test_the_gateway_answers_for_itself(mesh: ComposeMesh, path: str) -> None:
    assert mesh.get(path).status_code == 200


async def test_another_coin_can_be_selected(mesh: ComposeMesh) -> None:
    for symbol in ("ethusdt", "btcusdt"):
        answer = httpx.post(f"{mesh.url}/api/symbol", json={"symbol": symbol}, timeout=5, trust_env=False)
        assert answer.json()["symbol"] == symbol
        await until_selected(mesh, symbol)


async def test_prices_come_by_websocket(mesh: ComposeMesh) -> None:
    async with connect(f"{mesh.url.replace('http', 'ws')}/ws", proxy=None) as ws:
        async for frame in ws:
            if "price" in (said := json.loads(frame)):
                break
    assert said["price"] > 0


@pytest.mark.parametrize(
    ("variable", "service"),
    [("SIGNAL_PORT", "tickmesh.v1.SignalService"), ("STORE_PORT", "tickmesh.v1.StoreService")],
)
def test_grpcurl_lists_a_service_and_hears_that_it_serves(mesh: ComposeMesh, variable: str, service: str) -> None:
    address = f"127.0.0.1:{mesh.ports[variable]}"
    assert service in run([str(GRPCURL), "-plaintext", address, "list"]).split()
    request = json.dumps({"service": service})
    said = run([str(GRPCURL), "-plaintext", "-d", request, address, "grpc.health.v1.Health/Check"])
    assert json.loads(said) == {"status": "SERVING"}


async def test_every_trade_is_in_the_database_once(mesh: ComposeMesh) -> None:
    await holds_all_that_was_issued(mesh)


@pytest.mark.parametrize("service", ["gateway", "signal", "store", "ingest", "nats", "timescaledb", "sim"])
async def test_a_killed_container_comes_back_and_nothing_is_missing(mesh: ComposeMesh, service: str) -> None:
    before = mesh.inspect(service)
    pid = before["State"]["Pid"]
    if not Path(f"/proc/{pid}/cgroup").exists() or before["Id"] not in Path(f"/proc/{pid}/cgroup").read_text():
        pytest.skip("the engine's processes are not this machine's: `docker kill` would be a stop, not a crash")
    try:
        os.kill(pid, signal.SIGKILL)
    except PermissionError:
        pytest.skip("killing a container's process needs root")
    await eventually(lambda: mesh.inspect(service)["RestartCount"] > before["RestartCount"], timeout_s=30)
    await eventually(lambda: mesh.inspect(service)["State"]["Health"]["Status"] == "healthy", timeout_s=90)
    await is_ready(mesh)
    await holds_all_that_was_issued(mesh)


@pytest.mark.parametrize("service", OURS)
async def test_a_stopped_service_drains_and_ends_well(mesh: ComposeMesh, service: str) -> None:
    mesh.compose("stop", service)
    code = mesh.inspect(service)["State"]["ExitCode"]
    mesh.compose("start", service)
    assert code == 0
    await is_ready(mesh)


def test_a_service_that_does_not_serve_is_not_called_healthy(mesh: ComposeMesh) -> None:
    asked = ["exec", "-T", "gateway", "python", "-m", "mesh.service.healthcheck"]
    with pytest.raises(AssertionError, match="UNAVAILABLE"):
        mesh.compose(*asked, "grpc", "127.0.0.1:1", "tickmesh.v1.StoreService")
    with pytest.raises(AssertionError, match="NOT_FOUND"):
        mesh.compose(*asked, "grpc", "signal:50051", "tickmesh.v1.StoreService")
