"""What the protos say that the fields of a request may be (`constraints.proto`), checked. Pure."""

from __future__ import annotations

from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from mesh.service.errors import InvalidRequest
from tickmesh.v1.constraints_pb2 import Constraint, constraint


def constraint_of(field: FieldDescriptor) -> Constraint | None:
    """Return what the value of a field may be; None when it may be anything."""
    options = field.GetOptions()
    return options.Extensions[constraint] if options.HasExtension(constraint) else None


def check(request: Message) -> None:
    """Check the fields of a request.

    Raises:
        InvalidRequest: one of them may not be what it is; names it, what was found and what was expected.

    """
    for name, allowed in _constraints(request.DESCRIPTOR):
        if problem := _problem(getattr(request, name), allowed):
            raise InvalidRequest(f"{name} {problem}", field=name)


@cache
def _constraints(message: Descriptor) -> list[tuple[str, Constraint]]:
    return [(field.name, found) for field in message.fields if (found := constraint_of(field)) is not None]


def _problem(value: int | str, allowed: Constraint) -> str:
    if isinstance(value, str):
        if allowed.HasField("max_length") and len(value) > allowed.max_length:
            return f"has {len(value)} characters, expected at most {allowed.max_length}"
        if value and allowed.one_of and value.lower() not in allowed.one_of:
            return f"is {value[:20]!r}, expected one of {', '.join(allowed.one_of)}"
        return ""
    low = allowed.minimum if allowed.HasField("minimum") else value
    high = allowed.maximum if allowed.HasField("maximum") else value
    if low <= value <= high:
        return ""
    return f"is {value}, expected {low} {f'to {high}' if allowed.HasField('maximum') else 'or more'}"
