"""docs/recipes.md works as it stands: each of its blocks runs against a mesh and says something of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.mesh import LocalMesh, running_mesh
from tests.fixtures.waiting import eventually

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "recipes.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
WORDS = {"sh": ("bash", "-euo", "pipefail", "-c"), "python": (sys.executable, "-W", "error", "-c")}
NODE = ("node", "--experimental-websocket", "--no-warnings", "--eval")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    with running_mesh(tmp_path_factory.mktemp("recipes"), VENUE="sim") as mesh:
        yield mesh


def heading(block: str) -> str:
    return PAGE[: PAGE.index(block)].rpartition("\n## ")[2].partition("\n")[0]


@pytest.mark.parametrize(("kind", "block"), BLOCKS, ids=[heading(block) for _, block in BLOCKS])
async def test_a_recipe_runs_and_shows_something_of_the_mesh(
    mesh: LocalMesh, tmp_path: Path, kind: str, block: str
) -> None:
    if kind == "javascript" and shutil.which("node") is None:
        pytest.skip("needs Node.js")
    await eventually(lambda: len(mesh.get("/api/candles", interval="1s", symbol="btcusdt")) > 8, timeout_s=60)
    found = subprocess.run(
        [*(WORDS | {"javascript": NODE})[kind], block],
        env={**mesh.process.environment, **mesh.env, "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"},
        cwd=ROOT if "make -s env" in block else tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # `head` ends what would go on for ever
    assert found.returncode in ((0, 141) if "| head" in block else (0,)), found.stderr
    assert found.stdout.count("\n") >= 1 or "make -s env" in block, found.stdout + found.stderr


def test_no_kind_of_block_is_left_out() -> None:
    assert {kind for kind, _ in BLOCKS} == {*WORDS, "javascript"}
    assert PAGE.count("\n```") == 2 * len(BLOCKS)
