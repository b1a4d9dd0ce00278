"""docs/threats.md names the test that holds each of its rows: every one of them is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "threats.md").read_text()
FILES = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}


def test_every_named_test_is_in_its_file() -> None:
    named = re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", TEXT)
    assert named
    missing = [(file, name) for file, name in named if f"def {name or 'test_'}" not in FILES.get(file, "")]
    assert missing == []
    for name in re.findall(r"`(test_\w+)`", TEXT):
        assert any(f"def {name}(" in text for text in FILES.values()), name


def test_every_row_names_what_holds_it() -> None:
    _, _, after = TEXT.partition("| who | reaches |")
    rows = after.partition("\n\n")[0].splitlines()[2:]
    assert len(rows) > 8
    assert [row for row in rows if "`test_" not in row.rpartition(" | ")[2] and "`test_" not in row] == []
