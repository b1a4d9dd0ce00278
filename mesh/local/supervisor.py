"""supervisord (docs/decisions/0002-process-manager.md): its configuration from our programs, and talking to it."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import resource
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import xmlrpc.client
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesh.local.programs import Program
from mesh.service.errors import TickmeshError

ANSWER_S = 3.0
"""How long it may take to answer; it does so in milliseconds."""
START_SCRIPTS = "start"
"""The folder in STATE_DIR with each program's script."""
PARTITIONS = "partitions"
"""The file in STATE_DIR that says how many partitions the mesh has, once it is known."""
STAYS_UP_S = 2
"""A program that ends sooner after its start has not come up: each further attempt waits a second longer."""


class SupervisorError(TickmeshError):
    """supervisord did not come up, or does not answer."""


@dataclass(frozen=True, slots=True)
class Status:
    """How one program is: supervisord's word for its state, and its pid and uptime while it has one."""

    name: str
    state: str
    pid: int | None
    uptime_s: int
    detail: str

    @property
    def running(self) -> bool:
        """Say whether the program has come up and stays."""
        return self.state == "RUNNING"

    @property
    def kept_running(self) -> bool:
        """Say whether the program runs, or is being started."""
        return self.state in ("RUNNING", "STARTING", "BACKOFF")


def render(
    programs: Sequence[Program], *, socket_file: Path, as_root: bool, is_started: Callable[[str], bool] = lambda _: True
) -> str:
    """Return supervisord's configuration for programs given in the order of starting; they stop in the other.

    Nothing in it is a person's: its syntax knows no escapes, so that it could not hold each value and path. Its files
    are relative to STATE_DIR, where it runs, and each program is started by a `start_script`.

    Args:
        programs: in the order of starting.
        socket_file: where supervisord listens.
        as_root: whether it runs as root, and has to be told so.
        is_started: says of a program whether it is started at once; else `Supervisor.start_program` does it.

    """
    lines = [
        "; Written by `python -m mesh up` at every start.",
        "[supervisord]",
        "nodaemon = true",
        "logfile = logs/supervisord.log",
        "logfile_maxbytes = 1MB",
        "logfile_backups = 1",
        "pidfile = supervisord.pid",
        # Where it may not have as many as it would like, it has to do with what there is, instead of ending.
        f"minfds = {_at_most(1024, resource.RLIMIT_NOFILE)}",
        f"minprocs = {_at_most(200, resource.RLIMIT_NPROC)}",
        *(["user = root"] if as_root else []),
        "[unix_http_server]",
        f"file = {str(socket_file).replace('%', '%%')}",
        "chmod = 0600",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for priority, program in enumerate(programs, start=1):
        lines += [
            f"[program:{program.name}]",
            f"command = /bin/sh {START_SCRIPTS}/{program.name}.sh",
            f"priority = {priority}",
            f"autostart = {str(is_started(program.name)).lower()}",
            "autorestart = true",
            f"startsecs = {STAYS_UP_S}",
            "startretries = 1000000",  # for ever: a service that waits for a repair comes back by itself
            f"stopsignal = {program.stop_signal}",
            f"stopwaitsecs = {program.stop_wait_s}",
            "killasgroup = true",
            "redirect_stderr = true",
            f"stdout_logfile = logs/{program.name}.log",
            "stdout_logfile_maxbytes = 10MB",
            "stdout_logfile_backups = 3",
        ]
    return "\n".join(lines) + "\n"


def _at_most(wanted: int, kind: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def start_script(program: Program, *, working_directory: Path) -> str:
    """Return the shell script that becomes a program, with its environment, in a folder; any value and path will do.

    What the script is given is given to the program. PARTITIONS is what STATE_DIR says, where it says it.

    Args:
        program: which.
        working_directory: where it runs.

    """
    # The values of an environment may be in any encoding; the shell takes bytes as they are.
    variables = [f"export {name}={shlex.quote(value)}" for name, value in program.environment.items()]
    if "PARTITIONS" in program.environment:
        variables.append(f"[ ! -f {PARTITIONS} ] || export PARTITIONS=$(cat {PARTITIONS})")
    lines = [
        *variables,
        f"cd {shlex.quote(str(working_directory))} || exit",
        f'exec {shlex.join(standing_back(program))} "$@"',
    ]
    return "\n".join(lines) + "\n"


def tied(argv: Sequence[str], signal_name: str) -> list[str]:
    """Return a command line that gets `signal_name` from the kernel when its parent dies, where setpriv is there.

    This is how nothing is left behind after a kill -9 of the runner or of supervisord.

    Args:
        argv: the command line.
        signal_name: as setpriv takes it: `TERM`.

    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", signal_name, "--", *argv] if setpriv else list(argv)


def standing_back(program: Program) -> list[str]:
    """Return a program's command line with its niceness, where `nice` is there."""
    nice = shutil.which("nice") if program.niceness else None
    return [nice, "-n", str(program.niceness), *program.argv] if nice else list(program.argv)


class Supervisor:
    """One supervisord, met at its socket; may be started by another process than this one."""

    def __init__(self, socket_file: Path) -> None:
        self.socket_file = socket_file
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, config: Path, *, complaints: Path, environment: Mapping[str, str]) -> int:
        """Start supervisord in the configuration's folder; it starts the programs at once. Return its pid.

        What it says before it has a log, or when it cannot have one, is found in `complaints`.

        Args:
            config: file that `render` has made.
            complaints: file for its stderr.
            environment: all variables that it and its programs get.

        """
        command = [sys.executable, "-m", "mesh.local.patient_supervisord", "--nodaemon", "--configuration", str(config)]
        # A session of its own: Ctrl-C in the terminal is for the runner, which then stops this in order.
        with complaints.open("wb") as said:
            self._child = subprocess.Popen(
                tied(command, "TERM"),
                cwd=config.parent,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
        return self._child.pid

    def ended(self) -> int | None:
        """Return the exit code of the supervisord started here, None while it runs."""
        return None if self._child is None else self._child.poll()

    def programs(self) -> list[Status]:
        """Return how every program is, in the order of starting.

        Calling this also wakes supervisord, which otherwise looks at its children once a second.
        Raises: SupervisorError when it does not answer.
        """
        said = self._call("supervisor.getAllProcessInfo")
        return [
            Status(
                name=info["name"],
                state=info["statename"],
                pid=info["pid"] or None,
                uptime_s=max(0, info["now"] - info["start"]) if info["pid"] else 0,
                # After an early end it knows no code any more, and its "exited too quickly" says less than the log.
                detail=f"exit code {info['exitstatus']}" if info["exitstatus"] else "",
            )
            for info in said
        ]

    def start_program(self, name: str) -> None:
        """Ask supervisord to start a program that does not run, and to keep it running. Raises: SupervisorError."""
        self._call("supervisor.startProcess", name, False)

    def stop_program(self, name: str) -> None:
        """Ask supervisord to stop a program, without waiting until it has ended. Raises: SupervisorError."""
        self._call("supervisor.stopProcess", name, False)

    def shutdown(self) -> None:
        """Ask supervisord to stop the programs in drain order and then itself. Raises: SupervisorError."""
        self._call("supervisor.shutdown")

    def _call(self, method: str, *arguments: object) -> Any:
        # The host is not used: the transport knows the way.
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=_Transport(self.socket_file))
        try:
            with proxy:
                return getattr(proxy, method)(*arguments)
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as exc:
            raise SupervisorError(f"supervisord at {self.socket_file} does not answer {method}: {exc}") from exc


class _Transport(xmlrpc.client.Transport):
    # supervisor's own has no time limit, and one that stands still would make whoever asks it stand still.
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, _host: object) -> http.client.HTTPConnection:
        return _Connection(self._path)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


# --- the socket -------------------------------------------------------------------------------------------------------
# Where the runner and supervisord meet: a unix socket, in a short folder of its own outside of STATE_DIR.
#
# A socket's path may have 107 bytes (103 on macOS). supervisord makes it absolute and binds it with its own pid behind,
# so in a STATE_DIR of some 85 characters there is no room for it.

_ROOM_BYTES = 103 - len("/tickmesh-xxxxxxxx/supervisor.sock.4194304")


def make_socket_path() -> Path:
    """Make a folder that only its owner may enter, and return the path of a socket in it.

    Call `remove_socket` at the end.
    """
    usual = tempfile.gettempdir()
    # supervisord's configuration takes a comment sign after a space for one, and the end of a line.
    suits = len(os.fsencode(usual)) <= _ROOM_BYTES and usual.isprintable() and not re.search(r"\s", usual)
    parent = usual if suits else "/tmp"  # noqa: S108 - mkdtemp makes a folder of our own
    return Path(tempfile.mkdtemp(prefix="tickmesh-", dir=parent)) / "supervisor.sock"


def remove_socket(path: Path) -> None:
    """Remove the socket and its folder, as far as they are there. Whatever else is in the folder stays, and so it."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()
