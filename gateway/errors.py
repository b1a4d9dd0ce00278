"""What an HTTP client is told when something goes wrong: one status table, one shape.

Every error body is a `google.rpc.Status`: `{"code": <gRPC code>, "message": "...", "details": [...]}`.

    BadInput         the request's words are wrong                      400
     +-- BadField    one field or parameter of it; named in `details`   400
    HttpError        a refusal of the gateway's own (404, 405, 413 ...)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from http import HTTPStatus

import grpc
import msgspec
from google.protobuf import json_format
from google.rpc import error_details_pb2 as error_details  # registers the standard details, so that they can be shown
from google.rpc import status_pb2

from mesh.service.errors import TickmeshError

_Code = grpc.StatusCode

HTTP_STATUS: dict[grpc.StatusCode, int] = {
    # google/rpc/code.proto, "HTTP Mapping"
    _Code.OK: 200,
    _Code.CANCELLED: 499,
    _Code.UNKNOWN: 500,
    _Code.INVALID_ARGUMENT: 400,
    _Code.DEADLINE_EXCEEDED: 504,
    _Code.NOT_FOUND: 404,
    _Code.ALREADY_EXISTS: 409,
    _Code.PERMISSION_DENIED: 403,
    _Code.UNAUTHENTICATED: 401,
    _Code.RESOURCE_EXHAUSTED: 429,
    _Code.FAILED_PRECONDITION: 400,
    _Code.ABORTED: 409,
    _Code.OUT_OF_RANGE: 400,
    _Code.UNIMPLEMENTED: 501,
    _Code.INTERNAL: 500,
    _Code.UNAVAILABLE: 503,
    _Code.DATA_LOSS: 500,
}

_CODE_OF_REFUSAL = {
    400: _Code.INVALID_ARGUMENT,
    401: _Code.UNAUTHENTICATED,
    403: _Code.PERMISSION_DENIED,
    404: _Code.NOT_FOUND,
    405: _Code.UNIMPLEMENTED,
    406: _Code.INVALID_ARGUMENT,
    408: _Code.DEADLINE_EXCEEDED,
    413: _Code.INVALID_ARGUMENT,
    414: _Code.INVALID_ARGUMENT,
    415: _Code.INVALID_ARGUMENT,
    421: _Code.PERMISSION_DENIED,
    426: _Code.FAILED_PRECONDITION,
    429: _Code.RESOURCE_EXHAUSTED,
    431: _Code.INVALID_ARGUMENT,
    500: _Code.INTERNAL,
    503: _Code.UNAVAILABLE,
}

RETRY_AFTER = {"Retry-After": "1"}
"""Goes with every 503: what is away is asked for again and again, and is mostly back within seconds."""

_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_SHOWN_CHARS = 60

assert error_details.BadRequest.DESCRIPTOR.full_name == _BAD_REQUEST.partition("/")[2]


class BadInput(TickmeshError, ValueError):
    """The request's words are wrong; the text says what was found and what expected."""

    details: Sequence[object] = ()


class BadField(BadInput):
    """One field or parameter of the request is wrong.

    Args:
        field: the parameter's name, or the path in the body: `$.symbol`.
        problem: what is wrong with it: `expected a string, found 5`.

    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{problem} - at {field}" if field.startswith("$") else f"parameter {field!r}: {problem}")
        violation = {"field": field.removeprefix("$").removeprefix("."), "description": problem}
        self.details = [{"@type": _BAD_REQUEST, "field_violations": [violation]}]


class HttpError(TickmeshError):
    """A refusal of the gateway's own."""

    def __init__(self, status: int, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


def error_body(code: grpc.StatusCode, message: str, details: Sequence[object] = ()) -> bytes:
    """Return the JSON of a `google.rpc.Status`.

    Args:
        code: becomes its number.
        message: for people.
        details: JSON objects with an `@type`.

    """
    number: int = code.value[0]
    return msgspec.json.encode({"code": number, "message": message, "details": list(details)})


def refusal_body(status: int, message: str, details: Sequence[object] = ()) -> bytes:
    """Return the body of a refusal of our own, with the gRPC code that is nearest to the HTTP status.

    Args:
        status: the HTTP status of the answer.
        message: for people.
        details: JSON objects with an `@type`.

    """
    return error_body(_CODE_OF_REFUSAL.get(status, _Code.UNKNOWN), message, details)


def upstream_error(code: grpc.StatusCode, message: str, rich_status: bytes | None) -> tuple[int, bytes]:
    """Return HTTP status and body for what an upstream answered.

    Args:
        code: the call's status code.
        message: the call's status message.
        rich_status: the trailing metadata `grpc-status-details-bin`, a serialised `google.rpc.Status`, when there.

    """
    details: list[object] = []
    if rich_status is not None:
        try:
            status = status_pb2.Status.FromString(rich_status)
        except Exception:  # a broken detail must not hide the error it decorates
            status = status_pb2.Status()
        details = [_detail(any_message) for any_message in status.details]
    http_status = HTTP_STATUS.get(code, 500)
    return http_status, error_body(code, message or f"upstream says {code.name} and nothing more", details)


def phrase(status: int) -> str:
    """Return an HTTP status in words: `404 Not Found`."""
    words = "Client Closed Request" if status == 499 else HTTPStatus(status).phrase
    return f"{status} {words}"


def shown(value: object) -> str:
    """Return what was found, short enough for a message."""
    if isinstance(value, str):
        text = repr(value)
    else:
        text = str(value) if isinstance(value, Decimal) else msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."


def _detail(any_message: object) -> object:
    try:
        return json_format.MessageToDict(any_message, preserving_proto_field_name=True)  # type: ignore[arg-type]
    except (TypeError, ValueError, json_format.Error):
        return {"@type": getattr(any_message, "type_url", "")}  # a type this process does not know
