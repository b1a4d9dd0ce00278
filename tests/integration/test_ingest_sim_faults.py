"""Every fault the simulated exchange can play: whatever happens, each trade it issued is in RAW once and in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.nats import NatsServer
from tests.fixtures.services import Service
from tests.fixtures.sim import Sim, running_sim
from tests.fixtures.sim_to_raw import assert_all_published, follow, ingest_of
from tests.fixtures.waiting import eventually

pytestmark = pytest.mark.slow  # two minutes together

Make = Callable[..., Service]


async def play(sim: Sim, *faults: dict[str, Any]) -> None:
    """Let the exchange trade, and strike while it does."""
    sim.post("/sim/rate", {"rate": 1000})
    await eventually(lambda: sim.status()["issued"] > 1000)
    sim.post("/sim/faults", list(faults))
    await eventually(lambda: len(sim.get("/sim/faults")["struck"]) >= len(faults))
    await eventually(lambda: sim.status()["issued"] > 3000)
    sim.post("/sim/rate", {"rate": 0})


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop", "count": 300},
        {"kind": "duplicate", "count": 200, "copies": 2},
        {"kind": "reorder", "count": 60},
        {"kind": "garble", "count": 40},
        {"kind": "misstate", "count": 1, "id_by": 2**53},
        {"kind": "misstate", "count": 3, "id_by": 150_000},
        {"kind": "misstate", "count": 2, "id_by": -500},
        {"kind": "misstate", "count": 3, "time_by_s": 5.4e9},
        {"kind": "hole", "symbol": "btcusdt", "count": 7},
        {"kind": "disconnect", "for_s": 1.0},
        {"kind": "refuse", "for_s": 1.0, "status": 503},
        {"kind": "shutdown", "lead_s": 0.5},
        {"kind": "expire"},
        {"kind": "slow_frames", "for_s": 1.0, "delay_s": 0.5},
        {"kind": "silence", "pongs": True},
        {"kind": "silence", "pongs": False},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
async def test_a_fault_on_the_socket_costs_nothing(
    nats_server: NatsServer, make_service: Make, tmp_path: Path, fault: dict[str, Any]
) -> None:
    with running_sim("--rate", "0", "--log", str(tmp_path / "sim.csv")) as sim:
        follow(ingest_of(make_service, nats_server, sim))
        await play(sim, fault)
        await assert_all_published(nats_server, tmp_path / "sim.csv", timeout_s=40)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "rest", "status": 429, "retry_after_s": 1, "for_s": 2},
        {"kind": "rest", "status": 418, "retry_after_s": 2, "requests": 1},
        {"kind": "rest", "status": 500, "requests": 3},
        {"kind": "slow_rest", "delay_s": 1.0, "requests": 2},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
async def test_a_fault_of_rest_during_a_repair_costs_nothing(
    nats_server: NatsServer, make_service: Make, tmp_path: Path, fault: dict[str, Any]
) -> None:
    with running_sim("--rate", "0", "--log", str(tmp_path / "sim.csv")) as sim:
        follow(ingest_of(make_service, nats_server, sim))
        await play(sim, fault, {"kind": "drop", "count": 100}, {"kind": "disconnect", "for_s": 0.5})
        await assert_all_published(nats_server, tmp_path / "sim.csv", timeout_s=40)


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_random_sequence_of_faults_costs_nothing(
    nats_server: NatsServer, make_service: Make, tmp_path: Path, seed: int
) -> None:
    with running_sim("--rate", "0", "--seed", str(seed), "--log", str(tmp_path / "sim.csv")) as sim:
        follow(ingest_of(make_service, nats_server, sim))
        await play(sim, {"kind": "random", "at_trade": 100, "every": 250, "times": 8})
        await assert_all_published(nats_server, tmp_path / "sim.csv", timeout_s=60)
