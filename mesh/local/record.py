"""What a running mesh says of itself, and reading it again: whoever wrote it may have been another version."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from mesh.local.pids import Pid


@dataclass(slots=True)
class Record:
    """What the running mesh says of itself to `status`, `env`, `down` and the next `up`.

    As JSON: `{"runner": {"pid": 17, "birth": "123456 ticks after boot 5b6c..."}, "gateway_host": "127.0.0.1",
    "ports": {"GATEWAY_PORT": 8080, ...}, "socket": "/tmp/tickmesh-1a2b/supervisor.sock", "supervisor": {...},
    "processes": {"nats": {...}, ...}, "restarts": {"store": 1}}`.

    Attributes:
        socket: the path at which the supervisor is met, empty while there is none.
        restarts: how often each program was started again.

    """

    runner: Pid
    gateway_host: str
    ports: dict[str, int]
    socket: str = field(kw_only=True)
    supervisor: Pid | None = field(kw_only=True)
    processes: dict[str, Pid] = field(kw_only=True)
    restarts: dict[str, int] = field(kw_only=True)

    @classmethod
    def begun(cls, runner: Pid, *, gateway_host: str, ports: dict[str, int], **known: Any) -> Record:
        """Return the record of a mesh of which only the runner is there yet, but for what is `known` of the others.

        Args:
            runner: its process.
            gateway_host: where the gateway will listen.
            ports: the port of every setting that names one.
            known: attributes that are not empty any more.

        """
        nothing: dict[str, Any] = {"socket": "", "supervisor": None, "processes": {}, "restarts": {}}
        return cls(runner, gateway_host, ports, **(nothing | known))

    def alive(self) -> bool:
        """Say whether this mesh still runs."""
        return self.supervisor is not None and self.supervisor.process() is not None

    def text(self) -> str:
        """Return it as JSON, for `parse_record`."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1).decode()


def parse_record(text: str) -> Record:
    """Read a record; what another version says besides is passed over.

    Raises:
        ValueError: saying what of it is missing or wrong.

    """
    return msgspec.json.decode(text, type=Record)
