"""`make bench`: the whole mesh fed by sim at a rate, at ten times that, and flat out.

For each: trades sent, stored and lost, the delay from the exchange's send to a `/ws` client, the share of the
processors that other machines took from a shared one, and per service the CPU time a trade and the peak of its memory.
Everything runs on this machine at once, the exchange and the client too; compare the figures within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
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
    outcome.steal_s = steal_s() - steal_before_s
    return outcome


def steal_s() -> float:
    """Return how long this machine's processors have stood still because another machine had them."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def _stored(mesh: LocalMesh) -> int:
    return int(mesh.query("select count(*) from trades")[0][0])


def report(outcomes: list[Outcome]) -> str:
    """Return the figures as a table for people."""
    lines = [
        "feed      trades/s       sent     stored  lost  doubled  whole after   delay p50      p99  told to /ws  stolen"
    ]
    for one in outcomes:
        p50, p99 = (one.told[name] or float("nan") for name in ("p50_ms", "p99_ms"))
        lines.append(
            f"{one.name:<9}{one.sent / one.seconds:>9,.0f}{one.sent:>11,}{one.stored:>11,}"
            f"{max(one.sent - one.stored, 0):>6,}{max(one.stored - one.sent, 0):>9,}{one.whole_after_s:>11.1f} s"
            f"{p50:>9.2f} ms{p99:>6.1f} ms{one.told['trades']:>13,}"
            f"{one.steal_s / one.seconds / (psutil.cpu_count() or 1):>8.1%}"
        )
    lines += _by_service(
        "CPU, us a trade", outcomes, lambda one, usage: f"{usage.cpu_used_s * 1e6 / max(one.sent, 1):,.1f}"
    )
    lines += _by_service("peak memory, MB", outcomes, lambda _, usage: f"{usage.peak_mb:,.0f}")
    return "\n".join(lines)


def _by_service(title: str, outcomes: list[Outcome], figure: Callable[[Outcome, Usage], str]) -> list[str]:
    rows = [f"{one.name:<18}" + "".join(f"{figure(one, one.usage[name]):>10}" for name in SERVICES) for one in outcomes]
    return ["", f"{title:<18}" + "".join(f"{name:>10}" for name in SERVICES), *rows]


def machine_ms() -> float:
    """Return what a plain Python loop takes here: shared machines halve their speed from one minute to the next."""
    return min(timeit.repeat(lambda: sum(range(10**6)), number=1, repeat=10)) * 1000


async def main(rate: float, seconds: float) -> int:
    """Run all three feeds and print what they showed; return 1 if a trade was lost or doubled."""
    before_ms = machine_ms()
    outcomes: list[Outcome] = []
    with (
        tempfile.TemporaryDirectory(prefix="tickmesh-bench-") as folder,
        running_sim("--rate", "0", "--pace", "even") as sim,
        running_mesh(Path(folder), VENUE="binance", BINANCE_WS_URL=sim.ws, BINANCE_REST_URL=sim.rest) as mesh,
    ):
        while len(sim.status()["streams"]) < 6:
            await asyncio.sleep(0.1)
        for speed in (rate, rate * 10, "max"):
            print(f"feeding {speed} trades/s for {seconds:g} s ...", file=sys.stderr, flush=True)
            outcome = await run(sim, mesh, rate=speed, seconds=seconds)
            for usage in outcome.usage.values():
                usage.cpu_used_s = usage.cpu_s() - usage.cpu_before_s
            outcomes.append(outcome)
    print(report(outcomes))
    print(f"\nThis machine: sum(range(10**6)) took {before_ms:.0f} ms before and {machine_ms():.0f} ms after.")
    return int(any(one.sent != one.stored for one in outcomes))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rate", type=float, default=1000.0, help="trades a second of the first feed (default: 1000)")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each feed lasts (default: 20)")
    options = parser.parse_args()
    sys.exit(asyncio.run(main(options.rate, options.seconds)))
