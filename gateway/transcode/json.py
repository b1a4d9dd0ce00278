"""Messages as JSON and back: proto3 JSON with our deviations (see `fields`), compiled once per message type.

Writing: every field is there, defaults too; an unset message is `null`, an unset member of a oneof is left out, and so
is an unset `google.protobuf.Value`, which may be `null` itself; NaN and infinities are `null`. Reading is strict: an
unknown field or a wrong type is refused with its path, "at $.symbol".
"""

from __future__ import annotations

import base64
import codecs
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from operator import attrgetter

import msgspec
from google.protobuf import descriptor_pool
from google.protobuf.any_pb2 import Any
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value

from gateway.errors import BadField, BadInput, shown
from gateway.transcode.fields import (
    ANY,
    AS_TEXT,
    DURATION,
    FIELD_MASK,
    LIST_VALUE,
    STRUCT,
    TIMESTAMP,
    VALUE,
    WELL_KNOWN,
    WRAPPERS,
    accepted_names,
    enum_names,
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
from gateway.transcode.numbers import plain_number
from gateway.transcode.scalars import json_reader, message_reader, read_decimal
from mesh.values.fixed import format_e8
from mesh.values.times import format_timestamp

# Code that works on messages of any type has to take their fields as they come: object.
Encode = Callable[[object], object]
Decode = Callable[[object, str], Message]

MAX_DEPTH = 30
"""Of objects and lists in each other. Protobuf reads messages of 100 levels at most; a Struct has three for each."""

to_bytes = msgspec.json.Encoder().encode
_from_bytes = msgspec.json.Decoder(float_hook=Decimal).decode


def parse(text: bytes, *, what: str = "body") -> object:
    """Decode JSON text; numbers with a point or an exponent come as `Decimal`.

    Args:
        text: the JSON.
        what: what it is called in errors.

    Raises:
        BadInput: the text is not JSON, or goes deeper than protobuf does.

    """
    try:
        # RFC 8259, 8.1: parsers "MAY ignore the presence of a byte order mark rather than treating it as an error"
        parsed = _from_bytes(text.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError) as exc:
        raise BadInput(f"{what} is not JSON: {_uncapitalised(str(exc).removeprefix('JSON is malformed: '))}") from exc
    if text.count(b"{") + text.count(b"[") > MAX_DEPTH and _is_deep(parsed, MAX_DEPTH):
        raise BadInput(f"{what} has more than {MAX_DEPTH} levels")
    return parsed


def _is_deep(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    return levels == 0 or any(
        _is_deep(member, levels - 1) for member in (value.values() if isinstance(value, dict) else value)
    )


def _uncapitalised(sentence: str) -> str:
    word = sentence.partition(" ")[0]
    return sentence[:1].lower() + sentence[1:] if word.istitle() else sentence  # JSON stays JSON


@cache
def encoder(message: Descriptor) -> Encode:
    """Return a function from a message of this type to what `to_bytes` takes."""
    if message.full_name in WRAPPERS:
        value = wrapped(message)
        encode = _one_encoder(value)
        return attrgetter("value") if encode is None else lambda wrapper: encode(wrapper.value)  # type: ignore[attr-defined]
    return _WELL_KNOWN_ENCODERS.get(message.full_name) or _compile_encoder(message)


def field_encoder(field: FieldDescriptor) -> Encode:
    """Return a function from a message to the JSON of one of its fields (`response_body`)."""
    get, encode = attrgetter(field.name), _value_encoder(field)
    return (lambda message: encode(get(message))) if encode is not None else get


@cache
def member_encoders(message: Descriptor) -> list[tuple[str, FieldDescriptor, Encode]]:
    """Return the members of a message's JSON: name, field, and a function from the message to the member.

    Args:
        message: of which no member may be left out.

    """
    return [(public_name(field), field, _member_encoder(field)) for field in message.fields]


@cache
def decoder(message: Descriptor) -> Decode:
    """Return a function from a parsed JSON value and its path (`$`) to a message of this type.

    The function raises `BadField` naming the path of the wrong value.
    """
    if message.full_name in WRAPPERS or message.full_name in AS_TEXT:
        return _located(message_reader(message))  # type: ignore[return-value]  # it makes messages of that type
    return _WELL_KNOWN_DECODERS.get(message.full_name) or _compile_decoder(message)


def _compile_encoder(message: Descriptor) -> Encode:
    members = [(name, encode) for name, _, encode in member_encoders(message)]
    optional = [(public_name(field), field.name) for field in message.fields if may_be_missing(field)]

    def encode_all(value: object) -> object:
        return {name: encode(value) for name, encode in members}

    def encode_given(value: object) -> object:
        assert isinstance(value, Message)
        missing = {name for name, attribute in optional if not value.HasField(attribute)}
        return {name: encode(value) for name, encode in members if name not in missing}

    return encode_given if optional else encode_all


def _member_encoder(field: FieldDescriptor) -> Encode:
    """Return a function from a message to the JSON of one of its fields, null where that is not set."""
    get, attribute, encode = attrgetter(field.name), field.name, _value_encoder(field)
    if not field.has_presence:
        return get if encode is None else lambda message: encode(get(message))
    if encode is None:
        return lambda message: get(message) if message.HasField(attribute) else None  # type: ignore[attr-defined]
    return lambda message: encode(get(message)) if message.HasField(attribute) else None  # type: ignore[attr-defined]


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
    if well_known(field) == TIMESTAMP:
        return format_timestamp  # type: ignore[return-value]  # it takes exactly this type
    if (inner := field.message_type) is not None:
        return lambda value: encoder(inner)(value)  # noqa: PLW0108 - looked up late, for types that hold themselves
    if is_e8(field):
        return lambda value: msgspec.Raw(format_e8(value))  # type: ignore[arg-type]
    if is_decimal(field):
        return _decimal
    if is_null(field):
        return lambda _: None
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
    return msgspec.Raw(read_decimal(str(value))) if value else 0


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
            if member is None and not (is_null(field) or well_known(field) == VALUE):
                continue  # "null is an accepted value for all field types and treated as the default value"
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
    if is_null(field):
        return _read_null
    if inner is not None:
        return lambda value, path: decoder(inner)(value, path)  # noqa: PLW0108 - looked up late, as above
    return _located(json_reader(field))


def _located(read: Callable[[object], object]) -> Callable[[object, str], object]:
    def decode(value: object, path: str) -> object:
        try:
            return read(value)
        except ValueError as exc:
            raise BadField(path, str(exc)) from None

    return decode


def _read_null(value: object, path: str) -> object:
    if value is not None and value not in ("NULL_VALUE", 0):
        raise BadField(path, f"expected null, found {shown(value)}")
    return 0


def _put(message: Message, field: FieldDescriptor, value: object) -> None:
    if isinstance(value, Message):
        getattr(message, field.name).CopyFrom(value)
    else:
        setattr(message, field.name, value)


# --- Struct, Value, ListValue and Any, of which each holds others -----------------------------------------------------


def _encode_value(value: Value) -> object:
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        return plain_number(value.number_value)
    if kind == "struct_value":
        return _encode_struct(value.struct_value)
    if kind == "list_value":
        return _encode_list(value.list_value)
    return None if kind in (None, "null_value") else getattr(value, kind)


def _encode_struct(struct: Struct) -> object:
    return {name: _encode_value(struct.fields[name]) for name in struct.fields}


def _encode_list(values: ListValue) -> object:
    return [_encode_value(value) for value in values.values]


def _encode_any(holder: Any) -> object:
    if not holder.type_url:
        return {}
    inner = _known_type(holder.type_url)
    written = encoder(inner)(GetMessageClass(inner).FromString(holder.value))
    if inner.full_name in WELL_KNOWN:
        return {"@type": holder.type_url, "value": written}
    assert isinstance(written, dict)
    return {"@type": holder.type_url, **written}


def _known_type(type_url: str) -> Descriptor:
    try:
        return descriptor_pool.Default().FindMessageTypeByName(type_url.rpartition("/")[2])
    except KeyError:
        raise ValueError(f"{type_url[:80]!r} is no type that is known here") from None


def _decode_value(value: object, path: str) -> Value:
    if value is None:
        return Value(null_value=NULL_VALUE)
    if isinstance(value, bool):
        return Value(bool_value=value)
    if isinstance(value, str):
        return Value(string_value=value)
    if isinstance(value, list):
        return Value(list_value=_decode_list(value, path))
    if isinstance(value, Mapping):
        return Value(struct_value=_decode_struct(value, path))
    assert isinstance(value, int | Decimal), "JSON has no other values"
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise BadField(path, f"expected a number that a double can hold, found {shown(value)}")
    return Value(number_value=number)


def _decode_struct(value: object, path: str) -> Struct:
    if not isinstance(value, Mapping):
        raise BadField(path, f"expected an object, found {shown(value)}")
    return Struct(fields={name: _decode_value(member, f"{path}.{name}") for name, member in value.items()})


def _decode_list(value: object, path: str) -> ListValue:
    if not isinstance(value, list):
        raise BadField(path, f"expected a list, found {shown(value)}")
    return ListValue(values=[_decode_value(member, f"{path}[{n}]") for n, member in enumerate(value)])


def _decode_any(value: object, path: str) -> Any:
    if not isinstance(value, Mapping):
        raise BadField(path, f"expected an object with an @type, found {shown(value)}")
    if not value:
        return Any()
    members = dict(value)
    type_url = members.pop("@type", None)
    if not isinstance(type_url, str) or "/" not in type_url:
        raise BadField(path, f"expected an @type as type.googleapis.com/tickmesh.v1.Trade, found {shown(type_url)}")
    try:
        inner = _known_type(type_url)
    except ValueError as exc:
        raise BadField(f"{path}.@type", str(exc)) from None
    inside: object = members
    if inner.full_name in WELL_KNOWN:
        if list(members) != ["value"]:
            raise BadField(path, f"expected @type and value, found {', '.join(map(shown, value))}")
        inside, path = members["value"], f"{path}.value"
    return Any(type_url=type_url, value=decoder(inner)(inside, path).SerializeToString())


_WELL_KNOWN_ENCODERS: dict[str, Encode] = {
    TIMESTAMP: format_timestamp,  # type: ignore[dict-item]  # each takes exactly the type it is for
    DURATION: lambda duration: duration.ToJsonString(),  # type: ignore[attr-defined]
    FIELD_MASK: lambda mask: mask.ToJsonString(),  # type: ignore[attr-defined]
    STRUCT: _encode_struct,  # type: ignore[dict-item]
    VALUE: _encode_value,  # type: ignore[dict-item]
    LIST_VALUE: _encode_list,  # type: ignore[dict-item]
    ANY: _encode_any,  # type: ignore[dict-item]
}
_WELL_KNOWN_DECODERS: dict[str, Decode] = {
    STRUCT: _decode_struct,
    VALUE: _decode_value,
    LIST_VALUE: _decode_list,
    ANY: _decode_any,
}
