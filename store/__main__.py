"""`python -m store`: run the service; `replay-dead`: store dead letters again; `export`: a file; `repartition N`."""

from __future__ import annotations

import sys
from functools import partial

from mesh.bus.partitions import MAX_PARTITIONS
from mesh.service.cli import run
from store import repartition, service
from store.export import command as export
from store.intake import replay
from store.settings import StoreSettings

REPLAY = "replay-dead"
EXPORT = "export"
REPARTITION = "repartition"
WAIT = "--wait"


def command(arguments: list[str]) -> int:
    """Run what the command line asks for; return its exit code."""
    if arguments[:1] == [REPLAY]:
        about = "Try again to store the dead letters in the stream DEAD; the store may run meanwhile."
        return run("store", StoreSettings, replay.main, about=about, module=f"store {REPLAY}", arguments=arguments[1:])
    if arguments[:1] == [EXPORT]:
        return export.main(arguments[1:])
    if arguments[:1] == [REPARTITION]:
        return _repartition(arguments[1:])
    about = f"Store every trade exactly once, and answer from history. `{REPLAY}` tries the dead letters again, "
    about += f"`{EXPORT} --help` says how to write trades or candles into a file."
    return run("store", StoreSettings, service.main, about=about, arguments=arguments)


def _repartition(arguments: list[str]) -> int:
    options = [each for each in arguments[1:] if each != WAIT]
    wanted = [int(each) for each in arguments[:1] if each.isdecimal() and 1 <= int(each) <= MAX_PARTITIONS]
    if not wanted:
        print(f"python -m store {REPARTITION} N: expected a number from 1 to {MAX_PARTITIONS}", file=sys.stderr)  # noqa: T201
        return 2
    about = "Give a mesh whose services are stopped N partitions instead of PARTITIONS; NATS_URL is admin's. "
    about += (
        f"With `{WAIT}` wait until that can be done, while signal and store run without ingest, and change nothing."
    )
    main = partial(repartition.main, count=wanted[0], is_to_wait=WAIT in arguments)
    return run("store", StoreSettings, main, about=about, module=f"store {REPARTITION} N", arguments=options)


if __name__ == "__main__":
    sys.exit(command(sys.argv[1:]))
