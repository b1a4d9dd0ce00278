"""`python -m mesh up`: prepare, start, watch, stop in order."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from mesh.local import gateway, nats, ports, postgres, report
from mesh.local.logs import Tail
from mesh.local.programs import DRAIN_ORDER, Passwords, Program, addresses, plan, service_environment
from mesh.local.settings import SERVICES, LocalSettings, surroundings
from mesh.local.state import Pid, Record, State, end_leftovers
from mesh.local.stopping import Stop
from mesh.local.supervisor import Status, Supervisor, SupervisorError, render, tied
from mesh.settings import WrongSettings, load

ROOT = Path(__file__).parents[2]
"""Where the services run: `python -m ingest` and the others are found from here."""
SETTLE_S = 0.25
CALM_S = 1.0
REMIND_S = 15.0

Say = Callable[[str], None]


def say(line: str) -> None:
    """Tell the person before the terminal."""
    print(line, flush=True)


def up(environ: Mapping[str, str]) -> int:
    """Run the mesh in the foreground until a signal or `down`, and return the exit code.

    Raises:
        WrongSettings: naming every wrong variable.
        PortsTaken: naming every port that cannot be had.
        AlreadyRunning: STATE_DIR is in use.

    """
    settings = load(LocalSettings)
    state = State(settings.state_dir)
    with state.held(), Stop() as stop:
        left = state.read()
        if left is not None:
            ended = end_leftovers(left, drain_s=60)
            if ended:
                say(f"ended what an earlier run had left: {', '.join(ended)}")
            state.forget()
        chosen = ports.resolve(
            settings.wanted_ports(),
            remembered=state.remembered_ports(),
            hosts={"GATEWAY_PORT": settings.gateway_host},
        )
        check_services(ports=chosen, passwords=state.passwords(), environ=environ)
        state.remember_ports(chosen)
        record = Record(runner=_myself(), gateway_host=settings.gateway_host, ports=chosen)
        state.write(record)  # `down` finds us from here on
        try:
            programs = _prepare(state, chosen, environ)
            return 0 if stop.wait(0) else Watch(state, record, programs, stop).run()
        finally:
            state.forget()


def check_services(*, ports: Mapping[str, int], passwords: Passwords, environ: Mapping[str, str]) -> None:
    """Check every service's settings as it will get them. Raises: WrongSettings with all that is wrong."""
    wrong: dict[str, None] = {}
    for service, settings in SERVICES.items():
        values = service_environment(service, ports=ports, passwords=passwords, environ=environ)
        try:
            load(settings, **{name: values[name.upper()] for name in settings.model_fields if values.get(name.upper())})
        except WrongSettings as exc:
            wrong |= dict.fromkeys(str(exc).splitlines())
    if wrong:
        raise WrongSettings("\n".join(wrong))


def variables(record: Record, passwords: Passwords) -> dict[str, str]:
    """Return how the parts of a running mesh are reached, for people: on the bus as admin."""
    found = addresses(record.ports, passwords, user="admin")
    return found | {"GATEWAY_URL": report.gateway_url(record.gateway_host, record.ports["GATEWAY_PORT"])}


class Watch:
    """One run of the mesh, from the start of its supervisor to its end.

    Args:
        state: the held STATE_DIR, prepared.
        record: what is told to the other commands; this keeps it true.
        programs: what to run, in the order of starting.
        stop: set by a signal.
        tell: says a line to the person.

    """

    def __init__(self, state: State, record: Record, programs: list[Program], stop: Stop, *, tell: Say = say) -> None:
        self.state = state
        self.record = record
        self.programs = {program.name: program for program in programs}
        self.stop = stop
        self.tell = tell
        self.supervisor = Supervisor(state.directory)
        self.url = report.gateway_url(record.gateway_host, record.ports["GATEWAY_PORT"])
        self._dead: set[str] = set()
        self._reminded_s = time.monotonic()
        self._live = False
        self._venue: str | None = None

    def run(self) -> int:
        """Start, watch until asked to stop or the supervisor is lost, stop, and return the exit code."""
        config = render(
            list(self.programs.values()),
            directory=self.state.directory,
            working_directory=ROOT,
            as_root=os.geteuid() == 0,
        )
        self.state.write_supervisor_config(config)
        self.tell(f"starting {', '.join(self.programs)}; logs in {self.state.logs}")
        pid = self.supervisor.start(self.state.supervisor_config, environment=surroundings(os.environ))
        self.record.supervisor = Pid.of(pid)
        self.state.write(self.record)
        try:
            return self._watch()
        finally:
            self._end()

    def _watch(self) -> int:
        started_s = time.monotonic()
        while not self.stop.wait(CALM_S if self._live else SETTLE_S):
            if (code := self.supervisor.ended()) is not None:
                self.tell(f"supervisord ended by itself with {code}: see {self.state.logs}/supervisord.log")
                return 1
            try:
                self._note(self.supervisor.programs())
            except SupervisorError:
                if time.monotonic() - started_s > REMIND_S:
                    raise
                continue
            if not self._live:
                self._look_for_life()
            elif self._venue is None:
                self._look_for_venue()
        return 0

    def _note(self, statuses: list[Status]) -> None:
        changed = False
        for status in statuses:
            before = self.record.processes.get(status.name)
            if status.pid and (before is None or before.pid != status.pid):
                now = Pid.of(status.pid)
                if now is None:
                    continue  # it has ended since; the next look sees what became of it
                self.record.processes[status.name] = now
                changed = True
                if before is not None:
                    self.record.restarts[status.name] = self.record.restarts.get(status.name, 0) + 1
                    self._note_death(status)
            if status.state in ("BACKOFF", "EXITED", "FATAL"):
                self._note_death(status)
            elif status.running and status.name in self._dead:
                self._dead.remove(status.name)
                self.tell(f"{status.name} runs again, pid {status.pid}")
        if changed:
            self.state.write(self.record)

    def _note_death(self, status: Status) -> None:
        if status.name not in self._dead:
            self._dead.add(status.name)
            why = f" ({status.detail})" if status.detail else ""
            log = self.state.log_of(status.name)
            self.tell(f"{status.name} died{why} and is started again; its log: {log}")
            self.tell("".join(f"  it said last: {line[:200]}" for line in Tail(log).last(1)) or "  it said nothing")

    def _look_for_life(self) -> None:
        answer = gateway.readiness(self.url)
        if answer.ready:
            self._live = True
            self._venue = gateway.venue(self.url)
            self.tell(
                report.banner(
                    venue=self._venue,
                    variables=variables(self.record, self.state.passwords()),
                    monitor_port=self.record.ports["NATS_MONITOR_PORT"],
                )
            )
        elif time.monotonic() - self._reminded_s > REMIND_S:
            self._reminded_s = time.monotonic()
            named = [name for name in self.programs if name in answer.missing] or ["gateway"]
            logs = ", ".join(str(self.state.log_of(name)) for name in named)
            self.tell(f"still waiting for {self.url}/readyz: {answer.missing}; logs: {logs}")

    def _look_for_venue(self) -> None:
        self._venue = gateway.venue(self.url)
        if self._venue == "sim":
            self.tell("trades come from SIM, a SIMULATED EXCHANGE: these are NOT real prices")
        elif self._venue:
            self.tell(f"trades come from {self._venue}")

    def _end(self) -> None:
        self.stop.clear()
        order = [name for name in DRAIN_ORDER if name in self.programs] or list(reversed(self.programs))
        if self.supervisor.ended() is None:
            self.tell(f"stopping in this order: {', '.join(order)} (a second Ctrl-C kills)")
            with contextlib.suppress(SupervisorError):
                self.supervisor.shutdown()
            self._wait_for_drain(order)
        left = end_leftovers(self.record, drain_s=0)
        if left:
            self.tell(f"ended what was left: {', '.join(left)}")
        self.tell("stopped")

    def _wait_for_drain(self, order: list[str]) -> None:
        deadline_s = time.monotonic() + sum(program.stop_wait_s for program in self.programs.values()) + 10
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


def _prepare(state: State, chosen: Mapping[str, int], environ: Mapping[str, str]) -> list[Program]:
    passwords = state.passwords()
    if not state.postgres_data.exists():
        say(f"making the database's files in {state.postgres_data}")
    postgres.initialise(state.postgres_data, superuser_password=passwords.superuser, role_password=passwords.database)
    state.nats_data.mkdir(exist_ok=True)
    programs = plan(
        ports=chosen,
        passwords=passwords,
        environ=environ,
        nats_command=nats.command(
            store_dir=state.nats_data, port=chosen["NATS_PORT"], monitor_port=chosen["NATS_MONITOR_PORT"]
        ),
        postgres_command=postgres.command(
            data=state.postgres_data, port=chosen["POSTGRES_PORT"], through=tied((), "INT")
        ),
    )
    return [
        program
        if program.name == "postgres"
        else Program(program.name, tuple(tied(program.argv, "TERM")), program.environment)
        for program in programs
    ]


def _myself() -> Pid:
    return Pid(os.getpid(), psutil.Process().create_time())
