"""Routes as an OpenAPI 3.1 document: the protos' comments are its descriptions, their messages its schemas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.transcode.fields import (
    ANY,
    AS_JSON,
    DURATION,
    EMPTY,
    FIELD_MASK,
    LIST_VALUE,
    STRUCT,
    TIMESTAMP,
    VALUE,
    WELL_KNOWN,
    WRAPPERS,
    enum_names,
    find_field,
    is_decimal,
    is_e8,
    is_map,
    is_null,
    map_entry,
    may_be_missing,
    public_name,
    well_known,
    wrapped,
)
from gateway.transcode.query import Parameter
from gateway.transcode.rules import Route
from gateway.transcode.streams import NDJSON, SERVER_SENT_EVENTS
from mesh.service.constraints import constraint_of

# A JSON document has no better type; it is built here and only read elsewhere.
Json: TypeAlias = dict[str, Any]

JSON = "application/json"

ERROR_SCHEMA: Json = {
    "type": "object",
    "description": "What went wrong, as `google.rpc.Status`.",
    "required": ["code", "message", "details"],
    "properties": {
        "code": {"type": "integer", "format": "int32", "description": "The gRPC code: 3 is INVALID_ARGUMENT."},
        "message": {"type": "string", "description": "What was found, what was expected, and where."},
        "details": {
            "type": "array",
            "description": "More for programs: `google.rpc.BadRequest` names the field.",
            "items": {
                "type": "object",
                "required": ["@type"],
                "properties": {"@type": {"type": "string"}},
                "additionalProperties": True,
            },
        },
    },
}


def document(
    routes: Iterable[Route],
    comments: Mapping[str, str],
    *,
    info: Json,
    own_paths: Json,
    own_tags: list[Json],
    token_needed: bool,
    examples: Json | None = None,
) -> Json:
    """Return the document.

    Args:
        routes: what the protos say.
        comments: full name -> comment.
        info: title, version, description.
        own_paths: path items that no proto knows of: health, `/ws`.
        own_tags: the tags of those.
        token_needed: whether POST requests and streams need a token.
        examples: name of a field of requests -> what it may be.

    """
    routes = tuple(routes)
    examples = examples or {}
    schemas = Schemas(comments, examples)
    paths: Json = {}
    used: dict[str, int] = {}
    for route in routes:
        name = f"{route.method.containing_service.name}_{route.method.name}"
        used[name] = used.get(name, 0) + 1
        operation_id = name if used[name] == 1 else f"{name}_{used[name]}"
        item = paths.setdefault(route.template.shown, {})
        operation = _operation(route, operation_id, comments, schemas, token_needed=token_needed)
        for parameter in operation["parameters"]:
            if parameter["name"] in examples:
                parameter["example"] = examples[parameter["name"]]
        item[route.verb.lower()] = operation
    services = dict.fromkeys(route.method.containing_service for route in routes)
    made: Json = {
        "openapi": "3.1.0",
        "info": info,
        "servers": [{"url": "."}],  # where the document is, under whatever path a proxy serves it
        "tags": [*({"name": s.name, "description": comments.get(s.full_name, "")} for s in services), *own_tags],
        "paths": paths | own_paths,
        "components": {"schemas": {"Status": ERROR_SCHEMA} | schemas.found},
    }
    if token_needed:
        made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return made


_ETAG: Json = {"description": "A tag of this very answer, to send as `If-None-Match`.", "schema": {"type": "string"}}
_REQUEST_ID: Json = {
    "description": "The name of the request: the one it was sent with, or one that was made for it.",
    "schema": {"type": "string"},
}


def _operation(
    route: Route, operation_id: str, comments: Mapping[str, str], schemas: Schemas, *, token_needed: bool
) -> Json:
    comment = comments.get(route.method.full_name, "")
    operation: Json = {
        "operationId": operation_id,
        "tags": [route.method.containing_service.name],
        "summary": comment.partition("\n\n")[0].rstrip("."),
        "description": comment,
        "parameters": [
            *(_parameter(p, comments, place="path") for _, p in route.variables),
            *(_parameter(p, comments, place="query") for p in route.parameters),
        ],
        "responses": {"200": _answer(route, comments, schemas), "default": _error("An error.")},
    }
    if route.verb == "GET" and not route.streams:
        operation["responses"]["200"].setdefault("headers", {})["ETag"] = _ETAG
        operation["responses"]["304"] = {
            "description": "The answer is still the one whose `ETag` was sent as `If-None-Match`.",
            "headers": {"ETag": _ETAG},
        }
    for answer in operation["responses"].values():
        answer.setdefault("headers", {})["X-Request-Id"] = _REQUEST_ID
    if route.body:
        body = route.method.input_type
        if route.body != "*":
            body = find_field(body, route.body).message_type or body
        operation["requestBody"] = {
            "required": False,  # no body stands for an empty object
            "content": {JSON: {"schema": schemas.reference(body, answers=False)}},
        }
    if token_needed and (route.verb != "GET" or route.streams):
        operation["security"] = [{"token": []}]
    return operation


def _parameter(parameter: Parameter, comments: Mapping[str, str], *, place: str) -> Json:
    schema = _scalar(parameter.field) | _limits(parameter.field)
    if parameter.field.is_repeated:
        schema = {"type": "array", "items": schema}
    made: Json = {
        "name": parameter.name,
        "in": place,
        "required": place == "path",
        "description": comments.get(parameter.field.full_name, ""),
    }
    made |= {"content": {JSON: {"schema": schema}}} if well_known(parameter.field) in AS_JSON else {"schema": schema}
    # Another name of a documented parameter: accepted, and not what a new client should use.
    return made | {"deprecated": True} if parameter.field.GetOptions().deprecated else made


def _answer(route: Route, comments: Mapping[str, str], schemas: Schemas) -> Json:
    message = route.method.output_type
    if route.gives_bytes:  # of which media type, the service says
        return {"description": "The bytes, as they are made.", "content": {"*/*": {}}}
    if route.response_body:
        field = find_field(message, route.response_body)
        schema, described = schemas.field(field, answers=True), comments.get(field.full_name, "")
    else:
        schema, described = schemas.reference(message, answers=True), comments.get(message.full_name, "")
    if route.streams:
        return {"description": _STREAM_DESCRIPTION.format(described), "content": _stream_content(schema)}
    answer: Json = {"description": described, "content": {JSON: {"schema": schema}}}
    if route.hides_next_page:
        answer["headers"] = {
            "X-Next-Page-Token": {
                "description": "What to send as `page_token` for the next page; absent on the last one.",
                "schema": {"type": "string"},
            },
            "Link": {
                "description": 'The next page: `<...>; rel="next"`; absent on the last one.',
                "schema": {"type": "string"},
            },
        }
    return answer


_STREAM_DESCRIPTION = """\
A stream. {}

As `application/x-ndjson` each line is an object with a `result`, or with an `error` when the stream breaks off. As \
`text/event-stream` each event is a message; the event `error` has the error, and the event `end` says that nothing \
more follows. A stream that breaks off has no end: after the error the connection is closed without a final chunk. An \
empty line, or a comment in `text/event-stream`, shows that the connection lives."""


def _stream_content(message: Json) -> Json:
    error = {"$ref": "#/components/schemas/Status"}
    line = {
        "oneOf": [
            {"type": "object", "required": [name], "properties": {name: schema}, "additionalProperties": False}
            for name, schema in (("result", message), ("error", error))
        ]
    }
    return {NDJSON.media_type: {"schema": line}, SERVER_SENT_EVENTS.media_type: {"schema": {"type": "string"}}}


def _error(description: str) -> Json:
    schema = {"$ref": "#/components/schemas/Status"}
    return {"description": description, "content": {JSON: {"schema": schema}}}


class Schemas:
    """The messages met so far; those of answers have all of their fields, always."""

    def __init__(self, comments: Mapping[str, str], examples: Json | None = None) -> None:
        self.found: Json = {}
        self._comments = comments
        self._examples = examples or {}

    def reference(self, message: Descriptor, *, answers: bool) -> Json:
        """Return where the schema of a message is, which is among `found` from now on.

        Args:
            message: its type.
            answers: whether it is sent, not received.

        """
        if message.full_name in WRAPPERS:
            return _scalar(wrapped(message))
        if message.full_name in WELL_KNOWN:
            return dict(_WELL_KNOWN[message.full_name])
        name = message.full_name.removeprefix(f"{message.file.package}.")
        if name not in self.found:
            schema: Json = {"type": "object", "description": self._comments.get(message.full_name, "")}
            self.found[name] = schema  # before its fields, for a message that holds itself
            schema["properties"] = {public_name(field): self.field(field, answers=answers) for field in message.fields}
            if answers:
                schema["required"] = [public_name(f) for f in message.fields if not may_be_missing(f)]
            else:
                schema["additionalProperties"] = False
        return {"$ref": f"#/components/schemas/{name}"}

    def field(self, field: FieldDescriptor, *, answers: bool) -> Json:
        """Return the schema of a field.

        Args:
            field: of a message.
            answers: whether that is sent, not received.

        """
        described: Json = {"description": self._comments[field.full_name]} if field.full_name in self._comments else {}
        one: Json
        if is_map(field):
            one = {"type": "object", "additionalProperties": self._one(map_entry(field)["value"], answers)}
        elif field.is_repeated:
            one = {"type": "array", "items": self._one(field, answers)}
        else:
            one = self._one(field, answers) | _limits(field)
        # In an answer null is a field that is not set; in a request it stands for the default of any field.
        if not answers or (field.has_presence and not may_be_missing(field)):
            one = {"anyOf": [one, {"type": "null"}]}
        if not answers and field.name in self._examples:
            described |= {"examples": [self._examples[field.name]]}
        return one | described

    def _one(self, field: FieldDescriptor, answers: bool) -> Json:
        if field.message_type is not None:
            return self.reference(field.message_type, answers=answers)
        schema = _scalar(field)
        if answers and schema.get("format") == "double":  # NaN and infinities are null
            schema["type"] = ["number", "null"]
        return schema


def _scalar(field: FieldDescriptor) -> Json:
    if (name := well_known(field)) in WRAPPERS:
        assert field.message_type is not None
        return _scalar(wrapped(field.message_type))
    if name:
        return dict(_WELL_KNOWN[name])
    if is_null(field):
        return {"type": "null"}
    if is_e8(field) or is_decimal(field):
        return {"type": "number", "format": "decimal"}
    if field.enum_type is not None:
        return {"type": "string", "enum": list(enum_names(field.enum_type).values())}
    if field.type == FieldDescriptor.TYPE_BYTES:
        return {"type": "string", "contentEncoding": "base64"}
    return dict(_SCALARS[field.cpp_type])


def _limits(field: FieldDescriptor) -> Json:
    """Return what `constraints.proto` says of a field; an empty text is always allowed."""
    if (allowed := constraint_of(field)) is None:
        return {}
    said: Json = {"enum": ["", *allowed.one_of]} if allowed.one_of else {}
    names = {"minimum": "minimum", "maximum": "maximum", "max_length": "maxLength"}
    return said | {names[part.name]: value for part, value in allowed.ListFields() if part.name in names}


_WELL_KNOWN: dict[str, Json] = {
    TIMESTAMP: {"type": "string", "format": "date-time"},
    DURATION: {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$"},
    FIELD_MASK: {"type": "string", "pattern": r"^([a-z][a-zA-Z0-9]*([.,][a-z][a-zA-Z0-9]*)*)?$"},
    STRUCT: {"type": "object", "additionalProperties": True},
    VALUE: {},
    LIST_VALUE: {"type": "array", "items": {}},
    ANY: {"type": "object", "properties": {"@type": {"type": "string"}}, "additionalProperties": True},
    EMPTY: {"type": "object", "additionalProperties": False},
}

_SCALARS: dict[int, Json] = {
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.CPPTYPE_FLOAT: {"type": "number", "format": "double"},
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_INT64: {"type": "integer", "format": "int64"},
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "format": "int64", "minimum": 0},
    FieldDescriptor.CPPTYPE_UINT64: {"type": "integer", "minimum": 0},
}
