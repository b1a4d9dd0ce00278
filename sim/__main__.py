"""`python -m sim`: see `--help` and README.md."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys

import uvloop

from sim.faults import parse_faults
from sim.issue_log import IssueLog
from sim.server import SimServer, open_exchange, open_tape
from sim.settings import Settings, SettingsError, parse_settings


async def serve(settings: Settings) -> None:
    """Run the exchange until SIGTERM or SIGINT."""
    with contextlib.ExitStack() as opened:
        lines = opened.enter_context(open_tape(settings.tape))
        log = opened.enter_context(IssueLog(settings.log)) if settings.log else None
        faults = parse_faults(settings.faults.read_bytes()) if settings.faults else []
        server = SimServer(settings, open_exchange(settings, lines, log), log, faults)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        await server.run(_say_ready)


def _say_ready(ws: str, rest: str) -> None:
    sys.stdout.write(json.dumps({"ready": True, "ws": ws, "rest": rest}) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Return the exit code: 0 after a signal, 1 when something broke, 2 for wrong settings."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.WARNING)
    try:
        settings = parse_settings(sys.argv[1:], os.environ)
    except SettingsError as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    try:
        uvloop.run(serve(settings))
    except (OSError, ValueError) as exc:  # a port in use, a file that is not there, a bad line on the tape
        sys.stderr.write(f"{exc}\n")
        return 1
    except ExceptionGroup as group:  # the same, but met while running
        known, unknown = group.split((OSError, ValueError))
        if unknown is not None:
            raise unknown from None
        assert known is not None
        sys.stderr.write("".join(f"{exc}\n" for exc in known.exceptions))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
