"""client/ is a distribution of its own: small, typed, and with nothing of the mesh in it."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "client"
PROJECT = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
NEEDED = {"httpx", "msgspec", "websockets"}
EXTRAS = {"pandas", "polars", "pyarrow"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(CLIENT)], check=True)
    (built,) = folder.glob("tickmesh_client-*-py3-none-any.whl")
    return built


def test_it_needs_three_packages_and_takes_no_other() -> None:
    named = {text.partition("[")[0].partition(">")[0] for text in PROJECT["dependencies"]}
    extra = {text.partition(">")[0] for texts in PROJECT["optional-dependencies"].values() for text in texts}
    assert (named, extra) == (NEEDED, EXTRAS)
    for path in (CLIENT / "tickmesh_client").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"tickmesh_client"}
            assert roots <= NEEDED | EXTRAS, path


def test_the_wheel_has_the_package_its_types_and_its_licence_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(CLIENT).as_posix() for path in (CLIENT / "tickmesh_client").glob("*.py")}
    assert modules | {"tickmesh_client/py.typed"} == {name for name in names if "dist-info" not in name}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert (CLIENT / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_wheel_works_without_this_tree_and_without_the_extras(wheel: Path, tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import tickmesh_client as client; "
        "print(client.__file__, sorted({'pandas', 'polars', 'pyarrow', 'numpy', 'mesh'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(wheel)]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert shown == f"{wheel}/tickmesh_client/__init__.py []\n"
