"""What the runner asks the gateway: are you ready, and how is the mesh."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

import httpx

SERVICES = {"SignalService": "signal", "StoreService": "store"}
"""Which program serves what the gateway names."""
TRADES_CAN_COME = ("LIVE", "QUIET", "GAP", "SIM")
"""The states of a feed in which prices are those of now."""


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


@dataclass(frozen=True, slots=True)
class ServiceState:
    """How the mesh says a service is."""

    name: str
    state: str
    message: str


@dataclass(frozen=True, slots=True)
class MeshStatus:
    """How the mesh is, as `/api/status` tells.

    Attributes:
        state: LIVE, QUIET, STALE, GAP, BLOCKED, SIM or OFFLINE.
        message: why, for people.
        venue: whom it follows; empty when nobody knows.
        services: ingest, signal, store and gateway.

    """

    state: str
    message: str
    venue: str
    services: tuple[ServiceState, ...]

    @property
    def trades_can_come(self) -> bool:
        """Whether prices are those of now, or will be as soon as something is traded."""
        return self.state in TRADES_CAN_COME


def parse_status(text: str) -> MeshStatus | None:
    """Read an answer of `/api/status`; None when it is none."""
    try:
        said = json.loads(text)
        services = [
            ServiceState(str(one["service"]), str(one["state"]), str(one["message"])) for one in said["services"]
        ]
        return MeshStatus(str(said["state"]), str(said["message"]), str(said["venue"]), tuple(services))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def status(url: str, *, timeout_s: float = 2) -> MeshStatus | None:
    """Return how the mesh is, None when the gateway cannot tell.

    Where reads are protected it shows the runner's own READ_TOKEN or API_TOKEN.
    """
    token = os.environ.get("READ_TOKEN") or os.environ.get("API_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token and token.isascii() and token.isprintable() else {}
    try:
        answer = httpx.get(f"{url}/api/status", headers=headers, timeout=timeout_s, trust_env=False)
    except httpx.HTTPError:
        return None
    return parse_status(answer.text) if answer.status_code == 200 else None
