"""The command line of a service: it takes no arguments but `--help`, which lists the settings it reads."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from mesh.service import lifecycle
from mesh.service.lifecycle import Stop
from mesh.service.settings import MeshSettings

S = TypeVar("S", bound=MeshSettings)


def run(
    name: str,
    settings: type[S],
    main: Callable[[S, Stop], Awaitable[None]],
    *,
    about: str,
    module: str = "",
    arguments: Sequence[str] | None = None,
) -> int:
    """Answer `--help`, or run the service to its end; return the exit code.

    Args:
        name: of the service, for logs.
        settings: its class of settings, read from the environment.
        main: see `mesh.service.run`.
        about: what the service does, in a sentence.
        module: what stands after `python -m`; the name when empty.
        arguments: of the command line, without the program; the process's own when None.

    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module or name}",
        description=about,
        epilog=describe(settings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    return lifecycle.run(name, settings, main)


def describe(settings: type[MeshSettings]) -> str:
    """Return what a service reads from the environment: every variable with its default and its meaning."""
    lines = ["settings, all from the environment:"]
    for name, field in settings.model_fields.items():
        meaning = f"{field.description or ''} (default: {_default(field.default)})"
        lines.append(f"  {name.upper()}")
        lines += textwrap.wrap(meaning, 96, initial_indent="      ", subsequent_indent="      ", break_on_hyphens=False)
    lines += ["", "exit codes: 0 stopped as asked, 1 something broke, 2 wrong settings"]
    return "\n".join(lines)


def _default(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return "unset"
    if isinstance(value, SecretStr):
        return value.get_secret_value()  # the default one is no secret
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)
