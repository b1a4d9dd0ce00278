"""The messages of `/ws` as an AsyncAPI 3 document: the protos' comments are its descriptions, their fields its schemas.

What the protos cannot say is added here: that a message's `type` (a request's `op`) is its name, that a request may
have an `id` and that its answer repeats it, and which members may be left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.transcode.fields import is_map, is_oneof_member, public_name
from gateway.transcode.openapi import Json, Schemas
from tickmesh.v1 import live_pb2

REQUESTS = ("Subscribe", "Unsubscribe", "Ping")
ANSWERS = ("Subscribed", "Unsubscribed", "Pong", "Error")
UPDATES = ("Snapshot", "Trades", "Ticks", "Candles", "CoverageUpdate", "StatusUpdate", "Lagged", "Heartbeat")
_PARTS = {"CoverageUpdate": ("coverage", "GetCoverageResponse"), "StatusUpdate": ("status", "GetStatusResponse")}
"""The messages of which a member is an answer of REST in part."""

_ID: Json = {"type": ["integer", "string"], "maxLength": 64, "description": "Any; the answer to the request has it."}
_CHANNEL = "#/channels/ws"


def kind_of(name: str) -> str:
    """Return the `type` of a message, a request's `op`, by the message's name in live.proto."""
    return name.removesuffix("Update").lower()


def document(comments: Mapping[str, str], *, info: Json, query: Json) -> Json:
    """Return the document.

    Args:
        comments: full name -> comment.
        info: title, version, description.
        query: the parameters of the handshake: name -> schema.

    """
    schemas = Schemas(comments)
    messages: Json = {}
    for name in (*REQUESTS, *ANSWERS, *UPDATES):
        message = live_pb2.DESCRIPTOR.message_types_by_name[name]
        schemas.reference(message, answers=True)
        kind = {"const": kind_of(name)}
        key = "op" if name in REQUESTS else "type"
        own = {key: kind} | ({} if name in UPDATES else {"id": _ID})
        schema = schemas.found[name]
        schema["properties"] = own | schema["properties"]
        schema["required"] = [key, *schema["required"]]
        comment = comments.get(message.full_name, "")
        messages[name] = {
            "name": kind_of(name),
            "title": name,
            "summary": comment,
            "contentType": "application/json",
            "payload": {"$ref": f"#/components/schemas/{name}"},
        }
    for message in live_pb2.DESCRIPTOR.message_types_by_name.values():
        _leave_out(schemas.found[message.name], message)
    for name, (member, whole) in _PARTS.items():
        members = schemas.found[name]["properties"]
        part = {"type": "object", "properties": schemas.found[whole]["properties"]}
        members[member] = {"description": members[member].get("description", "")} | part
    places = schemas.found["Subscribe"]["properties"]["resume_from"]
    places["additionalProperties"] = {"anyOf": [{"type": "integer", "minimum": 0}, places["additionalProperties"]]}
    return {
        "asyncapi": "3.0.0",
        "info": info,
        "defaultContentType": "application/json",
        "channels": {
            "ws": {
                "address": "/ws",
                "description": "The WebSocket with subscriptions. Each message is one JSON object as text.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"query": {"type": "object", "properties": query}, "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            **{f"receive{name}": _operation("receive", [name]) for name in REQUESTS},
            "sendAnswers": _operation("send", ANSWERS),
            "sendUpdates": _operation("send", UPDATES),
        },
        "components": {"messages": messages, "schemas": schemas.found},
    }


def _operation(action: str, names: tuple[str, ...] | list[str]) -> Json:
    messages = [{"$ref": f"{_CHANNEL}/messages/{name}"} for name in names]
    return {"action": action, "channel": {"$ref": _CHANNEL}, "messages": messages}


def _leave_out(schema: Json, message: Descriptor) -> None:
    """Say which members of a message may be missing: lists, maps, and what the proto calls optional."""
    absent = {public_name(field) for field in message.fields if field.is_repeated or _is_optional(field)}
    schema["required"] = [name for name in schema["required"] if name not in absent]
    for field in message.fields:
        if is_map(field) and message.name == "Tick":
            schema["properties"][public_name(field)]["type"] = ["object", "null"]


def _is_optional(field: FieldDescriptor) -> bool:
    is_said = field.message_type is None or field.containing_oneof is not None  # `optional` makes a oneof around it
    return field.has_presence and is_said and not is_oneof_member(field)
