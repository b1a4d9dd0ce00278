"""Query parameters and path variables -> fields of the request message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway.errors import BadField, shown
from gateway.transcode import json
from gateway.transcode.fields import AS_JSON, accepted_names, is_map, public_name, well_known
from gateway.transcode.scalars import text_reader

_MAX_DEPTH = 5  # a message that holds itself would never end


@dataclass(frozen=True, slots=True)
class Parameter:
    """One field that a query parameter or path variable can fill."""

    name: str
    """As documented: `start_time`, or with dots for a field inside a message."""
    aliases: frozenset[str]
    path: tuple[FieldDescriptor, ...]
    read: Callable[[str], object]

    @property
    def field(self) -> FieldDescriptor:
        """The field itself."""
        return self.path[-1]

    def put(self, message: Message, values: Iterable[str]) -> None:
        """Fill the field.

        Args:
            message: the request; changed in place.
            values: texts; more than one only for a repeated field.

        Raises:
            BadField: a text does not fit.

        """
        holder = message
        for step in self.path[:-1]:
            holder = getattr(holder, step.name)
        for text in values:
            try:
                value = self.read(text)
            except ValueError as exc:
                raise BadField(self.name, str(exc)) from None
            if self.field.is_repeated:
                target = getattr(holder, self.field.name)
                target.add().CopyFrom(value) if isinstance(value, Message) else target.append(value)
            elif isinstance(value, Message):
                getattr(holder, self.field.name).CopyFrom(value)
            else:
                setattr(holder, self.field.name, value)


def _reader(field: FieldDescriptor) -> Callable[[str], object]:
    inner = field.message_type
    if inner is None or inner.full_name not in AS_JSON:
        return text_reader(field)
    return lambda text: json.decoder(inner)(json.parse(text.encode(), what="value"), "$")


def parameters(message: Descriptor, *, without: Iterable[str] = ()) -> tuple[Parameter, ...]:
    """Return what query parameters can fill of a request: every field but maps and lists of messages.

    Args:
        message: the request's type.
        without: field paths that the path or the body fills already.

    """
    return tuple(_walk(message, (), frozenset(without)))


def parameter_for(message: Descriptor, path: str) -> Parameter:
    """Return the parameter of a field path, `shelf.name`.

    Args:
        message: the request.
        path: names of fields joined by dots.

    Raises:
        ValueError: the message has no such scalar field.

    """
    for parameter in parameters(message):
        if ".".join(step.name for step in parameter.path) == path:
            return parameter
    raise ValueError(f"path variable {path!r} names no scalar field of {message.full_name}")


def index(found: Iterable[Parameter]) -> dict[str, Parameter]:
    """Return every accepted name -> its parameter."""
    return {alias: parameter for parameter in found for alias in parameter.aliases}


def fill(message: Message, known: Mapping[str, Parameter], pairs: Iterable[tuple[str, str]]) -> None:
    """Fill a request from the pairs of a query string.

    Args:
        message: the request; changed in place.
        known: accepted name -> its parameter, as `index` returns it.
        pairs: names and decoded values, in order.

    Raises:
        BadField: an unknown parameter, a text that does not fit, or a single value given more than once.

    """
    grouped: dict[str, list[str]] = {}
    for name, text in pairs:
        if name not in known:
            names = ", ".join(dict.fromkeys(parameter.name for parameter in known.values()))
            raise BadField(name[:60], f"unknown; known are {names}" if names else "unknown; this takes no parameters")
        grouped.setdefault(known[name].name, []).append(text)
    for name, values in grouped.items():
        parameter = known[name]
        if len(values) > 1 and not parameter.field.is_repeated:
            raise BadField(name, f"given {len(values)} times, expected once ({', '.join(map(shown, values[:3]))})")
        parameter.put(message, values)


def _walk(message: Descriptor, path: tuple[FieldDescriptor, ...], without: frozenset[str]) -> Iterable[Parameter]:
    for field in message.fields:
        steps = (*path, field)
        if ".".join(step.name for step in steps) in without:
            continue
        if field.message_type is None or well_known(field):
            prefixes = {""}
            for step in path:
                prefixes = {f"{prefix}{name}." for prefix in prefixes for name in accepted_names(step)}
            aliases = frozenset(prefix + name for prefix in prefixes for name in accepted_names(field))
            name = ".".join([*(step.name for step in path), public_name(field)])
            yield Parameter(name=name, aliases=aliases, path=steps, read=_reader(field))
        elif not (field.is_repeated or is_map(field)) and len(steps) < _MAX_DEPTH:
            yield from _walk(field.message_type, steps, without)
