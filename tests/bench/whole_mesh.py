"""The whole mesh under a feed: how much was sent and stored, how late clients heard of it, what it cost.

Everything runs on this machine at once, the exchange and the client too; compare the figures within one run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.fixtures.mesh import ROOT, LocalMesh, running_mesh
from tests.fixtures.sim import Sim, running_sim

SERVICES = {
    "sim": ("-m", "sim"),
    "ingest": ("-m", "ingest"),
    "nats": ("nats-server",),
    "signal": ("-m", "signalsvc"),
    "store": ("-m", "store"),
    "postgres": ("postgres",),
    "gateway": ("-m", "gateway"),
}
SYMBOLS = 6
FOLLOWED_WITHIN_S = 60.0
WHOLE_WITHIN_S = 120.0
MEMORY_EVERY_S = 0.25


@dataclass
class Usage:
    """CPU seconds and peak memory of one service and its children."""

    processes: list[psutil.Process]
    cpu_before_s: float = 0.0
    cpu_used_s: float = 0.0
    peak_mb: float = 0.0

    def cpu_s(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self.processes)

    def look(self) -> None:
        resident = sum(process.memory_info().rss for process in self.processes if process.is_running())
        self.peak_mb = max(self.peak_mb, resident / 1e6)


@dataclass
class Outcome:
    """What one run showed."""

    name: str
    seconds: float = 0.0
    sent: int = 0
    stored: int = 0
    whole_after_s: float = 0.0
    steal_s: float = 0.0
    told: dict[str, float | None] = field(default_factory=dict)
    usage: dict[str, Usage] = field(default_factory=dict)


def find_processes(mesh: LocalMesh, sim: Sim) -> dict[str, Usage]:
    """Return the processes of every service; PostgreSQL's are many."""
    everything = [*psutil.Process(mesh.process.pid).children(recursive=True), psutil.Process(sim.process.pid)]
    usage: dict[str, Usage] = {}
    for name, words in SERVICES.items():
        usage[name] = Usage([process for process in everything if _is(process, words)])
    return usage


def _is(process: psutil.Process, words: tuple[str, ...]) -> bool:
    command = process.cmdline()
    return tuple(command[1 : 1 + len(words)]) == words if words[0] == "-m" else words[0] in Path(command[0]).name


@contextlib.contextmanager
def listening(mesh: LocalMesh, outcome: Outcome) -> Iterator[None]:
    """Let a client of `/ws?symbols=*` note the delay of every trade, while inside."""
    command = [sys.executable, "-m", "tests.bench.listener", mesh.ws_url + "?symbols=*"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
        yield
        client.stdin.close()
        last = client.stdout.read().splitlines()[-1]
        outcome.told = json.loads(last)


@contextlib.contextmanager
def fed_mesh(directory: Path) -> Iterator[tuple[Sim, LocalMesh]]:
    """Run an exchange that stands still and a mesh that follows all its symbols, while inside."""
    with (
        running_sim("--rate", "0", "--pace", "even") as sim,
        running_mesh(directory, VENUE="binance", BINANCE_WS_URL=sim.ws, BINANCE_REST_URL=sim.rest) as mesh,
    ):
        deadline_s = time.monotonic() + FOLLOWED_WITHIN_S
        while len(sim.status()["streams"]) < SYMBOLS:
            assert time.monotonic() < deadline_s, f"ingest follows {sim.status()['streams']}"
            time.sleep(0.1)
        yield sim, mesh


async def run(sim: Sim, mesh: LocalMesh, *, rate: float | str, seconds: float) -> Outcome:
    """Let the exchange trade at `rate` for some time, and wait until the database has everything."""
    outcome = Outcome(f"{rate:,.0f}/s" if isinstance(rate, float) else "flat out")
    outcome.usage = find_processes(mesh, sim)
    issued_before, stored_before = sim.status()["issued"], _stored(mesh)
    for usage in outcome.usage.values():
        usage.cpu_before_s = usage.cpu_s()
    steal_before_s = steal_s()
    with listening(mesh, outcome):
        started_s = time.monotonic()
        await asyncio.to_thread(sim.post, "/sim/rate", {"rate": rate})
        while time.monotonic() - started_s < seconds:
            await asyncio.sleep(MEMORY_EVERY_S)
            for usage in outcome.usage.values():
                usage.look()
        await asyncio.to_thread(sim.post, "/sim/rate", {"rate": 0})
        outcome.seconds = time.monotonic() - started_s
        ended_s = time.monotonic()
        outcome.sent = (await asyncio.to_thread(sim.status))["issued"] - issued_before
        while outcome.stored < outcome.sent and time.monotonic() - ended_s < WHOLE_WITHIN_S:
            await asyncio.sleep(0.1)
            outcome.stored = await asyncio.to_thread(_stored, mesh) - stored_before
            for usage in outcome.usage.values():
                usage.look()
        outcome.whole_after_s = time.monotonic() - ended_s
    for usage in outcome.usage.values():
        usage.cpu_used_s = usage.cpu_s() - usage.cpu_before_s
    outcome.steal_s = steal_s() - steal_before_s
    return outcome


def steal_s() -> float:
    """Return how long this machine's processors have stood still because another machine had them."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def _stored(mesh: LocalMesh) -> int:
    return int(mesh.query("select count(*) from trades")[0][0])
