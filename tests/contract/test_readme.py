"""The tables of README.md and docs/operations.md say what is."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_fresh(tables: ModuleType) -> None:
    """`make readme` writes them."""
    readme = (ROOT / "README.md").read_text()
    operations = (ROOT / "docs" / "operations.md").read_text()
    assert readme == tables.written(readme)
    assert operations == tables.written(operations, tables.OPERATIONS_TABLES)


def test_the_originals_seven_endpoints_are_there(tables: ModuleType) -> None:
    found = {(method, path) for method, path, _ in tables.endpoints()}
    wanted = {("GET", f"`/api/{name}`") for name in ("price", "stats", "history", "symbol", "coins")}
    assert wanted | {("POST", "`/api/symbol`"), ("WS", "`/ws`")} <= found


def test_the_originals_make_words_are_there(tables: ModuleType) -> None:
    words = {word for word, _ in tables.make_words()}
    original = ["run", "stop", "build", "tui", "logs", "logs-ingestion", "logs-processing", "logs-api", "clean"]
    assert {f"`make {word}`" for word in original} <= words


def test_every_link_leads_somewhere() -> None:
    readme = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^)#]+)\)", readme)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_example_environment_names_only_variables_that_something_reads(tables: ModuleType) -> None:
    known = {name.strip("`") for name, *_ in tables.settings()}
    compose = (ROOT / "compose.yaml").read_text() + (ROOT / "deploy" / "nats" / "nats.conf").read_text()
    known |= set(re.findall(r"\$\{?([A-Z][A-Z0-9_]+)", compose))
    named = set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert named - known == set()
