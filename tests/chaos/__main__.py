"""`make chaos`: strike a whole mesh with one fault after the other, and count what was lost.

For each: trades issued, stored, doubled and missing, ids that never were (absent), how the signals differ from those of
an uninterrupted run, seconds until the mesh was whole again, and the highest memory of any of its services.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos import disk
from tests.chaos.faults import Fault, table
from tests.chaos.run import Outcome, heading, row, strike
from tests.chaos.truth import Truth
from tests.chaos.world import running_world

_DISK_MIB = {"nats": 64, "postgres": 256, ".": 384}


def main(options: argparse.Namespace) -> int:
    """Run the faults that were asked for, print the table, and return 1 if one of them cost a trade."""
    wanted = [fault for fault in table(short=options.short, seed=options.seed) if re.search(options.only, fault.name)]
    if options.list:
        print("\n".join(fault.name for fault in wanted))
        return 0
    started_s = time.monotonic()
    outcomes: list[Outcome] = []
    print(heading(), flush=True)
    wanted = list(_possible(wanted))
    while len(outcomes) < len(wanted):
        outcomes += _in_one_world(wanted[len(outcomes) :], options)
    failed = [outcome for outcome in outcomes if outcome.wrong]
    print(f"{len(outcomes)} faults in {time.monotonic() - started_s:.0f} s, seed {options.seed}: {len(failed)} failed")
    for outcome in failed:
        print(f"  {outcome.fault.name}: {outcome.wrong}")
    return int(bool(failed))


def _in_one_world(faults: list[Fault], options: argparse.Namespace) -> list[Outcome]:
    """Strike with those of the first faults that can share a mesh, up to one that leaves damage."""
    outcomes: list[Outcome] = []
    first = faults[0]
    sharing = itertools.takewhile(lambda fault: fault.own_mesh is first.own_mesh, faults)
    with _folder(keep=options.keep) as folder:
        settings = first.own_mesh(folder) if first.own_mesh else {}
        with _disk_for(first, folder), running_world(folder, seed=options.seed, **settings) as world:
            truth = Truth(world)
            for fault in sharing:
                if outcomes and outcomes[-1].fault.late:
                    truth.forgive_late_signals()
                outcomes.append(strike(world, truth, fault, rate=options.rate, patience=options.patience))
                print(row(outcomes[-1]), flush=True)
                if outcomes[-1].wrong:
                    break
    return outcomes


def _possible(faults: list[Fault]) -> Iterator[Fault]:
    """Leave out the faults this machine cannot play, and say so."""
    missing = disk.why_not() if any(fault.small_disk for fault in faults) else ""
    for fault in faults:
        if fault.small_disk and missing:
            print(f"{fault.name}: left out, {missing}", flush=True)
        else:
            yield fault


def _disk_for(fault: Fault, folder: Path) -> contextlib.AbstractContextManager[None]:
    if not fault.small_disk:
        return contextlib.nullcontext()
    return disk.small_disk(folder / "state" / fault.small_disk, mib=_DISK_MIB[fault.small_disk])


@contextlib.contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    if keep:
        yield Path(tempfile.mkdtemp(prefix="tickmesh-chaos-"))
    else:
        with tempfile.TemporaryDirectory(prefix="tickmesh-chaos-") as folder:
            yield Path(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--short", action="store_true", help="fewer faults, shorter outages: a quarter of an hour")
    parser.add_argument("--seed", type=int, default=7, help="of the exchange and of the random sequence (default: 7)")
    parser.add_argument("--rate", type=float, default=1000.0, help="trades a second (default: 1000)")
    parser.add_argument(
        "--patience",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="how many times as long the mesh may take to be whole, on a slow or busy machine (default: 1)",
    )
    parser.add_argument("--only", default="", metavar="REGEX", help="only faults whose name matches")
    parser.add_argument("--list", action="store_true", help="list the faults and end")
    parser.add_argument("--keep", action="store_true", help="keep the mesh's files and logs")
    sys.exit(main(parser.parse_args()))
