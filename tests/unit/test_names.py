"""No public class name stands for two things: whoever reads or greps a name finds one class."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (
    *("mesh", "ingest", "signal/signalsvc", "store", "gateway", "sim", "term"),
    *("libsignal/python/libsignal", "libsignal/python/tickcodec"),
)


def test_no_public_class_name_stands_in_two_modules() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(str(path.relative_to(ROOT)))
    assert places, "no classes were found: are the packages where they were?"
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
