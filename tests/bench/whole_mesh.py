"""The whole mesh under a load: how much was sent, stored and told, how late, and what it cost.

Everything runs on this machine at once, the exchange and the clients too; compare the figures within one run.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, LiteralString

import httpx
import psutil
import psycopg

from tests.bench.figures import Figures
from tests.bench.processes import Meter
from tests.fixtures.mesh import HERE, ROOT, LocalMesh, Tree, running_mesh
from tests.fixtures.ports import free_ports
from tests.fixtures.sim import Sim, running_sim

FOLLOWED_WITHIN_S: Final = 60.0
WHOLE_WITHIN_S: Final = 120.0
FLOOR_SETTLES_S: Final = 0.2
REAL_SYMBOLS: Final = ("btcusdt", "ethusdt", "solusdt", "bnbusdt", "xrpusdt", "dogeusdt")


@dataclass(frozen=True, slots=True)
class Load:
    """What a mesh has to bear.

    Attributes:
        rate: trades a second of all symbols together; "max" is as fast as ingest reads.
        seconds: how long.
        clients: how many follow all symbols at `/ws`.
        stalled: how many more follow them and read nothing.
        symbols: how many symbols are traded.
    """

    rate: float | str
    seconds: float = 10.0
    clients: int = 1
    stalled: int = 0
    symbols: int = 6

    def __str__(self) -> str:
        speed = f"{self.rate:,.0f}/s" if isinstance(self.rate, float | int) else "flat out"
        clients = f"{self.clients:,} client{'s' * (self.clients != 1)}"
        stalled = f" and {self.stalled} stalled" if self.stalled else ""
        return f"{speed}, {clients}{stalled}, {self.symbols} symbol{'s' * (self.symbols != 1)}"


@dataclass(frozen=True, slots=True)
class Fed:
    """An exchange, and what it feeds.

    Attributes:
        sim: the exchange.
        ws_url: where clients hear of its trades.
        parents: processes; what they and all below them use is counted.
        monitor_port: nats-server's monitoring.
        database_url: where the trades are stored; None where they are not.
        mesh: the whole mesh; None of the floor, which is none.
    """

    sim: Sim
    ws_url: str
    parents: list[int]
    monitor_port: int
    database_url: str | None
    mesh: LocalMesh | None = None

    def bus(self) -> dict[str, int]:
        """Return how many messages and bytes nats-server has received and sent since it started."""
        found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{self.monitor_port}/varz").json()
        return {
            "messages": found["in_msgs"] + found["out_msgs"],
            "bytes": found["in_bytes"] + found["out_bytes"],
        }


def symbols_traded(count: int) -> str:
    """Return so many symbols, separated by commas: six that exist, and then some that are made up."""
    made_up = [f"coin{number}usdt" for number in range(1, count - len(REAL_SYMBOLS) + 1)]
    return ",".join([*REAL_SYMBOLS, *made_up][:count])


@contextlib.contextmanager
def fed_mesh(
    directory: Path, *, tree: Tree = HERE, symbols: str = symbols_traded(6), instances: int = 1
) -> Iterator[Fed]:
    """Run an exchange that stands still and a mesh that follows all its symbols, while inside.

    Args:
        directory: where its state lies.
        tree: whose code runs.
        symbols: separated by commas.
        instances: how many of ingest, signal and store share as many partitions.
    """
    [monitor_port] = free_ports(1)
    settings = {"VENUE": "binance", "SYMBOLS": symbols, "NATS_MONITOR_PORT": str(monitor_port)}
    if instances > 1:
        settings |= {"INSTANCES": str(instances), "PARTITIONS": str(instances)}
    with (
        running_sim("--rate", "0", "--pace", "even", "--symbols", symbols) as sim,
        running_mesh(directory, tree, BINANCE_WS_URL=sim.ws, BINANCE_REST_URL=sim.rest, **settings) as mesh,
    ):
        deadline_s = time.monotonic() + FOLLOWED_WITHIN_S
        while len(sim.status()["streams"]) < len(symbols.split(",")):
            assert time.monotonic() < deadline_s, f"ingest follows {sim.status()['streams']}"
            time.sleep(0.1)
        parents = [mesh.process.pid, sim.process.pid]
        yield Fed(sim, mesh.ws_url, parents, monitor_port, mesh.env["DATABASE_URL"], mesh)


@contextlib.contextmanager
def clients_of(ws_url: str, load: Load, figures: Figures) -> Iterator[None]:
    """Let clients of `/ws?symbols=*` note the delay of every trade, while inside; then add what they noted."""
    command = [sys.executable, "-m", "tests.bench.clients", ws_url + "?symbols=*"]
    command += ["--clients", str(load.clients), "--stalled", str(load.stalled)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as clients:
        assert clients.stdin is not None
        assert clients.stdout is not None
        assert clients.stdout.readline() == "ready\n"
        yield
        clients.stdin.close()
        figures |= json.loads(clients.stdout.readline())


def run(fed: Fed, load: Load) -> Figures:
    """Let the exchange trade for some time, wait until database and clients have everything, and say what it took.

    Returns:
        `sent`, `stored`, `lost`, `doubled`, `told` (of all clients together), `untold` (the share of sent trades that
        a reading client did not get), `stored_after_s` (from the last trade sent to the last one stored), `stored_rate`
        (trades a second, from the first one sent until all are stored: what flat out counts), `seconds`,
        `rate` (as it really was), `delay_ms.p50` and so on; and for each service `cpu_us`, `wait_us`, `wakes` and
        `preempted`, all for one trade, and `peak_mb`; `bus.messages` and `bus.bytes`, in and out, for one trade.
        Without a database nothing is said of what is stored.
    """
    figures: Figures = {}
    issued_before, stored_before, booked_before = fed.sim.status()["issued"], _stored(fed), _booked(fed)
    with clients_of(fed.ws_url, load, figures):
        meter = Meter(fed.parents)
        bus_before, steal_before_s, started_s = fed.bus(), steal_s(), time.monotonic()
        fed.sim.post("/sim/rate", {"rate": load.rate})
        time.sleep(load.seconds)
        fed.sim.post("/sim/rate", {"rate": 0})
        figures["seconds"] = time.monotonic() - started_s
        ended_s = time.monotonic()
        sent = fed.sim.status()["issued"] - issued_before
        if fed.database_url:
            # By the ledger, a row a symbol: to count the trades again and again slowed down how they were stored.
            while _booked(fed) - booked_before < sent and time.monotonic() - ended_s < WHOLE_WITHIN_S:
                time.sleep(0.05)
            figures["stored_after_s"] = time.monotonic() - ended_s
        else:
            time.sleep(FLOOR_SETTLES_S)
        bus_after, usage = fed.bus(), meter.read()
        figures["steal"] = (steal_s() - steal_before_s) / (time.monotonic() - started_s) / (psutil.cpu_count() or 1)
    if fed.database_url:
        stored = _stored(fed) - stored_before
        figures |= {"stored": stored, "lost": max(sent - stored, 0), "doubled": max(stored - sent, 0)}
        figures["stored_rate"] = stored / (figures["seconds"] + figures["stored_after_s"])
    trades = max(sent, 1)
    figures |= {"sent": sent, "rate": sent / figures["seconds"]}
    figures["untold"] = 1 - figures["told"] / trades / load.clients if load.clients else 0.0
    figures |= {f"bus.{name}": (bus_after[name] - before) / trades for name, before in bus_before.items()}
    for name, used in usage.items():
        figures[f"cpu_us.{name}"] = used.cpu_s * 1e6 / trades
        figures[f"wait_us.{name}"] = used.waited_s * 1e6 / trades
        figures[f"wakes.{name}"] = used.wakes / trades
        figures[f"preempted.{name}"] = used.preempted / trades
        figures[f"peak_mb.{name}"] = used.peak_mb
    for kind in ("cpu_us", "wait_us", "wakes", "preempted", "peak_mb"):
        figures[f"{kind}.mesh"] = sum(figures[f"{kind}.{name}"] for name in usage if name != "sim")
    return figures


def _stored(fed: Fed) -> int:
    return _number(fed, "select count(*) from trades")


def _booked(fed: Fed) -> int:
    return _number(fed, "select coalesce(sum(last_trade_id - first_trade_id + 1), 0)::bigint from coverage")


def _number(fed: Fed, question: LiteralString) -> int:
    if fed.database_url is None:
        return 0
    with psycopg.connect(fed.database_url) as connection:
        row = connection.execute(question).fetchone()
        assert row is not None
        return int(row[0])


def steal_s() -> float:
    """Return how long this machine's processors have stood still because another machine had them."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0))
