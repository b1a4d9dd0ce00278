"""The whole mesh on three nats-servers: the one that leads RAW is killed, and every trade is stored once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import nats
import pytest

from mesh.bus import subjects
from mesh.local.settings import NATS
from tests.fixtures.mesh import LocalMesh, issued_in, running_mesh
from tests.fixtures.sim import running_sim
from tests.fixtures.waiting import eventually


async def number_of_leader(mesh: LocalMesh) -> int:
    client = await nats.connect(mesh.env["NATS_URL"].split(","))
    try:
        info = await client.jetstream().stream_info(subjects.RAW)
    finally:
        await client.close()
    assert info.config.num_replicas == 3
    assert info.cluster is not None
    return int(str(info.cluster.leader).removeprefix("tickmesh-"))


@pytest.mark.slow
async def test_the_server_that_leads_the_trades_is_killed_and_none_is_lost(tmp_path: Path) -> None:
    log = tmp_path / "issued.csv"
    with (
        running_sim("--rate", "0", "--log", str(log)) as sim,
        running_mesh(
            tmp_path, VENUE="binance", BINANCE_WS_URL=sim.ws, BINANCE_REST_URL=sim.rest, NATS_SERVERS="3"
        ) as mesh,
    ):
        assert len(mesh.env["NATS_URL"].split(",")) == 3
        await eventually(lambda: "btcusdt@trade" in sim.status()["streams"], timeout_s=60)
        for round_ in range(1, 4):
            await eventually(lambda: asyncio.to_thread(mesh.bus_is_whole), timeout_s=60)
            await asyncio.to_thread(sim.issue, 300)
            number = await eventually(lambda: number_of_leader(mesh), timeout_s=60, not_yet=(Exception,))
            mesh.record.processes[NATS[number - 1]].kill()
            await asyncio.to_thread(sim.issue, 300)
            await mesh.holds(600 * round_, timeout_s=90)
        assert mesh.stored() == issued_in(log)
        assert "runs again" in mesh.process.output()
