"""The whole mesh with two instances: one that stands still is started again by the runner, and nothing is lost."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.fixtures.mesh import LocalMesh, issued_in
from tests.fixtures.sim import running_sim
from tests.fixtures.waiting import eventually


@pytest.mark.slow
async def test_one_of_two_instances_that_stands_still_is_started_again_and_its_trades_are_stored(
    tmp_path: Path,
) -> None:
    name = "signal-2"
    log = tmp_path / "issued.csv"
    symbols = ",".join(f"coin{number}usdt" for number in range(1, 9))
    with running_sim("--rate", "0", "--symbols", symbols, "--log", str(log)) as sim:
        settings = {"VENUE": "binance", "BINANCE_WS_URL": sim.ws, "BINANCE_REST_URL": sim.rest, "SYMBOLS": symbols}
        mesh = LocalMesh(tmp_path, settings | {"INSTANCES": "2", "PARTITIONS": "2"}, stuck_s=2.0)
        try:
            mesh.start()
            await eventually(lambda: len(sim.status()["streams"]) >= 8, timeout_s=60)
            await asyncio.to_thread(sim.issue, 500)
            await mesh.holds(500, timeout_s=60)
            stuck = mesh.record.processes[name].process()
            assert stuck is not None

            stuck.send_signal(signal.SIGSTOP)
            await asyncio.to_thread(sim.issue, 500)

            said = rf"{name} \(pid {stuck.pid}\) has been silent for \d+ s and is started again"
            await asyncio.to_thread(mesh.process.wait_for_line, said, timeout_s=90)
            again = rf"{name} runs again, pid (\d+)"
            assert int((await asyncio.to_thread(mesh.process.wait_for_line, again, timeout_s=60))[1]) != stuck.pid
            await asyncio.to_thread(sim.issue, 500)
            await mesh.holds(1500, timeout_s=60)
            assert mesh.stored() == issued_in(log)
            others = {f"{service}{number}" for service in ("ingest", "signal", "store") for number in ("", "-2")} - {
                name
            }
            assert not [other for other in others if f"{other} (pid " in mesh.process.output()]
        finally:
            mesh.stop()
