"""What may stand behind `python -m term`, and what its help says."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from term import script, settings
from term.cells import THEMES
from term.chart import KINDS
from term.keys import KEYS, VIEWS
from tickmesh_client import WrongAddress
from tickmesh_client.network import checked_url

DEFAULT_URL = "http://127.0.0.1:8080"
EXIT_CODES = """exit codes:
  0  left by q, Ctrl-C, Ctrl-\\, SIGTERM or SIGHUP; or all is printed, or the reader of the pipe has gone
  1  an error that should not happen; the traceback is printed
  2  wrong arguments, proxies or certificates that cannot be used, or no terminal that can show a screen
  3  the gateway cannot be asked, or has nothing to show yet
  4  the gateway refuses what was asked for: an unknown symbol, say
  5  what is printed cannot be written: to a full disk, say
  130  what prints was ended by Ctrl-C"""


def parser_of(environment: Mapping[str, str], told: Mapping[str, Any]) -> argparse.ArgumentParser:
    """Return what reads the command line.

    Args:
        environment: of the process.
        told: the settings of `term.toml`, which hold where the command line says nothing.

    """
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
        given_token="" if told.get("token_file") else environment.get("API_TOKEN", ""),
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
    for name, kind, metavar, text in _SETTINGS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind(name), metavar=metavar, help=text)
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
    _connection(parser, url=hidden, given_token=hidden, token_file=hidden)
    parser.add_argument("--format", choices=script.FORMATS, default="table", help="(default: table)")
    return parser


def _connection(parser: argparse.ArgumentParser, *, url: str, given_token: str, token_file: str) -> None:
    parser.add_argument(
        "--url",
        type=_url,
        default=url,
        help=f"where the gateway is (default: TICKMESH_URL, else {DEFAULT_URL})",
    )
    parser.add_argument(
        "--token",
        type=token,
        default=given_token,
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


def _one(name: str) -> Callable[[str], object]:
    return lambda text: _checked(name, text)


def _several(name: str) -> Callable[[str], object]:
    mark = ";" if name == "alerts" else ","  # 62,000 is one number
    return lambda text: _checked(name, [part.strip() for part in text.split(mark) if part.strip()])


def _words(name: str) -> Callable[[str], object]:
    def read(text: str) -> object:
        try:
            words = shlex.split(text)
        except ValueError as exc:  # a quote that is never closed
            raise argparse.ArgumentTypeError(f"found {text!r}, expected a program and its arguments") from exc
        return _checked(name, words)

    return read


def _checked(name: str, value: object) -> object:
    try:
        return settings.CHECKS[name](value)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


_SETTINGS = (
    ("time_zone", _one, "ZONE", "UTC (default), local, or one like Europe/Berlin"),
    ("sort", _one, "COLUMN", "by which column the coins are sorted: volume, last, coin and so on"),
    ("chart", _one, "KIND", f"of the dashboard: {', '.join(KINDS)}"),
    ("interval", _one, "INTERVAL", "of the candles: 1s to 1w"),
    ("overlays", _several, "KEYS", "of the chart, by the keys that follow o: s,r"),
    ("favourites", _several, "SYMBOLS", "coins that stay above the others: btcusdt,ethusdt"),
    ("alerts", _several, "ALERTS", 'what to watch: "btcusdt > 62000 again; ethusdt stale 30s"'),
    ("alert_command", _words, "COMMAND", "a program with its arguments, run for each alert, without a shell"),
)
"""What `term.toml` has, too, beside the address, the token, the theme and the view."""


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 40 <= int(width) <= 300 and 12 <= int(height) <= 100):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected one from 40x12 to 300x100")
    return int(width), int(height)


def _url(text: str) -> str:
    try:
        return checked_url(text)
    except WrongAddress as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def token(text: str) -> str:
    """Return a token that a header can carry.

    Raises:
        argparse.ArgumentTypeError: it cannot.
    """
    if not text.isascii() or not text.isprintable() or text != text.strip():
        # It is a secret: the message must not show it.
        raise argparse.ArgumentTypeError("found a character that no header can carry, expected visible ASCII")
    return text
