"""`python -m mesh up`: check everything, prepare the servers' files, then watch over the mesh until its end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from mesh.local import nats, postgres
from mesh.local.checks import check
from mesh.local.pids import Pid
from mesh.local.programs import Program, plan
from mesh.local.record import Record
from mesh.local.settings import load_valid
from mesh.local.state import StateDirectory, blamed, end_leftovers
from mesh.local.stopping import StopSignals
from mesh.local.supervisor import tied
from mesh.local.watch import Watch, say


def up(environ: Mapping[str, str]) -> int:
    """Run the mesh in the foreground until a signal or `down`, and return the exit code.

    Raises:
        WrongSettings: naming every wrong variable and every port that cannot be had.
        AlreadyRunning: STATE_DIR is in use.
        StateError: STATE_DIR cannot be used.

    """
    settings, _ = load_valid()  # what is wrong is told with all the rest below
    state = StateDirectory(settings.state_dir)
    with blamed(state.directory), state.held(), StopSignals() as stop:
        left = state.read()
        if left is not None:
            ended = end_leftovers(left, drain_s=60)
            if ended:
                say(f"ended what an earlier run had left: {', '.join(ended)}")
            state.forget()
        chosen = check(environ, passwords=state.passwords(), remembered=state.remembered_ports())
        state.remember_ports(chosen)
        record = Record.begun(_myself(), gateway_host=settings.gateway_host, ports=chosen)
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


def _prepare(state: StateDirectory, chosen: Mapping[str, int], environ: Mapping[str, str]) -> list[Program]:
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
