"""How cost and delay grow, as a picture: `python -m tests.bench.plot RUNS.json docs/performance.svg`.

The file is what `python -m tests.bench --json RUNS.json` writes: the loads of docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

from tests.bench.figures import Figures, spread
from tests.bench.processes import SERVICES
from tests.fixtures.mesh import HERE

Point = tuple[float, list[Figures]]
"""Of one line: a place on the axis, and the runs there."""

_SOME_SERVICES: Final = tuple(name for name in SERVICES if name != "sim")
_LOAD: Final = re.compile(
    r"(?P<rate>[\d,]+/s|flat out), (?P<clients>[\d,]+) clients?(?P<stalled>.*), (?P<symbols>\d+) symbols?"
)


def by_rate(runs: Mapping[str, Mapping[str, Sequence[Figures]]], tree: str) -> list[Point]:
    """Return the runs of one tree with one client and six symbols, by the rate that they had, in its order."""
    found = []
    for load, trees in runs.items():
        words = _LOAD.fullmatch(load)
        if words and (words["clients"], words["stalled"], words["symbols"]) == ("1", "", "6") and tree in trees:
            figures = list(trees[tree])
            middle = spread(figures, "rate")
            assert middle is not None
            found.append((middle.middle, figures))
    return sorted(found, key=lambda point: point[0])


def draw(runs: Mapping[str, Mapping[str, Sequence[Figures]]], path: Path) -> None:
    """Write the picture: what a trade costs each service, and how late a client has it, by the rate of trades.

    Args:
        runs: by load and by the name of the tree; those of the floor are drawn, too, if there are any.
        path: of an SVG file.

    """
    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "tickmesh", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3})
    from matplotlib import pyplot as plt  # noqa: PLC0415 - only after the choice of what draws

    picture, (cost, delay) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    ours, floor = by_rate(runs, HERE.name), by_rate(runs, "floor")
    for name in _SOME_SERVICES:
        _line(cost, ours, f"cpu_us.{name}", label=name)
    _line(cost, ours, "cpu_us.mesh", label="all", color="black")
    _line(cost, floor, "cpu_us.mesh", label="floor", color="grey", linestyle="--")
    cost.set(ylabel="CPU, us a trade", title="What a trade costs")
    for percentile, style in (("p50", "-"), ("p99", "--")):
        _line(delay, ours, f"delay_ms.{percentile}", label=percentile, color="black", linestyle=style)
        _line(delay, floor, f"delay_ms.{percentile}", label=f"floor, {percentile}", color="grey", linestyle=style)
    delay.set(ylabel="delay, ms", title="From the exchange to a client of /ws")
    for axes in (cost, delay):
        axes.set(xscale="log", yscale="log", xlabel="trades a second")
        axes.legend()
    picture.savefig(path, metadata={"Date": None})


def _line(axes: Any, points: Sequence[Point], figure: str, **style: str) -> None:
    found = [(place, spread(runs, figure)) for place, runs in points]
    known = [(place, one.middle) for place, one in found if one is not None]
    if known:
        axes.plot(*zip(*known, strict=True), marker="o", markersize=3, **style)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="what --json of the bench wrote")
    parser.add_argument("target", type=Path, help="the picture: a name that ends with .svg or .png")
    given = parser.parse_args()
    draw(json.loads(given.source.read_text()), given.target)
