"""The documents' tables, made from what they describe: `make readme` writes them, a test keeps them fresh."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings

from gateway.manual import own_paths
from gateway.transcode.comments import read_comments, shipped_descriptors
from gateway.transcode.rules import routes
from ingest.binance import refusals
from mesh.local.settings import SERVICES, LocalSettings
from term.keys import KEYS
from tickmesh.v1 import signal_pb2, store_pb2

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
OPERATIONS = ROOT / "docs" / "operations.md"


def endpoints() -> Iterator[tuple[str, ...]]:
    """Yield method, path and purpose of what the gateway answers."""
    comments = read_comments(shipped_descriptors())
    services = [
        signal_pb2.DESCRIPTOR.services_by_name["SignalService"],
        store_pb2.DESCRIPTOR.services_by_name["StoreService"],
    ]
    for route in routes(services):
        yield route.verb, f"`{route.template.text}`", _sentence(comments[route.method.full_name])
    for path, item in own_paths(token_needed=False).items():
        text = item["get"].get("description") or item["get"]["summary"]
        yield "WS" if path == "/ws" else "GET", f"`{path}`", _sentence(text.removeprefix("WebSocket: "))
    yield "GET", "`/docs`, `/openapi.json`", "the documentation, for people and for programs"


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

TABLES: Tables = {"endpoints": endpoints, "keys": keys, "make": make_words, "settings": settings}
OPERATIONS_TABLES: Tables = {"refusals": refusals.table}


def written(text: str, tables: Tables = TABLES) -> str:
    """Return a document with its tables as they should be; the README's unless told otherwise."""
    for name, rows in tables.items():
        body = "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows())
        text, found = re.subn(rf"(\| --- [^\n]*\n)(?:\|[^\n]*\n)*(<!-- {name} -->)", partial(_between, body), text)
        assert found == 1, f"there are {found} tables marked {name!r}, expected one"
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
    README.write_text(written(README.read_text()))
    OPERATIONS.write_text(written(OPERATIONS.read_text(), OPERATIONS_TABLES))
