"""libsignal.h and its ctypes declarations say the same, and the header's example is the one that is built and run."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest

from libsignal import Inputs, SignalCandle, SignalGroups, Signals, Summary
from libsignal import declarations as lsig
from libsignal.state import DTYPES
from mesh.values.candles import INTERVALS_US

LIBSIGNAL = Path(__file__).parents[2] / "libsignal"
HEADER = (LIBSIGNAL / "include" / "libsignal.h").read_text()
STRUCTS = {
    "lsig_config": lsig.Config,
    "lsig_candle": lsig.CandleStruct,
    "lsig_columns": lsig.Columns,
    "lsig_summary": lsig.SummaryStruct,
}
ARRAYS = {"double *": "float64", "int64_t *": "int64", "uint8_t *": "uint8", "lsig_candle *": "lsig_candle"}


def header_fields(struct: str) -> list[tuple[str, str]]:
    """Return (type, name) of each field as the header writes them: `("const int64_t *", "price_e8")`."""
    body = re.search(rf"typedef struct {struct} {{(.*?)}} {struct};", HEADER, re.DOTALL)
    assert body is not None
    code = re.sub(r"/\*.*?\*/", "", body[1], flags=re.DOTALL)
    return [(kind.strip(), name) for kind, name in re.findall(r"([\w ]+ \*?)(\w+)(?:\[\d+\])?;", code)]


def test_numbers_are_alike() -> None:
    header = dict(re.findall(r"#define LSIG_(\w+) (\d+)", HEADER))

    declared = {name: value for name, value in vars(lsig).items() if name.isupper() and isinstance(value, int)}
    groups = {group.name: group.value for group in [*SignalGroups, SignalGroups.ALL]}
    assert {name: str(value) for name, value in (declared | groups).items()} == header


def test_functions_are_alike() -> None:
    header = dict(re.findall(r"LSIG_API [\w ]+[ *](lsig_\w+)\((.*?)\);", HEADER))

    arguments = {name: 0 if text == "void" else text.count(",") + 1 for name, text in header.items()}
    assert {name: len(types) for name, (_, types) in lsig.PROTOTYPES.items()} == arguments


@pytest.mark.parametrize("struct", STRUCTS)
def test_structs_have_the_same_fields_in_the_same_order(struct: str) -> None:
    declared = [field[0] for field in STRUCTS[struct]._fields_]

    assert declared == [name for _, name in header_fields(struct)]


def test_every_column_has_the_headers_type() -> None:
    inputs = {name: kind for kind, name in header_fields("lsig_columns") if kind.startswith("const")}
    outputs = {name: kind for kind, name in header_fields("lsig_columns") if "*" in kind and name not in inputs}

    assert lsig.OUTPUT_GROUPS.keys() == outputs.keys()
    declared = {name: str(dtype) for name, dtype in DTYPES.items()} | {"candles": "lsig_candle"}
    assert {name: ARRAYS[kind] for name, kind in outputs.items()} == declared
    assert [field.name for field in fields(Signals)] == list(declared)
    assert list(inputs) == [field.name for field in fields(Inputs)]


def test_every_output_stands_below_its_group() -> None:
    body = HEADER[HEADER.index("/* Outputs;") : HEADER.index("} lsig_columns;")]

    found: dict[str, str] = {}
    for part in re.split(r"/\* LSIG_(?=[A-Z_]+(?: \*/|:))", body)[1:]:
        group = re.match(r"[A-Z_]+", part)
        assert group is not None
        found |= dict.fromkeys(
            re.findall(r"^    (?:double|u?int\w+_t|lsig_candle) \*(\w+);", part, re.MULTILINE), group[0]
        )
    assert {name: SignalGroups[group] for name, group in found.items()} == lsig.OUTPUT_GROUPS


def test_intervals_are_the_headers() -> None:
    assert len(INTERVALS_US) == lsig.INTERVALS


def test_candle_and_summary_have_the_headers_fields() -> None:
    for value, struct in ((SignalCandle, "lsig_candle"), (Summary, "lsig_summary")):
        assert set(get_type_hints(value)) == {name for _, name in header_fields(struct)} - {"struct_size"}


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
