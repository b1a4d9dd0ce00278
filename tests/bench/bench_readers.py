"""What signal and store cost alone: each reads RAW, and nothing else runs but what it needs.

    python -m tests.bench.bench_readers signal|store [--rates 200,1000,10000,50000,max] [--seconds 5] [--tree PATH]

The trades come in messages of one millisecond, as ingest sends them while the bus keeps up. `max` is what waits in RAW
already, in messages of 4,096 trades, when the service starts: the replay after an outage. A core's trades/s is what one
processor would do if it did nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import psycopg

from mesh.bus import subjects, wire
from mesh.bus.connection import CONTROL_STREAM, Bus, connect, raw_stream
from mesh.bus.publisher import Publisher
from mesh.service.health import Health
from mesh.service.settings import BusSettings
from tests.bench.processes import Meter
from tests.bench.trees import tree_at
from tests.fixtures.mesh import HERE, Tree
from tests.fixtures.nats import NatsServer, running_nats
from tests.fixtures.postgres import crash_safe_postgres
from tests.fixtures.process import Process
from tests.fixtures.trades import columns

REPLAYED: Final = 2_000_000
REPLAYED_AT_ONCE: Final = 4096
MESSAGES_A_SECOND: Final = 1000
DONE_WITHIN_S: Final = 120.0
MODULES: Final = {"signal": "signalsvc", "store": "store"}


class Feed:
    """What ingest does on the bus: trades of one symbol to RAW, with ids that rise."""

    def __init__(self, bus: Bus, publisher: Publisher) -> None:
        self.bus = bus
        self.sent = 0
        self._publisher = publisher

    async def publish(self, count: int) -> None:
        """Send so many trades in one message."""
        trades = columns(self.sent + 1, count, received_time_us=time.time_ns() // 1000)
        payload = wire.encode_trades(trades)
        await self._publisher.publish(
            subjects.raw_of_symbol(trades.venue, trades.symbol), payload, message_id=f"b{self.sent}"
        )
        self.sent += count

    async def at_rate(self, rate: float, seconds: float) -> None:
        """Send trades at a rate, and return when RAW holds them."""
        began_s, first = time.perf_counter(), self.sent
        while (passed_s := time.perf_counter() - began_s) < seconds:
            due = int(passed_s * rate) - (self.sent - first)
            if due:
                await self.publish(min(due, REPLAYED_AT_ONCE))
            await asyncio.sleep(1 / min(rate, MESSAGES_A_SECOND))
        await self._publisher.settle()


@contextlib.asynccontextmanager
async def feeding(server: NatsServer) -> AsyncIterator[Feed]:
    """Declare RAW and be its writer, while inside."""
    async with connect(BusSettings(nats_url=server.url), name="bench", health=Health("bus")) as bus:
        await bus.declare(raw_stream(2**31))
        await bus.declare(CONTROL_STREAM)
        publisher = Publisher(bus, subjects.RAW)
        await publisher.open()
        running = asyncio.create_task(publisher.run())
        try:
            yield Feed(bus, publisher)
        finally:
            running.cancel()


async def done(service: str, feed: Feed, database_url: str | None) -> int:
    """Return how many trades the service is known to have finished."""
    if service == "signal":
        try:
            last = await feed.bus.js.get_last_msg(subjects.PROCESSED, subjects.processed("binance"))
        except Exception:
            return 0
        return wire.decode_end(wire.batches_of(last.data or b"")[-1])[2]
    assert database_url is not None

    def stored() -> int:
        with contextlib.suppress(psycopg.errors.UndefinedTable), psycopg.connect(database_url) as connection:
            row = connection.execute("select max(trade_id) from trades").fetchone()
            return int(row[0] or 0) if row else 0
        return 0

    return await asyncio.to_thread(stored)


async def measure(service: str, tree: Tree, rate: str, seconds: float) -> str:
    """Run one service against servers of its own, once, and return the line of the table."""
    with contextlib.ExitStack() as stack:
        server, folder = stack.enter_context(running_nats(prefix="tickmesh-bench-"))
        environment = os.environ | {
            "NATS_URL": server.url_of(service),
            "EPOCH_WAIT_S": "0",
            "SIGNAL_ADDR": "127.0.0.1:0",
            "STORE_ADDR": "127.0.0.1:0",
        }
        parents, database_url = [server.process.pid], None
        if service == "store":
            servers = stack.enter_context(crash_safe_postgres(folder))
            environment["DATABASE_URL"] = database_url = servers.url
            parents.append(servers.process.pid)
        argv = [tree.python, "-m", MODULES[service]]
        process = Process(argv, environment=environment, log=folder / "service.log", directory=tree.root)
        stack.callback(process.stop)
        async with feeding(server) as feed:
            if rate == "max":
                while feed.sent < REPLAYED:
                    await feed.publish(REPLAYED_AT_ONCE)
                process.start()
            else:
                process.start()
                await feed.publish(1)
            await finished(service, feed, database_url, at_least=1)
            meter, before, began_s = Meter([*parents, process.pid]), feed.sent, time.perf_counter()
            if rate == "max":
                before = await done(service, feed, database_url)
            else:
                await feed.at_rate(float(rate), seconds)
            await finished(service, feed, database_url, at_least=feed.sent)
            took_s, used, trades = time.perf_counter() - began_s, meter.read(), feed.sent - before
        mine = used[service]
        others = "".join(f"{used[name].cpu_s * 1e6 / trades:>10.2f}" for name in ("nats", "postgres"))
        return (
            f"{service:<7}{tree.name[:12]:<13}{rate:>7}{trades:>11,}{trades / took_s:>11,.0f}"
            f"{mine.cpu_s * 1e6 / trades:>9.2f}{trades / max(mine.cpu_s, 1e-9):>13,.0f}{mine.wakes / trades:>9.3f}"
            f"{others}{mine.peak_mb:>9.0f}"
        )


async def finished(service: str, feed: Feed, database_url: str | None, *, at_least: int) -> None:
    """Wait until the service has finished so many trades."""
    deadline_s = time.monotonic() + DONE_WITHIN_S
    while (found := await done(service, feed, database_url)) < at_least:
        assert time.monotonic() < deadline_s, f"{service} has done {found} of {at_least} trades"
        await asyncio.sleep(0.05)


async def main() -> None:
    """Print one line a rate and tree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("service", choices=MODULES)
    parser.add_argument("--rates", default="200,1000,10000,50000,max", help="trades/s (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each (default %(default)g)")
    parser.add_argument("--repeats", type=int, default=1, help="how often each (default %(default)s)")
    parser.add_argument("--tree", type=Path, metavar="PATH", help="the checkout in this folder in turns with this one")
    given = parser.parse_args()
    trees = [HERE, *([tree_at(given.tree)] if given.tree else [])]
    print(
        f"{'':<7}{'tree':<13}{'rate':>7}{'trades':>11}{'trades/s':>11}{'CPU us':>9}{'a core/s':>13}{'wakes':>9}"
        f"{'nats us':>10}{'postgr us':>10}{'peak MB':>9}"
    )
    for rate in given.rates.split(","):
        for _ in range(given.repeats):
            for tree in trees:
                print(await measure(given.service, tree, rate, given.seconds), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
