"""`make bench`: the whole mesh fed by sim at a rate, at ten times that, and flat out.

For each: trades sent, stored and lost, the delay from the exchange's send to a `/ws` client, the share of the
processors that other machines took from a shared one, and per service the CPU time a trade and the peak of its memory.
Everything runs on this machine at once, the exchange and the client too; compare the figures within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.bench.whole_mesh import SERVICES, Outcome, Usage, fed_mesh, run


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
    with tempfile.TemporaryDirectory(prefix="tickmesh-bench-") as folder, fed_mesh(Path(folder)) as (sim, mesh):
        for speed in (rate, rate * 10, "max"):
            print(f"feeding {speed} trades/s for {seconds:g} s ...", file=sys.stderr, flush=True)
            outcomes.append(await run(sim, mesh, rate=speed, seconds=seconds))
    print(report(outcomes))
    print(f"\nThis machine: sum(range(10**6)) took {before_ms:.0f} ms before and {machine_ms():.0f} ms after.")
    return int(any(one.sent != one.stored for one in outcomes))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rate", type=float, default=1000.0, help="trades a second of the first feed (default: 1000)")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each feed lasts (default: 20)")
    options = parser.parse_args()
    sys.exit(asyncio.run(main(options.rate, options.seconds)))
