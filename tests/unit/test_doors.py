"""`__init__.py` is the door of a package: `__all__` names what is for others, and others take nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.test_layers import FOLDERS, ROOT

ROOTS = {Path(folder).name: ROOT / folder for folder in FOLDERS}
RUN_BY_NAME = {"mesh.service": {"healthcheck"}}
"""Modules that nobody imports: `python -m mesh.service.healthcheck`."""
LIBRARIES = {"libsignal", "tickmesh_client"}
"""They offer more than this project takes."""


def _modules() -> dict[str, Path]:
    return {
        ".".join([name, *(part for part in path.relative_to(root).with_suffix("").parts if part != "__init__")]): path
        for name, root in ROOTS.items()
        for path in root.rglob("*.py")
    }


MODULES = _modules()
PACKAGES = {name: path for name, path in MODULES.items() if path.name == "__init__.py"}


def _door(package: str) -> set[str] | None:
    """Return what a package's `__all__` names; None when it has none."""
    for node in ast.parse(PACKAGES[package].read_text()).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return set(ast.literal_eval(node.value))
    return None


def _taken() -> Iterator[tuple[str, str, str]]:
    """Yield who takes what of which package, for every import from outside of that package."""
    for user, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                parts = name.split(".")
                for at in range(1, len(parts)):
                    package = ".".join(parts[:at])
                    inside = user == package or user.startswith(f"{package}.")
                    if package in PACKAGES and not inside and parts[at] != "__init__":
                        yield user, package, parts[at]


TAKEN = list(_taken())


def test_nobody_takes_what_a_package_keeps_to_itself() -> None:
    found = {f"{user} takes {package}.{name}" for user, package, name in TAKEN if name not in (_door(package) or set())}
    assert sorted(found) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_door_offers_what_somebody_takes_and_nothing_else(package: str) -> None:
    taken = {name for _, of, name in TAKEN if of == package} | RUN_BY_NAME.get(package, set())
    offered = _door(package) or set()
    assert offered >= taken if package in LIBRARIES else offered == taken
