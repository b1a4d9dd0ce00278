"""pyproject.toml says once where the packages lie; whoever cannot read it there says the same."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = [Path(folder) for folder in PROJECT["tool"]["scikit-build"]["wheel"]["packages"]]
WEB = ROOT / "gateway" / "web"
CLIENT = Path("client/tickmesh_client")
"""A distribution of its own, with a pyproject.toml of its own."""
ROOTS = {".", *(folder.parent.as_posix() for folder in (*PACKAGES, CLIENT))}


def test_the_linter_and_the_type_checker_know_the_same_roots() -> None:
    mypy_path = PROJECT["tool"]["mypy"]["mypy_path"].split(":")
    assert {Path(path).relative_to("$MYPY_CONFIG_FILE_DIR").as_posix() for path in mypy_path} == ROOTS
    assert set(PROJECT["tool"]["ruff"]["src"]) == ROOTS


def test_every_package_of_this_tree_is_one_of_them() -> None:
    found = {path.parent for root in ROOTS for path in (ROOT / root).glob("*/__init__.py")}
    assert {path.relative_to(ROOT) for path in found} - {Path("tests")} == {*PACKAGES, CLIENT}


def test_make_watches_the_modules_of_every_package() -> None:
    asked = subprocess.run(
        ["make", "--no-print-directory", "--eval", "packages: ; @echo $(PACKAGES)", "packages", "PY=python"],
        cwd=ROOT,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [Path(folder) for folder in asked.stdout.split()] == PACKAGES


@pytest.mark.skipif(not (WEB / "dist").exists(), reason="the page is not built: `make page` needs the npm registry")
def test_the_wheel_carries_the_built_page_and_nothing_else_of_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", "--quiet"]
    without_compiling = ["--config-settings", "wheel.cmake=false"]
    subprocess.run([*command, *without_compiling, "--wheel-dir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("tickmesh-*.whl")
    found = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("gateway/web/")}
    assert found == {path.relative_to(ROOT).as_posix() for path in (WEB / "dist").iterdir()}
    assert "gateway/web/dist/index.html" in found


def test_no_docstring_sends_its_reader_elsewhere() -> None:
    folders = (*PACKAGES, CLIENT, Path("tests"), Path("docs"))
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    sources += [
        *(ROOT / "protos").rglob("*.proto"),
        *(ROOT / "libsignal").rglob("*.h"),
        *(ROOT / "libsignal").rglob("*.?pp"),
    ]
    phrase = "See the " + "module"
    assert [str(path.relative_to(ROOT)) for path in sources if phrase.lower() in path.read_text().lower()] == []
    assert len(sources) > 400
