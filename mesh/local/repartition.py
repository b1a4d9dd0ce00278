"""`python -m mesh repartition N`: give the mesh of this STATE_DIR another number of partitions, whether it runs or not.

Ingest stops first; when signal and store have taken in all there is, they stop, too, and `python -m store repartition`
makes the change. What ran before is started again with the new number, which STATE_DIR keeps for later starts.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from mesh.local import report
from mesh.local.pids import Pid
from mesh.local.programs import REPARTITION, service_of
from mesh.local.settings import NATS, load_valid
from mesh.local.state import AlreadyRunning, Record, StateDirectory
from mesh.local.supervisor import Status, Supervisor, SupervisorError
from mesh.local.up import up
from mesh.local.watch import LOST_S, Watch, say
from mesh.service.errors import TickmeshError

_SHARED = ("store", "signal", "ingest")
"""The services that have partitions, in the order in which they start."""
_LOOK_EVERY_S = 0.1
_ENDS_WITHIN_S = 60.0
_NOTED_WITHIN_S = 15.0
_SERVES_WITHIN_S = 60.0


class RepartitionError(TickmeshError):
    """The number of partitions cannot be changed, or not yet; the message says how things are left."""


def repartition(state: StateDirectory, count: int, environ: Mapping[str, str]) -> int:
    """Change the number of partitions, and return the exit code.

    Args:
        state: of the mesh.
        count: the new number.
        environ: for a mesh that does not run: as for `up`.

    Raises:
        RepartitionError: it cannot be changed.
        AlreadyRunning: another command is at it, or a mesh is just starting or stopping.

    """
    with state.changing():
        if (becoming := state.becoming()) not in (None, count):
            raise RepartitionError(
                f"a change to {becoming} partitions was interrupted: let it finish first, {_again(becoming)}"
            )
        if becoming is None and state.partitions() == count:
            say(f"the mesh has {count} partitions already")
            return 0
        record = state.read()
        if record is not None and record.alive():
            _of_a_running_mesh(state, record, count)
            return 0
        if state.is_held():
            raise AlreadyRunning(f"a mesh is just starting or stopping in {state.directory}: ask again")

        def work(watch: Watch) -> int:
            with watch.running(lambda name: name == "postgres" or name in NATS):
                _of_a_stopped_mesh(watch, count)
            return 0

        return up(dict(environ), work)


def _again(count: int | None) -> str:
    return f"by `python -m mesh repartition {count}`"


def _of_a_running_mesh(state: StateDirectory, record: Record, count: int) -> None:
    if state.partitions() is None:
        raise RepartitionError(
            "the mesh has not served yet, so its partitions may be others than it was told: ask again"
        )

    def look() -> Mapping[str, Pid]:
        now = state.read()
        return {} if now is None else now.processes

    say(
        f"The mesh is given {count} partitions instead of {state.partitions()}. Until that is done, ingest, signal and "
        "store do not work, and prices stand still. What the venue trades meanwhile is fetched from it afterwards, and "
        "signal's sessions and windows begin anew."
    )
    change = Change(state, Supervisor(Path(record.socket)), count, pause=time.sleep, look=look)
    change.run()
    change.start(*_SHARED)
    url = report.gateway_url(record.gateway_host, record.ports["GATEWAY_PORT"], https=record.https)
    say(f"waiting for {url}/readyz")
    deadline_s = time.monotonic() + _SERVES_WITHIN_S
    while not (answer := report.readiness(url)).ready:
        if time.monotonic() > deadline_s:
            raise RepartitionError(f"the mesh has {count} partitions now, and does not serve yet: {answer.missing}")
        time.sleep(_LOOK_EVERY_S)
    say(f"the mesh has {count} partitions, and serves again")


def _of_a_stopped_mesh(watch: Watch, count: int) -> None:
    def pause(seconds: float) -> None:
        if watch.stop.wait(seconds):
            raise KeyboardInterrupt

    def look() -> Mapping[str, Pid]:
        watch.note(watch.supervisor.programs())
        return watch.record.processes

    had = watch.state.partitions() or load_valid()[0].partitions
    say(f"The mesh does not run: bus and database are started to give it {count} partitions instead of {had}.")
    Change(watch.state, watch.supervisor, count, pause=pause, look=look).run()
    say(f"the mesh has {count} partitions at its next start")


class Change:
    """One change of the number of partitions, by way of the mesh's supervisor.

    Args:
        state: of the mesh.
        supervisor: keeps its programs running.
        count: the new number.
        pause: waits for so many seconds, or raises KeyboardInterrupt.
        look: lets the runner look at its programs, and returns which processes it knows.

    """

    def __init__(
        self,
        state: StateDirectory,
        supervisor: Supervisor,
        count: int,
        *,
        pause: Callable[[float], None],
        look: Callable[[], Mapping[str, Pid]],
    ) -> None:
        self._state = state
        self._supervisor = supervisor
        self._count = count
        self._pause = pause
        self._look = look

    def run(self) -> None:
        """Stop the services that have partitions, and make the change; on leaving they are stopped.

        Raises:
            RepartitionError: nothing was changed, and what ran runs again; or it has to be given again.
            KeyboardInterrupt: likewise.

        """
        ran = {status.name for status in self._programs() if status.kept_running}
        self._require_room()
        try:
            self._stop("ingest")
            self.start("store", "signal")
            self._by_hand("--wait")
            self._stop("signal", "store")
        except (KeyboardInterrupt, RepartitionError):
            self._start(ran)
            say("nothing was changed")
            raise
        self._state.keep_becoming(self._count)
        try:
            self._by_hand()
        except (KeyboardInterrupt, RepartitionError):
            say(f"the change was interrupted, and ingest, signal and store are stopped: go on {_again(self._count)}")
            raise
        self._state.keep_partitions(self._count)

    def start(self, *services: str) -> None:
        """Start all instances of these services that do not run."""
        self._start({status.name for status in self._programs() if service_of(status.name) in services})

    def _require_room(self) -> None:
        instances = sum(service_of(each.name) == "store" for each in self._programs())
        if instances > self._count:
            raise RepartitionError(
                f"{instances} instances of each service share the partitions, expected at most {self._count}: start "
                "the mesh with fewer INSTANCES first"
            )

    def _programs(self) -> list[Status]:
        """Ask the supervisor, which may just be starting."""
        deadline_s = time.monotonic() + LOST_S
        while True:
            try:
                return self._supervisor.programs()
            except SupervisorError:
                if time.monotonic() > deadline_s:
                    raise
                self._pause(_LOOK_EVERY_S)

    def _start(self, names: set[str]) -> None:
        starting = [each.name for each in self._programs() if each.name in names and not each.kept_running]
        if starting:
            say(f"starting {', '.join(starting)}")
        for name in starting:
            self._supervisor.start_program(name)

    def _stop(self, *services: str) -> None:
        """Stop all instances of these services, and wait until they have ended and the runner knows it."""
        stopping = [each.name for each in self._programs() if service_of(each.name) in services and each.kept_running]
        if stopping:
            say(f"stopping {', '.join(stopping)}")
        for name in stopping:
            self._supervisor.stop_program(name)
        deadline_s = time.monotonic() + _ENDS_WITHIN_S
        while left := [each.name for each in self._programs() if each.name in stopping and each.pid is not None]:
            if time.monotonic() > deadline_s:
                raise RepartitionError(f"{', '.join(left)} did not end within {_ENDS_WITHIN_S:g} s")
            self._pause(_LOOK_EVERY_S)
        # Else it would take the next start for one after a death.
        deadline_s = time.monotonic() + _NOTED_WITHIN_S
        while self._look().keys() & set(stopping) and time.monotonic() < deadline_s:
            self._pause(_LOOK_EVERY_S)

    def _by_hand(self, *options: str) -> None:
        """Run `python -m store repartition` with the mesh's settings, and tell what it says."""
        script, log = self._state.start_script_of(REPARTITION), self._state.log_of(REPARTITION)
        said = ""
        with log.open("wb") as writing, log.open(errors="replace") as reading:
            command = ["/bin/sh", str(script), str(self._count), *options]
            with subprocess.Popen(
                command, cwd=self._state.directory, env={}, stdin=subprocess.DEVNULL, stdout=writing, stderr=writing
            ) as process:
                try:
                    while process.poll() is None:
                        self._pause(_LOOK_EVERY_S)
                        said = _tell(reading) or said
                finally:
                    process.terminate()
            said = _tell(reading) or said
        if process.returncode:
            raise RepartitionError(
                f"python -m store repartition: {said or f'it ended with {process.returncode}'}; its log: {log}"
            )


def _tell(log: TextIO) -> str:
    """Tell what of the change has been logged since the last look; return the last error, empty where there is none."""
    error = ""
    while True:
        at = log.tell()
        if not (line := log.readline()).endswith("\n"):
            log.seek(at)
            return error
        entry = _entry(line)
        if entry.get("level") == "error":
            error = str(entry.get("event"))
        elif str(entry.get("logger")).endswith(REPARTITION):
            say(f"  {entry.get('event')}")


def _entry(line: str) -> dict[str, object]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
