"""How fast trades are exported over REST, what store and gateway need for it, and whether the sums are the database's.

    python -m tests.bench.bench_export [--rows 10000000]

A PostgreSQL of its own is filled with the rows; store and gateway are processes as in the mesh, without a bus. For each
format: rows and megabytes a second at the client, CPU of both processes, and how far their memory grew at most.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from decimal import Decimal
from pathlib import Path

import httpx
import numpy as np
import psutil
import psycopg

from mesh.values.trades import TradeColumns
from store.database.copy_rows import COLUMNS, COPY_HEADER, COPY_TRAILER, copy_rows
from store.export.query import FORMATS
from tests.fixtures.ports import free_ports
from tests.fixtures.postgres import crash_safe_postgres
from tests.fixtures.trades import START_US

BATCH = 500_000


def fill(url: str, rows: int) -> None:
    """Store trades with random prices and quantities, ten milliseconds apart."""
    random = np.random.default_rng(1)
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        for first in range(1, rows + 1, BATCH):
            ids = np.arange(first, min(first + BATCH, rows + 1), dtype=np.int64)
            prices = 6_000_000_000_000 + np.cumsum(random.integers(-1, 2, len(ids))) * 1_000_000
            quantities = random.integers(1, 200_000, len(ids)) * 1000
            times = START_US + ids * 10_000
            trades = TradeColumns("binance", "btcusdt", START_US, ids, prices, quantities, times, ids % 3 == 0)
            copy = f"COPY trades ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"
            with connection.cursor().copy(copy) as copying:
                copying.write(COPY_HEADER + copy_rows(trades) + COPY_TRAILER)
        connection.execute("VACUUM ANALYZE trades")


def wait_until_ready(http: httpx.Client, path: str) -> None:
    """Ask until it is answered with 200, for a minute at most."""
    deadline_s = time.monotonic() + 60
    while True:
        try:
            if http.head(path).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{path} is not answered")
        time.sleep(0.1)


def measure(http: httpx.Client, path: str, processes: list[psutil.Process], target: Path) -> tuple[float, list[float]]:
    """Download into a file; return the seconds it took, and by how many MiB the memory of each process grew."""
    before = [process.memory_info().rss for process in processes]
    most, looked_s, began_s = list(before), 0.0, time.monotonic()
    with http.stream("GET", path) as answer, target.open("wb") as file:
        answer.raise_for_status()
        for piece in answer.iter_raw():
            file.write(piece)
            if time.monotonic() - looked_s > 0.1:
                looked_s = time.monotonic()
                most = [max(old, process.memory_info().rss) for old, process in zip(most, processes, strict=True)]
    return time.monotonic() - began_s, [(a - b) / 2**20 for a, b in zip(most, before, strict=True)]


def sums_of(target: Path) -> tuple[int, int, Decimal]:
    """Return how many rows a Parquet file has, and the sums of id and quantity, read group by group."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415 - after the measurement, in which it would take memory
    import pyarrow.parquet as pq  # noqa: PLC0415

    file, ids, quantity = pq.ParquetFile(target), 0, Decimal(0)
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, ["trade_id", "quantity"])
        ids += pc.sum(table["trade_id"]).as_py()
        quantity += pc.sum(table["quantity"].cast(pa.decimal128(38, 8))).as_py()
    return file.metadata.num_rows, ids, quantity


def main() -> None:
    """Measure every format, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    rows = parser.parse_args().rows
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres = stack.enter_context(crash_safe_postgres(folder))
        store_port, gateway_port, nowhere = free_ports(3)
        environment = {
            **os.environ,
            "DATABASE_URL": postgres.url,
            "NATS_URL": f"nats://127.0.0.1:{nowhere}",
            "STORE_ADDR": f"127.0.0.1:{store_port}",
            "GATEWAY_PORT": str(gateway_port),
            "LOG_LEVEL": "error",
        }
        started = []
        for name in ("store", "gateway"):
            process = subprocess.Popen([sys.executable, "-m", name], env=environment)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            started.append(psutil.Process(process.pid))
        http = stack.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{gateway_port}", trust_env=False, timeout=60)
        )
        path = "/api/export/trades?symbol=btcusdt&venue=binance"
        wait_until_ready(http, path)
        fill(postgres.url, rows)
        for form in ("parquet", *(other for other in FORMATS if other != "parquet")):
            target = folder / f"trades.{form}"
            cpu_s = [sum(process.cpu_times()[:2]) for process in started]
            seconds, grown = measure(http, f"{path}&format={form}", started, target)
            busy = [(sum(p.cpu_times()[:2]) - old) / seconds for p, old in zip(started, cpu_s, strict=True)]
            print(
                f"{form:8} {rows / seconds:9,.0f} rows/s {target.stat().st_size / seconds / 1e6:6.1f} MB/s  "
                f"store {busy[0]:4.0%} of a core, +{grown[0]:.0f} MiB  gateway {busy[1]:4.0%}, +{grown[1]:.0f} MiB"
            )
            if form == "parquet":
                with closing(psycopg.connect(postgres.url)) as connection:
                    row = connection.execute("SELECT count(*), sum(trade_id), sum(quantity) FROM trades").fetchone()
                assert row is not None
                found, stored = sums_of(target), (row[0], int(row[1]), row[2])
                print(f"         sums of {found[0]:,} rows: {'equal' if found == stored else f'{found} and {stored}'}")
            target.unlink()


if __name__ == "__main__":
    main()
