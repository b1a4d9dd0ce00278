"""`make bench-export` over few rows: that it works, not how fast."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.fixtures.mesh import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_the_bench_of_exports_says_everything_and_finds_the_sums_equal() -> None:
    few = ["--rows", "30000", "--turns", "1", "--seconds", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_export", *few],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "sums of 30,000 rows: equal" in done.stdout
    said = [re.split(r" {2,}|,| at ", line.strip())[0].split(" ")[0] for line in done.stdout.splitlines()]
    assert said == ["parquet", "sums", "csv", "ndjson", "arrow", "100", "a", "/api/price", "/api/stats", "live", "live"]
