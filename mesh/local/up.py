"""`python -m mesh up`: check everything, prepare the servers' files, then watch over the mesh until its end."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from mesh.local import nats, postgres
from mesh.local.passwords import Passwords
from mesh.local.pids import Pid
from mesh.local.programs import TLS_FILES, Program, nats_ports, plan, service_environment
from mesh.local.settings import SERVICES, load_valid
from mesh.local.state import Record, StateDirectory, blamed, end_leftovers
from mesh.local.supervisor import tied
from mesh.local.watch import StopSignals, Watch, say
from mesh.service.errors import TickmeshError
from mesh.service.settings import MeshSettings, WrongSettings, load

_FILES = (*TLS_FILES, "GATEWAY_TLS_CERT", "GATEWAY_TLS_KEY")
"""Settings that name files, from where the person stands; the services run elsewhere."""


def up(environ: Mapping[str, str], work: Callable[[Watch], int] = Watch.run) -> int:
    """Run the mesh in the foreground until a signal or `down`, and return the exit code.

    Args:
        environ: what the services' settings are taken from.
        work: what is done with the mesh that is prepared, instead of running it.

    Raises:
        WrongSettings: naming every wrong variable and every port that cannot be had.
        AlreadyRunning: STATE_DIR is in use.
        StateError: STATE_DIR cannot be used.

    """
    environ = {**environ, **{name: str(Path(environ[name]).absolute()) for name in _FILES if environ.get(name)}}
    settings, _ = load_valid()  # what is wrong is told with all the rest below
    state = StateDirectory(settings.state_dir)
    with blamed(state.directory), state.held(), StopSignals() as stop:
        left = state.read()
        if left is not None:
            ended = end_leftovers(left, drain_s=60)
            if ended:
                say(f"ended what an earlier run had left: {', '.join(ended)}")
            state.forget()
        chosen = check(
            environ, passwords=state.passwords(), remembered=state.remembered_ports(), partitions=state.partitions()
        )
        state.remember_ports(chosen)
        tls = load(MeshSettings, **{name.lower(): environ[name] for name in TLS_FILES if environ.get(name)}).tls()
        https = bool(environ.get("GATEWAY_TLS_CERT"))
        record = Record.begun(
            _myself(), gateway_host=settings.gateway_host, ports=chosen, tls=tls is not None, https=https
        )
        state.write(record)  # `down` finds us from here on
        try:
            programs = _prepare(state, chosen, environ)
            return 0 if stop.wait(0) else work(Watch(state, record, programs, stop, tls=tls))
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
    state.sim_data.mkdir(exist_ok=True)
    programs = plan(
        ports=chosen,
        passwords=passwords,
        environ=environ,
        nats_commands=_nats_commands(state, chosen, tls=bool(environ.get("TLS_CERT"))),
        postgres_command=postgres.command(
            data=state.postgres_data, port=chosen["POSTGRES_PORT"], through=tied((), "INT")
        ),
        sim_log=state.sim_data / "issued.csv",
        instances_of_each=load_valid()[0].instances,
    )
    return [
        program if program.name == "postgres" else replace(program, argv=tuple(tied(program.argv, "TERM")))
        for program in programs
    ]


def _nats_commands(state: StateDirectory, chosen: Mapping[str, int], *, tls: bool) -> dict[str, list[str]]:
    ports, monitor_ports = nats_ports(chosen), nats_ports(chosen, "NATS_MONITOR_PORT")
    route_ports = list(nats_ports(chosen, "NATS_ROUTE_PORT").values())
    commands = {}
    for number, (name, port) in enumerate(ports.items(), 1):
        # A cluster has folders of its own: servers that were alone would remove the streams they find there.
        store_dir = state.nats_data if len(ports) == 1 else state.nats_cluster_data / name
        store_dir.mkdir(parents=True, exist_ok=True)
        if len(ports) == 1:
            commands[name] = nats.command(store_dir=store_dir, port=port, monitor_port=monitor_ports[name], tls=tls)
        else:
            commands[name] = nats.cluster_command(
                number,
                store_dir=store_dir,
                port=port,
                monitor_port=monitor_ports[name],
                route_ports=route_ports,
                tls=tls,
            )
    return commands


def _myself() -> Pid:
    myself = Pid.of(os.getpid())
    assert myself is not None
    return myself


# --- ports ------------------------------------------------------------------------------------------------------------
# Ports: taken as set, picked when 0, and all that are in use named at once.


class PortsTaken(TickmeshError):
    """One or more ports cannot be had; the text names each setting and port, a line each."""


def resolve(wanted: Mapping[str, int], *, remembered: Mapping[str, int], hosts: Mapping[str, str]) -> dict[str, int]:
    """Return a free port for every setting.

    Args:
        wanted: setting to port; 0 asks for the remembered one when it is free, else any.
        remembered: what an earlier run picked.
        hosts: setting to the address it listens on; 127.0.0.1 where it has none here.

    Raises:
        PortsTaken: naming every setting whose port is in use, or wanted twice.

    """
    ports: dict[str, int] = {}
    wrong: list[str] = []
    owners: dict[int, str] = {}
    # All sockets stay open until every port is known, so that none is picked twice; the fixed ones come first.
    with ExitStack() as held:
        for name in sorted(wanted, key=lambda name: wanted[name] == 0):
            port, host = wanted[name], hosts.get(name, "127.0.0.1")
            if port in owners:
                wrong.append(f"{name}: port {port} is already wanted by {owners[port]}")
                continue
            try:
                ports[name] = _hold(held, host, port, remembered.get(name, 0))
            except OverflowError:
                wrong.append(f"{name}: {port} is no port, expected 0 to 65535")
            except OSError as exc:
                reason = "is in use" if exc.errno == errno.EADDRINUSE else f"cannot be had ({exc.strerror})"
                wrong.append(f"{name}: port {port} on {host} {reason}")
            if port:
                owners[port] = name
    if wrong:
        raise PortsTaken("\n".join(wrong))
    return {name: ports[name] for name in wanted}


def _hold(held: ExitStack, host: str, port: int, remembered: int) -> int:
    if port == 0 and remembered:
        try:
            return _hold(held, host, remembered, 0)
        except OSError:
            pass  # somebody has it now; any other will do
    holder = held.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
    # Not while somebody listens, but right after the last run, whose connections linger in TIME_WAIT.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((host, port))
    bound: int = holder.getsockname()[1]
    return bound


# --- what keeps a mesh from starting ----------------------------------------------------------------------------------
# What keeps a mesh from starting, found before anything starts: all of it at once, a line each.


def check(
    environ: Mapping[str, str],
    *,
    passwords: Passwords,
    remembered: Mapping[str, int],
    partitions: int | None = None,
) -> dict[str, int]:
    """Check the runner's settings, every service's and the ports, and return the port of every setting that has one.

    Args:
        environ: what the services' settings are taken from.
        passwords: what the services are given.
        remembered: the ports that an earlier run picked.
        partitions: how many the mesh of this STATE_DIR has, where that is known.

    Raises:
        WrongSettings: naming everything that is wrong, each thing once.

    """
    settings, wrong = load_valid()
    named = {line.partition(":")[0] for line in wrong}
    # The services get the ports as they are wanted: one that cannot be had is wrong for itself, and hides no other.
    wrong += wrong_in_services(ports=settings.wanted_ports(), passwords=passwords, environ=environ)
    if partitions not in (None, settings.partitions):
        wrong.append(
            f"PARTITIONS: found {settings.partitions}, expected {partitions} as this mesh has, or nothing: `python -m "
            f"mesh repartition {settings.partitions}` changes it"
        )
    if settings.instances > settings.partitions:
        wrong.append(
            f"INSTANCES: found {settings.instances}, expected at most {settings.partitions}, as PARTITIONS says: each "
            "instance works in partitions of its own"
        )
    chosen: dict[str, int] = {}
    try:
        chosen = resolve(
            {name: port for name, port in settings.wanted_ports().items() if name not in named},
            remembered=remembered,
            hosts={"GATEWAY_PORT": settings.gateway_host},
        )
    except PortsTaken as exc:
        wrong += str(exc).splitlines()
    if wrong:
        raise WrongSettings("\n".join(dict.fromkeys(wrong)))
    return chosen


def wrong_in_services(*, ports: Mapping[str, int], passwords: Passwords, environ: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the services' settings as they will get them.

    Args:
        ports: setting -> port, as it is wanted.
        passwords: what the services are given.
        environ: the runner's environment.

    """
    wrong: list[str] = []
    for service, settings in SERVICES.items():
        values = service_environment(service, ports=ports, passwords=passwords, environ=environ)
        try:
            load(settings, **{name: values[name.upper()] for name in settings.model_fields if values.get(name.upper())})
        except WrongSettings as exc:
            wrong += str(exc).splitlines()
    return list(dict.fromkeys(wrong))  # several services may read the same one
