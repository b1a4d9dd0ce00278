"""STATE_DIR: what the runner keeps on disk, who holds it, and which processes it left behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from mesh.bus.partitions import MAX_PARTITIONS
from mesh.local.passwords import Passwords, complete
from mesh.local.pids import Pid
from mesh.local.supervisor import PARTITIONS, START_SCRIPTS, remove_socket
from mesh.service.errors import TickmeshError

# --- the record of a running mesh -------------------------------------------------------------------------------------
# What a running mesh says of itself, and reading it again: whoever wrote it may have been another version.


@dataclass(slots=True)
class Record:
    """What the running mesh says of itself to `status`, `env`, `down` and the next `up`.

    As JSON: `{"runner": {"pid": 17, "birth": "123456 ticks after boot 5b6c..."}, "gateway_host": "127.0.0.1",
    "ports": {"GATEWAY_PORT": 8080, ...}, "socket": "/tmp/tickmesh-1a2b/supervisor.sock", "supervisor": {...},
    "processes": {"nats": {...}, ...}, "restarts": {"store": 1}}`.

    Attributes:
        socket: the path at which the supervisor is met, empty while there is none.
        restarts: how often each program was started again.
        tls: whether the bus and gRPC are with TLS.
        https: whether the gateway serves HTTPS.

    """

    runner: Pid
    gateway_host: str
    ports: dict[str, int]
    socket: str = field(kw_only=True)
    supervisor: Pid | None = field(kw_only=True)
    processes: dict[str, Pid] = field(kw_only=True)
    restarts: dict[str, int] = field(kw_only=True)
    tls: bool = field(kw_only=True, default=False)
    https: bool = field(kw_only=True, default=False)

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


# ----------------------------------------------------------------------------------------------------------------------


class AlreadyRunning(TickmeshError):
    """Another `python -m mesh up` holds this STATE_DIR."""


class StateError(TickmeshError):
    """STATE_DIR holds what cannot be used; the message says what and where."""


@contextlib.contextmanager
def blamed(directory: Path) -> Iterator[None]:
    """Say of what the system refuses in the block, on the way to `directory` or in it, which setting it comes from.

    Raises: StateError.
    """
    try:
        yield
    except OSError as exc:
        path = Path(str(exc.filename))
        if not (path.is_relative_to(directory) or directory.is_relative_to(path)):
            raise
        reason = (exc.strerror or str(exc)).lower()
        raise StateError(
            f"STATE_DIR is {directory}, and {path}: {reason}; expected a folder that this user may read and write"
        ) from exc


class StateDirectory:
    """The files under one STATE_DIR; nothing is made before it is needed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.logs = directory / "logs"
        self.nats_data = directory / "nats"
        self.nats_cluster_data = directory / "nats-cluster"
        self.postgres_data = directory / "postgres" / "data"
        self.sim_data = directory / "sim"
        self.supervisor_config = directory / "supervisord.conf"
        self.supervisor_complaints = self.logs / "supervisord.err"
        self.record_file = directory / "mesh.json"
        self._start_scripts = directory / START_SCRIPTS
        self._partitions = directory / PARTITIONS
        self._becoming = directory / f"{PARTITIONS}.becoming"
        self._lock = directory / "lock"
        self._changing_lock = directory / f"{PARTITIONS}.lock"
        self._complained = False

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the directory for as long as the block runs; the kernel lets go when the process dies, however it does.

        Raises: AlreadyRunning.
        """
        with self._locked(
            self._lock,
            f"a mesh already runs in {self.directory}; `python -m mesh down` stops it, another STATE_DIR and other "
            "ports make a second one",
        ):
            yield

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Be the only one that changes the number of partitions while the block runs. Raises: AlreadyRunning."""
        with self._locked(self._changing_lock, f"the number of partitions is being changed in {self.directory}"):
            yield

    @contextlib.contextmanager
    def _locked(self, path: Path, otherwise: str) -> Iterator[None]:
        self.logs.mkdir(parents=True, exist_ok=True)
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(otherwise) from None
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
        """Return the passwords of this directory; what is missing of them is made, in a file only its owner may read.

        Raises: StateError: the database's are missing, and it is there already.
        """
        path = self.directory / "passwords.json"
        text = path.read_text(errors="replace") if path.exists() else ""
        try:
            passwords = complete(text, database_made=self.postgres_data.exists())
        except ValueError as exc:
            raise StateError(
                f"{path} holds {exc}: put the file back as it was, or remove {self.postgres_data} and its trades"
            ) from None
        if passwords.text() != text:
            _write_private(path, passwords.text())
        return passwords

    def remembered_ports(self) -> dict[str, int]:
        """Return the ports of the last run, {} when there was none or it cannot be read: others will do."""
        path = self.directory / "ports.json"
        try:
            said = json.loads(path.read_text())
            return {str(name): int(port) for name, port in said.items()}
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            return {}

    def remember_ports(self, ports: Mapping[str, int]) -> None:
        """Keep these ports for the next run."""
        _write_private(self.directory / "ports.json", json.dumps(dict(ports), indent=1))

    def partitions(self) -> int | None:
        """Return how many partitions the mesh has; None while nobody knows. Raises: StateError."""
        return _number_in(self._partitions)

    def keep_partitions(self, count: int) -> None:
        """Keep how many partitions the mesh has now: each service that is started from now on is given this number."""
        _write_private(self._partitions, f"{count}\n")
        self._becoming.unlink(missing_ok=True)

    def becoming(self) -> int | None:
        """Return what number of partitions the mesh is just being given, or was when that ended. Raises: StateError."""
        return _number_in(self._becoming)

    def keep_becoming(self, count: int | None) -> None:
        """Keep what number of partitions the mesh is just being given; None where that is not done."""
        if count is None:
            self._becoming.unlink(missing_ok=True)
        else:
            _write_private(self._becoming, f"{count}\n")

    def write(self, record: Record) -> None:
        """Keep the record where the other commands look."""
        _write_private(self.record_file, record.text())

    def read(self) -> Record | None:
        """Return the last record, or None when no mesh was started here, the last one ended well, or it is unreadable.

        The last is said on stderr, once.
        """
        try:
            return parse_record(self.record_file.read_text())
        except FileNotFoundError:
            return None
        except ValueError as exc:
            if not self._complained:
                self._complained = True
                print(f"{self.record_file} cannot be read: {exc}; going on without it", file=sys.stderr)
            return None

    def forget(self) -> None:
        """Remove the record: the mesh has ended and left nothing."""
        self.record_file.unlink(missing_ok=True)

    def write_supervisor_config(self, text: str) -> None:
        """Write the supervisor's configuration."""
        _write_private(self.supervisor_config, text)

    def write_start_scripts(self, scripts: Mapping[str, str]) -> None:
        """Write each program's start script; they hold the services' passwords, so only their owner may read them."""
        self._start_scripts.mkdir(exist_ok=True)
        for name, text in scripts.items():
            _write_private(self.start_script_of(name), text)

    def start_script_of(self, name: str) -> Path:
        """Return the script by which a program is started, in STATE_DIR."""
        return self._start_scripts / f"{name}.sh"

    def log_of(self, name: str) -> Path:
        """Return the log file of a program."""
        return self.logs / f"{name}.log"


def end_leftovers(record: Record, *, drain_s: float) -> list[str]:
    """End what a mesh left running and remove its socket; return the names of those that had to be ended or waited for.

    A supervisor that lost its runner is draining already: it gets `drain_s` for that. Whatever lives then is killed.

    Args:
        record: what the mesh wrote of itself.
        drain_s: how many seconds a supervisor has that already stops its programs.

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
        remove_socket(Path(record.socket))
    return ended + list(left)


def _number_in(path: Path) -> int | None:
    try:
        text = path.read_text(errors="replace").strip()
    except FileNotFoundError:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= MAX_PARTITIONS):
        raise StateError(f"{path} holds {text[:20]!r}, expected a number from 1 to {MAX_PARTITIONS}")
    return int(text)


def _write_private(path: Path, text: str) -> None:
    # Written whole under another name first: a reader never sees half of it, nor does the next run after a kill.
    making = path.with_name(path.name + ".making")
    making.unlink(missing_ok=True)
    with os.fdopen(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text.encode(errors="surrogateescape"))
    making.replace(path)
