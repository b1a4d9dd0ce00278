"""`python -m term`: the terminal client."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from term.app import run
from term.keys import KEYS
from term.screen import ScreenError
from tickmesh_client import ClientError

DEFAULT_URL = "http://127.0.0.1:8080"


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Parse the command line and run; return the exit code that --help describes.

    Args:
        arguments: the command line without the program's name.
        environment: of the process.

    """
    options = _parser(environment).parse_args(arguments)
    # A line from some library on standard error would land in the middle of the screen.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        asyncio.run(run(options.url, token=options.token, colour=options.color))
    except (ScreenError, ClientError) as exc:
        print(f"term: {exc}", file=sys.stderr)
        return 2
    return 0


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    width = max(len(keys) for keys, _ in KEYS)
    keys = "\n".join(f"  {keys:<{width}}  {text}" for keys, text in KEYS)
    parser = argparse.ArgumentParser(
        prog="python -m term",
        description="Follow a coin in the terminal: its price live, its session, and the trades that were kept.",
        epilog=f"keys:\n{keys}\n\nexit codes:\n"
        "  0  left by q, Ctrl-C, Ctrl-\\, SIGTERM or SIGHUP\n"
        "  1  an error that should not happen; the traceback is printed\n"
        "  2  wrong arguments, proxies or certificates that cannot be used, or no terminal that can show a screen",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--url",
        type=_url,
        default=environment.get("TICKMESH_URL") or DEFAULT_URL,
        help=f"where the gateway is (default: TICKMESH_URL, else {DEFAULT_URL})",
    )
    parser.add_argument(
        "--token",
        type=_token,
        default=environment.get("API_TOKEN", ""),
        help="token the gateway asks for (default: API_TOKEN, which other users of this machine cannot see)",
    )
    parser.add_argument(
        "--no-color",
        dest="color",
        action="store_false",
        default=not environment.get("NO_COLOR"),
        help="use bold, dim and reverse only (default when NO_COLOR is set)",
    )
    return parser


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
