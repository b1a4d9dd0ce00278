"""How the mesh begins and ends: the simulated exchange when no venue answers, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.fixtures.mesh import LocalMesh, running_mesh
from tests.fixtures.waiting import eventually

NOWHERE = {"BINANCE_WS_URL": "ws://127.0.0.1:9", "BINANCE_REST_URL": "http://127.0.0.1:9"}


def processes_of(mesh: LocalMesh) -> list[psutil.Process]:
    return list(psutil.Process(mesh.process.pid).children(recursive=True))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    # STATE_DIR lies in it: every server and service must do with such a path.
    path = tmp_path / "100% of a long name" / ("deep" * 30)
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


async def test_a_service_that_dies_is_started_again(directory: Path) -> None:
    with running_mesh(directory, VENUE="sim") as mesh:
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
