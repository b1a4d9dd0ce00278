"""One tree of errors: drawn whole, and true."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest

import gateway
import ingest
import libsignal
import mesh
import signalsvc
import store
from mesh.service import errors
from mesh.service.errors import TickmeshError
from mesh.service.lifecycle import Stopped

NO_ERRORS = {Stopped}


def _raised_on_purpose() -> set[type[BaseException]]:
    found: set[type[BaseException]] = set()
    for package in (mesh, libsignal, ingest, signalsvc, store, gateway):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.endswith("__main__") or "supervisord" in module.name:
                continue
            values = vars(importlib.import_module(module.name)).values()
            found |= {
                value
                for value in values
                if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == module.name
            }
    return found - NO_ERRORS


def _drawn() -> list[tuple[int, str, str]]:
    """Return depth, name and module of every error in the drawing."""
    assert errors.__doc__ is not None
    rows = re.findall(r"^    ([ |]*)\+-- (\w+) +(?:([a-z_.]+): )?", errors.__doc__, re.MULTILINE)
    return [(len(indent) // 5, name, module or errors.__name__) for indent, name, module in rows]


def test_every_error_of_the_services_hangs_from_one_root() -> None:
    assert [each.__qualname__ for each in _raised_on_purpose() if not issubclass(each, TickmeshError)] == []


def test_the_drawing_shows_every_error_below_its_own_parent() -> None:
    parents = ["TickmeshError"]
    drawn = set()
    for depth, name, module in _drawn():
        error = getattr(importlib.import_module(module), name)
        parents[depth + 1 :] = [name]
        assert error.__bases__[0].__name__ == parents[depth], name
        drawn.add(error)
    assert drawn | {TickmeshError} == _raised_on_purpose()


@pytest.mark.parametrize("error", errors.GRPC_CODES)
def test_the_drawing_names_the_code_of_every_error_that_has_one(error: type[TickmeshError]) -> None:
    assert errors.__doc__ is not None
    assert re.search(rf"\+-- {error.__name__} .*{errors.GRPC_CODES[error].name}$", errors.__doc__, re.MULTILINE)
