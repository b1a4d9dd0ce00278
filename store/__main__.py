"""`python -m store`: run the service; `... replay-dead`: try to store the dead letters again; `... export`: a file."""

from __future__ import annotations

import sys

from mesh.service.cli import run
from store import service
from store.export import command as export
from store.intake import replay
from store.settings import StoreSettings

REPLAY = "replay-dead"
EXPORT = "export"


def command(arguments: list[str]) -> int:
    """Run what the command line asks for; return its exit code."""
    if arguments[:1] == [REPLAY]:
        about = "Try again to store the dead letters in the stream DEAD; the store may run meanwhile."
        return run("store", StoreSettings, replay.main, about=about, module=f"store {REPLAY}", arguments=arguments[1:])
    if arguments[:1] == [EXPORT]:
        return export.main(arguments[1:])
    about = f"Store every trade exactly once, and answer from history. `{REPLAY}` tries the dead letters again, "
    about += f"`{EXPORT} --help` says how to write trades or candles into a file."
    return run("store", StoreSettings, service.main, about=about, arguments=arguments)


if __name__ == "__main__":
    sys.exit(command(sys.argv[1:]))
