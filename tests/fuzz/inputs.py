"""One input of the fuzzer's, from bytes to whichever of the three it is for."""

from __future__ import annotations

from tests.fuzz import parsing
from tests.fuzz.conversation import parted
from tests.fuzz.whole_ingest import converse


def run(data: bytes) -> None:
    """Say an input; raises whatever goes wrong."""
    records = parted(data)
    kind = records[0][0] if records else b""
    if kind == b"P":
        parsing.parse(records[1:])
    elif kind == b"B":
        parsing.read_bus(records[1:])
    else:
        converse(records)
