"""docs/operations.md has every fault of `make chaos`, under its own name, and names no test that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.chaos.faults import table

ROOT = Path(__file__).parents[2]


def rows() -> list[list[str]]:
    text = (ROOT / "docs" / "operations.md").read_text()
    _, _, after = text.partition("| fault |")
    lines = after.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


@pytest.mark.parametrize("short", [True, False])
def test_every_fault_has_a_row(short: bool) -> None:
    documented = {name for row in rows() for name in row[0].split("<br>")}
    struck = {re.sub(r", seed \d+", "", fault.name) for fault in table(short=short, seed=7)}
    assert {
        name for name in struck if name not in documented and re.sub(r"\d+ s", "N s", name) not in documented
    } == set()


def test_every_row_is_a_fault() -> None:
    struck = {re.sub(r", seed \d+", "", fault.name) for fault in table(short=False, seed=7)}
    struck |= {re.sub(r"\d+ s", "N s", name) for name in struck}
    assert {name for row in rows() for name in row[0].split("<br>")} - struck == set()


def test_every_named_test_is_there() -> None:
    named = set(re.findall(r"`(test_\w+\.py)`", (ROOT / "docs" / "operations.md").read_text()))
    there = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert named - there == set()
