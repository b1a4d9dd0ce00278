"""`python -m mesh`: run the whole mesh on this machine, and ask after it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from dotenv import load_dotenv

from mesh.bus.partitions import MAX_PARTITIONS
from mesh.local import commands, logs
from mesh.local.postgres import PostgresError
from mesh.local.repartition import RepartitionError, repartition
from mesh.local.settings import MAX_INSTANCES, LocalSettings, load_valid
from mesh.local.state import AlreadyRunning, StateDirectory, StateError, blamed
from mesh.local.supervisor import SupervisorError
from mesh.local.up import up
from mesh.service import environment
from mesh.service.settings import WrongSettings, load


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 well, 1 not running or not well, 2 wrong settings or arguments."""
    asked = _parser().parse_args(arguments)
    for problem in environment.unset_unusable(os.environ):
        print(problem, file=sys.stderr)
    load_dotenv(Path(".env"))  # what compose reads too; the real environment comes first
    try:
        if asked.command == "up":
            if asked.nats:
                os.environ["NATS_SERVERS"] = str(asked.nats)
            if asked.instances:
                os.environ["INSTANCES"] = str(asked.instances)
            return _up()
        state = StateDirectory(load(LocalSettings).state_dir)
        with blamed(state.directory):
            if asked.command == "repartition":
                if (has := state.partitions()) is not None:
                    os.environ["PARTITIONS"] = str(has)
                return repartition(state, asked.partitions, os.environ)
            if asked.command == "logs":
                return _print_logs(state, asked.service, lines=asked.lines, follow=asked.follow)
            return {"down": commands.down, "status": commands.status, "env": commands.env}[asked.command](state)
    except WrongSettings as exc:
        print(f"the mesh cannot start with these settings:\n{exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # `logs | head`: nobody reads any more, also not what Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (AlreadyRunning, RepartitionError, StateError, PostgresError, SupervisorError, OSError) as exc:
        print(exc, file=sys.stderr)
        return 1


def _up() -> int:
    state = StateDirectory(load_valid()[0].state_dir)
    with blamed(state.directory):
        if (becoming := state.becoming()) is not None:
            raise StateError(
                f"a change to {becoming} partitions was interrupted: `python -m mesh repartition {becoming}` ends it"
            )
        if (has := state.partitions()) is not None and not os.environ.get("PARTITIONS"):
            os.environ["PARTITIONS"] = str(has)
    return up(dict(os.environ))


def _print_logs(state: StateDirectory, service: str | None, *, lines: int, follow: bool) -> int:
    for line in logs.read(logs.select(state.logs, service), lines=lines, follow=follow):
        print(line, flush=follow)
    return 0


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of lines, expected 0 or more")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mesh", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    starting = commands.add_parser("up", help="start everything and watch over it until Ctrl-C")
    starting.add_argument(
        "--nats", type=int, choices=(1, 3), help="how many nats-servers are the bus (NATS_SERVERS; default: 1)"
    )
    starting.add_argument(
        "--instances",
        type=int,
        choices=range(1, MAX_INSTANCES + 1),
        help="how many instances of ingest, signal and store share the partitions (INSTANCES; default: 1)",
    )
    changing = commands.add_parser(
        "repartition", help="give the mesh another number of partitions, whether it runs or not"
    )
    changing.add_argument("partitions", type=int, choices=range(1, MAX_PARTITIONS + 1), metavar="N")
    commands.add_parser("down", help="stop the mesh that runs in STATE_DIR, and whatever one left behind")
    commands.add_parser("status", help="say how every service is; exit 0 only if all run")
    commands.add_parser("env", help="print the running mesh's URLs as export lines")
    logs = commands.add_parser("logs", help="print the services' logs")
    logs.add_argument("service", nargs="?", help="ingest, signal, store, gateway, sim, nats, postgres or supervisord")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    logs.add_argument("-n", "--lines", type=_count, default=200, help="how many last lines of each (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
