"""What runs in a local mesh: every program's command line and environment, in the order of starting."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mesh.local import nats, postgres
from mesh.local.passwords import Passwords
from mesh.local.settings import NATS, SERVICES, instances, surroundings, variables_of


def service_of(name: str) -> str:
    """Return what a program is an instance of: `store` of `store-2`."""
    return re.sub(r"-[0-9]+$", "", name)


def in_drain_order(names: Iterable[str]) -> list[str]:
    """Return programs in the order in which they stop, those that nobody here knows at the end."""
    known = {name: number for number, name in enumerate(DRAIN_ORDER)}
    return sorted(names, key=lambda name: (known.get(service_of(name), len(known)), name))


@dataclass(frozen=True, slots=True)
class Program:
    """One program that is kept running; `stop_signal` asks it to end, and `stop_wait_s` later it is killed.

    `niceness` is how far it stands back when processors are short.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    stop_signal: str = "TERM"
    stop_wait_s: int = 15
    niceness: int = 0


MODULES = {"ingest": "ingest", "signal": "signalsvc", "store": "store", "gateway": "gateway"}
DRAIN_ORDER = ("sim", "ingest", "signal", "store", "gateway", "nats", "postgres")
"""Whoever makes trades stops first, whoever keeps them last; programs start the other way round."""
_OWN = ("METRICS_PORT", "DATABASE_READ_URL")
"""What a person may have set for elsewhere: here each service has a port of its own, and the database no standby."""
TLS_FILES = ("TLS_CERT", "TLS_KEY", "TLS_CA")
"""What the bus is given, too, where the services have it."""
STANDS_BACK = 10
"""Of those who write history: what is live goes first, and what is written a moment later is no later for it."""


def plan(
    *,
    ports: Mapping[str, int],
    passwords: Passwords,
    environ: Mapping[str, str],
    nats_commands: Mapping[str, Sequence[str]],
    postgres_command: Sequence[str],
    sim_log: Path,
    instances_of_each: int = 1,
) -> list[Program]:
    """Return the programs in the order of starting; sim is among them when `ports` has its ports.

    A service is given the variables it reads (its `settings.py`) and no other: the database's password goes to
    store only, and each user of the bus has its own.

    Args:
        ports: setting -> port.
        passwords: of the bus and the database.
        environ: the runner's environment, from which each service gets what it reads.
        nats_commands: command line of each nats-server, by its name.
        postgres_command: command line of PostgreSQL.
        sim_log: where sim writes what it issued, so that its next start continues with the next trade.
        instances_of_each: how many instances of ingest, signal and store there are.

    """
    programs = {
        "postgres": Program("postgres", tuple(postgres_command), postgres.environment(), "INT", 30, STANDS_BACK),
    }
    for name, nats_command in nats_commands.items():
        tls = {name: environ[name] for name in TLS_FILES if environ.get(name)}
        programs[name] = Program(name, tuple(nats_command), nats.environment(passwords.nats, tls=tls))
    for service in SERVICES:
        for name in instances(service, instances_of_each):
            programs[name] = Program(
                name,
                (sys.executable, "-m", MODULES[service]),
                service_environment(name, ports=ports, passwords=passwords, environ=environ),
                niceness=STANDS_BACK if service == "store" else 0,
            )
    if "SIM_WS_PORT" in ports:
        own = {name: value for name, value in environ.items() if name.startswith(("SIM_", "LOG_"))}
        own |= {name: str(ports[name]) for name in ("SIM_WS_PORT", "SIM_REST_PORT")}
        programs["sim"] = Program(
            "sim", (sys.executable, "-m", "sim", "--log", str(sim_log)), surroundings(environ) | own
        )
    return [programs[name] for name in reversed(in_drain_order(programs))]


REPARTITION = "repartition"
"""The program that changes the number of partitions, which is run by hand."""


def repartition(store: Program, *, nats_url: str) -> Program:
    """Return what changes the number of partitions, and is given the new one.

    Args:
        store: its program, from which it has the settings.
        nats_url: of the bus' admin, who may delete streams.

    """
    own = {"NATS_URL": nats_url, "LOG_FORMAT": "json", "LOG_LEVEL": "info"}
    argv = (sys.executable, "-m", MODULES["store"], "repartition")
    return Program(REPARTITION, argv, {**store.environment, **own})


def service_environment(
    name: str, *, ports: Mapping[str, int], passwords: Passwords, environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the whole environment of one service: what it reads of the user's, with the runner's addresses in it.

    Args:
        name: of its instance: `ingest`, `ingest-2`.
        ports: setting -> port.
        passwords: of the bus and the database.
        environ: the runner's environment.

    """
    service = service_of(name)
    reads = variables_of(service)
    values = {variable: value for variable, value in environ.items() if variable in reads and variable not in _OWN}
    found = addresses(ports, passwords, user=service, tls=bool(environ.get("TLS_CERT")))
    found["SIGNAL_ADDR"] = ",".join(_addresses_of("SIGNAL_PORT", ports, of=name if service == "signal" else ""))
    found["STORE_ADDR"] = ",".join(_addresses_of("STORE_PORT", ports, of=name if service == "store" else ""))
    values |= {variable: value for variable, value in found.items() if variable in reads}
    if "SIM_WS_PORT" in ports and "SIM_WS_URL" in reads:
        values["SIM_WS_URL"] = f"ws://127.0.0.1:{ports['SIM_WS_PORT']}"
        values["SIM_REST_URL"] = f"http://127.0.0.1:{ports['SIM_REST_PORT']}"
    if "BUS_REPLICAS" in reads:
        values["BUS_REPLICAS"] = str(len(nats_ports(ports)))
    if "GATEWAY_PORT" in reads:
        values["GATEWAY_PORT"] = str(ports["GATEWAY_PORT"])
    if "PARTITIONS" in reads:
        values["PARTITIONS"] = environ.get("PARTITIONS") or "1"
    metrics_port = ports.get(f"METRICS_PORT of {name}")
    if metrics_port is not None:
        values["METRICS_PORT"] = str(metrics_port)
    return surroundings(environ) | values


def _addresses_of(kind: str, ports: Mapping[str, int], *, of: str) -> list[str]:
    """Return where an instance listens, or all of them where it has no such port of its own."""
    found = [ports[f"{kind} of {of}"]] if f"{kind} of {of}" in ports else []
    if not found:
        found = [port for name, port in ports.items() if name == kind or (not of and name.startswith(f"{kind} of "))]
    return [f"127.0.0.1:{port}" for port in found]


def nats_ports(ports: Mapping[str, int], kind: str = "NATS_PORT") -> dict[str, int]:
    """Return a port of each nats-server, by its name.

    Args:
        ports: setting -> port.
        kind: which port: NATS_PORT, NATS_MONITOR_PORT, or NATS_ROUTE_PORT, which only those of a cluster have.

    """
    wanted = {
        server: ports.get(f"{kind} of {server}", ports.get(kind) if server == NATS[0] else None) for server in NATS
    }
    return {server: port for server, port in wanted.items() if port is not None}


def addresses(ports: Mapping[str, int], passwords: Passwords, *, user: str, tls: bool = False) -> dict[str, str]:
    """Return where the parts of this mesh are found, as variables; on the bus as `user`, `admin` for people.

    Args:
        ports: setting -> port.
        passwords: of the bus and the database.
        user: of the bus.
        tls: whether the bus is with TLS.

    """
    return {
        "NATS_URL": nats.url(user, passwords.nats.get(user, ""), *nats_ports(ports).values(), tls=tls),
        "DATABASE_URL": postgres.url(passwords.database, ports["POSTGRES_PORT"]),
        "SIGNAL_ADDR": f"127.0.0.1:{ports['SIGNAL_PORT']}",
        "STORE_ADDR": f"127.0.0.1:{ports['STORE_PORT']}",
    }
