"""The whole mesh fed by sim, at chosen rates, with chosen numbers of clients and symbols.

    python -m tests.bench                                                       # the loads of docs/performance.md
    python -m tests.bench --rates 200 --clients 1,200 --seconds 10
    python -m tests.bench --rates 1000,10000,max --against-commit 8971ea4       # both trees, in turns
    python -m tests.bench --rates 1000 --json new.json --against old.json       # an earlier run
    python -m tests.bench --rates 50000 --symbols 300 --instances 2             # and two of each service, in turns

With another tree, both meshes run at the same time, and one is fed after the other: A B A B A B. The exchange and the
clients are this tree's for both. With --floor a bare relay of the same hops takes its turn, too (`floor.py`). Ends with
1 if a trade was lost or doubled.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.figures import Figures
from tests.bench.floor import fed_floor
from tests.bench.report import by_symbols, shares, summary, table
from tests.bench.trees import tree_at, tree_of_commit
from tests.bench.whole_mesh import Fed, Load, fed_mesh, run, symbols_traded
from tests.fixtures.mesh import HERE, Tree

Runs = dict[str, dict[str, list[Figures]]]
"""The runs by load and by the name of the tree."""

Maker = Callable[..., contextlib.AbstractContextManager[Fed]]

WARM_UP: Final = Load(rate=1000.0, seconds=2.0)
FLOOR: Final = "floor"


def standard(seconds: float) -> list[Load]:
    """Return the loads of docs/performance.md."""
    one_client = [Load(rate, seconds) for rate in (200.0, 1000.0, 10_000.0, 50_000.0, "max")]
    many_clients = [
        Load(rate, seconds, clients, stalled) for rate, clients in ((200.0, 200), (20.0, 1000)) for stalled in (0, 20)
    ]
    symbols = [Load(rate, seconds, symbols=count) for count in (1, 300) for rate in (1000.0, 10_000.0)]
    return one_client + many_clients + symbols


def measure(
    groups: list[list[Load]], trees: list[Tree], repeats: int, *, floor: bool, instances: int
) -> Iterator[tuple[Load, dict[str, list[Figures]]]]:
    """Feed all trees' meshes in turns with every load, and give its runs when they are done.

    Loads of one number of symbols have the same meshes. All meshes of a group run at once; its loads that differ in
    nothing but their number of symbols take turns, because no machine is equally quick at all times. The floor has no
    turn with stalled clients: it would keep for them all that they do not read.
    """
    started_s = time.monotonic()
    left = sum(map(len, groups)) * repeats
    for group in groups:
        with contextlib.ExitStack() as stack:
            meshes = {
                symbols: stack.enter_context(running(trees, symbols, floor=floor, instances=instances))
                for symbols in sorted({load.symbols for load in group})
            }
            for _, some in itertools.groupby(group, key=lambda load: replace(load, symbols=0)):
                runs: dict[Load, dict[str, list[Figures]]] = {load: {} for load in some}
                for _, (load, of_load) in itertools.product(range(repeats), runs.items()):
                    sys.stderr.write(f"{time.monotonic() - started_s:4.0f} s, {left} to go: {load}\n")
                    for name, fed in meshes[load.symbols].items():
                        if not (name == FLOOR and load.stalled):
                            of_load.setdefault(name, []).append(run(fed, load))
                    left -= 1
                yield from runs.items()


@contextlib.contextmanager
def running(trees: list[Tree], symbols: int, *, floor: bool, instances: int) -> Iterator[dict[str, Fed]]:
    """Run a warm mesh of each tree, one of several instances and the floor where wanted, while inside."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tickmesh-bench-")))
        folder.chmod(0o755)  # where root starts PostgreSQL, that runs as another user
        meshes = {}
        makers: dict[str, Maker] = {tree.name: partial(fed_mesh, tree=tree) for tree in trees}
        if instances > 1:
            makers[of_instances(instances)] = partial(fed_mesh, instances=instances)
        if floor:
            makers[FLOOR] = fed_floor
        for name, make in makers.items():
            (folder / name).mkdir()
            meshes[name] = stack.enter_context(make(folder / name, symbols=symbols_traded(symbols)))
        for fed in meshes.values():
            run(fed, WARM_UP)
        yield meshes


def of_instances(count: int) -> str:
    """Return the name of the mesh with so many instances of each service."""
    return f"{count} instances"


def _rate(text: str) -> float | str:
    return text if text == "max" else float(text)


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def main() -> int:
    """Measure as the command line says; return 1 if a trade was lost or doubled."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--rates", help="trades a second of all symbols together, or max; as in 1000,max (default: all standard loads)")
    add("--clients", type=_numbers, default=[1], help="how many clients read /ws (default 1)")
    add("--stalled", type=_numbers, default=[0], help="how many more clients read nothing (default 0)")
    add("--symbols", type=_numbers, default=[6], help="how many symbols are traded (default 6)")
    add("--seconds", type=float, default=5.0, help="how long each feed lasts (default %(default)g)")
    add("--repeats", type=int, help="how often each is measured (default 1, with another tree 3)")
    add("--against-commit", metavar="SHA", help="measure this commit in turns with the tree here")
    add("--tree", type=Path, metavar="PATH", help="measure the checkout in this folder in turns with the tree here")
    add("--against", type=Path, metavar="FILE", help="compare with the runs in this file, which --json wrote")
    add(
        "--instances",
        type=int,
        default=1,
        help="measure so many instances of ingest, signal and store in turns with one",
    )
    add("--floor", action="store_true", help="measure a bare relay of the same hops in turns with the tree here")
    add("--json", type=Path, metavar="FILE", help="write every run there")
    given = parser.parse_args()
    trees = [HERE]
    if given.against_commit:
        trees.append(tree_of_commit(given.against_commit))
    if given.tree:
        trees.append(tree_at(given.tree))
    loads = (
        [list(some) for _, some in itertools.groupby(standard(given.seconds), key=lambda load: load.symbols)]
        if given.rates is None
        else [
            [
                Load(rate, given.seconds, clients, stalled, symbols)
                for rate, clients, stalled, symbols in itertools.product(
                    map(_rate, given.rates.split(",")), given.clients, given.stalled, given.symbols
                )
            ]
        ]
    )
    repeats = given.repeats or (3 if len(trees) > 1 else 1)
    earlier: Runs = json.loads(given.against.read_text()) if given.against else {}
    runs: Runs = {}
    ours: dict[Load, list[Figures]] = {}
    alone = given.rates is None and len(trees) == 1 and given.instances == 1
    for load, of_load in measure(loads, trees, repeats, floor=given.floor or alone, instances=given.instances):
        runs[str(load)] = of_load
        ours[load] = of_load[HERE.name]
        compared = of_load | {f"{name} earlier": old for name, old in earlier.get(str(load), {}).items()}
        if given.rates is not None or len(trees) > 1 or earlier:
            print(table(str(load), compared) + "\n", flush=True)
        if given.json:
            given.json.write_text(json.dumps(runs, indent=1) + "\n")
    print(summary(runs))
    if given.rates is not None and len(given.symbols) > 1:
        fewest = min(given.symbols)
        beside = {
            str(load): (own, ours[replace(load, symbols=fewest)])
            for load, own in ours.items()
            if load.symbols != fewest
        }
        print("\n" + by_symbols(beside))
    if given.instances > 1:
        print("\n" + shares(runs, one=HERE.name, several=of_instances(given.instances), count=given.instances))
    return int(any(one["lost"] or one["doubled"] for own in ours.values() for one in own))


if __name__ == "__main__":
    sys.exit(main())
