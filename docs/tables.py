"""The generated parts of the documents, made from what they describe: `make docs` writes them, a test keeps them fresh.

A generated table ends with its name in a comment, `<!-- settings -->`; its two first lines are written by hand. A
generated text stands between `<!-- websocket: -->` and `<!-- websocket -->`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings

from gateway.app import SERVICES as GRPC_SERVICES
from gateway.manual import WS_DESCRIPTION, own_paths
from gateway.transcode.comments import read_comments, shipped_descriptors
from gateway.transcode.rules import routes
from ingest.binance import refusals
from mesh.local.settings import SERVICES, LocalSettings
from term.keys import KEYS

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
SERVICE_FOLDERS = ("ingest", "signal/signalsvc", "store", "gateway", "mesh")


def endpoints() -> Iterator[tuple[str, ...]]:
    """Yield method, path and purpose of what the gateway answers."""
    comments = read_comments(shipped_descriptors())
    seen: dict[str, str] = {}
    for route in routes(GRPC_SERVICES):
        text = _sentence(comments[route.method.full_name])
        if first := seen.get(route.method.full_name):
            text = f"the same as `{first}`, as one object with `next_page_token`"
        seen.setdefault(route.method.full_name, route.template.text)
        yield route.verb, f"`{route.template.text}`", text
    for path, item in own_paths(token_needed=False).items():
        text = item["get"].get("description") or item["get"]["summary"]
        yield "WS" if path == "/ws" else "GET", f"`{path}`", _sentence(text.removeprefix("WebSocket: "))
    yield "GET", "`/`", "the page: the market live and from history, in a browser"
    yield "GET", "`/docs`, `/openapi.json`, `/asyncapi.json`", "the documentation, for people and for programs"


def parameters() -> Iterator[tuple[str, ...]]:
    """Yield each parameter of a GET request, the requests that take it, and its meaning."""
    comments = read_comments(shipped_descriptors())
    found: dict[tuple[str, str], list[str]] = {}
    for route in routes(GRPC_SERVICES):
        for parameter in route.parameters:
            if not parameter.field.GetOptions().deprecated:
                key = parameter.name, " ".join(comments[parameter.field.full_name].split())
                found.setdefault(key, []).append(f"`{route.template.text}`")
    for (name, text), paths in found.items():
        yield f"`{name}`", ", ".join(paths), text


def calls() -> Iterator[tuple[str, ...]]:
    """Yield each gRPC call, its REST path and its purpose."""
    comments = read_comments(shipped_descriptors())
    paths: dict[str, list[str]] = {}
    for route in routes(GRPC_SERVICES):
        paths.setdefault(route.method.full_name, []).append(f"`{route.verb} {route.template.text}`")
    for service in GRPC_SERVICES:
        for method in service.methods:
            rest = ", ".join(paths.get(method.full_name, ["`/ws`"]))
            yield f"`{service.name}/{method.name}`", rest, _sentence(comments[method.full_name])


def metrics() -> Iterator[tuple[str, ...]]:
    """Yield each metric of ours with its kind, its labels, its meaning and who has it, read from the code."""
    rows = []
    for folder in SERVICE_FOLDERS:
        who = "every service" if folder == "mesh" else Path(folder).parts[0]
        for path in sorted((ROOT / folder).rglob("*.py")):
            for call in ast.walk(ast.parse(path.read_text())):
                kind = call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
                if isinstance(call, ast.Call) and kind in ("Counter", "Gauge", "Histogram"):
                    if not call.args or not isinstance(call.args[0], ast.Constant):
                        continue  # Python's own Counter, which counts what it is given
                    name, text = (str(ast.literal_eval(argument)) for argument in call.args[:2])
                    labels = ast.literal_eval(call.args[2]) if call.args[2:] else []
                    told = ", ".join(f"`{label}`" for label in labels)
                    rows.append((f"`{name}`", kind.lower(), told, text[0].upper() + text[1:], who))
    yield from sorted(rows)


def keys() -> Iterator[tuple[str, ...]]:
    """Yield the keys of the terminal client and what they do."""
    for names, text in KEYS:
        yield f"`{names}`", text


def make_words() -> Iterator[tuple[str, ...]]:
    """Yield the Makefile's words and what they do."""
    for word, text in re.findall(r"^([a-z][a-z0-9-]*):.*?## (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE):
        yield f"`make {word}`", text


def settings() -> Iterator[tuple[str, ...]]:
    """Yield every variable with its default, its meaning and who reads it."""
    readers: dict[str, list[str]] = {}
    fields: dict[str, Any] = {}
    kinds: dict[str, type[BaseSettings]] = {"runner": LocalSettings, **SERVICES}
    for service, kind in sorted(kinds.items(), key=lambda item: item[0] == "runner"):
        for name, field in kind.model_fields.items():
            readers.setdefault(name.upper(), []).append(service)
            fields.setdefault(name.upper(), field)
    for name, field in sorted(fields.items()):
        services = [service for service in readers[name] if service != "runner"]
        everyone = len(services) == len(SERVICES)
        who = [*(["every service"] if everyone else services), *(["runner"] if "runner" in readers[name] else [])]
        yield f"`{name}`", _default(field.default), field.description or "", ", ".join(who)


Tables = dict[str, Callable[[], Iterable[tuple[str, ...]]]]

DOCUMENTS: dict[Path, Tables] = {
    ROOT / "docs" / "operations.md": {"refusals": refusals.table},
    REFERENCE / "grpc.md": {"calls": calls},
    REFERENCE / "make.md": {"make": make_words},
    REFERENCE / "metrics.md": {"metrics": metrics},
    REFERENCE / "rest.md": {"endpoints": endpoints, "parameters": parameters},
    REFERENCE / "settings.md": {"settings": settings},
    REFERENCE / "terminal.md": {"keys": keys},
    REFERENCE / "websocket.md": {},
}
"""The documents that have generated parts, and their tables."""
TEXTS: dict[Path, dict[str, str]] = {
    REFERENCE / "websocket.md": {"websocket": WS_DESCRIPTION.replace("WebSocket: one", "The gateway sends one", 1)},
}


def written(path: Path) -> str:
    """Return a document with its generated parts as they should be."""
    text = path.read_text()
    for name, rows in DOCUMENTS[path].items():
        body = "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows())
        text, found = re.subn(rf"(\| --- [^\n]*\n)(?:\|[^\n]*\n)*(<!-- {name} -->)", partial(_between, body), text)
        assert found == 1, f"{path.name} has {found} tables marked {name!r}, expected one"
    for name, body in TEXTS.get(path, {}).items():
        span = rf"(<!-- {name}: -->\n).*?(<!-- {name} -->)"
        text, found = re.subn(span, partial(_between, f"\n{body}\n\n"), text, flags=re.DOTALL)
        assert found == 1, f"{path.name} has {found} texts marked {name!r}, expected one"
    return text


def _between(body: str, match: re.Match[str]) -> str:
    return match[1] + body + match[2]


def _sentence(text: str) -> str:
    first = re.split(r"(?<=[.:])\s", text.strip(), maxsplit=1)[0].rstrip(".:")
    # only a word: an abbreviation stays as it is
    return first[0].lower() + first[1:] if not first[1:2].isupper() else first


def _default(value: object) -> str:
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    if value is None:
        return ""
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    if isinstance(value, int) and value >= 2**20 and value % 2**20 == 0:
        return f"`{value}` ({value // 2**20} MiB)"
    return f"`{value}`"


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(written(document))
