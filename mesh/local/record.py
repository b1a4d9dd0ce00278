"""What a running mesh says of itself, and reading it again: whoever wrote it may have been another version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mesh.local.pids import Pid


@dataclass(slots=True)
class Record:
    """What the running mesh says of itself to `status`, `env`, `down` and the next `up`.

    `socket` is the path at which the supervisor is met, empty while there is none.
    """

    runner: Pid
    gateway_host: str
    ports: dict[str, int]
    socket: str = ""
    supervisor: Pid | None = None
    processes: dict[str, Pid] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)

    def alive(self) -> bool:
        """Say whether this mesh still runs."""
        return self.supervisor is not None and self.supervisor.process() is not None

    def text(self) -> str:
        """Return it as JSON, for `parse_record`."""
        return json.dumps(asdict(self), indent=1)


def parse_record(text: str) -> Record:
    """Read a record; what another version says besides is passed over.

    One of them: `{"runner": {"pid": 17, "birth": "123456 ticks after boot 5b6c..."}, "gateway_host": "127.0.0.1",
    "ports": {"GATEWAY_PORT": 8080, ...}, "socket": "/tmp/tickmesh-1a2b/supervisor.sock", "supervisor": {...},
    "processes": {"nats": {...}, ...}, "restarts": {"store": 1}}`.

    Raises: ValueError, saying what of it is missing or wrong.
    """
    said = json.loads(text)
    try:
        return Record(
            runner=_pid(said["runner"]),
            gateway_host=str(said["gateway_host"]),
            ports=_counts(said["ports"]),
            socket=str(said["socket"]),
            supervisor=None if said["supervisor"] is None else _pid(said["supervisor"]),
            processes={str(name): _pid(pid) for name, pid in said["processes"].items()},
            restarts=_counts(said["restarts"]),
        )
    except KeyError as exc:
        raise ValueError(f"it has no {exc}") from exc
    except (TypeError, AttributeError) as exc:
        raise ValueError(f"it is not built as expected: {exc}") from exc


def _pid(said: Mapping[str, Any]) -> Pid:
    return Pid(int(said["pid"]), str(said["birth"]))


def _counts(said: Mapping[str, Any]) -> dict[str, int]:
    return {str(name): int(count) for name, count in said.items()}
