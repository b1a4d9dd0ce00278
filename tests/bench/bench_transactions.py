"""What store's transactions cost with many symbols: CPU of store's own work and of PostgreSQL, a second of a feed.

    python -m tests.bench.bench_transactions [--rates 1000,10000] [--symbols 1,300] [--seconds 12]

Messages of RAW and PROCESSED are made beforehand and handed to the intakes without a bus, two transactions of trades a
second and the candles behind them, as in the mesh. So nothing is counted but reading them and what goes to a PostgreSQL
of its own; two trees in turns can be compared on a busy machine.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import psycopg

from libsignal import Periods
from mesh.bus import wire
from mesh.bus.position import Position
from mesh.bus.reader import Message
from mesh.service.health import Health
from mesh.values.trades import TradeColumns
from signalsvc.engine import Engine, SignalMessage
from store.database import Database
from store.intake.candles import CandleIntake
from store.intake.position import Positions
from store.intake.trade_writer import TradeWriter
from store.intake.trades import TradeIntake, pending_of
from store.settings import StoreSettings
from tests.bench.bench_store import database

START_US = 1_796_000_042_000_000
TRANSACTION_US = 500_000
MESSAGES = 65
"""Of RAW in each transaction, as at 10,000 trades/s."""
WARM = 6
"""Transactions of trades that do not count: at first statements are planned each time."""
NOBODY = cast(Any, None)
"""In place of the bus, which is not asked for anything."""


def feed(rate: int, symbols: int, seconds: int) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Give the messages of RAW and PROCESSED of each transaction."""
    random = np.random.default_rng(1)
    engine = Engine()
    next_ids = np.full(symbols, 1000)
    prices = random.integers(10**6, 10**12, symbols)
    count = rate * TRANSACTION_US // 1_000_000
    for turn in range(seconds * 1_000_000 // TRANSACTION_US):
        times = np.sort(random.integers(0, TRANSACTION_US, count)) + START_US + turn * TRANSACTION_US
        of_symbol = random.integers(0, symbols, count)
        raw, signals = [], []
        for rows in np.array_split(np.arange(count), MESSAGES):
            batches = []
            for symbol in np.unique(of_symbol[rows]).tolist():
                its = rows[of_symbol[rows] == symbol]
                ids = next_ids[symbol] + np.arange(len(its))
                next_ids[symbol] += len(its)
                price_e8 = prices[symbol] + random.integers(-500, 500, len(its)) * 100
                columns = ids, price_e8, random.integers(1, 10**10, len(its)), times[its], random.random(len(its)) < 0.5
                trades = TradeColumns("binance", f"coin{symbol}usdt", int(times[its[0]]), *columns)
                batches.append(wire.one_of_many(wire.encode_trades(trades)))
                found = engine.process(trades, raw_sequence=1)
                assert found is not None
                signals.append(wire.one_of_many(SignalMessage.of(found).payload))
            raw.append(b"".join(batches))
        half = len(signals) // 2
        yield raw, [b"".join(signals[:half]), b"".join(signals[half:])]


def messages(payloads: list[bytes], subject: str, after: int) -> list[Message]:
    """Return payloads as messages of a stream."""
    return [Message(after + n, subject, payload, "", after + n, 0) for n, payload in enumerate(payloads, 1)]


def cpu_ms(pid: int) -> float:
    """Return what a process has used of a processor so far."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


async def measure(url: str, rate: int, symbols: int, seconds: int) -> dict[str, tuple[float, float]]:
    """Return milliseconds of CPU in store and in PostgreSQL for each second of a feed, of trades and of candles."""
    settings = StoreSettings()
    async with Database(url, health=Health("database"), give_up=lambda: True) as there:
        periods, positions = Periods(**settings.periods()), Positions(there)
        trades = TradeIntake(NOBODY, positions, TradeWriter(there, periods), NOBODY, settings, NOBODY)
        candles = CandleIntake(NOBODY, positions, NOBODY, periods, trades, settings)
        trades.position = Position(trades.stream, datetime.now(UTC), 0)
        candles._position = Position(candles.stream, datetime.now(UTC), 0)
        for position in (trades.position, candles._position):
            await positions.set(position)
        pid = await there.write(_pid)
        used: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for turn, (raw, processed) in enumerate(feed(rate, symbols, seconds)):
            before = time.thread_time(), cpu_ms(pid)
            await trades._store(list(map(pending_of, messages(raw, "trades.raw.binance", trades.position.sequence))))
            between = time.thread_time(), cpu_ms(pid)
            told = messages(processed, "trades.processed.binance", candles._position.sequence)
            closing = [closed for closed in [await candles._read(message) for message in told] if closed]
            if closing:
                await candles._write(closing)
            after = time.thread_time(), cpu_ms(pid)
            if turn >= WARM:
                used["trades"].append(((between[0] - before[0]) * 1000, between[1] - before[1]))
                used["candles"].append(((after[0] - between[0]) * 1000, after[1] - between[1]))
    counted_s = seconds - WARM * TRANSACTION_US / 1e6
    return {what: (sum(own for own, _ in each) / counted_s, sum(of_database for _, of_database in each) / counted_s)
            for what, each in used.items()}  # fmt: skip


async def _pid(connection: psycopg.AsyncConnection[Any]) -> int:
    return connection.info.backend_pid


def main() -> None:
    """Print a line for each rate and number of symbols."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", default="1000,10000", help="trades/s (default %(default)s)")
    parser.add_argument("--symbols", default="1,300", help="how many trade (default %(default)s)")
    parser.add_argument("--seconds", type=int, default=12, help="of each feed (default %(default)d)")
    given = parser.parse_args()
    print(f"{'rate':>7}{'symbols':>9}{'store ms/s':>20}{'PostgreSQL ms/s':>20}   (trades + candles)")
    for rate in map(int, given.rates.split(",")):
        for symbols in map(int, given.symbols.split(",")):
            with database() as url:
                found = asyncio.run(measure(url, rate, symbols, given.seconds))
            columns = (f"{found['trades'][n]:.1f} + {found['candles'][n]:.1f}" for n in range(2))
            print(f"{rate:>7}{symbols:>9}" + "".join(f"{column:>20}" for column in columns), flush=True)


if __name__ == "__main__":
    main()
