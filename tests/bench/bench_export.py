"""How fast trades are exported over REST, what that takes, and what it does to those who follow live trades meanwhile.

    python -m tests.bench.bench_export [--rows 10000000] [--turns 3] [--seconds 5] [--formats parquet]

The database of a whole mesh is filled with rows of a venue of their own. For each format: rows and megabytes a second
at the client, CPU of store and gateway, and how far their memory grew at most. Then, while an exchange trades: single
reads at a fixed rate, each counted from when it was due; and the delay of the trades, with and without an export in
turns.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import psycopg

from mesh.values.trades import TradeColumns
from store.database.copy_rows import COLUMNS, copy_data
from store.export.query import FORMATS
from tests.bench.figures import Figures, percentiles, ratio, spread
from tests.bench.processes import find_services
from tests.bench.whole_mesh import Fed, Load, clients_of, fed_mesh
from tests.fixtures.trades import START_US

VENUE = "export"
EXPORT = f"/api/export/trades?symbol=btcusdt&venue={VENUE}"
LIVE = Load(rate=1000)
READS_A_SECOND = 200
BATCH = 500_000
MOST_BYTES = 64_000_000
"""By which store and gateway together may grow."""


def fill(url: str, rows: int) -> None:
    """Store trades with random prices and quantities, ten milliseconds apart."""
    random = np.random.default_rng(1)
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        for first in range(1, rows + 1, BATCH):
            ids = np.arange(first, min(first + BATCH, rows + 1), dtype=np.int64)
            prices = 6_000_000_000_000 + np.cumsum(random.integers(-1, 2, len(ids))) * 1_000_000
            quantities = random.integers(1, 200_000, len(ids)) * 1000
            times = START_US + ids * 10_000
            trades = TradeColumns(VENUE, "btcusdt", START_US, ids, prices, quantities, times, ids % 3 == 0)
            copy = f"COPY trades ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"
            with connection.cursor().copy(copy) as copying:
                copying.write(copy_data([trades]))
        connection.execute("INSERT INTO coverage VALUES (%s, 'btcusdt', 1, %s)", [VENUE, rows])
        connection.execute("VACUUM ANALYZE trades")


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


def export_all(fed: Fed, http: httpx.Client, rows: int, folder: Path, formats: Sequence[str]) -> bool:
    """Export every row in each format, and print a line for each; return whether memory grew by too much."""
    too_much = False
    pids = find_services(fed.parents)
    processes = [psutil.Process(pids[name][0]) for name in ("store", "gateway")]
    for form in formats:
        target = folder / f"trades.{form}"
        cpu_s = [sum(process.cpu_times()[:2]) for process in processes]
        seconds, grown = measure(http, f"{EXPORT}&format={form}", processes, target)
        busy = [(sum(p.cpu_times()[:2]) - old) / seconds for p, old in zip(processes, cpu_s, strict=True)]
        print(
            f"{form:8} {rows / seconds:9,.0f} rows/s {target.stat().st_size / seconds / 1e6:6.1f} MB/s  "
            f"store {busy[0]:4.0%} of a core, +{grown[0]:.0f} MiB  gateway {busy[1]:4.0%}, +{grown[1]:.0f} MiB"
        )
        too_much |= sum(grown) * 2**20 > MOST_BYTES
        if form == "parquet":
            assert fed.database_url is not None
            with closing(psycopg.connect(fed.database_url)) as connection:
                sums = "SELECT count(*), sum(trade_id), sum(quantity) FROM trades WHERE venue = %s"
                row = connection.execute(sums, [VENUE]).fetchone()
            assert row is not None
            found, stored = sums_of(target), (row[0], int(row[1]), row[2])
            print(f"         sums of {found[0]:,} rows: {'equal' if found == stored else f'{found} and {stored}'}")
        target.unlink()
    return too_much


async def read(url: str, paths: Iterable[str]) -> list[float]:
    """Ask for each path when it is due; return for each how many milliseconds later its answer was there.

    The client speaks HTTP by itself: on two processors one of httpx, which takes more of them than the gateway for an
    answer, would measure itself (`/healthz` at 200/s: p50 2.7 ms instead of 1.2, p99 13 instead of 3.7).
    """
    address = urlsplit(url)
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    began_s = time.perf_counter() + 0.5  # when all of them are tasks

    async def one(number: int, path: str) -> float:
        due_s = began_s + number / READS_A_SECOND
        await asyncio.sleep(due_s - time.perf_counter())
        reader, writer = idle.pop() if idle else await asyncio.open_connection(address.hostname, address.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        status, *headers = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        assert status == b"http/1.1 200 ok", status
        length = next(line for line in headers if line.startswith(b"content-length: "))
        await reader.readexactly(int(length.partition(b" ")[2]))
        idle.append((reader, writer))
        return (time.perf_counter() - due_s) * 1e3

    found = await asyncio.gather(*(one(number, path) for number, path in enumerate(paths)))
    for _, writer in idle:
        writer.close()
    return found


def read_all(fed: Fed, url: str, rows: int, seconds: float) -> None:
    """Read single answers while trades come, and print the delays of each kind."""
    ids = np.random.default_rng(1).integers(1, rows, int(READS_A_SECOND * seconds), endpoint=True).tolist()
    times = [datetime.fromtimestamp(0, UTC) + timedelta(microseconds=START_US + number * 10_000) for number in ids]
    kinds = {
        f"100 of {rows:,} rows": [
            f"/api/history?symbol=btcusdt&venue={VENUE}&limit=100&end={moment:%Y-%m-%dT%H:%M:%S.%fZ}"
            for moment in times
        ],
        "a trade by its id": [f"/api/trades/btcusdt/{number}?venue={VENUE}" for number in ids],
        "/api/price": ["/api/price"] * len(ids),
        "/api/stats": ["/api/stats"] * len(ids),
    }
    fed.sim.post("/sim/rate", {"rate": LIVE.rate})
    for kind, paths in kinds.items():
        found = percentiles(asyncio.run(read(url, paths)), "ms")
        print(f"{kind:24} at {READS_A_SECOND}/s: p50 {found['ms.p50']:.1f} ms, p99 {found['ms.p99']:.1f} ms")
    fed.sim.post("/sim/rate", {"rate": 0})


def live_delays(fed: Fed, http: httpx.Client, seconds: float, *, exporting: bool) -> Figures:
    """Let the exchange trade, with exports one after the other or without, and return how late its trades were."""
    figures: Figures = {}
    with clients_of(fed.ws_url, LIVE, figures):
        fed.sim.post("/sim/rate", {"rate": LIVE.rate})
        ends_s = time.monotonic() + seconds
        while exporting and time.monotonic() < ends_s:
            with http.stream("GET", f"{EXPORT}&format=parquet") as answer:
                answer.raise_for_status()
                for _ in answer.iter_raw():
                    if time.monotonic() >= ends_s:
                        break
        time.sleep(max(0.0, ends_s - time.monotonic()))
        fed.sim.post("/sim/rate", {"rate": 0})
    return figures


def main() -> None:
    """Measure everything, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--turns", type=int, default=3, help="of live trades, each with and without an export")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn, and of each kind of single reads")
    # Parquet first: the others find pyarrow's code loaded, so for what one of them takes alone only that is named.
    every = ["parquet", *(other for other in FORMATS if other != "parquet")]
    parser.add_argument("--formats", default=",".join(every), help="to be exported, one after the other")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, fed_mesh(Path(directory)) as fed:
        assert fed.database_url is not None and fed.mesh is not None
        fill(fed.database_url, given.rows)
        with httpx.Client(base_url=fed.mesh.url, trust_env=False, timeout=60) as http:
            too_much = export_all(fed, http, given.rows, Path(directory), given.formats.split(","))
            read_all(fed, fed.mesh.url, given.rows, given.seconds)
            turns = [
                tuple(live_delays(fed, http, given.seconds, exporting=exporting) for exporting in (False, True))
                for _ in range(given.turns)
            ]
    for word in ("p50", "p99") if turns else ():
        alone, beside = zip(*turns, strict=True)
        name = f"delay_ms.{word}"
        without, with_one, times = spread(alone, name), spread(beside, name), ratio(beside, alone, name)
        assert without is not None and with_one is not None and times is not None
        print(
            f"live trades, {word}: {without.middle:.2f} ms alone, {with_one.middle:.2f} ms beside an export: "
            f"{times.middle:.2f} ({times.low:.2f} - {times.high:.2f}) times"
        )
    if too_much:
        sys.exit(f"store and gateway grew by more than {MOST_BYTES / 1e6:g} MB during an export")


if __name__ == "__main__":
    main()
