"""The whole mesh fed by sim, at chosen rates, with chosen numbers of clients and symbols.

    python -m tests.bench                                                       # 1,000, 10,000 and flat out
    python -m tests.bench --rates 200 --clients 1,200 --seconds 10
    python -m tests.bench --rates 1000,10000,max --against-commit 8971ea4       # both trees, in turns
    python -m tests.bench --rates 1000 --json new.json --against old.json       # an earlier run

With another tree, both meshes run at the same time, and one is fed after the other: A B A B A B. The exchange and the
clients are this tree's for both. Ends with 1 if a trade was lost or doubled.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Figures
from tests.bench.report import table
from tests.bench.trees import tree_at, tree_of_commit
from tests.bench.whole_mesh import FedMesh, Load, fed_mesh, run
from tests.fixtures.mesh import HERE, Tree

Runs = dict[str, dict[str, list[Figures]]]
"""The runs by load and by the name of the tree."""

WARM_UP = Load(rate=1000.0, seconds=2.0)


def measure(loads: list[Load], trees: list[Tree], repeats: int) -> Runs:
    """Feed all trees' meshes in turns with every load; those of one number of symbols with the same meshes."""
    runs: Runs = {}
    started_s = time.monotonic()
    left = len(loads) * len(trees) * repeats
    for symbols, alike in itertools.groupby(loads, key=lambda load: load.symbols):
        with running(trees, symbols) as meshes:
            for load in alike:
                for _, (tree, fed) in itertools.product(range(repeats), meshes.items()):
                    sys.stderr.write(f"{time.monotonic() - started_s:4.0f} s, {left} to go: {load}: {tree}\n")
                    runs.setdefault(str(load), {}).setdefault(tree, []).append(run(fed, load))
                    left -= 1
    return runs


@contextlib.contextmanager
def running(trees: list[Tree], symbols: int) -> Iterator[dict[str, FedMesh]]:
    """Run a warm mesh of each tree, while inside."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tickmesh-bench-")))
        meshes = {}
        for tree in trees:
            (folder / tree.name).mkdir()
            folder.chmod(0o755)
            meshes[tree.name] = stack.enter_context(fed_mesh(folder / tree.name, tree=tree, symbols=symbols))
        for fed in meshes.values():
            run(fed, WARM_UP)
        yield meshes


def beside(runs: Runs, earlier: Runs) -> Runs:
    """Put the runs of an earlier file beside those of the same load."""
    return {
        load: trees | {f"{name} earlier": old for name, old in earlier.get(load, {}).items()}
        for load, trees in runs.items()
    }


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
    add(
        "--rates",
        default="1000,10000,max",
        help="trades a second of all symbols together, or max (default %(default)s)",
    )
    add("--clients", type=_numbers, default=[1], help="how many clients read /ws (default 1)")
    add("--stalled", type=_numbers, default=[0], help="how many more clients read nothing (default 0)")
    add("--symbols", type=_numbers, default=[6], help="how many symbols are traded (default 6)")
    add("--seconds", type=float, default=10.0, help="how long each feed lasts (default %(default)g)")
    add("--repeats", type=int, help="how often each is measured (default 1, with another tree 3)")
    add("--against-commit", metavar="SHA", help="measure this commit in turns with the tree here")
    add("--tree", type=Path, metavar="PATH", help="measure the checkout in this folder in turns with the tree here")
    add("--against", type=Path, metavar="FILE", help="compare with the runs in this file, which --json wrote")
    add("--json", type=Path, metavar="FILE", help="write every run there")
    given = parser.parse_args()
    trees = [HERE]
    if given.against_commit:
        trees.append(tree_of_commit(given.against_commit))
    if given.tree:
        trees.append(tree_at(given.tree))
    loads = [
        Load(rate, given.seconds, clients, stalled, symbols)
        for symbols, rate, clients, stalled in itertools.product(
            given.symbols, map(_rate, given.rates.split(",")), given.clients, given.stalled
        )
    ]
    runs = measure(loads, trees, given.repeats or (3 if len(trees) > 1 else 1))
    if given.json:
        given.json.write_text(json.dumps(runs, indent=1) + "\n")
    compared = beside(runs, json.loads(given.against.read_text())) if given.against else runs
    print("\n\n".join(table(load, of_trees) for load, of_trees in compared.items()))
    ours = [one for of_trees in runs.values() for one in of_trees[HERE.name]]
    return int(any(one["lost"] or one["doubled"] for one in ours))


if __name__ == "__main__":
    sys.exit(main())
