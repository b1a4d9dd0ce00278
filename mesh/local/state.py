"""STATE_DIR: what the runner keeps on disk, who holds it, and which processes it left behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mesh.local import nats, socket_path
from mesh.local.pids import Pid
from mesh.local.programs import Passwords


class AlreadyRunning(Exception):
    """Another `python -m mesh up` holds this STATE_DIR."""


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


class State:
    """The files under one STATE_DIR; nothing is made before it is needed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.logs = directory / "logs"
        self.nats_data = directory / "nats"
        self.postgres_data = directory / "postgres" / "data"
        self.sim_data = directory / "sim"
        self.supervisor_config = directory / "supervisord.conf"
        self.supervisor_complaints = self.logs / "supervisord.err"
        self.record_file = directory / "mesh.json"
        self._lock = directory / "lock"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the directory for as long as the block runs; the kernel lets go when the process dies, however it does.

        Raises: AlreadyRunning.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        with self._lock.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(
                    f"a mesh already runs in {self.directory}; `python -m mesh down` stops it, another STATE_DIR "
                    "and other ports make a second one"
                ) from None
            yield

    def is_held(self) -> bool:
        """Say whether a mesh holds the directory, whatever its record says."""
        try:
            with self._lock.open() as lock:
                # Shared, so that two who ask do not take each other for a mesh.
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def passwords(self) -> Passwords:
        """Return the passwords of this directory, made at the first call, in a file only its owner may read."""
        path = self.directory / "passwords.json"
        if not path.exists():
            # The leading letter matters: nats.conf reads a bare number as a number.
            made = Passwords({user: f"n{secrets.token_hex(16)}" for user in nats.USERS}, *_tokens(2))
            _write_private(path, json.dumps(asdict(made), indent=1))
        return Passwords(**json.loads(path.read_text()))

    def remembered_ports(self) -> dict[str, int]:
        """Return the ports of the last run, {} when there was none."""
        path = self.directory / "ports.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def remember_ports(self, ports: Mapping[str, int]) -> None:
        """Keep these ports for the next run."""
        _write_private(self.directory / "ports.json", json.dumps(dict(ports), indent=1))

    def write(self, record: Record) -> None:
        """Keep the record where the other commands look."""
        _write_private(self.record_file, json.dumps(asdict(record), indent=1))

    def read(self) -> Record | None:
        """Return the last record, or None when no mesh was started here or the last one ended well."""
        try:
            said = json.loads(self.record_file.read_text())
        except FileNotFoundError:
            return None
        pids = {name: Pid(**pid) for name, pid in said.pop("processes").items()}
        supervisor = said.pop("supervisor")
        return Record(
            runner=Pid(**said.pop("runner")),
            supervisor=Pid(**supervisor) if supervisor else None,
            processes=pids,
            **said,
        )

    def forget(self) -> None:
        """Remove the record: the mesh has ended and left nothing."""
        self.record_file.unlink(missing_ok=True)

    def write_supervisor_config(self, text: str) -> None:
        """Write the supervisor's configuration; it holds the services' passwords, so only its owner may read it."""
        _write_private(self.supervisor_config, text)

    def log_of(self, name: str) -> Path:
        """Return the log file of a program."""
        return self.logs / f"{name}.log"


def end_leftovers(record: Record, *, drain_s: float) -> list[str]:
    """End what a mesh left running and remove its socket; return the names of those that had to be ended or waited for.

    A supervisor that lost its runner is draining already: it gets `drain_s` for that. Whatever lives then is killed.
    """
    ended: list[str] = []
    if record.supervisor is not None and record.supervisor.process() is not None:
        ended.append("supervisord")
        record.supervisor.terminate()
        if not record.supervisor.wait(drain_s):
            record.supervisor.kill()
    left = {name: pid for name, pid in record.processes.items() if pid.process() is not None}
    tree = [one for pid in left.values() for one in pid.tree()]
    # They were told when the supervisor died; a moment for that, then the end.
    deadline_s = time.monotonic() + 3
    for one in tree:
        if not one.wait(max(0, deadline_s - time.monotonic())):
            one.kill()
            one.wait(5)
    if record.socket:
        socket_path.remove(Path(record.socket))
    return ended + list(left)


def _tokens(count: int) -> list[str]:
    return [secrets.token_hex(16) for _ in range(count)]


def _write_private(path: Path, text: str) -> None:
    # Written whole under another name first: a reader never sees half of it, nor does the next run after a kill.
    making = path.with_name(path.name + ".making")
    making.unlink(missing_ok=True)
    with os.fdopen(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    making.replace(path)
