"""How much ingest costs: sim -> ingest -> a real nats-server, at several rates.

    python -m tests.bench.bench_ingest [--rate 1000 --rate 20000] [--seconds 5]

Per rate: trades issued and published (both counted by their owners), trades in a message, microseconds of CPU a trade
in the ingest process, its peak memory, and how long from a frame's arrival until the bus holds its message. Before
that, what reading a frame costs in C++ (libtickcodec) and in Python, which reads what C++ leaves.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from ingest.binance.messages import MAX_CARRIED, parse_frames, parse_frames_singly
from mesh.bus import subjects
from mesh.bus.connection import connect
from mesh.bus.reader import Reader
from mesh.service.health import Health
from mesh.service.settings import BusSettings
from tests.fixtures.nats import NatsServer
from tests.fixtures.process import Process
from tests.fixtures.raw import trades_in
from tests.fixtures.sim import Sim, running_sim


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run showed."""

    issued: int
    published: int
    messages: int
    cpu_s: float
    peak_bytes: int
    delays_ms: np.ndarray


async def measure(server: NatsServer, sim: Sim, ingest: Process, *, rate: int | str, seconds: float) -> Measured:
    """Let sim run at `rate` for a while, wait until all of it is published, and read it back."""
    watched = psutil.Process(ingest.pid)
    before = watched.cpu_times()
    sim.post("/sim/rate", {"rate": rate})
    until_s, peak = time.monotonic() + seconds, 0
    while time.monotonic() < until_s:
        await asyncio.sleep(0.2)
        peak = max(peak, watched.memory_info().rss)
    sim.post("/sim/rate", {"rate": 0})
    issued = sim.status()["issued"]
    async with connect(BusSettings(nats_url=server.url), name="bench", health=Health("bus")) as bus:
        published, messages, delays = 0, 0, []
        async with Reader(bus, subjects.RAW, "bench", after=0) as reader:
            while published < issued and (taken := await reader.next(timeout_s=10)):
                for message in taken:
                    published += sum(map(len, trades_in(message.subject, message.payload)))
                messages += len(taken)
        spent = watched.cpu_times()
        for sequence in np.unique(np.linspace(1, messages, 500).astype(int)).tolist():
            raw = await bus.js.get_msg(subjects.RAW, sequence)
            assert raw.time is not None
            if trades := trades_in(raw.subject or "", raw.data or b""):
                delays.append(raw.time.timestamp() * 1e3 - trades[0].received_time_us / 1e3)
    cpu_s = spent.user + spent.system - before.user - before.system
    return Measured(issued, published, messages, cpu_s, peak, np.array(delays))


def run(rate: int | str, seconds: float) -> Measured:
    """Start everything anew, measure once, stop everything."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        server = NatsServer(directory)
        server.start()
        try:
            with running_sim("--rate", "0") as sim:
                environment = os.environ | {
                    "NATS_URL": server.url_of("ingest"),
                    "VENUE": "sim",
                    "SIM_WS_URL": sim.ws,
                    "SIM_REST_URL": sim.rest,
                }
                ingest = Process(
                    [sys.executable, "-m", "ingest"], environment=environment, log=directory / "ingest.log"
                )
                ingest.start()
                try:
                    ingest.wait_for_line("connected to ws://", timeout_s=30)
                    return asyncio.run(measure(server, sim, ingest, rate=rate, seconds=seconds))
                finally:
                    ingest.stop()
        finally:
            server.kill()


def reading_us(count: int, read: Callable[..., object]) -> float:
    """Return microseconds a frame, the best of some rounds, for reading so many frames at once."""
    frames = [
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":%d,"p":"61837.%08d",'
        b'"q":"0.02000000","T":1723161255342,"m":true,"M":true}}' % (3_735_683_259 + number, number * 1_000_003 % 10**8)
        for number in range(count)
    ]
    rounds = max(3, 4096 // count)
    call = partial(read, frames, venue="sim", received_time_us=7)
    return min(timeit.repeat(call, number=rounds, repeat=5)) / rounds / count * 1e6


def main() -> None:
    """Print one line a number of frames, then one a rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", action="append", help="trades/s, or max; may be given several times")
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    print("frames read at once   C++ us/frame   Python us/frame   of it")
    for count in (1, 16, 256, MAX_CARRIED):
        native_us, python_us = reading_us(count, parse_frames), reading_us(count, parse_frames_singly)
        print(f"{count:>19,} {native_us:>14.2f} {python_us:>17.2f} {native_us / python_us:>7.0%}")
    print("\nrate       issued  published  trades/message  CPU us/trade  peak MB  arrival -> stored p50/p99 ms")
    for text in given.rate or ["200", "1000", "10000", "50000", "max"]:
        found = run(text if text == "max" else int(text), given.seconds)
        p50, p99 = np.percentile(found.delays_ms, [50, 99])
        print(
            f"{text:>5} {found.issued:>11} {found.published:>10} {found.published / max(1, found.messages):>15.1f} "
            f"{found.cpu_s / max(1, found.issued) * 1e6:>13.1f} {found.peak_bytes / 1e6:>8.0f} {p50:>11.2f} / {p99:.2f}"
        )


if __name__ == "__main__":
    main()
