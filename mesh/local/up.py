"""`python -m mesh up`: check everything, prepare the servers' files, then watch over the mesh until its end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from mesh.local import nats, ports, postgres
from mesh.local.passwords import Passwords
from mesh.local.pids import Pid
from mesh.local.programs import Program, plan, service_environment
from mesh.local.record import Record
from mesh.local.settings import SERVICES, LocalSettings
from mesh.local.state import State, blamed, end_leftovers
from mesh.local.stopping import Stop
from mesh.local.supervisor import tied
from mesh.local.watch import Watch, say
from mesh.settings import WrongSettings, load


def up(environ: Mapping[str, str]) -> int:
    """Run the mesh in the foreground until a signal or `down`, and return the exit code.

    Raises:
        WrongSettings: naming every wrong variable.
        PortsTaken: naming every port that cannot be had.
        AlreadyRunning: STATE_DIR is in use.
        StateError: STATE_DIR cannot be used.

    """
    settings = load(LocalSettings)
    state = State(settings.state_dir)
    with blamed(state.directory), state.held(), Stop() as stop:
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
        except postgres.PostgresError:
            # Ctrl-C reaches the database's tools as well. What they left half made, the next start makes anew.
            if stop.wait(0):
                return 0
            raise
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


def _prepare(state: State, chosen: Mapping[str, int], environ: Mapping[str, str]) -> list[Program]:
    passwords = state.passwords()
    if not state.postgres_data.exists():
        say(f"making the database's files in {state.postgres_data}")
    postgres.initialise(state.postgres_data, superuser_password=passwords.superuser, role_password=passwords.database)
    for folder in (state.nats_data, state.sim_data):
        folder.mkdir(exist_ok=True)
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
        sim_log=state.sim_data / "issued.csv",
    )
    return [
        program if program.name == "postgres" else replace(program, argv=tuple(tied(program.argv, "TERM")))
        for program in programs
    ]


def _myself() -> Pid:
    myself = Pid.of(os.getpid())
    assert myself is not None
    return myself
