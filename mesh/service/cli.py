"""The command line of a service: every setting as an option, by pydantic-settings, and `--help` that tells them all."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import CliSettingsSource

from mesh.service import lifecycle
from mesh.service.lifecycle import Stop
from mesh.service.settings import MeshSettings

S = TypeVar("S", bound=MeshSettings)

_EPILOG = """\
Every option can be given in the environment too, by the name in brackets; an option counts more. Passwords and tokens
are taken from the environment alone, because everybody on a machine may read its command lines.

exit codes: 0 stopped as asked, 1 something broke, 2 wrong settings or arguments"""


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
        settings: its class of settings, read from the command line and the environment.
        main: see `mesh.service.lifecycle.run`.
        about: what the service does, in a sentence.
        module: what stands after `python -m`; the name when empty.
        arguments: of the command line, without the program; the process's own when None.

    Raises:
        SystemExit: 0 after `--help`, 2 after an argument that nobody knows.

    """
    parser, source = command_line(settings, prog=f"python -m {module or name}", about=about)
    given = source(args=list(sys.argv[1:] if arguments is None else arguments))
    for field_name, field in settings.model_fields.items():
        if _is_secret(field) and field_name in given():
            option = field_name.replace("_", "-")
            parser.error(f"--{option} may hold a password or a token: set {field_name.upper()} in the environment")
    return lifecycle.run(name, settings, main, given)


def command_line(
    settings: type[MeshSettings], *, prog: str, about: str
) -> tuple[argparse.ArgumentParser, CliSettingsSource[Any]]:
    """Return the parser of a service's options, and what reads settings by it.

    Args:
        settings: the class; each field becomes an option.
        prog: how the program is called.
        about: what it does, in a sentence.

    """
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} [--help] [--setting VALUE ...]",
        description=about,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    source: CliSettingsSource[Any] = CliSettingsSource(
        settings,
        root_parser=parser,
        cli_kebab_case=True,
        add_argument_method=partial(_add_option, settings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser, source


def _add_option(settings: type[MeshSettings], group: argparse.ArgumentParser, *flags: str, **options: Any) -> Any:
    """Add an option in words for people: what it means, its default, and its name in the environment."""
    name = flags[0].lstrip("-").replace("-", "_")
    field = settings.model_fields[name]
    choices = str(options.get("metavar", ""))
    options["metavar"] = choices if choices.startswith("{") else "VALUE"
    where = f"{name.upper()}, in the environment only" if _is_secret(field) else name.upper()
    options["help"] = f"{field.description} (default: {_default(field)}) [{where}]".replace("%", "%%")
    return group.add_argument(*flags, **options)


def _is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value is PydanticUndefined:
        return "unset"
    if isinstance(value, SecretStr):
        return value.get_secret_value()  # the default one is no secret
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
