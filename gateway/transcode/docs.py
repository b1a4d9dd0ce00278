"""The OpenAPI document as one page for people: no script, no font, nothing from outside."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from typing import Any
from urllib.parse import quote

from gateway.transcode.openapi import Json

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #888; --get: #2a7d4f; --post: #b0561a; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0 } h2 { margin-top: 3rem; border-bottom: 1px solid var(--line) }
code, pre { font: 14px/1.45 ui-monospace, monospace } pre { background: #8881; padding: .7rem; overflow-x: auto }
section { border: 1px solid var(--line); border-radius: 6px; padding: .2rem 1rem .6rem; margin: 1rem 0 }
h3 { margin: .6rem 0; font-weight: 600 } h3 code { font-size: 16px } h4 { margin: .8rem 0 .2rem; color: var(--dim) }
.verb { color: #fff; background: var(--get); border-radius: 4px; padding: .1rem .45rem; margin-right: .5rem }
.verb.post { background: var(--post) } table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; border-top: 1px solid var(--line) }
th { border: 0; color: var(--dim); font-weight: 400 } .type { color: var(--dim); white-space: nowrap }
"""

_SAMPLES = {"date-time": "2024-01-31T12:34:56.789Z", "int32": 100, "int64": 7, "decimal": 61837.63, "double": 61836.9}
_MAX_SAMPLE_DEPTH = 4
_SAMPLE_NAMES = {"symbol": "ethusdt", "name": "Ethereum (ETH)", "venue": "sim", "interval": "1m"}
_SAMPLE_NAMES |= {"page_token": "", "next_page_token": ""}


def page(document: Json, *, base_url: str) -> str:
    """Return the page.

    Args:
        document: the OpenAPI document.
        base_url: where the API is, for the curl lines: `http://127.0.0.1:8080`.

    """
    info = document["info"]
    body = [
        f"<h1>{escape(info['title'])} <small class=type>{escape(info['version'])}</small></h1>",
        _prose(info.get("description", "")),
        '<p>The same for programs: <a href="/openapi.json">/openapi.json</a> (OpenAPI 3.1).</p>',
    ]
    for tag in document["tags"]:
        body += [f"<h2>{escape(tag['name'])}</h2>", _prose(tag.get("description", ""))]
        for path, item in document["paths"].items():
            for verb, operation in item.items():
                if tag["name"] in operation["tags"]:
                    body.append(_operation(document, base_url, verb, path, operation))
    body.append("<h2>Shapes</h2>")
    body += [_shape(name, schema) for name, schema in document["components"]["schemas"].items()]
    title = escape(info["title"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body>{''.join(body)}</body></html>\n"
    )


def _operation(document: Json, base_url: str, verb: str, path: str, operation: Json) -> str:
    parts = [
        f'<section id="{escape(operation["operationId"])}">',
        f'<h3><span class="verb {verb}">{verb.upper()}</span><code>{escape(path)}</code></h3>',
        _prose(operation.get("description", "")),
    ]
    if operation.get("parameters"):
        rows = [
            (p["name"], _type(p.get("schema", {"type": "JSON"})), p.get("description", ""))
            for p in operation["parameters"]
        ]
        parts += ["<h4>Parameters</h4>", _table(rows)]
    parts += ["<h4>Try it</h4>", f"<pre>{escape(_curl(document, base_url, verb, path, operation))}</pre>"]
    for status, answer in operation["responses"].items():
        if status == "default":
            continue
        content = answer.get("content", {}).get("application/json", {})
        parts.append(f"<h4>{escape(status)}: {_inline(answer['description'])}</h4>")
        if answer.get("headers"):
            parts.append(_table([(n, "header", h["description"]) for n, h in answer["headers"].items()]))
        if "schema" in content:
            sample = json.dumps(_sample(document, content["schema"]), indent=2, ensure_ascii=False)
            parts.append(f"<pre>{escape(sample)}</pre>")
    return "".join(parts) + "</section>"


def _curl(document: Json, base_url: str, verb: str, path: str, operation: Json) -> str:
    if "101" in operation["responses"]:
        return f"python -m websockets {base_url.replace('http', 'ws', 1)}{path}"
    query = ""
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "query" and parameter["name"] in ("symbol", "limit"):
            value = _SAMPLE_NAMES.get(parameter["name"], 5)
            query += f"{'&' if query else '?'}{parameter['name']}={quote(str(value))}"
    url = f"{base_url}{path}{query}"
    url = f"'{url}'" if query else url
    if "requestBody" not in operation:
        return f"curl {url}" if verb == "get" else f"curl -X {verb.upper()} {url}"
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    token = "  -H 'Authorization: Bearer '\"$API_TOKEN\" \\\n" if operation.get("security") else ""
    return (
        f"curl -X {verb.upper()} {url} \\\n{token}  -H 'Content-Type: application/json' \\\n"
        f"  -d '{json.dumps(_sample(document, schema))}'"
    )


def _sample(document: Json, schema: Json, name: str = "", depth: int = 0) -> Any:
    # Any: a sample is whatever JSON the schema describes
    if "anyOf" in schema:
        return _sample(document, schema["anyOf"][0], name, depth)
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    kind = schema.get("type")
    if kind in ("array", "object") and depth > _MAX_SAMPLE_DEPTH:
        return [] if kind == "array" else {}
    if kind == "array":
        return [_sample(document, schema["items"], name, depth + 1)]
    if kind == "object":
        return {n: _sample(document, s, n, depth + 1) for n, s in schema.get("properties", {}).items()}
    if "enum" in schema:
        return schema["enum"][-1]
    if kind == "boolean":
        return True
    return _SAMPLE_NAMES.get(name, "...") if schema.get("format") not in _SAMPLES else _SAMPLES[schema["format"]]


def _shape(name: str, schema: Json) -> str:
    rows = [(n, _type(s), s.get("description", "")) for n, s in schema.get("properties", {}).items()]
    head = f'<section id="{escape(name)}"><h3><code>{escape(name)}</code></h3>'
    return head + _prose(schema["description"]) + (_table(rows) if rows else "") + "</section>"


def _type(schema: Json) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    kinds = schema.get("type", "")
    kind = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    return " ".join(filter(None, [kind, schema.get("format", ""), ", ".join(schema.get("enum", []))]))


def _table(rows: list[tuple[str, str, str]]) -> str:
    cells = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td class=type>{escape(kind)}</td><td>{_inline(text)}</td></tr>"
        for name, kind, text in rows
    )
    return f"<table>{cells}</table>"


def _prose(text: str) -> str:
    return "".join(_blocks(text))


def _blocks(text: str) -> Iterator[str]:
    for block in filter(None, text.split("\n\n")):
        if all(line.startswith("    ") for line in block.splitlines()):
            yield f"<pre>{escape(block)}</pre>"
        elif block.startswith("- "):
            yield "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in block[2:].split("\n- ")) + "</ul>"
        else:
            yield f"<p>{_inline(block)}</p>"


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
