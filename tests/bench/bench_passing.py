"""What it costs that store reads the messages of PROCESSED that close no candle, to pass over them.

    python -m tests.bench.bench_passing [--rates 1000,10000] [--symbols 6,300] [--seconds 8]

Signals come as signal gathers them, a batch for each trade: the most that they can be. CPU us a trade: of store, beside
an idle one; and of nats-server, beside one that takes the same messages while nobody reads them. A stream of their own
for closed candles would save this much at most.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from mesh.bus import subjects, wire
from mesh.bus.connection import CONTROL_STREAM, Bus, connect, processed_stream, raw_stream
from mesh.bus.publisher import Publisher
from mesh.service.health import Health
from mesh.service.settings import BusSettings
from signalsvc.engine import Engine, SignalMessage
from signalsvc.pipeline import GATHER_S
from tests.bench.processes import Meter
from tests.fixtures.mesh import HERE
from tests.fixtures.nats import NatsServer, running_nats
from tests.fixtures.postgres import crash_safe_postgres
from tests.fixtures.process import Process
from tests.fixtures.trades import columns


def messages(rate: int, symbols: int) -> list[bytes]:
    """Return the messages of one gathering, with as many batches of a trade as a rate makes in it."""
    engine, whole = Engine(), [b""]
    for n in range(int(rate * GATHER_S)):
        trades = columns(n // symbols + 1, 1, symbol=f"coin{n % symbols}usdt")
        signals = engine.process(trades, raw_sequence=1)
        assert signals is not None
        assert not signals.candles
        batch = wire.one_of_many(SignalMessage.of(signals).payload)
        if len(whole[-1]) + len(batch) > wire.MAX_SIGNAL_BYTES:
            whole.append(b"")
        whole[-1] += batch
    return whole


async def publish(bus: Bus, whole: list[bytes], seconds: float) -> None:
    """Send the messages of one gathering again and again, as often as signal gathers; none: only wait as long."""
    publisher = Publisher(bus, subjects.PROCESSED)
    await publisher.open()
    running = asyncio.create_task(publisher.run())
    began_s = time.perf_counter()
    for turn in range(round(seconds / GATHER_S)):
        for part, payload in enumerate(whole):
            name = f"{began_s}.{turn}.{part}"
            await publisher.publish(subjects.processed("binance"), payload, message_id=name)
        await asyncio.sleep(max(0.0, began_s + (turn + 1) * GATHER_S - time.perf_counter()))
    await publisher.settle()
    running.cancel()


@contextlib.contextmanager
def store(server: NatsServer, folder: Path, database_url: str) -> Iterator[Process]:
    """Let store run."""
    environment = os.environ | {"NATS_URL": server.url_of("store"), "STORE_ADDR": "127.0.0.1:0"}
    environment |= {"EPOCH_WAIT_S": "0", "DATABASE_URL": database_url}
    process = Process([HERE.python, "-m", "store"], environment=environment, log=folder / "store.log")
    process.start()
    try:
        yield process
    finally:
        process.stop()


async def read_to_the_end(bus: Bus) -> None:
    """Wait until store has read PROCESSED and moved its position, so that what comes then is what is measured."""
    while True:
        with contextlib.suppress(Exception):
            info = await bus.js.consumer_info(subjects.PROCESSED, subjects.DURABLE_STORE_SIGNALS)
            if not info.num_pending and not info.num_ack_pending:
                return
        await asyncio.sleep(0.1)


async def measure(rate: int, symbols: int, seconds: float) -> str:
    """Return the line of the table."""
    whole = messages(rate, symbols)
    with contextlib.ExitStack() as stack:
        server, folder = stack.enter_context(running_nats(prefix="tickmesh-bench-"))
        database = stack.enter_context(crash_safe_postgres(folder))
        async with connect(BusSettings(nats_url=server.url), name="bench", health=Health("bus")) as bus:
            for stream in (raw_stream(2**30), processed_stream(2**30), CONTROL_STREAM):
                await bus.declare(stream)

            async def used(parents: list[int], sent: list[bytes]) -> dict[str, float]:
                meter = Meter(parents)
                await publish(bus, sent, seconds)
                return {name: found.cpu_s for name, found in meter.read().items()}

            unread_idle = await used([server.process.pid], [])
            unread = await used([server.process.pid], whole)
            with store(server, folder, database.url) as process:
                await publish(bus, whole, GATHER_S)
                await read_to_the_end(bus)
                parents = [server.process.pid, process.pid]
                idle = await used(parents, [])
                read = await used(parents, whole)
    trades = rate * seconds
    of_store = (read["store"] - idle["store"]) * 1e6 / trades
    of_nats = (read["nats"] - idle["nats"] - (unread["nats"] - unread_idle["nats"])) * 1e6 / trades
    return f"{rate:>7}{symbols:>9}{sum(map(len, whole)) / GATHER_S / 1e6:>8.2f}{of_store:>10.2f}{of_nats:>10.2f}"


async def main() -> None:
    """Print a line for each rate and number of symbols."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", default="1000,10000", help="trades/s (default %(default)s)")
    parser.add_argument("--symbols", default="6,300", help="how many trade (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each (default %(default)g)")
    given = parser.parse_args()
    print(f"{'rate':>7}{'symbols':>9}{'MB/s':>8}{'store us':>10}{'nats us':>10}")
    for rate in map(int, given.rates.split(",")):
        for symbols in map(int, given.symbols.split(",")):
            print(await measure(rate, symbols, given.seconds), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
