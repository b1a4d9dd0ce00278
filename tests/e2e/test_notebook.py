"""docs/candles.ipynb works as it stands: all of its cells run against a mesh. In the repository it has no outputs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.mesh import running_mesh
from tests.fixtures.waiting import eventually

NOTEBOOK = Path(__file__).parents[2] / "docs" / "candles.ipynb"


def code_cells(notebook: Path) -> dict[str, Any]:
    return {cell["id"]: cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"}


def test_it_is_kept_without_what_it_has_shown() -> None:
    cells = code_cells(NOTEBOOK)
    assert set(cells) >= {"candles", "chart", "live"}
    assert [(cell["outputs"], cell["execution_count"]) for cell in cells.values()] == [([], None)] * len(cells)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_it_shows_candles_a_chart_and_live_trades(tmp_path: Path) -> None:
    with running_mesh(tmp_path, VENUE="sim") as mesh:
        await eventually(lambda: len(mesh.get("/api/candles", interval="1s", symbol="btcusdt")) > 8, timeout_s=60)
        own = ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "MPLCONFIGDIR")
        done = tmp_path / "done.ipynb"
        done.write_bytes(NOTEBOOK.read_bytes())
        found = subprocess.run(
            [Path(sys.executable).with_name("jupyter-execute"), "--inplace", "--timeout=120", done],
            env={**mesh.process.environment, **mesh.env, **dict.fromkeys(own, str(tmp_path))},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    assert found.returncode == 0, found.stderr
    shown = {name: cell["outputs"] for name, cell in code_cells(done).items()}
    assert "<th>closed</th>" in "".join(shown["candles"][0]["data"]["text/html"])
    assert "image/png" in shown["chart"][0]["data"]
    assert sum(len(output["text"]) for output in shown["live"]) == 10  # a line each, in one output or in several
    assert [output for outputs in shown.values() for output in outputs if output.get("name") == "stderr"] == []
