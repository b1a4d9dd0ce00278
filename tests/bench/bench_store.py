"""How many trades a second the store's transaction takes, by batch size; and what building the bytes costs.

    python -m tests.bench.bench_store [URL]

URL is a superuser's (a real TimescaleDB, say); without it a PostgreSQL of its own is started. Everything counts that a
batch costs in the service: position, ledger, COPY, commit (synchronous_commit on). Beside it the floor: a bare binary
COPY of the same rows, made beforehand, into the same table, a transaction a batch; they take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import psycopg

from libsignal import Periods
from mesh.bus.position import Position
from mesh.service.health import Health
from mesh.values.trades import TradeColumns
from store.database import Database
from store.database.copy_rows import COLUMNS, copy_data
from store.intake.position import Positions
from store.intake.trade_writer import TradeWriter
from store.settings import StoreSettings
from tests.fixtures.postgres import crash_safe_postgres
from tests.fixtures.trades import columns

SIZES = (1, 10, 100, 1_000, 10_000)
SECONDS = 2.0
TURNS = 3
COPY_TRADES = f"COPY trades ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)".encode()


def batches(size: int, first_id: int) -> Iterator[TradeColumns]:
    """Give batches of `size` trades with rising ids, without end."""
    sequence = first_id
    while True:
        yield columns(sequence, size, symbol=f"b{size}usdt")
        sequence += size


async def rows_per_second(url: str, size: int, *, repeat: bool) -> tuple[int, float]:
    """Return trades a second and milliseconds a batch; `repeat` sends every batch again and counts the repeats."""
    async with Database(url, health=Health("database"), give_up=lambda: True) as database:
        writer = TradeWriter(database, Periods(**StoreSettings().periods()))
        position = Position(f"BENCH{size}{repeat}", datetime.now(UTC), 0)
        await Positions(database).set(position)
        prepared = [next(made) for made in [batches(size, 1)] for _ in range(max(20, 400_000 // max(size, 100)))]
        began_s, done, sequence = time.perf_counter(), 0, 0
        for batch in prepared:
            if time.perf_counter() - began_s > SECONDS:
                break
            for _ in range(2 if repeat else 1):
                sequence += 1
                moved = position.moved(sequence)
                await writer.store(position, moved, [batch])
                position = moved
                done += 1
        took_s = time.perf_counter() - began_s
    return int(done * size / took_s), took_s / done * 1000


def copied_per_second(url: str, size: int) -> int:
    """Return trades a second of a bare COPY of rows that are ready."""
    made = batches(size, 1)
    prepared = [copy_data([next(made)]) for _ in range(max(20, 400_000 // max(size, 100)))]
    with psycopg.connect(url) as connection:
        began_s, done = time.perf_counter(), 0
        for rows in prepared:
            if time.perf_counter() - began_s > SECONDS:
                break
            with connection.cursor() as cursor, cursor.copy(COPY_TRADES) as copy:
                copy.write(rows)
            connection.commit()
            done += size
        return int(done / (time.perf_counter() - began_s))


def build_us(size: int) -> float:
    """Return microseconds a row for building the bytes of a COPY."""
    trades = columns(1, size)
    rounds = max(10, 200_000 // size)
    began_s = time.perf_counter()
    for _ in range(rounds):
        copy_data([trades])
    return (time.perf_counter() - began_s) / rounds / size * 1e6


@contextmanager
def database() -> Iterator[str]:
    """Give an empty database on a PostgreSQL of our own."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        with crash_safe_postgres(Path(directory)) as server:
            yield server.url


@contextmanager
def database_on(superuser_url: str) -> Iterator[str]:
    """Give an empty database on a server that runs."""
    name = f"bench_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield superuser_url.rsplit("/", 1)[0] + f"/{name}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", help="a superuser's URL")
    url = parser.parse_args().url
    titles = f"{'trades/s':>10} {'COPY/s':>10} {'of it':>6} {'ms/batch':>10} {'repeats/s':>10}"
    print(f"{'batch':>8} {titles} {'build us/row':>13}")
    with database_on(url) if url else database() as bench_url:
        for size in SIZES:
            rates, copied, batch_ms = [], [], 0.0
            for _ in range(TURNS):
                rate, batch_ms = asyncio.run(rows_per_second(bench_url, size, repeat=False))
                rates.append(rate)
                empty(bench_url)
                copied.append(copied_per_second(bench_url, size))
                empty(bench_url)
            share = median(rate / copy for rate, copy in zip(rates, copied, strict=True))
            repeats, _ = asyncio.run(rows_per_second(bench_url, size, repeat=True))
            print(
                f"{size:>8,} {median(rates):>10,} {median(copied):>10,} {share:>6.0%} {batch_ms:>10.2f} {repeats:>10,} "
                f"{build_us(size):>13.3f}",
                flush=True,
            )


def empty(url: str) -> None:
    """Forget all trades."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE trades, coverage, holes")


if __name__ == "__main__":
    main()
