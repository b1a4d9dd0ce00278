"""libsignal.h and its ctypes declarations say the same, and the header's example is the one that is built and run."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from signalsvc import _libsignal as lsig

LIBSIGNAL = Path(__file__).parents[2] / "libsignal"
HEADER = (LIBSIGNAL / "include" / "libsignal.h").read_text()
STRUCTS = {"lsig_config": lsig.Config, "lsig_columns": lsig.Columns, "lsig_summary": lsig.Summary}
CTYPES = {
    "double": ctypes.c_double,
    "int64_t": ctypes.c_int64,
    "uint8_t": ctypes.c_uint8,
}


def header_fields(struct: str) -> list[tuple[str, str]]:
    """Return (type, name) of each field as the header writes them: `("const int64_t *", "price_e8")`."""
    body = re.search(rf"typedef struct {struct} {{(.*?)}} {struct};", HEADER, re.DOTALL)
    assert body is not None
    code = re.sub(r"/\*.*?\*/", "", body[1], flags=re.DOTALL)
    return [(kind.strip(), name) for kind, name in re.findall(r"([\w ]+ \*?)(\w+)(?:\[\d+\])?;", code)]


def test_numbers_are_alike() -> None:
    header = dict(re.findall(r"#define LSIG_(\w+) (\d+)", HEADER))

    declared = {name: str(value) for name, value in vars(lsig).items() if name.isupper() and isinstance(value, int)}
    assert declared == header


def test_functions_are_alike() -> None:
    header = dict(re.findall(r"LSIG_API [\w ]+[ *](lsig_\w+)\((.*?)\);", HEADER))

    arguments = {name: 0 if text == "void" else text.count(",") + 1 for name, text in header.items()}
    assert {name: len(types) for name, (_, types) in lsig.PROTOTYPES.items()} == arguments


@pytest.mark.parametrize("struct", STRUCTS)
def test_structs_have_the_same_fields_in_the_same_order(struct: str) -> None:
    declared = [field[0] for field in STRUCTS[struct]._fields_]

    assert declared == [name for _, name in header_fields(struct)]


def test_every_column_has_the_headers_type() -> None:
    columns = {
        name: kind.removeprefix("const ").removesuffix(" *")
        for kind, name in header_fields("lsig_columns")
        if "*" in kind
    }

    assert {name: CTYPES[kind] for name, kind in columns.items()} == lsig.COLUMN_TYPES


def test_the_compiler_lays_the_structs_out_as_ctypes_does(tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ to ask")
    lines = []
    for name, struct in STRUCTS.items():
        lines.append(f"static_assert(sizeof({name}) == {ctypes.sizeof(struct)});")
        for field, *_ in struct._fields_:
            lines.append(f"static_assert(offsetof({name}, {field}) == {getattr(struct, field).offset});")
    code = tmp_path / "layout.cpp"
    code.write_text("\n".join(['#include "libsignal.h"', "#include <cstddef>", *lines]))

    subprocess.run([compiler, "-std=c++17", "-fsyntax-only", f"-I{LIBSIGNAL / 'include'}", code], check=True)


def test_the_headers_example_is_the_one_that_is_built_and_run() -> None:
    example = (LIBSIGNAL / "examples" / "signals.c").read_text()

    lines = [f" *     {line}".rstrip() if line else " *" for line in example.rstrip().split("\n")]
    assert "\n".join(lines) in HEADER
