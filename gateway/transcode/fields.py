"""What a field is called in JSON, and which of our conventions apply to it.

Field names stay as the proto has them (`page_size`). Four things differ from the proto, everywhere alike:

- an integer of 64 bits whose name ends in `_e8` loses the suffix and is a plain decimal number (`price`: 61837.63);
- text whose name ends in `_decimal` loses the suffix and is a plain decimal number, exact and of any size (`volume`);
- enum values lose their type's prefix (`SIDE_BUY` is `BUY`);
- integers of 64 bits are JSON numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

E8_SUFFIX = "_e8"
DECIMAL_SUFFIX = "_decimal"
TIMESTAMP = "google.protobuf.Timestamp"
DURATION = "google.protobuf.Duration"
FIELD_MASK = "google.protobuf.FieldMask"
STRUCT = "google.protobuf.Struct"
VALUE = "google.protobuf.Value"
LIST_VALUE = "google.protobuf.ListValue"
ANY = "google.protobuf.Any"
EMPTY = "google.protobuf.Empty"
NULL_VALUE = "google.protobuf.NullValue"
WRAPPERS = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
)
AS_TEXT = frozenset({TIMESTAMP, DURATION, FIELD_MASK})
"""Messages that are one text in JSON."""
AS_JSON = frozenset({STRUCT, VALUE, LIST_VALUE, ANY, EMPTY})
"""Messages that are any JSON of some kind; in a query or a path, the text of that JSON."""
WELL_KNOWN = WRAPPERS | AS_TEXT | AS_JSON

INTEGER_BOUNDS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def is_e8(field: FieldDescriptor) -> bool:
    """Tell whether the field is a decimal number scaled by 10^8."""
    return field.cpp_type == FieldDescriptor.CPPTYPE_INT64 and field.name.endswith(E8_SUFFIX)


def is_decimal(field: FieldDescriptor) -> bool:
    """Tell whether the field is a plain decimal number as text, for what 64 bits cannot hold."""
    return field.cpp_type == FieldDescriptor.CPPTYPE_STRING and field.name.endswith(DECIMAL_SUFFIX)


def well_known(field: FieldDescriptor) -> str:
    """Return the full name of the field's type where proto3 JSON has a form of its own for it, else ""."""
    name = field.message_type.full_name if field.message_type is not None else ""
    return name if name in WELL_KNOWN else ""


def is_null(field: FieldDescriptor) -> bool:
    """Tell whether the field is a `google.protobuf.NullValue`, which is `null` in JSON."""
    return field.enum_type is not None and field.enum_type.full_name == NULL_VALUE


def wrapped(wrapper: Descriptor) -> FieldDescriptor:
    """Return the field of a wrapper that holds its value."""
    return wrapper.fields_by_name["value"]


def is_map(field: FieldDescriptor) -> bool:
    """Tell whether the field is a map, which protobuf keeps as a repeated entry message."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def is_oneof_member(field: FieldDescriptor) -> bool:
    """Tell whether the field is one of several that exclude each other."""
    oneof = field.containing_oneof
    # `optional` makes a oneof of its own around the field; that one is not the API's
    return oneof is not None and not (len(oneof.fields) == 1 and oneof.name.startswith("_"))


def may_be_missing(field: FieldDescriptor) -> bool:
    """Tell whether an answer leaves the field out while it is not set, where others are `null`."""
    return is_oneof_member(field) or (well_known(field) == VALUE and not field.is_repeated)  # which may be set to null


def map_entry(field: FieldDescriptor) -> Mapping[str, FieldDescriptor]:
    """Return the fields `key` and `value` of a map."""
    assert field.message_type is not None
    return field.message_type.fields_by_name


def public_name(field: FieldDescriptor) -> str:
    """Return the field's name in JSON and in query parameters."""
    if is_decimal(field):
        return field.name.removesuffix(DECIMAL_SUFFIX)
    return field.name.removesuffix(E8_SUFFIX) if is_e8(field) else field.name


def accepted_names(field: FieldDescriptor) -> set[str]:
    """Return every name the field may have in a request: ours, and lowerCamelCase as proto3 JSON has it."""
    return {public_name(field)} if is_e8(field) or is_decimal(field) else {field.name, field.json_name}


def enum_names(enum: EnumDescriptor) -> dict[int, str]:
    """Return number -> short name; of several names for one number the first counts."""
    prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", enum.name).upper() + "_"
    names: dict[int, str] = {}
    for value in enum.values:
        names.setdefault(value.number, value.name.removeprefix(prefix))
    return names


def enum_numbers(enum: EnumDescriptor) -> dict[str, int]:
    """Return name -> number for the short names and the proto's own."""
    return {value.name: value.number for value in enum.values} | {
        name: number for number, name in enum_names(enum).items()
    }


def json_type(field: FieldDescriptor) -> str:
    """Say in words what one value of the field looks like, for error messages."""
    if (name := well_known(field)) in EXPECTED:
        return EXPECTED[name]
    if name in WRAPPERS:
        assert field.message_type is not None
        return json_type(wrapped(field.message_type))
    if is_null(field):
        return "null"
    if is_e8(field):
        return "a decimal number with at most 8 places"
    if is_decimal(field):
        return "a plain decimal number"
    if field.cpp_type in INTEGER_BOUNDS:
        low, high = INTEGER_BOUNDS[field.cpp_type]
        return f"a whole number from {low} to {high}"
    if field.enum_type is not None:
        return "one of " + ", ".join(enum_names(field.enum_type).values())
    return {
        FieldDescriptor.CPPTYPE_BOOL: "true or false",
        FieldDescriptor.CPPTYPE_DOUBLE: "a number",
        FieldDescriptor.CPPTYPE_FLOAT: "a number",
        FieldDescriptor.CPPTYPE_MESSAGE: "an object",
    }.get(field.cpp_type, "base64 text" if field.type == FieldDescriptor.TYPE_BYTES else "a string")


EXPECTED = {
    TIMESTAMP: "a time as 2024-01-31T12:34:56.789Z",
    DURATION: "a duration as 1.5s",
    FIELD_MASK: "names of fields as startTime,pageSize",
    STRUCT: "an object",
    VALUE: "any JSON",
    LIST_VALUE: "a list",
    ANY: "an object with an @type",
    EMPTY: "an object without fields",
}


def find_field(message: Descriptor, name: str) -> FieldDescriptor:
    """Return the field a `google.api.http` rule names.

    Args:
        message: where to look.
        name: as the rule has it: `page_size`.

    Raises:
        ValueError: the message has no such field.

    """
    try:
        return message.fields_by_name[name]
    except KeyError:
        raise ValueError(
            f"http rule names the field {name!r}, which {message.full_name} does not have; "
            f"it has {', '.join(message.fields_by_name) or 'none'}"
        ) from None
