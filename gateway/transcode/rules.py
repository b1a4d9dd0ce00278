"""The `google.api.http` options of the services -> routes.

A rule says which HTTP request means an RPC: verb and path, which field is the body (`*` is the whole request), and
which field of the answer is shown (`response_body`). What neither path nor body names can come as query parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from google.api import annotations_pb2, http_pb2, httpbody_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway.errors import BadInput
from gateway.transcode import json, query
from gateway.transcode.fields import find_field

# --- path templates ---------------------------------------------------------------------------------------------------

_LITERAL = re.compile(r"[A-Za-z0-9._~-]+", re.ASCII)
_VARIABLE = re.compile(r"\{([a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)*)(?:=([^{}]+))?\}", re.ASCII)
_TEMPLATE = re.compile(r"/(.*?)(?::([A-Za-z0-9._~-]+))?", re.ASCII)
_SHAPES = {"*": "[^/]+", "**": ".*"}


@dataclass(frozen=True, slots=True)
class Template:
    """A path with holes."""

    text: str
    """As the rule has it."""
    shown: str
    """As OpenAPI and the router have it, without shapes: `/v1/{name}`."""
    variables: tuple[str, ...]
    """Field paths in the order of the holes."""
    loose: str
    """As starlette's router has it; fits every path that fits, and maybe others."""
    _pattern: re.Pattern[str]

    @property
    def fitting(self) -> str:
        """Which paths fit, whatever the holes are called: equal for `/v1/{name=books/*}` and `/v1/books/{id}`."""
        return re.sub("[()]", "", self._pattern.pattern)

    def match(self, path: str) -> dict[str, str] | None:
        """Return the variables' values when the path fits, else None."""
        found = self._pattern.fullmatch(path)
        return None if found is None else dict(zip(self.variables, found.groups(), strict=True))


def parse_template(text: str) -> Template:
    """Read the path of a rule: literals, `*`, `**`, `{variable}`, `{variable=shape/*}` and a `:verb`.

    Template = "/" Segments [ Verb ] ;
    Segments = Segment { "/" Segment } ;
    Segment  = "*" | "**" | LITERAL | Variable ;
    Variable = "{" FieldPath [ "=" Segments ] "}" ;
    Verb     = ":" LITERAL ;

    Raises:
        ValueError: the text is no such path.

    """
    outer = _TEMPLATE.fullmatch(text)
    if outer is None:
        raise ValueError(f"path template {text!r} does not begin with a slash")
    segments, verb = outer.groups()
    variables: list[str] = []
    pattern = "/" + "/".join(_segment(segment, variables, text) for segment in _split(segments))
    if len(set(variables)) != len(variables):
        raise ValueError(f"path template {text!r} uses a variable twice")
    if verb:
        pattern += f":{re.escape(verb)}"
    names = iter(range(len(text)))
    loose = re.sub(r"\{[^}]*\}|\*\*?", lambda _: f"{{hole{next(names)}:path}}", text)
    return Template(
        text=text,
        shown=_VARIABLE.sub(r"{\1}", text),
        variables=tuple(variables),
        loose=loose,
        _pattern=re.compile(pattern, re.DOTALL),
    )


def _split(segments: str) -> list[str]:
    # slashes inside of braces belong to the variable's shape
    return re.split(r"/(?![^{]*\})", segments)


def _segment(segment: str, variables: list[str], text: str) -> str:
    if segment in _SHAPES:
        return _SHAPES[segment]
    if _LITERAL.fullmatch(segment):
        return re.escape(segment)
    variable = _VARIABLE.fullmatch(segment)
    if variable is None:
        raise ValueError(f"path template {text!r} has the segment {segment!r}, expected a literal, *, ** or a variable")
    name, shape = variable.groups()
    variables.append(name)
    parts = (shape or "*").split("/")
    if not all(part in _SHAPES or _LITERAL.fullmatch(part) for part in parts):
        raise ValueError(f"path template {text!r} gives {name} the shape {shape!r}")
    return "(" + "/".join(_SHAPES.get(part) or re.escape(part) for part in parts) + ")"


# ----------------------------------------------------------------------------------------------------------------------

NEXT_PAGE_TOKEN = "next_page_token"  # noqa: S105 - AIP-158's name for where the next page begins


HTTP_BODY = httpbody_pb2.HttpBody.DESCRIPTOR.full_name


@dataclass(frozen=True, slots=True)
class Route:
    """One HTTP request that means an RPC."""

    verb: str
    """`GET`, `POST`, ..."""
    template: Template
    method: MethodDescriptor
    body: str
    """`""` none, `*` the whole request, or the field the body fills."""
    response_body: str
    """`""` the whole answer, or the field that is shown of it."""
    parameters: tuple[query.Parameter, ...]
    """What may come in the query."""
    encode: json.Encode
    """From the RPC's answer to what `json.to_bytes` takes."""
    variables: tuple[tuple[str, query.Parameter], ...]
    """Field path and parameter of each variable of the template."""
    _query: Mapping[str, query.Parameter]
    _decode: json.Decode | None

    @property
    def rpc(self) -> str:
        """The RPC's path: `/tickmesh.v1.SignalService/GetPrice`."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    @property
    def streams(self) -> bool:
        """Whether the answer is a stream of messages."""
        return self.method.server_streaming

    @property
    def gives_bytes(self) -> bool:
        """Whether that is a stream of `google.api.HttpBody`: bytes of a media type that the service names."""
        return self.streams and self.method.output_type.full_name == HTTP_BODY

    @property
    def hides_next_page(self) -> bool:
        """Whether the answer names a next page that the shown part does not."""
        return (
            not self.streams and bool(self.response_body) and NEXT_PAGE_TOKEN in self.method.output_type.fields_by_name
        )

    def request(
        self,
        variables: Mapping[str, str],
        pairs: Iterable[tuple[str, str]],
        body: bytes = b"",
    ) -> Message:
        """Build the RPC's request.

        Args:
            variables: what `template.match` found.
            pairs: the query's names and values, decoded.
            body: the request's body; empty bytes stand for an empty object.

        Raises:
            BadInput: naming the parameter or the path in the body, what was found and what is expected.

        """
        request = GetMessageClass(self.method.input_type)()
        if self._decode is not None:
            decoded = self._decode(json.parse(body) if body.strip() else {}, "$")
            (request if self.body == "*" else getattr(request, self.body)).CopyFrom(decoded)
        elif body:
            raise BadInput(f"{self.verb} {self.template.text} takes no body, found {len(body)} bytes")
        query.fill(request, self._query, pairs)
        for path, parameter in self.variables:
            parameter.put(request, [variables[path]])
        return request


def routes(services: Iterable[ServiceDescriptor]) -> tuple[Route, ...]:
    """Return the routes of all rules of the services, in the order of the protos.

    Raises:
        ValueError: a rule that cannot be served: on an RPC that takes a stream, with an unknown field or a malformed
            path.

    """
    return tuple(route for service in services for method in service.methods for route in _of_method(method))


def _of_method(method: MethodDescriptor) -> Iterable[Route]:
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return
    if method.client_streaming:
        raise ValueError(f"{method.full_name} takes a stream and cannot have an http rule")
    rule = options.Extensions[annotations_pb2.http]
    for binding in (rule, *rule.additional_bindings):
        yield _route(method, binding)


def _route(method: MethodDescriptor, rule: http_pb2.HttpRule) -> Route:
    verb, path = _verb_and_path(method, rule)
    template = parse_template(path)
    body_fields = [] if rule.body in ("", "*") else [find_field(method.input_type, rule.body)]
    in_query = (
        ()
        if rule.body == "*"
        else query.parameters(method.input_type, without=[*template.variables, *(f.name for f in body_fields)])
    )
    return Route(
        verb=verb,
        template=template,
        method=method,
        body=rule.body,
        response_body=rule.response_body,
        parameters=tuple(p for p in in_query if not any(field in p.path[:1] for field in body_fields)),
        encode=_answer_encoder(method, rule.response_body),
        variables=tuple((name, query.parameter_for(method.input_type, name)) for name in template.variables),
        _query=query.index(in_query),
        _decode=_body_decoder(method, rule.body, body_fields),
    )


def _verb_and_path(method: MethodDescriptor, rule: http_pb2.HttpRule) -> tuple[str, str]:
    pattern = rule.WhichOneof("pattern")
    if pattern is None:
        raise ValueError(f"the http rule of {method.full_name} has no path")
    if pattern == "custom":
        return rule.custom.kind.upper(), rule.custom.path
    return pattern.upper(), getattr(rule, pattern)


def _body_decoder(method: MethodDescriptor, body: str, fields: list[FieldDescriptor]) -> json.Decode | None:
    if not body:
        return None
    if body == "*":
        return json.decoder(method.input_type)
    field = fields[0]
    if field.message_type is None or field.is_repeated:
        raise ValueError(f"the http rule of {method.full_name} has the body {body!r}, which is no message")
    return json.decoder(field.message_type)


def _answer_encoder(method: MethodDescriptor, response_body: str) -> Callable[[object], object]:
    if not response_body:
        return json.encoder(method.output_type)
    return json.field_encoder(find_field(method.output_type, response_body))
