"""`python -m store`: run the store service; `python -m store replay-dead`: try again what it had to put aside."""

from __future__ import annotations

import sys

from mesh.service.cli import run
from store import service
from store.intake import replay
from store.settings import StoreSettings

REPLAY = "replay-dead"


def command(arguments: list[str]) -> int:
    """Run what the command line asks for and return its exit code."""
    if arguments[:1] == [REPLAY]:
        about = "Try again to store the messages that were put aside in the stream DEAD; the store may run meanwhile."
        return run("store", StoreSettings, replay.main, about=about, module=f"store {REPLAY}", arguments=arguments[1:])
    about = f"Keep every trade exactly once, and tell what is kept. `{REPLAY}` tries again what had to be put aside."
    return run("store", StoreSettings, service.main, about=about, arguments=arguments)


if __name__ == "__main__":
    sys.exit(command(sys.argv[1:]))
