"""What other modules call says what it takes: with two parameters or more, in an `Args` section, each by its name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.unit.test_layers import FOLDERS, ROOT

_EXEMPT = ("property", "validator", "overload", "setter")


def _public_functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the functions of a module and the methods of its classes whose names are for others."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    for node in (*tree.body, *(node for each in classes for node in each.body)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
            marks = " ".join(map(ast.unparse, node.decorator_list))
            if not any(word in marks for word in _EXEMPT):
                yield node


def _undocumented(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Return the parameters that its `Args` section does not name; none where one parameter explains itself."""
    found = function.args
    names = [
        each.arg for each in (*found.posonlyargs, *found.args, *found.kwonlyargs) if each.arg not in ("self", "cls")
    ]
    section = (ast.get_docstring(function) or "").partition("Args:\n")[2]
    return [name for name in names if not re.search(rf"^\s+{name}: ", section, re.MULTILINE)] if len(names) > 1 else []


LACKING = [
    f"{path.relative_to(ROOT)}:{function.lineno} {function.name}: {', '.join(names)}"
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    for function in _public_functions(ast.parse(path.read_text()))
    # Without a docstring are only what others declare, gRPC's calls and protocols' callbacks: ruff sees to that.
    if ast.get_docstring(function) and (names := _undocumented(function))
]


def test_public_functions_with_several_parameters_say_what_each_of_them_is() -> None:
    assert LACKING == []
