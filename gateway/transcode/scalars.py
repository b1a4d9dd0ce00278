"""One value of a field, from the text of a query parameter or from a JSON value. Strict: nothing is guessed."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from decimal import Decimal

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message_factory import GetMessageClass

from gateway.errors import shown
from gateway.transcode.fields import (
    DURATION,
    EXPECTED,
    FIELD_MASK,
    INTEGER_BOUNDS,
    TIMESTAMP,
    WRAPPERS,
    enum_numbers,
    is_decimal,
    is_e8,
    json_type,
    well_known,
    wrapped,
)
from mesh.values.fixed import MAX_E8, parse_e8
from mesh.values.times import parse_timestamp

_INTEGER = re.compile(r"-?\d{1,20}", re.ASCII)
_DECIMAL = re.compile(r"-?(0|[1-9]\d{0,99})(\.\d{1,100})?", re.ASCII)
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_DURATION = re.compile(r"-?\d{1,12}(\.\d{1,9})?s", re.ASCII)
_FIELD_MASK = re.compile(r"[a-z][a-zA-Z0-9]*(?:[.,][a-z][a-zA-Z0-9]*)*", re.ASCII)
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_MAX_EXPONENT = 400  # more digits than any double has; keeps integers made of "1e999999" small

Convert = Callable[[object], object]


def text_reader(field: FieldDescriptor) -> Callable[[str], object]:
    """Return how one value of the field is read from text.

    The reader raises `ValueError` saying what was found and what is expected.
    """
    return _explained(json_type(field), _from_text(field))


def json_reader(field: FieldDescriptor) -> Convert:
    """Return how one value of the field is read from a decoded JSON value.

    Numbers that were written with a point or an exponent must come as `Decimal`. As proto3 JSON allows, a number may
    also stand in quotes. The reader raises `ValueError` saying what was found and what is expected.
    """
    return _explained(json_type(field), _from_json(field))


def message_reader(message: Descriptor) -> Convert:
    """Return how a message that is one text or one wrapped value is read from a decoded JSON value.

    The reader raises `ValueError` saying what was found and what is expected.
    """
    if message.full_name in WRAPPERS:
        return _explained(json_type(wrapped(message)), _wrapping(message, _from_json))
    return _explained(EXPECTED[message.full_name], _only_text(_TEXTS[message.full_name]))


def _explained(expected: str, read: Callable[..., object]) -> Callable[..., object]:
    def explained(value: object) -> object:
        try:
            return read(value)
        except (ValueError, OverflowError):
            raise ValueError(f"expected {expected}, found {shown(value)}") from None

    return explained


def _from_text(field: FieldDescriptor) -> Callable[[str], object]:
    if (name := well_known(field)) in _TEXTS:
        return _TEXTS[name]
    if name in WRAPPERS:
        assert field.message_type is not None
        return _wrapping(field.message_type, _from_text)
    if is_e8(field):
        return _read_e8
    if is_decimal(field):
        return read_decimal
    if field.cpp_type in INTEGER_BOUNDS:
        return _integer_reader(*INTEGER_BOUNDS[field.cpp_type])
    if field.enum_type is not None:
        return _enum_reader(enum_numbers(field.enum_type))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _read_base64
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return _read_bool
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return _read_float
    assert field.cpp_type == FieldDescriptor.CPPTYPE_STRING, f"{field.full_name} is no scalar"
    return str


def _from_json(field: FieldDescriptor) -> Convert:
    from_text = _from_text(field)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return _json_bool
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING and not is_decimal(field):
        return _only_text(from_text)
    return _text_or_number(from_text)


def _wrapping(wrapper: Descriptor, reader: Callable[[FieldDescriptor], Callable[..., object]]) -> Callable[..., object]:
    make, read = GetMessageClass(wrapper), reader(wrapped(wrapper))
    return lambda value: make(value=read(value))


def _read_duration(text: str) -> Duration:
    if not _DURATION.fullmatch(text):
        raise ValueError
    duration = Duration()
    duration.FromJsonString(text)
    return duration


def _read_field_mask(text: str) -> FieldMask:
    if text and not _FIELD_MASK.fullmatch(text):
        raise ValueError
    mask = FieldMask()
    mask.FromJsonString(text)
    return mask


_TEXTS: dict[str, Callable[[str], object]] = {
    TIMESTAMP: parse_timestamp,
    DURATION: _read_duration,
    FIELD_MASK: _read_field_mask,
}


def _only_text(from_text: Callable[[str], object]) -> Convert:
    def read(value: object) -> object:
        if not isinstance(value, str):
            raise ValueError
        return from_text(value)

    return read


def _text_or_number(from_text: Callable[[str], object]) -> Convert:
    def read(value: object) -> object:
        if isinstance(value, str):
            return from_text(value)
        if isinstance(value, Decimal):
            return from_text(_plain(value))
        if isinstance(value, int) and not isinstance(value, bool):
            return from_text(str(value))
        raise ValueError

    return read


def _plain(number: Decimal) -> str:
    if abs(number.adjusted()) > _MAX_EXPONENT:
        raise ValueError
    text = f"{number:f}"
    # "either 1 or 1.0 or 1e0" are the same whole number in proto3 JSON
    return text.rstrip("0").rstrip(".") if "." in text else text


def _json_bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _integer_reader(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return read


def _enum_reader(numbers: dict[str, int]) -> Callable[[str], int]:
    def read(text: str) -> int:
        if text in numbers:
            return numbers[text]
        if _INTEGER.fullmatch(text) and int(text) in numbers.values():
            return int(text)
        raise ValueError

    return read


def _read_e8(text: str) -> int:
    value_e8 = parse_e8(text.removeprefix("-"))
    assert value_e8 <= MAX_E8
    return -value_e8 if text.startswith("-") else value_e8


def read_decimal(text: str) -> str:
    """Return a plain decimal number as it is, so that it can stand in JSON; raise `ValueError` when it is none."""
    if not _DECIMAL.fullmatch(text):
        raise ValueError
    return text


def _read_float(text: str) -> float:
    if text in _NOT_FINITE:
        return _NOT_FINITE[text]
    if not _NUMBER.fullmatch(text) or not math.isfinite(value := float(text)):
        raise ValueError
    return value


def _read_bool(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


def _read_base64(text: str) -> bytes:
    try:
        # "Either standard or URL-safe base64 encoding with/without paddings are accepted."
        standard = text.replace("-", "+").replace("_", "/").rstrip("=")
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except binascii.Error:
        raise ValueError from None
