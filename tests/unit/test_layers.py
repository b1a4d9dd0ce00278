"""Who may import whom (docs/architecture.md), and which modules think without touching the world."""

from __future__ import annotations

import ast
import graphlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "mesh": {"tickmesh"},
    "libsignal/python/libsignal": {"mesh"},
    "libsignal/python/tickcodec": {"mesh"},
    "ingest": {"mesh", "tickcodec", "tickmesh"},
    "signal/signalsvc": {"libsignal", "mesh", "tickcodec", "tickmesh"},
    "store": {"libsignal", "mesh", "tickcodec", "tickmesh"},
    "gateway": {"mesh", "tickcodec", "tickmesh"},
    "client/tickmesh_client": set(),
    "term": {"tickmesh_client"},
    "sim": set(),
}
OURS = {Path(folder).name for folder in FOLDERS} | {"tickmesh"}
PURE = [
    "mesh/values/fixed.py",
    "mesh/values/id_ranges.py",
    "mesh/values/trades.py",
    "mesh/values/symbols.py",
    "mesh/service/setting_kinds.py",
    "mesh/bus/subjects.py",
    "mesh/bus/wire.py",
    "mesh/service/backoff.py",
    "mesh/service/fanout.py",
    "mesh/service/errors.py",
    "mesh/bus/control.py",
    "mesh/bus/flow_control.py",
    "mesh/service/access.py",
    "ingest/messages.py",
    "ingest/binance/messages.py",
    "ingest/binance/session.py",
    "ingest/binance/answers.py",
    "ingest/binance/aggregates.py",
    "ingest/binance/answers.py",
    "ingest/binance/answers.py",
    "ingest/binance/session.py",
    "ingest/http/rate_limit.py",
    "ingest/websocket/session.py",
    "ingest/binance/columns.py",
    "ingest/followed_symbols.py",
    "ingest/http/backfill.py",
    "ingest/websocket/silence_watchdog.py",
    "ingest/http/host.py",
    "ingest/websocket/host_rotation.py",
    "ingest/http/errors.py",
    "ingest/websocket/coalescer.py",
    "ingest/publish/sequencer.py",
    "ingest/binance/refusals.py",
    "ingest/http/retry_after.py",
    "ingest/messages.py",
    "signal/signalsvc/engine.py",
    "signal/signalsvc/selection.py",
    "store/database/copy_rows.py",
    "store/queries/sql.py",
    "store/ledger/sql.py",
    "store/ledger/ranges.py",
    "store/queries/trades.py",
    "store/queries/candles.py",
    "store/queries/page_tokens.py",
    "store/queries/fields.py",
    "mesh/bus/position.py",
    "store/ledger/minutes.py",
    "store/database/times.py",
    "store/intake/sql.py",
    "store/candles/sql.py",
    "store/retention/sql.py",
    "store/ledger/repair_schedule.py",
    "gateway/transcode/rules.py",
    "gateway/transcode/json.py",
    "gateway/transcode/openapi.py",
    "gateway/transcode/numbers.py",
    "gateway/errors.py",
    "gateway/access.py",
    "gateway/live/subscription.py",
    "gateway/live/protocol.py",
    "gateway/live/ring.py",
    "gateway/transcode/updates.py",
    "client/tickmesh_client/calls.py",
    "client/tickmesh_client/errors.py",
    "client/tickmesh_client/rows.py",
    "client/tickmesh_client/values.py",
    "term/alerts.py",
    "term/board.py",
    "term/candles.py",
    "term/chart.py",
    "term/model.py",
    "term/settings.py",
    "term/table.py",
    "term/asking.py",
    "term/gateway_events.py",
    "term/key_actions.py",
    "term/prompts.py",
    "term/update.py",
    "term/view.py",
    "term/view_coins.py",
    "term/view_mesh.py",
    "term/view_dashboard.py",
    "term/keys.py",
    "sim/market.py",
    "sim/tape.py",
    "sim/exchange.py",
    "sim/client_session.py",
    "sim/faults.py",
]
WORLD = {
    "asyncio",
    "curses",
    "fastapi",
    "httpx",
    "nats",
    "os",
    "psycopg",
    "psycopg_pool",
    "requests",
    "select",
    "selectors",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "urllib.request",
    "uvicorn",
    "uvloop",
    "websockets",
}


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides who imports whom"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_package_imports_only_whom_it_may() -> None:
    found = []
    for folder, allowed in FOLDERS.items():
        own = Path(folder).name
        for path in sorted((ROOT / folder).rglob("*.py")):
            imports = imports_of(path)
            if folder == "mesh" and "local" in path.parts:
                # The runner starts every service: of them it knows the settings, and nothing else.
                imports = (name for name in imports if ".settings" not in name)
            roots = {name.partition(".")[0] for name in imports} & OURS
            found += [f"{path.relative_to(ROOT)} imports {root}" for root in sorted(roots - allowed - {own})]
    assert found == []


def test_the_rooms_of_the_foundation_import_downwards_only() -> None:
    """values, service, bus, local: each may import those before it."""
    rooms = ["values", "service", "bus", "local"]
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for at, room in enumerate(rooms)
        for path in sorted((ROOT / "mesh" / room).rglob("*.py"))
        for name in imports_of(path)
        if name.split(".")[0] == "mesh" and name.split(".")[1] not in rooms[: at + 1]
    ]
    assert found == []


def test_only_what_puts_ingest_together_knows_the_venue_it_follows() -> None:
    """What is Binance's is in `ingest/binance`: another venue is another folder beside it."""
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "ingest").rglob("*.py")
        if path.parent.name != "binance" and any(name.startswith("ingest.binance") for name in imports_of(path))
    }
    assert found == {"ingest/service.py"}


def test_a_venue_adapter_knows_nobody_but_what_it_speaks_through() -> None:
    allowed = ("ingest.binance", "ingest.http", "ingest.websocket.session", "ingest.messages", "ingest.network")
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / "ingest" / "binance").glob("*.py"))
        for name in imports_of(path)
        if name.startswith("ingest.") and not name.startswith(allowed)
    ]
    assert found == []


def test_the_rooms_of_the_store_import_downwards_only() -> None:
    """Database, candles, ledger; then intake, queries and retention, which know nothing of each other."""
    below = {
        "database": set[str](),
        "candles": {"database"},
        "ledger": {"database", "candles"},
        "intake": {"database", "candles", "ledger"},
        "queries": {"database", "candles", "ledger"},
        "retention": {"database", "ledger"},
    }
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for room, allowed in below.items()
        for path in sorted((ROOT / "store" / room).rglob("*.py"))
        for name in imports_of(path)
        if name.startswith("store.") and name.split(".")[1] in below.keys() - allowed - {room}
    ]
    assert found == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Also where an import is for the type checker alone: a circle is one room with a wall through it."""
    modules = {
        ".".join(path.relative_to((ROOT / folder).parent).with_suffix("").parts): path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
    }
    graph = {name: set(imports_of(path)) & modules.keys() for name, path in modules.items()}
    assert sum(len(imports) for imports in graph.values()) > len(modules)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_touches_no_socket_clock_or_environment(module: str) -> None:
    found = set(imports_of(ROOT / module)) | {name.partition(".")[0] for name in imports_of(ROOT / module)}
    assert sorted(found & WORLD) == []


def test_every_package_is_under_the_rules() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    ours = {*project["tool"]["scikit-build"]["wheel"]["packages"], "client/tickmesh_client"}
    assert ours - {"gen/tickmesh"} == set(FOLDERS)


def test_the_top_level_shadows_no_module_of_the_standard_library() -> None:
    """A folder `signal/` with an `__init__.py` would end every `asyncio.run` started here."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {path.stem for path in ROOT.glob("*.py")}
    assert packages & sys.stdlib_module_names == set()


def test_a_logger_is_named_after_its_module() -> None:
    found = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).replace("signal.signalsvc", "signal")
            name = name.removeprefix("client.")
            own = re.search(r'^log(?:ger)? = logging\.getLogger\("(.+)"\)$', path.read_text(), re.MULTILINE)
            if own is not None and own[1] != name.removesuffix(".__main__"):
                found.append(f"{path.relative_to(ROOT)} logs as {own[1]}")
    assert found == []
