"""What the runner asks the gateway: are you ready, and which venue is it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

import httpx

SERVICES = {"SignalService": "signal", "StoreService": "store"}
"""Which program serves what the gateway names."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """The gateway's answer: what is missing in words, and the programs it waits for."""

    ready: bool
    missing: str = ""
    waits_for: tuple[str, ...] = ()


def parse_readiness(status: int, text: str) -> Readiness:
    """Read an answer of `/readyz`; the mesh is ready when the gateway is and every service behind it serves.

    One of them: 503 `{"status": "not ready", "upstreams": {"tickmesh.v1.SignalService": "UNREACHABLE"}, ...}`.
    """
    try:
        answer = json.loads(text)
        upstreams = answer["upstreams"].items()
    except (ValueError, KeyError, TypeError, AttributeError):
        return Readiness(ready=False, missing=f"the gateway says {status} {text[:200]!r}", waits_for=("gateway",))
    away = {name.rpartition(".")[2]: state for name, state in upstreams if state != "SERVING"}
    if status == 200 and not away:
        return Readiness(ready=True)
    said = answer.get("message") or f"the gateway says {status}"
    return Readiness(
        ready=False,
        missing=", ".join(f"{name} is {state}" for name, state in away.items()) or str(said),
        waits_for=tuple(SERVICES.get(name, "gateway") for name in away) or ("gateway",),
    )


def readiness(url: str, *, timeout_s: float = 2) -> Readiness:
    """Ask `/readyz`."""
    try:
        answer = httpx.get(f"{url}/readyz", timeout=timeout_s, trust_env=False)
    except httpx.HTTPError as exc:
        return Readiness(
            ready=False, missing=f"the gateway does not answer ({type(exc).__name__})", waits_for=("gateway",)
        )
    return parse_readiness(answer.status_code, answer.text)


def venue(url: str, *, timeout_s: float = 2) -> str | None:
    """Return the venue that is followed, None when the gateway cannot tell yet.

    Where reads are protected it shows the runner's own READ_TOKEN or API_TOKEN.
    """
    token = os.environ.get("READ_TOKEN") or os.environ.get("API_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token and token.isascii() and token.isprintable() else {}
    try:
        said = httpx.get(f"{url}/api/price", headers=headers, timeout=timeout_s, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return None
    name = said.get("venue") if isinstance(said, dict) else None
    return name if isinstance(name, str) and name else None
