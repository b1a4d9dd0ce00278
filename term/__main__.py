"""`python -m term`: the terminal client, and what it prints for scripts."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from term import command_line, script, settings
from term.app import once, run
from term.screen import ScreenError, in_ascii
from term.state_file import StateFile
from tickmesh_client import ClientError, NotFound, RequestRefused, Tickmesh

MAX_FILE_BYTES = 1 << 20


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Parse the command line and run; return the exit code that --help describes.

    Args:
        arguments: the command line without the program's name.
        environment: of the process.

    """
    told, problems = _settings(_folder(environment, "XDG_CONFIG_HOME", ".config") / "term.toml")
    parser = command_line.parser_of(environment, told)
    options = parser.parse_args(arguments)
    try:
        token = options.token or _token_in(options.token_file)
    except (OSError, UnicodeDecodeError, argparse.ArgumentTypeError) as exc:
        parser.error(f"argument --token-file: {exc}")
    # A line from some library on standard error would land in the middle of the screen.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        if options.command or options.once:
            return _print(options, token, told, problems, environment)
        return _show(options, token, told, problems, environment)
    except (RequestRefused, NotFound) as exc:
        return _ended(4, exc)
    except ValueError as exc:
        return _ended(2, exc)
    except (ScreenError, ClientError) as exc:
        return _ended(3 if options.command or options.once else 2, exc)


def _ended(code: int, error: Exception) -> int:
    print(f"term: {error}", file=sys.stderr)
    return code


# --- the screen ------------------------------------------------------------------------------------------------------


def _show(
    options: argparse.Namespace, token: str, told: dict[str, Any], problems: list[str], environment: Mapping[str, str]
) -> int:
    state = _state(environment)
    begin = settings.remembered(state.read(), told | _given(options), colour=options.color)
    command = (told | _given(options)).get("alert_command", ())
    shown = {"remembered": begin, "notices": problems, "alert_command": command, "keep": state.keep}
    asyncio.run(run(options.url, token=token, **shown))
    return 0


def _given(options: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name in settings.CHECKS if (value := getattr(options, name, None)) is not None}


# --- for scripts -----------------------------------------------------------------------------------------------------


def _print(
    options: argparse.Namespace, token: str, told: dict[str, Any], problems: list[str], environment: Mapping[str, str]
) -> int:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as other programs in a pipe: it ends quietly
    for problem in problems:
        print(f"term: {problem}", file=sys.stderr)
    if sys.stdout.encoding.lower() != "utf-8":
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # standard output is a file
    try:
        if options.once:
            begin = settings.remembered(_state(environment).read(), told | _given(options), colour=options.color)
            text, whole = asyncio.run(once(options.url, token=token, size=options.size, remembered=begin))
            _write(text if sys.stdout.encoding.lower() == "utf-8" else in_ascii(text), end="")
            return 0 if whole else 3
        # A coin that has not traded yet would be asked for again and again.
        mesh = Tickmesh(options.url, token=token, **({"retries": 0} if options.command == "print" else {}))
        for line in _lines(mesh, options):
            _write(line, flush=options.command == "watch")
        _write("", end="", flush=True)
    except KeyboardInterrupt:
        return 130
    except _NotWritten as exc:
        return _ended(5, exc)
    return 0


class _NotWritten(Exception):
    """What is printed cannot be written; the message says why."""


def _write(text: str, *, end: str = "\n", flush: bool = False) -> None:
    try:
        print(text, end=end, flush=flush)
    except OSError as exc:
        with contextlib.suppress(OSError):
            sys.stdout.close()  # or it would be tried again at the end
        raise _NotWritten(f"found {exc.strerror} on standard output, expected that it can be written") from exc


def _lines(mesh: Tickmesh, options: argparse.Namespace) -> Iterator[str]:
    if options.command == "print":
        return script.print_coins(mesh, options.symbols, options.format)
    if options.command == "watch":
        return script.watch(mesh, options.symbols, options.format, every_s=options.every, count=options.count)
    span = {"start": options.start, "end": options.end, "limit": options.limit}
    return script.history(mesh, options.symbol, options.format, **span)


# --- files -----------------------------------------------------------------------------------------------------------


def _folder(environment: Mapping[str, str], variable: str, otherwise: str) -> Path:
    base = environment.get(variable) or f"{environment.get('HOME') or '.'}/{otherwise}"
    return Path(base) / "tickmesh"


def _state(environment: Mapping[str, str]) -> StateFile:
    return StateFile(_folder(environment, "XDG_STATE_HOME", ".local/state") / "term.json")


def _settings(file: Path) -> tuple[dict[str, Any], list[str]]:
    try:
        with file.open("rb") as content:
            text = content.read(MAX_FILE_BYTES).decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError):  # there is none, as a rule
        return {}, []
    except OSError as exc:
        return {}, [f"{file}: {exc.strerror}, expected settings that can be read"]
    told, problems = settings.read(text)
    try:
        _token_in(told.get("token_file", ""))
    except (OSError, UnicodeDecodeError, argparse.ArgumentTypeError) as exc:
        del told["token_file"]
        problems.append(f"line {settings.line_of('token_file', text)} of the settings: {exc}")
    return told, [f"{file.name}: {problem}" for problem in problems]


def _token_in(file: str) -> str:
    if not file:
        return ""
    with Path(file).expanduser().open() as content:
        return command_line.token(content.read(MAX_FILE_BYTES).strip())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
