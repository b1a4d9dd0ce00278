"""What the runner tells people: the banner, the status table, the export lines; text in, text out."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from mesh.local import http

# --- what the gateway says --------------------------------------------------------------------------------------------
# What the runner asks the gateway: are you ready, and how is the mesh.

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

    Args:
        status: of HTTP.
        text: the body.

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
    """Ask `/readyz`.

    Args:
        url: of the gateway.
        timeout_s: how long the answer may take, in seconds.

    """
    try:
        answer = http.get(f"{url}/readyz", timeout_s=timeout_s)
    except httpx.HTTPError as exc:
        return Readiness(
            ready=False, missing=f"the gateway does not answer ({type(exc).__name__})", waits_for=("gateway",)
        )
    return parse_readiness(answer.status_code, answer.text)


@dataclass(frozen=True, slots=True)
class ServiceState:
    """How the mesh says a service is.

    Attributes:
        name: of the service.
        state: SERVING and so on.
        message: why, for people.
        silent: of several instances those that do not report: host and pid of each.

    """

    name: str
    state: str
    message: str
    silent: frozenset[tuple[str, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class MeshStatus:
    """How the mesh is, as `/api/status` tells without the symbols.

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

    def silent_pids(self, host: str) -> set[int]:
        """Return the processes of a machine that are single instances of a service and do not report.

        Args:
            host: its name.

        """
        return {pid for service in self.services for at, pid in service.silent if at == host}


def parse_status(text: str) -> MeshStatus | None:
    """Read an answer of `/api/status`; None when it is none."""
    try:
        said = json.loads(text)
        services = [
            ServiceState(str(one["service"]), str(one["state"]), str(one["message"]), _silent_in(one))
            for one in said["services"]
        ]
        return MeshStatus(str(said["state"]), str(said["message"]), str(said["venue"]), tuple(services))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _silent_in(service: Mapping[str, Any]) -> frozenset[tuple[str, int]]:
    report = service.get("report") or {}
    return frozenset((str(one["host"]), int(one["pid"])) for one in report.get("silent_instances", ()))


def mesh_status(url: str, *, timeout_s: float = 2) -> MeshStatus | None:
    """Return how the mesh is, None when the gateway cannot tell.

    Where reads are protected it shows the runner's own READ_TOKEN or API_TOKEN.

    Args:
        url: of the gateway.
        timeout_s: how long the answer may take, in seconds.

    """
    token = os.environ.get("READ_TOKEN") or os.environ.get("API_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token and token.isascii() and token.isprintable() else {}
    try:
        answer = http.get(f"{url}/api/status?without_symbols=true", headers=headers, timeout_s=timeout_s)
    except httpx.HTTPError:
        return None
    return parse_status(answer.text) if answer.status_code == 200 else None


def is_stuck(url: str, *, timeout_s: float = 2) -> bool:
    """Return whether the gateway takes a connection and then says nothing, not even that it is alive.

    Args:
        url: of the gateway.
        timeout_s: how long the answer may take, in seconds.

    """
    try:
        http.get(f"{url}/healthz", timeout_s=timeout_s)
    except httpx.HTTPError as exc:
        return isinstance(exc, httpx.TimeoutException)  # anything else is no gateway, as while it is started
    return False


def silent_services(mesh: MeshStatus) -> set[str]:
    """Return the services that do not report though another one does: it is they that stand still, and not the bus."""
    reporting = {one.name for one in mesh.services if one.state in ("SERVING", "DEGRADED")} - {"gateway"}
    return {one.name for one in mesh.services if one.state == "UNREACHABLE"} if reporting else set()


# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the status table; a program without a process has pid None."""

    name: str
    state: str
    pid: int | None
    uptime_s: int
    restarts: int
    memory_bytes: int


def table(rows: Sequence[Row]) -> str:
    """Return the status table."""
    cells = [("SERVICE", "STATE", "PID", "UPTIME", "RESTARTS", "MEMORY")]
    for row in rows:
        alive = row.pid is not None
        cells.append(
            (
                row.name,
                row.state.lower(),
                str(row.pid) if alive else "-",
                duration(row.uptime_s) if alive else "-",
                str(row.restarts),
                f"{row.memory_bytes / 2**20:.0f} MB" if alive else "-",
            )
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def duration(seconds: int) -> str:
    """Return seconds as people say them: `42s`, `3m 07s`, `2h 05m`, `4d 03h`."""
    for unit, smaller, size, smaller_size in (("d", "h", 86400, 3600), ("h", "m", 3600, 60), ("m", "s", 60, 1)):
        if seconds >= size:
            return f"{seconds // size}{unit} {seconds % size // smaller_size:02d}{smaller}"
    return f"{seconds}s"


def exports(variables: Mapping[str, str]) -> str:
    """Return lines a shell takes: `eval "$(python -m mesh env)"`."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())


def gateway_url(host: str, port: int, *, https: bool = False) -> str:
    """Return the URL under which a gateway that listens on `host` is reached from this machine.

    Args:
        host: address it listens on; an address of all interfaces becomes loopback.
        port: its port.
        https: whether it serves HTTPS.

    """
    scheme = "https" if https else "http"
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def mesh_lines(mesh: MeshStatus | None) -> str:
    """Return how the mesh is: the feed in a line, then each service that is not as it should be, with the reason."""
    if mesh is None:
        return "feed     OFFLINE: the gateway does not answer, so nobody can tell"
    words = f"{mesh.state} from {mesh.venue}" if mesh.trades_can_come and mesh.venue else mesh.state
    lines = [f"feed     {words}{f': {mesh.message}' if mesh.message else ''}"]
    lines += [
        f"{one.name.ljust(8)} {one.state.lower().replace('_', ' ')}: {one.message}"
        for one in mesh.services
        if one.state != "SERVING"
    ]
    return "\n".join(lines)


def banner(*, mesh: MeshStatus | None, variables: Mapping[str, str], monitor_port: int) -> str:
    """Return what is said once when the mesh serves.

    Args:
        mesh: how it is; None when the gateway cannot tell.
        variables: what `exports` prints.
        monitor_port: the bus' monitoring.

    """
    gateway = variables["GATEWAY_URL"]
    lines = [
        f"REST       {gateway}/api/price",
        f"docs       {gateway}/docs",
        f"WebSocket  {gateway.replace('http', 'ws', 1)}/ws",
        f"gRPC       {variables['SIGNAL_ADDR']} (SignalService)  {variables['STORE_ADDR']} (StoreService)",
        f"NATS       {variables['NATS_URL'].partition('@')[2]}  monitoring http://127.0.0.1:{monitor_port}",
        'psql       eval "$(make -s env)"; psql "$DATABASE_URL"',
        "terminal   make tui",
        "stop       Ctrl-C, or make stop",
        f"page       {gateway}/",
    ]
    title, mark = _title(mesh)
    width = max(map(len, [title, *lines]))
    return "\n".join(["", mark * width, title, mark * width, *lines, mark * width, ""])


def _title(mesh: MeshStatus | None) -> tuple[str, str]:
    """Return the banner's title and the character of its frame; a mesh to which no trade can come is not live."""
    if mesh is None:
        return "tickmesh runs, and NOBODY KNOWS WHETHER TRADES COME: /api/status cannot be read", "!"
    if mesh.state == "SIM":
        return "tickmesh is live on SIM: a SIMULATED EXCHANGE, these are NOT real prices", "!"
    if not mesh.trades_can_come:
        return f"tickmesh runs, and NO TRADES COME: {mesh.state}: {mesh.message}", "!"
    return f"tickmesh is live, following {mesh.venue}" + ("" if mesh.state == "LIVE" else f" ({mesh.message})"), "="
