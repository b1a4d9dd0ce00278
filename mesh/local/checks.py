"""What keeps a mesh from starting, found before anything starts: all of it at once, a line each."""

from __future__ import annotations

from collections.abc import Mapping

from mesh.local import ports
from mesh.local.passwords import Passwords
from mesh.local.programs import service_environment
from mesh.local.settings import SERVICES, load_valid
from mesh.service.settings import WrongSettings, load


def check(environ: Mapping[str, str], *, passwords: Passwords, remembered: Mapping[str, int]) -> dict[str, int]:
    """Check the runner's settings, every service's and the ports, and return the port of every setting that has one.

    Args:
        environ: what the services' settings are taken from.
        passwords: what the services are given.
        remembered: the ports that an earlier run picked.

    Raises:
        WrongSettings: naming everything that is wrong, each thing once.

    """
    settings, wrong = load_valid()
    named = {line.partition(":")[0] for line in wrong}
    # The services get the ports as they are wanted: one that cannot be had is wrong for itself, and hides no other.
    wrong += wrong_in_services(ports=settings.wanted_ports(), passwords=passwords, environ=environ)
    chosen: dict[str, int] = {}
    try:
        chosen = ports.resolve(
            {name: port for name, port in settings.wanted_ports().items() if name not in named},
            remembered=remembered,
            hosts={"GATEWAY_PORT": settings.gateway_host},
        )
    except ports.PortsTaken as exc:
        wrong += str(exc).splitlines()
    if wrong:
        raise WrongSettings("\n".join(dict.fromkeys(wrong)))
    return chosen


def wrong_in_services(*, ports: Mapping[str, int], passwords: Passwords, environ: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the services' settings as they will get them."""
    wrong: list[str] = []
    for service, settings in SERVICES.items():
        values = service_environment(service, ports=ports, passwords=passwords, environ=environ)
        try:
            load(settings, **{name: values[name.upper()] for name in settings.model_fields if values.get(name.upper())})
        except WrongSettings as exc:
            wrong += str(exc).splitlines()
    return list(dict.fromkeys(wrong))  # several services may read the same one
