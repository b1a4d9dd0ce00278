"""Control messages: what the services tell each other beside the trades, as JSON on `control.>`."""

from __future__ import annotations

import logging
from typing import TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message as Proto

from mesh.bus.partitions import MAX_PARTITIONS
from mesh.service.errors import BadMessage
from mesh.values.symbols import parse_symbol, parse_venue
from tickmesh.v1 import control_pb2

log = logging.getLogger("mesh.bus.control")

M = TypeVar("M", bound=Proto)
MAX_CONTROL_BYTES = 2**20
MAX_EPOCH = 255
_MAX_ASSET_CHARS = 64
_MAX_WHY_CHARS = 300  # the library repeats what it found, a number of a million digits too


def encode(message: Proto) -> bytes:
    """Return the message as JSON with the protos' field names."""
    return json_format.MessageToJson(message, preserving_proto_field_name=True, indent=None).encode()


def decode(kind: type[M], payload: bytes) -> M:
    """Read a control message; unknown fields are allowed.

    Args:
        kind: the message's class.
        payload: JSON with the protos' field names.

    Raises:
        BadMessage: no JSON, fields of other types, or longer than MAX_CONTROL_BYTES.

    """
    if len(payload) > MAX_CONTROL_BYTES:
        raise BadMessage(f"{len(payload)} bytes of {kind.DESCRIPTOR.name}, expected at most {MAX_CONTROL_BYTES}")
    try:
        return json_format.Parse(payload.decode(), kind(), ignore_unknown_fields=True)
    except Exception as exc:  # whatever bytes from outside make the library say is the message's fault
        why = str(exc)[:_MAX_WHY_CHARS] or type(exc).__name__
        raise BadMessage(f"no {kind.DESCRIPTOR.name}: {why} (in {payload[:80]!r})") from exc


def decode_selection(payload: bytes) -> str:
    """Read `control.symbol` and return the symbol in lower case.

    Raises:
        BadMessage: not such a message, or not a symbol.

    """
    try:
        return parse_symbol(decode(control_pb2.SymbolSelection, payload).symbol)
    except ValueError as exc:
        raise BadMessage(f"control.symbol: {exc}") from exc


def decode_catalog(payload: bytes) -> control_pb2.Catalog:
    """Read `control.catalog`; every name in it is one.

    An instrument whose names are none, or are absurdly long, is left out: the others can be selected all the same.

    Raises:
        BadMessage: not such a message, or the venue or a symbol that is followed is none.

    """
    catalog = decode(control_pb2.Catalog, payload)
    try:
        parse_venue(catalog.venue)
        for symbol in catalog.followed:
            parse_symbol(symbol)
    except ValueError as exc:
        raise BadMessage(f"control.catalog: {exc}") from exc
    if any(not _is_instrument(each) for each in catalog.instruments):
        kept = [each for each in catalog.instruments if _is_instrument(each)]
        log.warning("%d instruments of control.catalog are left out", len(catalog.instruments) - len(kept))
        del catalog.instruments[:]
        catalog.instruments.extend(kept)
    return catalog


def _is_instrument(instrument: control_pb2.Instrument) -> bool:
    try:
        parse_symbol(instrument.symbol)
    except ValueError:
        return False
    return len(instrument.base_asset) <= _MAX_ASSET_CHARS and len(instrument.quote_asset) <= _MAX_ASSET_CHARS


def decode_partitions(payload: bytes) -> int:
    """Read `control.partitions`. Raises: BadMessage: not such a message, or a number that cannot be."""
    count = decode(control_pb2.Partitions, payload).count
    if not 1 <= count <= MAX_PARTITIONS:
        raise BadMessage(f"control.partitions: {count} partitions, expected 1 to {MAX_PARTITIONS}")
    return count


def decode_epoch(payload: bytes) -> control_pb2.Epoch:
    """Read `control.epoch.>`. Raises: BadMessage: not such a message, or numbers and names that cannot be."""
    found = decode(control_pb2.Epoch, payload)
    try:
        parse_venue(found.venue), parse_symbol(found.symbol)
    except ValueError as exc:
        raise BadMessage(f"an epoch whose {exc}") from exc
    if not 0 <= found.epoch <= MAX_EPOCH:
        raise BadMessage(f"epoch {found.epoch}, expected 0 to {MAX_EPOCH}")
    return found
