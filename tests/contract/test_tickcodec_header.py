"""tickcodec.h and its ctypes declarations say the same."""

from __future__ import annotations

import re
from pathlib import Path

from tickcodec import library

HEADER = (Path(__file__).parents[2] / "libsignal" / "codec" / "include" / "tickcodec.h").read_text()


def test_numbers_are_alike() -> None:
    header = dict(re.findall(r"#define TICKCODEC_(\w+) (\d+)", HEADER))

    declared = {name: value for name, value in vars(library).items() if name.isupper() and isinstance(value, int)}
    assert {name: str(value) for name, value in declared.items()} == header


def test_functions_are_alike() -> None:
    header = dict(re.findall(r"TICKCODEC_API [\w ]+[ *](tickcodec_\w+)\((.*?)\);", HEADER, re.DOTALL))

    arguments = {name: 0 if text == "void" else text.count(",") + 1 for name, text in header.items()}
    assert {name: len(types) for name, (_, types) in library.PROTOTYPES.items()} == arguments
