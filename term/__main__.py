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
from urllib.parse import urlsplit

from term import script, settings
from term.app import once, run
from term.cells import THEMES
from term.formatting import zone_of
from term.keys import KEYS, VIEWS
from term.screen import ScreenError
from tickmesh_client import ClientError, NotFound, RequestRefused, Tickmesh

DEFAULT_URL = "http://127.0.0.1:8080"
MAX_FILE_BYTES = 1 << 20
EXIT_CODES = """exit codes:
  0  left by q, Ctrl-C, Ctrl-\\, SIGTERM or SIGHUP; or all is printed, or the reader of the pipe has gone
  1  an error that should not happen; the traceback is printed
  2  wrong arguments, proxies or certificates that cannot be used, or no terminal that can show a screen
  3  the gateway cannot be asked, or has nothing to show yet
  4  the gateway refuses what was asked for: an unknown symbol, say
  130  `watch` was ended by Ctrl-C"""


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Parse the command line and run; return the exit code that --help describes.

    Args:
        arguments: the command line without the program's name.
        environment: of the process.

    """
    file = _folder(environment, "XDG_CONFIG_HOME", ".config") / "term.toml"
    told, problems = settings.read(_content(file).decode(errors="replace"))
    parser = _parser(environment, told)
    options = parser.parse_args(arguments)
    token = options.token or _token_in(options.token_file, parser)
    # A line from some library on standard error would land in the middle of the screen.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        if options.command:
            return _print(options, token)
        return _show(options, token, told, [f"{file.name}: {problem}" for problem in problems], environment)
    except (RequestRefused, NotFound) as exc:
        return _ended(4, exc)
    except ValueError as exc:
        return _ended(2, exc)
    except (ScreenError, ClientError) as exc:
        return _ended(3 if options.command or options.once else 2, exc)


def _ended(code: int, error: Exception) -> int:
    print(f"term: {error}", file=sys.stderr)
    return code


def _show(
    options: argparse.Namespace, token: str, told: dict[str, Any], problems: list[str], environment: Mapping[str, str]
) -> int:
    state = _folder(environment, "XDG_STATE_HOME", ".local/state") / "term.json"
    given = {name: value for name in ("theme", "view", "time_zone") if (value := getattr(options, name))}
    begin = settings.remembered(_content(state), told | given, colour=options.color)
    if options.once:
        text, whole = asyncio.run(once(options.url, token=token, size=options.size, remembered=begin))
        sys.stdout.write(text)
        return 0 if whole else 3
    command = told.get("alert_command", ())
    last = asyncio.run(run(options.url, token=token, remembered=begin, notices=problems, alert_command=command))
    with contextlib.suppress(OSError):  # a home that cannot be written: the next start begins anew
        state.parent.mkdir(parents=True, exist_ok=True)
        part = state.with_suffix(f".{os.getpid()}")
        part.write_bytes(settings.written(last))
        part.replace(state)
    return 0


def _print(options: argparse.Namespace, token: str) -> int:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as other programs in a pipe: it ends quietly
    mesh = Tickmesh(options.url, token=token)
    try:
        for line in _lines(mesh, options):
            print(line, flush=options.command == "watch")
    except KeyboardInterrupt:
        return 130
    return 0


def _lines(mesh: Tickmesh, options: argparse.Namespace) -> Iterator[str]:
    if options.command == "print":
        return script.print_coins(mesh, options.symbols, options.format)
    if options.command == "watch":
        return script.watch(mesh, options.symbols, options.format, every_s=options.every, count=options.count)
    span = {"start": options.start, "end": options.end, "limit": options.limit}
    return script.history(mesh, options.symbol, options.format, **span)


def _folder(environment: Mapping[str, str], variable: str, otherwise: str) -> Path:
    base = environment.get(variable) or f"{environment.get('HOME') or '.'}/{otherwise}"
    return Path(base) / "tickmesh"


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as content:
            return content.read(MAX_FILE_BYTES)
    except OSError:  # there is none, as a rule
        return b""


def _token_in(file: str, parser: argparse.ArgumentParser) -> str:
    if not file:
        return ""
    try:
        with Path(file).expanduser().open() as content:
            return _token(content.read(MAX_FILE_BYTES).strip())
    except (OSError, UnicodeDecodeError, argparse.ArgumentTypeError) as exc:
        parser.error(f"argument --token-file: {exc}")


def _parser(environment: Mapping[str, str], told: Mapping[str, Any]) -> argparse.ArgumentParser:
    width = max(len(keys) for keys, _ in KEYS)
    keys = "\n".join(f"  {keys:<{width}}  {text}" for keys, text in KEYS).replace("%", "%%")
    parser = argparse.ArgumentParser(
        prog="python -m term",
        description="Follow coins in the terminal: prices live, sessions, candles, and the trades that were kept.",
        epilog=f"keys:\n{keys}\n\n{EXIT_CODES}\n\nsettings: ~/.config/tickmesh/term.toml: {', '.join(settings.CHECKS)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _connection(
        parser,
        url=environment.get("TICKMESH_URL") or told.get("url") or DEFAULT_URL,
        token="" if told.get("token_file") else environment.get("API_TOKEN", ""),
        token_file=told.get("token_file", ""),
    )
    parser.add_argument(
        "--no-color",
        dest="color",
        action="store_false",
        default=not environment.get("NO_COLOR"),
        help="use bold, dim and reverse only (default when NO_COLOR is set)",
    )
    parser.add_argument("--theme", choices=THEMES, help="which colours")
    parser.add_argument("--view", choices=[view.name.lower() for view in VIEWS], help="which screen to begin with")
    parser.add_argument(
        "--time-zone", type=_zone, metavar="ZONE", help="UTC (default), local, or one like Europe/Berlin"
    )
    parser.add_argument("--once", action="store_true", help="print the screen once as text, without a terminal")
    parser.add_argument(
        "--size", type=_size, default=(80, 24), help="of the screen that --once prints (default: 80x24)"
    )
    commands = parser.add_subparsers(dest="command", metavar="print | watch | history")
    coins = _command(commands, "print", "print the coins, or those named, with their sessions")
    trades = _command(commands, "watch", "print a line for each trade of the selected coin, or of those named")
    for command in (coins, trades):
        command.add_argument("symbols", nargs="*", type=str.lower, metavar="SYMBOL")
    trades.add_argument("--every", type=_positive(float), metavar="SECONDS", help="print the coins so often instead")
    trades.add_argument("--count", type=_positive(int), help="end after so many lines")
    stored = _command(commands, "history", "print stored trades, newest first")
    stored.add_argument("symbol", nargs="?", default="", type=str.lower, metavar="SYMBOL")
    stored.add_argument("--from", dest="start", default="", metavar="TIME", help="2024-07-05T21:34:58Z")
    stored.add_argument("--to", dest="end", default="", metavar="TIME", help="the time before which to stop")
    stored.add_argument("--limit", type=_positive(int), help="at most so many trades (default: all)")
    return parser


def _command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:  # Any: argparse names no public type
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    hidden = argparse.SUPPRESS  # what stands before the command counts
    _connection(parser, url=hidden, token=hidden, token_file=hidden)
    parser.add_argument("--format", choices=script.FORMATS, default="table", help="(default: table)")
    return parser


def _connection(parser: argparse.ArgumentParser, *, url: str, token: str, token_file: str) -> None:
    parser.add_argument(
        "--url",
        type=_url,
        default=url,
        help=f"where the gateway is (default: TICKMESH_URL, else {DEFAULT_URL})",
    )
    parser.add_argument(
        "--token",
        type=_token,
        default=token,
        help="token the gateway asks for (default: API_TOKEN, which other users of this machine cannot see)",
    )
    parser.add_argument("--token-file", default=token_file, metavar="FILE", help="a file with that token")


def _positive(kind: type[int] | type[float]) -> Any:  # Any: what argparse takes
    def read(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = 0
        if not 0 < number < 1e12:
            raise argparse.ArgumentTypeError(f"found {text!r}, expected a number above 0")
        return number

    return read


def _zone(text: str) -> str:
    try:
        zone_of(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
    return text


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 40 <= int(width) <= 300 and 12 <= int(height) <= 100):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected one from 40x12 to 300x100")
    return int(width), int(height)


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        (parts.hostname or "").encode("idna")  # as it is done to look the name up
    except ValueError:
        fits = False
    if not fits:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a URL such as {DEFAULT_URL}")
    return text


def _token(text: str) -> str:
    if not text.isascii() or not text.isprintable() or text != text.strip():
        # It is a secret: the message must not show it.
        raise argparse.ArgumentTypeError("found a character that no header can carry, expected visible ASCII")
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
