"""The path of a `google.api.http` rule: literals, `*`, `**`, `{variable}`, `{variable=shape/*}` and a `:verb`.

Template = "/" Segments [ Verb ] ;
Segments = Segment { "/" Segment } ;
Segment  = "*" | "**" | LITERAL | Variable ;
Variable = "{" FieldPath [ "=" Segments ] "}" ;
Verb     = ":" LITERAL ;
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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

    def match(self, path: str) -> dict[str, str] | None:
        """Return the variables' values when the path fits, else None."""
        found = self._pattern.fullmatch(path)
        return None if found is None else dict(zip(self.variables, found.groups(), strict=True))


def parse_template(text: str) -> Template:
    """Read the path of a rule; raise `ValueError` when it is none."""
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
