"""`python -m mesh repartition N`: a mesh is given another number of partitions, and has every trade once."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mesh.local.state import StateDirectory
from tests.fixtures.mesh import LocalMesh, issued_in, running_mesh
from tests.fixtures.process import Process
from tests.fixtures.sim import Sim, running_sim
from tests.fixtures.waiting import eventually

pytestmark = pytest.mark.timeout(300)


def repartition(mesh: LocalMesh, count: int, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command as another terminal would."""
    return subprocess.run(
        [sys.executable, "-m", "mesh", "repartition", str(count)],
        env=mesh.process.environment | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


async def issue(sim: Sim, count: int) -> None:
    """Wait until the exchange, which goes on by itself, has issued so many more trades."""
    until = sim.status()["issued"] + count
    await eventually(lambda: sim.status()["issued"] >= until)


@asynccontextmanager
async def following_an_exchange(tmp_path: Path) -> AsyncIterator[tuple[Sim, LocalMesh, Path]]:
    """Run a mesh that follows an exchange, which has traded and goes on; with the log of what that has issued."""
    log = tmp_path / "issued.csv"
    with (
        running_sim("--rate", "0", "--log", str(log)) as sim,
        running_mesh(tmp_path, VENUE="binance", BINANCE_WS_URL=sim.ws, BINANCE_REST_URL=sim.rest) as mesh,
    ):
        await eventually(lambda: "btcusdt@trade" in sim.status()["streams"], timeout_s=60)
        sim.post("/sim/rate", {"rate": 200})
        await issue(sim, 500)
        yield sim, mesh, log


async def until_all_is_stored(mesh: LocalMesh, log: Path) -> None:
    """Wait until the database holds what the exchange has issued, each trade once."""
    wanted = issued_in(log)
    await mesh.holds(len(wanted), timeout_s=60)
    assert mesh.stored() == wanted


def partitions_of(mesh: LocalMesh) -> int:
    [(count,)] = mesh.query("select count from partitions")
    return int(count)


@pytest.mark.slow
async def test_a_mesh_that_runs_is_given_other_partitions(tmp_path: Path) -> None:
    async with following_an_exchange(tmp_path) as (sim, mesh, log):
        done = await asyncio.to_thread(repartition, mesh, 4)
        await issue(sim, 500)
        sim.post("/sim/rate", {"rate": 0})

        assert done.returncode == 0, done.stdout + done.stderr
        assert "The mesh is given 4 partitions instead of 1." in done.stdout
        assert "the mesh has 4 partitions, and serves again" in done.stdout
        assert partitions_of(mesh) == 4
        await until_all_is_stored(mesh, log)
        said = mesh.process.output()
        assert ("store was stopped" in said, "store runs again" in said, "died" in said) == (True, True, False)
        again = await asyncio.to_thread(repartition, mesh, 4)
        assert (again.returncode, again.stdout) == (0, "the mesh has 4 partitions already\n")


@pytest.mark.slow
async def test_a_mesh_that_is_stopped_is_given_other_partitions_and_keeps_them(tmp_path: Path) -> None:
    async with following_an_exchange(tmp_path) as (sim, mesh, log):
        mesh.stop()

        done = await asyncio.to_thread(repartition, mesh, 2)
        mesh.start()  # without PARTITIONS
        await issue(sim, 500)
        sim.post("/sim/rate", {"rate": 0})

        assert done.returncode == 0, done.stdout + done.stderr
        assert "the mesh has 2 partitions at its next start" in done.stdout
        assert partitions_of(mesh) == 2
        await until_all_is_stored(mesh, log)


@pytest.mark.slow
async def test_a_change_that_was_killed_is_finished_by_the_same_command(tmp_path: Path) -> None:
    async with following_an_exchange(tmp_path) as (sim, mesh, log):
        for said in ("stopping ingest", "stopping signal, store"):
            command = Process(
                [sys.executable, "-m", "mesh", "repartition", "3"],
                environment=mesh.process.environment,
                log=tmp_path / "repartition.log",
            )
            command.start()
            command.wait_for_line(said, timeout_s=60)
            command.send(signal.SIGKILL)
            command.wait(timeout_s=10)
            await issue(sim, 100)

        done = await asyncio.to_thread(repartition, mesh, 3)
        assert done.returncode == 0, done.stdout + done.stderr
        assert partitions_of(mesh) == 3
        await issue(sim, 500)
        sim.post("/sim/rate", {"rate": 0})
        await until_all_is_stored(mesh, log)


def test_a_mesh_whose_change_was_interrupted_is_not_started_before_that_is_finished(tmp_path: Path) -> None:
    mesh = LocalMesh(tmp_path, {})
    mesh.state_dir.mkdir()
    StateDirectory(mesh.state_dir).keep_becoming(4)

    mesh.process.start()
    code = mesh.process.wait(timeout_s=30)
    other = repartition(mesh, 2)

    assert code == 1
    assert "a change to 4 partitions was interrupted: `python -m mesh repartition 4` ends it" in mesh.process.output()
    assert other.returncode == 1
    assert "a change to 4 partitions was interrupted" in other.stderr


def test_another_number_than_the_mesh_has_is_refused_with_the_command_that_changes_it(tmp_path: Path) -> None:
    mesh = LocalMesh(tmp_path, {"PARTITIONS": "2"})
    mesh.state_dir.mkdir()
    StateDirectory(mesh.state_dir).keep_partitions(4)

    mesh.process.start()
    code = mesh.process.wait(timeout_s=30)

    assert code == 2
    assert "PARTITIONS: found 2, expected 4 as this mesh has" in mesh.process.output()
    assert "`python -m mesh repartition 2` changes it" in mesh.process.output()
