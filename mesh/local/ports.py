"""Ports: taken as set, picked when 0, and all that are in use named at once."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from contextlib import ExitStack

from mesh.service.errors import TickmeshError


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
