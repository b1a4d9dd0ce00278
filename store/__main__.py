"""`python -m store`: run the store service; `python -m store replay-dead`: try again what it had to put aside."""

from __future__ import annotations

import sys

from mesh.service import run
from mesh.settings import StoreSettings
from store import replay, service

COMMANDS = {(): service.main, ("replay-dead",): replay.main}


def command() -> int:
    """Run the command of the command line and return its exit code."""
    main = COMMANDS.get(tuple(sys.argv[1:]))
    if main is None:
        sys.stderr.write(f"store: {' '.join(sys.argv[1:])!r} is no command: expected nothing, or replay-dead\n")
        return 2
    return run("store", StoreSettings, main)


if __name__ == "__main__":
    sys.exit(command())
