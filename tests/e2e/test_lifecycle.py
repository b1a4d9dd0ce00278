"""How the mesh begins and ends: the simulated exchange when no venue answers, and nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import websockets

from tests.fixtures.mesh import LocalMesh, running_mesh
from tests.fixtures.ports import free_ports
from tests.fixtures.sim import running_sim
from tests.fixtures.waiting import eventually

NOWHERE = {"BINANCE_WS_URL": "ws://127.0.0.1:9", "BINANCE_REST_URL": "http://127.0.0.1:9"}


def processes_of(mesh: LocalMesh) -> list[psutil.Process]:
    return list(psutil.Process(mesh.process.pid).children(recursive=True))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    # STATE_DIR lies in it: every server and service must do with such a path.
    path = tmp_path / "100% of o'neil's #1 \"name\" ü" / ("deep" * 30)
    path.mkdir(parents=True)
    return path


async def test_without_a_venue_the_simulated_exchange_is_followed_and_every_answer_says_so(directory: Path) -> None:
    with running_mesh(directory, VENUE="auto", VENUE_TIMEOUT_S="1", **NOWHERE) as mesh:

        def traded() -> bool:
            assert mesh.get("/api/price")["venue"] == "sim"
            return True

        await eventually(traded, not_yet=(Exception,))
        await mesh.holds(20)
        venues = mesh.query("select distinct venue from trades")
        rows = mesh.get("/api/history")
        symbol = mesh.get("/api/symbol")
        banner = mesh.process.output()
    assert venues == [("sim",)]
    assert {row["venue"] for row in rows} == {"sim"}
    assert symbol["venue"] == "sim"
    assert "sim" in banner.lower()


@pytest.mark.slow
async def test_started_before_the_venue_can_be_reached_it_changes_over_by_itself_and_rows_never_mix(
    directory: Path,
) -> None:
    ports = free_ports()
    venue = {"BINANCE_WS_URL": f"ws://127.0.0.1:{ports[0]}", "BINANCE_REST_URL": f"http://127.0.0.1:{ports[1]}"}
    with running_mesh(
        directory, VENUE="auto", VENUE_NAME="mirror", VENUE_TIMEOUT_S="1", VENUE_RETRY_S="0.5", **venue
    ) as mesh:

        def price_of(venue: str) -> Callable[[], bool]:
            return lambda: mesh.get("/api/price")["venue"] == venue

        await eventually(price_of("sim"), not_yet=(httpx.HTTPError,))
        await mesh.holds(20)
        started = {process.pid for process in processes_of(mesh)}
        async with websockets.connect(mesh.ws_url + "?events=true") as live:
            told = [json.loads(await live.recv())]
            while "price" not in told[-1]:  # one of the simulated exchange, before the real one is there
                told.append(json.loads(await live.recv()))
            with running_sim("--rate", "100", "--ws-port", str(ports[0]), "--rest-port", str(ports[1])):
                await eventually(price_of("mirror"), not_yet=(httpx.HTTPError,))
                while told[-1].get("venue") != "mirror" or "price" not in told[-1]:
                    told.append(json.loads(await live.recv()))
                await eventually(lambda: mesh.get("/api/history")[0]["venue"] == "mirror", not_yet=(LookupError,))
                rows = mesh.get("/api/history")
                of_sim = mesh.get("/api/history", venue="sim")
                symbol = mesh.get("/api/symbol")
                async with websockets.connect(mesh.ws_url + "?channels=") as anew:  # a client that was away meanwhile
                    place = {"trade_id": of_sim[0]["trade_id"], "venue": "sim"}
                    request = {"op": "subscribe", "channel": "trades", "symbols": ["btcusdt"]}
                    await anew.send(json.dumps(request | {"resume_from": {"btcusdt": place}}))
                    while (refused := json.loads(await anew.recv()))["type"] == "heartbeat":
                        pass
                await eventually(lambda: "trades come from mirror now, no longer from SIM" in mesh.process.output())
        assert {process.pid for process in processes_of(mesh)} >= started  # nobody was started again
    assert symbol["venue"] == "mirror"
    assert (refused["type"], refused["field"]) == ("error", "resume_from.btcusdt.venue")
    assert refused["expected"] == "mirror, which is followed now"
    assert {row["venue"] for row in rows} == {"mirror"}
    assert {row["venue"] for row in of_sim} == {"sim"}
    first = next(index for index, one in enumerate(told) if one.get("venue") == "mirror")
    assert {one["venue"] for one in told[:first] if "price" in one} == {"sim"}
    assert {one["venue"] for one in told[first:] if "venue" in one} == {"mirror"}  # trades and the selection alike
    assert {"type": "selected", "symbol": "btcusdt", "name": "Bitcoin (BTC)", "venue": "mirror"} in told


async def test_ctrl_c_leaves_no_process_behind_and_what_was_stored_is_there_again(directory: Path) -> None:
    with running_mesh(directory, VENUE="sim") as mesh:
        await mesh.holds(20)
        first = processes_of(mesh)
        code = mesh.stop()
        left = [process for process in first if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
        mesh.start()
        count = mesh.query("select count(*) from trades")[0][0]
        await mesh.holds(count + 20)  # the exchange goes on as well: its ids do not begin again
    assert code == 0
    assert len(first) >= 7
    assert left == []


@pytest.fixture
def ctrl_c_counts() -> Iterator[None]:
    """A shell that runs pytest in the background lets it ignore Ctrl-C, and the runner would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_counts")
def test_ctrl_c_while_the_database_is_made_ends_without_a_complaint(directory: Path) -> None:
    mesh = LocalMesh(directory, {"VENUE": "sim"})
    # A group of its own, all of which gets the Ctrl-C, as on a terminal.
    with subprocess.Popen(
        mesh.process.argv,
        env=mesh.process.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    ) as runner:
        assert runner.stdout is not None
        first = runner.stdout.readline()
        os.killpg(runner.pid, signal.SIGINT)
        rest = runner.stdout.read()

    assert (runner.returncode, rest) == (0, "")
    assert "making the database's files" in first
    assert not (mesh.state_dir / "mesh.json").exists()


# What a person's environment may hold that is meant for others, or is wrong.
OTHERS = {
    "SSLKEYLOGFILE": "/nowhere/keys",
    "SSL_CERT_FILE": "/nowhere.pem",
    "HTTP_PROXY": "foo://x",
    "ALL_PROXY": "bar:baz",
    "PGHOST": "nowhere",
    "PGOPTIONS": "-c nonsense=1",
    "PGSERVICE": "none",
    "LC_ALL": "POSIX",
    "COLUMNS": "20",
    "TMPDIR": "/nowhere",
    "PYTHONOPTIMIZE": "2",
}


async def test_a_service_that_dies_is_started_again_whatever_the_environment_holds(directory: Path) -> None:
    with running_mesh(directory, VENUE="sim", **OTHERS) as mesh:
        await mesh.holds(20)
        store = next(process for process in processes_of(mesh) if process.cmdline()[-2:] == ["-m", "store"])
        store.kill()

        def replaced() -> bool:
            running = [process for process in processes_of(mesh) if process.cmdline()[-2:] == ["-m", "store"]]
            assert running
            assert running[0].pid != store.pid
            return True

        await eventually(replaced, not_yet=(psutil.Error, IndexError))
        count = mesh.query("select count(*) from trades")[0][0]
        await mesh.holds(count + 20)
        again = await asyncio.to_thread(mesh.get, "/readyz")
    assert again
