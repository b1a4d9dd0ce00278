"""The AsyncAPI document has every message of live.proto, with a comment and a schema each, and nothing dangling."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import manual
from gateway.transcode import asyncapi
from gateway.transcode.comments import read_comments, shipped_descriptors
from gateway.transcode.fields import public_name
from tickmesh.v1 import live_pb2

DOCUMENT = asyncapi.document(read_comments(shipped_descriptors()), info=manual.WS_INFO, query=manual.websocket_query())
SCHEMAS = DOCUMENT["components"]["schemas"]
PARSER = Path(__file__).parents[1] / "asyncapi"
_WARNING = 1
MESSAGES = live_pb2.DESCRIPTOR.message_types_by_name


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for member in value.values():
            yield from walk(member)
    elif isinstance(value, list):
        for member in value:
            yield from walk(member)


def test_every_reference_leads_somewhere() -> None:
    references = [part["$ref"] for part in walk(DOCUMENT) if isinstance(part.get("$ref"), str)]
    assert len(references) > 30
    for reference in references:
        found: Any = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]


@pytest.mark.parametrize("name", list(MESSAGES))
def test_every_message_has_its_fields_and_comments(name: str) -> None:
    schema = SCHEMAS[name]
    assert schema["description"]
    assert {public_name(field) for field in MESSAGES[name].fields} <= set(schema["properties"])
    assert set(schema["required"]) <= set(schema["properties"])
    fields = [public_name(field) for field in MESSAGES[name].fields]
    assert all(schema["properties"][field].get("description") for field in fields), fields


def test_a_request_is_told_by_its_op_and_what_is_sent_by_its_type() -> None:
    assert SCHEMAS["Subscribe"]["properties"]["op"] == {"const": "subscribe"}
    assert SCHEMAS["Subscribe"]["required"] == ["op", "channel"]
    assert SCHEMAS["Heartbeat"]["properties"]["type"] == {"const": "heartbeat"}
    assert SCHEMAS["Trades"]["required"] == ["type", "subscription", "sequence", "symbol", "first_id", "last_id"]
    assert "id" in SCHEMAS["Pong"]["properties"] and "id" not in SCHEMAS["Trades"]["properties"]


def test_every_message_is_received_or_sent_and_in_the_channel() -> None:
    named = [one["$ref"].rpartition("/")[2] for op in DOCUMENT["operations"].values() for one in op["messages"]]
    assert sorted(named) == sorted(DOCUMENT["channels"]["ws"]["messages"]) == sorted(DOCUMENT["components"]["messages"])
    assert {op["action"] for op in DOCUMENT["operations"].values()} == {"send", "receive"}


def parsed(document: Any) -> dict[str, Any]:
    """Return what the AsyncAPI parser says of a document."""
    command = ["node", str(PARSER / "check.mjs")]
    done = subprocess.run(command, input=json.dumps(document), capture_output=True, text=True, check=True, timeout=120)
    return dict(json.loads(done.stdout))


needs_parser = pytest.mark.skipif(
    not (PARSER / "node_modules").exists(), reason="npm's packages cannot be downloaded: `make test` would install them"
)


@needs_parser
def test_the_asyncapi_parser_finds_nothing_wrong() -> None:
    said = parsed(DOCUMENT)
    assert [one for one in said["found"] if one["severity"] <= _WARNING] == []
    assert set(said["messages"]) == {message["name"] for message in DOCUMENT["components"]["messages"].values()}


@needs_parser
def test_the_asyncapi_parser_finds_what_is_wrong() -> None:
    wrong = DOCUMENT | {"channels": {"ws": {**DOCUMENT["channels"]["ws"], "address": 5}}}
    assert "channels.ws.address" in [one["path"] for one in parsed(wrong)["found"] if one["severity"] < _WARNING]
