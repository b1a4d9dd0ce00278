"""Control messages: what the services tell each other beside the trades, as JSON on `control.>`."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message as Proto

from mesh.errors import BadMessage
from mesh.symbols import parse_symbol
from tickmesh.v1 import control_pb2

M = TypeVar("M", bound=Proto)
MAX_CONTROL_BYTES = 2**20


def encode(message: Proto) -> bytes:
    """Return the message as JSON with the protos' field names."""
    return json_format.MessageToJson(message, preserving_proto_field_name=True, indent=None).encode()


def decode(kind: type[M], payload: bytes) -> M:
    """Read a control message; unknown fields are allowed.

    Raises:
        BadMessage: no JSON, or fields of other types.

    """
    if len(payload) > MAX_CONTROL_BYTES:
        raise BadMessage(f"{len(payload)} bytes of {kind.DESCRIPTOR.name}, expected at most {MAX_CONTROL_BYTES}")
    try:
        return json_format.Parse(payload.decode(), kind(), ignore_unknown_fields=True)
    except (json_format.ParseError, UnicodeDecodeError, RecursionError) as exc:
        raise BadMessage(f"no {kind.DESCRIPTOR.name}: {exc} (in {payload[:80]!r})") from exc


def decode_selection(payload: bytes) -> str:
    """Read `control.symbol` and return the symbol in lower case.

    Raises:
        BadMessage: not such a message, or not a symbol.

    """
    try:
        return parse_symbol(decode(control_pb2.SymbolSelection, payload).symbol)
    except ValueError as exc:
        raise BadMessage(f"control.symbol: {exc}") from exc
