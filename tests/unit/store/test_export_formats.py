"""How much memory the formats of an export take."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from store.export import formats
from store.export.query import PART_ROWS, TRADES

ROOT = Path(__file__).parents[3]
MIB = 2**20


def parts(count: int) -> Iterator[list[Any]]:
    """Give parts of trades as the database does."""
    random = np.random.default_rng(1)
    for first in range(0, count * PART_ROWS, PART_ROWS):
        ids = np.arange(first, first + PART_ROWS, dtype=">i8").tobytes()
        prices = "\n".join(map(str, 6_000_000 + random.integers(-99, 99, PART_ROWS)))
        quantities = "\n".join(f"0.{quantity:05d}" for quantity in random.integers(1, 99_999, PART_ROWS))
        yield ["binance", "btcusdt", ids, prices, quantities, ids, bytes(PART_ROWS), bytes(4 * PART_ROWS)]


@pytest.fixture
def pool() -> Iterator[pa.MemoryPool]:
    """Let pyarrow allocate from a pool that has not been used yet."""
    before = pa.default_memory_pool()
    fresh = pa.proxy_memory_pool(before)
    pa.set_memory_pool(fresh)
    yield fresh
    pa.set_memory_pool(before)


@pytest.mark.parametrize(("form", "most_mib"), [("csv", 2), ("ndjson", 3), ("parquet", 4), ("arrow", 1)])
def test_an_export_of_a_million_rows_holds_a_few_parts_of_them_at_a_time(
    pool: pa.MemoryPool, form: str, most_mib: int
) -> None:
    size = sum(map(len, formats.write(TRADES.columns, parts(100), form)))

    assert size > 1.5 * most_mib * MIB
    assert 0 < pool.max_memory() < most_mib * MIB


EVERY_FORMAT_OF_BOTH_TABLES = """
import sys
from store.export import formats
from store.export.query import CANDLES, FORMATS, TRADES, Kind

numbers = {Kind.SIDE: bytes(1), Kind.INT32: bytes(4), Kind.INT64: bytes(8), Kind.TIME: bytes(8), Kind.DOUBLE: bytes(8)}
for table in (TRADES, CANDLES):
    part = [numbers.get(column.kind, "1") for column in table.columns]
    for form in FORMATS:
        assert b"".join(formats.write(table.columns, [part], form))
sys.exit("pandas" in sys.modules)
"""


def test_an_export_does_not_import_pandas_where_it_is_installed() -> None:
    assert subprocess.run([sys.executable, "-c", EVERY_FORMAT_OF_BOTH_TABLES], cwd=ROOT, check=False).returncode == 0
