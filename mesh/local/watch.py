"""One run of the local mesh: started, told about, kept running, stopped in order."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from mesh.local import nats, report
from mesh.local.logs import last_lines
from mesh.local.passwords import Passwords
from mesh.local.pids import Pid
from mesh.local.programs import Program, addresses, in_drain_order, nats_ports, repartition, service_of
from mesh.local.report import MeshStatus
from mesh.local.settings import surroundings
from mesh.local.state import Record, StateDirectory, end_leftovers
from mesh.local.supervisor import Status, Supervisor, SupervisorError, make_socket_path, render, start_script
from mesh.service.tls import Tls
from mesh.values.venue_hosts import SIM

ROOT = Path(__file__).parents[2]
"""Where the services run: `python -m ingest` and the others are found from here."""
SETTLE_S = 0.25
CALM_S = 1.0
REMIND_S = 15.0
LOST_S = 15.0
"""How long supervisord may be silent until it is taken for lost."""
FIRST_TRADE_S = 5.0
"""How long the banner waits for a first trade once everything serves."""
STUCK_S = 60.0
"""How long a service may be silent while its process lives; a machine may stand still for half a minute and go on."""
MOMENT_S = 3.0
"""How long no trades may come before it is told."""

Say = Callable[[str], None]


def say(line: str) -> None:
    """Tell the person before the terminal."""
    with contextlib.suppress(OSError):  # the terminal was closed: that must not keep the mesh from its orderly end
        print(line, flush=True)


def variables(record: Record, passwords: Passwords) -> dict[str, str]:
    """Return how the parts of a running mesh are reached, for people: on the bus as admin.

    Args:
        record: of the running mesh.
        passwords: of the same STATE_DIR.

    """
    found = addresses(record.ports, passwords, user="admin", tls=record.tls)
    url = report.gateway_url(record.gateway_host, record.ports["GATEWAY_PORT"], https=record.https)
    return found | {"GATEWAY_URL": url}


class Watch:
    """One run of the mesh, from the start of its supervisor to its end.

    Args:
        state: the held STATE_DIR, prepared.
        record: what is told to the other commands; this keeps it true.
        programs: what to run, in the order of starting.
        stop: set by a signal.
        tell: says a line to the person.
        tls: the certificate of the bus, which reads it anew when it is told to.

    """

    def __init__(
        self,
        state: StateDirectory,
        record: Record,
        programs: list[Program],
        stop: StopSignals,
        *,
        tell: Say = say,
        tls: Tls | None = None,
    ) -> None:
        self.state = state
        self.record = record
        self.programs = {program.name: program for program in programs}
        self.stop = stop
        self.tell = tell
        self.supervisor = Supervisor(Path(record.socket))
        self.url = report.gateway_url(record.gateway_host, record.ports["GATEWAY_PORT"], https=record.https)
        self._dead: set[str] = set()
        self._reminded_s = time.monotonic()
        self._ready_s = 0.0
        self._live = False
        self._nats_health = {name: nats.NatsHealth() for name in nats_ports(record.ports)}
        self._asked_bus_s = float("-inf")
        self._unwritten = self._told_unwritten = False
        self._bus_words: dict[str, str] = {}
        self._bus_is_well = False
        self._tls, self._pem = tls, tls and tls.current()
        self._silent_since_s: dict[tuple[str, Pid], float] = {}
        self._venue = ""
        self._mesh: MeshStatus | None = None
        self._stopped_s = 0.0  # since when no trades can come; 0 while they can

    def run(self) -> int:
        """Start, watch until asked to stop or the supervisor is lost, stop, and return the exit code."""
        with self.running():
            self.tell(f"waiting for {self.url}/readyz")
            return self._watch()

    @contextlib.contextmanager
    def running(self, is_started: Callable[[str], bool] = lambda _: True) -> Iterator[None]:
        """Run the supervisor while inside.

        Args:
            is_started: says of a program whether it is started at once.

        """
        socket = make_socket_path()
        self.record.socket = str(socket)
        self.supervisor = Supervisor(socket)
        try:
            self.state.write(self.record)  # whoever finds us killed removes it
            self._start(is_started)
            yield
        finally:
            self._end()

    def _start(self, is_started: Callable[[str], bool]) -> None:
        config = render(
            list(self.programs.values()),
            socket_file=self.supervisor.socket_file,
            as_root=os.geteuid() == 0,
            is_started=is_started,
        )
        by_hand = []
        if "store" in self.programs:
            url = variables(self.record, self.state.passwords())["NATS_URL"]
            by_hand.append(repartition(self.programs["store"], nats_url=url))
        self.state.write_start_scripts(
            {each.name: start_script(each, working_directory=ROOT) for each in (*self.programs.values(), *by_hand)}
        )
        self.state.write_supervisor_config(config)
        self.tell(f"starting {', '.join(filter(is_started, self.programs))}; logs in {self.state.logs}")
        pid = self.supervisor.start(
            self.state.supervisor_config,
            complaints=self.state.supervisor_complaints,
            environment=surroundings(os.environ),
        )
        self.record.supervisor = Pid.of(pid)
        self.state.write(self.record)

    def _watch(self) -> int:
        answered_s = time.monotonic()
        while not self.stop.wait(CALM_S if self._live else SETTLE_S):
            if (code := self.supervisor.ended()) is not None:
                self._tell_lost_supervisor(code)
                return 1
            try:
                self.note(self.supervisor.programs())
            except SupervisorError:
                if time.monotonic() - answered_s > LOST_S:
                    raise
                continue
            answered_s = time.monotonic()
            self._look_after_the_bus()
            if self._live:
                self._look_at_feed()
            else:
                self._look_for_life()
        return 0

    def note(self, statuses: list[Status]) -> None:
        """Take in how the programs are: keep their processes in the record, and tell who died, was stopped, or is back.

        Args:
            statuses: of all programs.

        """
        for status in statuses:
            if status.state == "STOPPED" and self.record.processes.pop(status.name, None) is not None:
                self._unwritten = True
                self._dead.add(status.name)
                self.tell(f"{status.name} was stopped")
            before = self.record.processes.get(status.name)
            if status.pid and (before is None or before.pid != status.pid):
                now = Pid.of(status.pid)
                if now is None:
                    continue  # it has ended since; the next look sees what became of it
                self.record.processes[status.name] = now
                self._unwritten = True
                if before is not None:
                    self.record.restarts[status.name] = self.record.restarts.get(status.name, 0) + 1
                    self._note_death(status)
            if status.state in ("BACKOFF", "EXITED", "FATAL"):
                self._note_death(status)
            elif status.running and status.name in self._dead:
                self._dead.remove(status.name)
                self.tell(f"{status.name} runs again, pid {status.pid}")
        if self._unwritten:
            self._write_record()

    def _write_record(self) -> None:
        try:
            self.state.write(self.record)
        except OSError as exc:  # a full disk is no reason to end a mesh that runs; it is tried again at the next look
            if not self._told_unwritten:
                self.tell(f"{self.state.record_file} cannot be written, the other commands may be told what was: {exc}")
            self._told_unwritten = True
        else:
            self._unwritten = self._told_unwritten = False

    def _look_after_the_bus(self) -> None:
        if time.monotonic() - self._asked_bus_s < CALM_S:
            return
        self._asked_bus_s = time.monotonic()
        ports, monitor_ports = (nats_ports(self.record.ports, kind) for kind in ("NATS_PORT", "NATS_MONITOR_PORT"))
        well = 0
        renewed = self._tls is not None and self._tls.current() is not self._pem
        self._pem = self._tls and self._tls.current()
        for name, port in ports.items():
            if (server := self.record.processes.get(name)) is None:
                continue
            if renewed:
                server.reload()
            # Of a cluster, one that is still behind the others says that it is not well, and gets well by itself.
            answer = nats.ask(port, monitor_ports[name], in_cluster=len(ports) > 1)
            well += answer.well
            self._look_after_server(name, server, answer)
        self._bus_is_well = well > len(ports) // 2

    def _look_after_server(self, name: str, server: Pid, answer: nats.HealthAnswer) -> None:
        room = nats.has_room(self.state.nats_data if len(self._nats_health) == 1 else self.state.nats_cluster_data)
        if answer.words:
            if answer.words != self._bus_words.get(name):
                waits = "" if room else "; it is started anew as soon as its disk has room"
                self.tell(f"{name} says that it is not well: {answer.words[:300]}{waits}")
            self._bus_words[name] = answer.words
        elif answer.well:
            self._bus_words.pop(name, None)
        if self._nats_health[name].unwell(answer, pid=server.pid, room=room, now_s=time.monotonic()):
            self.tell(f"{name} does not get well by itself and is started anew; its log: {self.state.log_of(name)}")
            server.kill()  # not asked to end: what it has in memory is what is not well

    def _note_death(self, status: Status) -> None:
        if status.name not in self._dead:
            self._dead.add(status.name)
            why = f" ({status.detail})" if status.detail else ""
            log = self.state.log_of(status.name)
            self.tell(f"{status.name} died{why} and is started again; its log: {log}")
            self.tell("".join(f"  it said last: {line[:200]}" for line in last_lines(log, 1)) or "  it said nothing")

    def _tell_lost_supervisor(self, code: int) -> None:
        # It complains on stderr before it has a log, and writes the log afterwards.
        logs = [path for path in (self.state.supervisor_complaints, self.state.log_of("supervisord")) if path.exists()]
        self.tell(f"supervisord ended by itself with {code}: see {' and '.join(map(str, logs))}")
        for line in last_lines(self.state.supervisor_complaints, 1):
            self.tell(f"  it said last: {line[:200]}")

    def _look_for_life(self) -> None:
        answer = report.readiness(self.url)
        if answer.ready:
            mesh = report.mesh_status(self.url)
            self._ready_s = self._ready_s or time.monotonic()
            flows = mesh is not None and mesh.state in ("LIVE", "SIM")
            if not flows and time.monotonic() - self._ready_s < FIRST_TRADE_S:
                return
            self._live = True
            self._mesh = mesh
            self._keep_partitions()
            self._venue = mesh.venue if mesh is not None else ""
            self.tell(
                report.banner(
                    mesh=mesh,
                    variables=variables(self.record, self.state.passwords()),
                    monitor_port=self.record.ports["NATS_MONITOR_PORT"],
                )
            )
        elif time.monotonic() - self._reminded_s > REMIND_S:
            self._reminded_s = time.monotonic()
            logs = ", ".join(str(self.state.log_of(name)) for name in answer.waits_for)
            self.tell(f"still waiting for {self.url}/readyz: {answer.missing}; see {logs}")

    def _keep_partitions(self) -> None:
        """Keep the number of partitions, which is right: the services agree with the bus and the database."""
        if "store" in self.programs and self.state.partitions() is None:
            with contextlib.suppress(OSError):  # the next start is given the number, as this one was
                self.state.keep_partitions(int(self.programs["store"].environment.get("PARTITIONS", "1")))

    def _look_at_feed(self) -> None:
        """Tell whom trades come from when that changes, and when they can no longer come or can again."""
        answer = report.mesh_status(self.url)
        self.restart_stuck(answer, now_s=time.monotonic())
        mesh = answer or MeshStatus("OFFLINE", "the gateway does not answer", "", ())
        if mesh.trades_can_come and mesh.venue != self._venue:
            if mesh.venue == SIM:
                self.tell("trades come from SIM, a SIMULATED EXCHANGE: these are NOT real prices")
            else:
                self.tell(f"trades come from {mesh.venue}" + (" now, no longer from SIM" if self._venue == SIM else ""))
            self._venue = mesh.venue
        could = self._mesh is not None and self._mesh.trades_can_come
        if could and not mesh.trades_can_come:
            # What is away for a moment, as at a restart, is told by those who died.
            self._stopped_s = self._stopped_s or time.monotonic()
            if time.monotonic() - self._stopped_s < MOMENT_S:
                return
            self.tell(f"NO TRADES COME: {mesh.state}: {mesh.message}")
        elif mesh.trades_can_come and not could:
            self.tell(f"trades come again: {mesh.state}")
        self._stopped_s = 0.0
        self._mesh = mesh

    def restart_stuck(self, mesh: MeshStatus | None, *, now_s: float) -> None:
        """Kill, so that it is started again, each service that lives and has been silent for STUCK_S.

        Its event loop stands still, and nothing but a new start helps; Kubernetes does the same by its probes. Of
        several instances of a service it is the one whose process was told of in the report that came last.

        Args:
            mesh: how the mesh says it is; None when the gateway did not.
            now_s: the time, in seconds of one steady clock.

        """
        silent, instances = set[str](), set[int]()
        if mesh is None:
            silent = {"gateway"} if report.is_stuck(self.url) else set()
        elif self._bus_is_well:
            silent, instances = report.silent_services(mesh), mesh.silent_pids(socket.gethostname())
        processes = self.record.processes.items()
        found = [(name, pid) for name, pid in processes if service_of(name) in silent or pid.pid in instances]
        self._silent_since_s = {one: self._silent_since_s.get(one, now_s) for one in found}
        for (name, pid), since_s in self._silent_since_s.items():
            if now_s - since_s > STUCK_S:
                self.tell(f"{name} (pid {pid.pid}) has been silent for {now_s - since_s:.0f} s and is started again")
                pid.kill()
                self._silent_since_s[name, pid] = now_s  # told once

    def _end(self) -> None:
        self.stop.answered()
        order = in_drain_order(self.programs)
        if self.record.supervisor is not None and self.supervisor.ended() is None:
            self.tell(f"stopping in this order: {', '.join(order)} (a second Ctrl-C kills)")
            self._wait_for_drain(order, timeout_s=self._ask_for_drain())
        left = end_leftovers(self.record, drain_s=0)
        if left:
            self.tell(f"ended what was left: {', '.join(left)}")
        self.tell("stopped")

    def _ask_for_drain(self) -> float:
        try:
            self.supervisor.shutdown()
        except SupervisorError:
            # Not up yet, or it stands still. A signal asks for the same, and is there when it goes on.
            if self.record.supervisor is not None:
                self.record.supervisor.terminate()
            return LOST_S
        return sum(program.stop_wait_s for program in self.programs.values()) + 10

    def _wait_for_drain(self, order: list[str], *, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        told: list[str] = []
        ended = False
        while not ended and not self.stop.wait(0.1) and time.monotonic() < deadline_s:
            ended = self.supervisor.ended() is not None
            with contextlib.suppress(SupervisorError):
                self.supervisor.programs()  # wakes it, so that it goes on as soon as a program has ended
            for name in order:
                pid = self.record.processes.get(name)
                if name not in told and pid is not None and pid.process() is None:
                    told.append(name)
                    self.tell(f"  {name} has ended")


# --- being asked to stop ----------------------------------------------------------------------------------------------
# Being asked to stop by a signal, as something to wait on.

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """Wait for Ctrl-C, SIGTERM or SIGHUP; a context manager that puts the former handlers back.

    Whoever started us with one of them ignored wants it so: under `nohup` the mesh outlives the terminal.

    A pipe and not a `threading.Event`: a handler runs in the main thread, where setting an event that this thread is
    waiting on may lock for ever.
    """

    def __init__(self) -> None:
        self._asked = False
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, timeout_s: float) -> bool:
        """Wait until asked to stop, `timeout_s` at most, and return whether an asking is not answered yet."""
        return bool(select.select([self._reader], [], [], timeout_s)[0])

    def answered(self) -> None:
        """Take one asking as answered, if there was one, so that being asked again can be told."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 1)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        # Each Ctrl-C counts: a person insists. The others count once, for shells and make pass them on a second time.
        if number == signal.SIGINT or not self._asked:
            self._asked = True
            with contextlib.suppress(BlockingIOError):
                os.write(self._writer, b"!")
