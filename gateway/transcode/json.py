"""Messages as JSON and back: proto3 JSON with our deviations (see `fields`), compiled once per message type.

Writing: every field is there, defaults too; an unset message is `null`, an unset member of a oneof is left out; NaN
and infinities are `null`. Reading is strict: an unknown field or a wrong type is refused with its path, "at $.symbol".
"""

from __future__ import annotations

import base64
import codecs
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from operator import attrgetter

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway.errors import BadField, BadInput, shown
from gateway.transcode.fields import (
    TIMESTAMP,
    accepted_names,
    enum_names,
    is_decimal,
    is_e8,
    is_map,
    is_oneof_member,
    is_timestamp,
    map_entry,
    public_name,
)
from gateway.transcode.numbers import plain_number
from gateway.transcode.scalars import json_reader, read_decimal
from gateway.transcode.times import format_timestamp
from mesh.values.fixed import format_e8

# Code that works on messages of any type has to take their fields as they come: object.
Encode = Callable[[object], object]
Decode = Callable[[object, str], Message]

to_bytes = msgspec.json.Encoder().encode
_from_bytes = msgspec.json.Decoder(float_hook=Decimal).decode


def parse(body: bytes) -> object:
    """Decode JSON text; numbers with a point or an exponent come as `Decimal`.

    Raises:
        BadInput: the text is not JSON.

    """
    try:
        # RFC 8259, 8.1: parsers "MAY ignore the presence of a byte order mark rather than treating it as an error"
        return _from_bytes(body.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError) as exc:
        raise BadInput(f"body is not JSON: {_uncapitalised(str(exc).removeprefix('JSON is malformed: '))}") from exc


def _uncapitalised(sentence: str) -> str:
    word = sentence.partition(" ")[0]
    return sentence[:1].lower() + sentence[1:] if word.istitle() else sentence  # JSON stays JSON


@cache
def encoder(message: Descriptor) -> Encode:
    """Return a function from a message of this type to what `to_bytes` takes."""
    return format_timestamp if message.full_name == TIMESTAMP else _compile_encoder(message)  # type: ignore[return-value]


def field_encoder(field: FieldDescriptor) -> Encode:
    """Return a function from a message to the JSON of one of its fields (`response_body`)."""
    get, encode = attrgetter(field.name), _value_encoder(field)
    return (lambda message: encode(get(message))) if encode is not None else get


@cache
def decoder(message: Descriptor) -> Decode:
    """Return a function from a parsed JSON value and its path (`$`) to a message of this type.

    The function raises `BadField` naming the path of the wrong value.
    """
    return _compile_decoder(message)


def _compile_encoder(message: Descriptor) -> Encode:
    always = [(public_name(f), attrgetter(f.name), _value_encoder(f)) for f in message.fields if not f.has_presence]
    sometimes = [
        (public_name(f), f.name, _value_encoder(f), is_oneof_member(f)) for f in message.fields if f.has_presence
    ]
    order = [public_name(f) for f in message.fields]

    def encode_flat(value: object) -> object:
        return {name: get(value) if encode is None else encode(get(value)) for name, get, encode in always}

    def encode(value: object) -> object:
        assert isinstance(value, Message)
        found: dict[str, object] = {
            name: get(value) if encode is None else encode(get(value)) for name, get, encode in always
        }
        for name, attribute, encode, may_miss in sometimes:
            if value.HasField(attribute):
                member = getattr(value, attribute)
                found[name] = member if encode is None else encode(member)
            elif not may_miss:
                found[name] = None
        return {name: found[name] for name in order if name in found}

    return encode if sometimes else encode_flat


def _value_encoder(field: FieldDescriptor) -> Encode | None:
    if is_map(field):
        value_field = map_entry(field)["value"]
        encode_value = _one_encoder(value_field) or (lambda value: value)
        return lambda mapping: {_key_text(key): encode_value(mapping[key]) for key in mapping}  # type: ignore[attr-defined,index]
    one = _one_encoder(field)
    if not field.is_repeated:
        return one
    if one is None:
        return list  # type: ignore[return-value]  # a repeated field is iterable
    return lambda values: [one(value) for value in values]  # type: ignore[attr-defined]


def _one_encoder(field: FieldDescriptor) -> Encode | None:
    if is_timestamp(field):
        return format_timestamp  # type: ignore[return-value]  # it takes exactly this type
    if (inner := field.message_type) is not None:
        return lambda value: encoder(inner)(value)  # noqa: PLW0108 - looked up late, for types that hold themselves
    if is_e8(field):
        return lambda value: msgspec.Raw(format_e8(value).encode())  # type: ignore[arg-type]
    if is_decimal(field):
        return _decimal
    if field.enum_type is not None:
        names = enum_names(field.enum_type)
        return lambda number: names.get(number, number)  # type: ignore[call-overload]
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: base64.b64encode(value).decode()  # type: ignore[arg-type]
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return plain_number  # type: ignore[return-value]  # it takes exactly this type
    return None  # text, integers and booleans are what they are


def _decimal(value: object) -> object:
    # Raw goes out as it is: what is no number must not get there.
    return msgspec.Raw(read_decimal(str(value)).encode()) if value else 0


def _key_text(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _compile_decoder(message: Descriptor) -> Decode:
    make = GetMessageClass(message)
    fields: dict[str, tuple[FieldDescriptor, Callable[[Message, object, str], None]]] = {}
    for field in message.fields:
        for name in accepted_names(field):
            fields[name] = (field, _setter(field))
    known = ", ".join(public_name(field) for field in message.fields) or "none"

    def decode(value: object, path: str) -> Message:
        if not isinstance(value, Mapping):
            raise BadField(path, f"expected an object, found {shown(value)}")
        result = make()
        oneofs: dict[str, str] = {}
        for name, member in value.items():
            if name not in fields:
                raise BadField(path, f"unknown field {shown(name)}; known are {known}")
            field, put = fields[name]
            if member is None:  # "null is an accepted value for all field types and treated as the default value"
                continue
            if field.containing_oneof is not None:
                other = oneofs.setdefault(field.containing_oneof.name, name)
                if other != name:
                    raise BadField(path, f"only one of {other!r} and {name!r} may be given")
            put(result, member, f"{path}.{name}")
        return result

    return decode


def _setter(field: FieldDescriptor) -> Callable[[Message, object, str], None]:
    if is_map(field):
        return _map_setter(field)
    read = _one_decoder(field)

    def put_one(message: Message, value: object, path: str) -> None:
        _put(message, field, read(value, path))

    def put_all(message: Message, value: object, path: str) -> None:
        if not isinstance(value, list):
            raise BadField(path, f"expected a list, found {shown(value)}")
        getattr(message, field.name).extend(read(item, f"{path}[{i}]") for i, item in enumerate(value))

    return put_all if field.is_repeated else put_one


def _map_setter(field: FieldDescriptor) -> Callable[[Message, object, str], None]:
    entry = map_entry(field)
    read_key, read_value = json_reader(entry["key"]), _one_decoder(entry["value"])
    if entry["key"].cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        read_key = {"true": True, "false": False}.get  # type: ignore[assignment]

    def put(message: Message, value: object, path: str) -> None:
        if not isinstance(value, Mapping):
            raise BadField(path, f"expected an object, found {shown(value)}")
        target = getattr(message, field.name)
        for name, item in value.items():
            try:
                key = read_key(name)
            except ValueError as exc:
                raise BadField(f"{path}.{name}", f"key: {exc}") from None
            if key is None:
                raise BadField(f"{path}.{name}", f"key: expected true or false, found {shown(name)}")
            decoded = read_value(item, f"{path}.{name}")
            if isinstance(decoded, Message):
                target[key].CopyFrom(decoded)
            else:
                target[key] = decoded

    return put


def _one_decoder(field: FieldDescriptor) -> Callable[[object, str], object]:
    inner = field.message_type
    if inner is not None and not is_timestamp(field):
        return lambda value, path: decoder(inner)(value, path)  # noqa: PLW0108 - looked up late, as above
    read = json_reader(field)

    def decode(value: object, path: str) -> object:
        try:
            return read(value)
        except ValueError as exc:
            raise BadField(path, str(exc)) from None

    return decode


def _put(message: Message, field: FieldDescriptor, value: object) -> None:
    if isinstance(value, Message):
        getattr(message, field.name).CopyFrom(value)
    else:
        setattr(message, field.name, value)
