"""The generated tables of the documents say what is, and every link in them leads somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("[!.]*/README.md")),
    *sorted((ROOT / "deploy").rglob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_fresh(tables: ModuleType) -> None:
    """`make docs` writes them."""
    stale = [path.name for path in tables.DOCUMENTS if path.read_text() != tables.written(path)]
    assert stale == []


def test_every_setting_endpoint_word_and_metric_is_on_its_page() -> None:
    """The tables end where their mark stands, so none of them is empty."""
    pages = {"settings": 40, "make": 25, "metrics": 40, "rest": 20, "terminal": 10, "grpc": 10}
    found = {
        name: len(
            re.findall(r"^\| `|^\| [A-Z]+ \|", (ROOT / "docs" / "reference" / f"{name}.md").read_text(), re.MULTILINE)
        )
        for name in pages
    }
    assert {name: found[name] for name, least in pages.items() if found[name] < least} == {}


def test_what_ws_sends_is_on_its_page() -> None:
    page = (ROOT / "docs" / "reference" / "websocket.md").read_text()
    assert '"moving_average": ' in page and '{"type": "lagged"' in page and "1013" in page


def test_the_readme_is_short_and_links_every_page_of_the_documentation() -> None:
    readme = (ROOT / "README.md").read_text()
    pages = [
        path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md") if "decisions" not in path.parts
    ]
    assert len(readme.splitlines()) < 130
    assert [page for page in pages if f"]({page}" not in readme] == []


def test_the_originals_seven_endpoints_are_there(tables: ModuleType) -> None:
    found = {(method, path) for method, path, _ in tables.endpoints()}
    wanted = {("GET", f"`/api/{name}`") for name in ("price", "stats", "history", "symbol", "coins")}
    assert wanted | {("POST", "`/api/symbol`"), ("WS", "`/ws`")} <= found


def test_the_originals_make_words_are_there(tables: ModuleType) -> None:
    words = {word for word, _ in tables.make_words()}
    original = ["run", "stop", "build", "tui", "logs", "logs-ingestion", "logs-processing", "logs-api", "clean"]
    assert {f"`make {word}`" for word in original} <= words


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    broken = []
    for link in re.findall(r"\]\(([^)]+)\)", text):
        target, _, anchor = link.partition("#")
        if target.startswith("http"):
            continue
        found = (page.parent / target).resolve() if target else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_make_target_a_page_names_is_there(tables: ModuleType, page: Path) -> None:
    targets = {word.strip("`").removeprefix("make ") for word, _ in tables.make_words()} | {"logs-<service>"}
    named = re.findall(r"(?:`|^    |\$\()make (?:-s )?([a-z][\w<>-]*)", page.read_text(), re.MULTILINE)
    assert set(named) - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_metric_a_page_names_is_there(tables: ModuleType, page: Path) -> None:
    metrics = {row[0].strip("`") for row in tables.metrics()}
    assert set(re.findall(r"\btickmesh_[a-z_]+[a-z]", page.read_text())) - metrics - {"tickmesh_client"} == set()


def test_the_example_environment_names_only_variables_that_something_reads(tables: ModuleType) -> None:
    known = {name.strip("`") for name, *_ in tables.settings()}
    for deployed in (*ROOT.glob("compose*.yaml"), *(ROOT / "deploy" / "nats").glob("*.conf")):
        known |= set(re.findall(r"\$\{?([A-Z][A-Z0-9_]+)", deployed.read_text()))
    named = set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert named - known == set()
