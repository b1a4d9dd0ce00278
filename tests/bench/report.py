"""Runs as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tests.bench.figures import Figures, Spread, ratio, spread
from tests.bench.processes import SERVICES

# The figures of the first table: title, name, how it is written.
HEADLINE: Final = (
    ("trades/s", "rate", "{:,.0f}"),
    ("sent", "sent", "{:,.0f}"),
    ("stored", "stored", "{:,.0f}"),
    ("lost", "lost", "{:,.0f}"),
    ("doubled", "doubled", "{:,.0f}"),
    ("not told", "untold", "{:.2%}"),
    ("stored after, s", "stored_after_s", "{:.2f}"),
    ("stored/s until all are", "stored_rate", "{:,.0f}"),
    ("delay p50, ms", "delay_ms.p50", "{:.2f}"),
    ("delay p90, ms", "delay_ms.p90", "{:.2f}"),
    ("delay p99, ms", "delay_ms.p99", "{:.2f}"),
    ("delay max, ms", "delay_ms.max", "{:.1f}"),
    ("CPU us a trade", "cpu_us.mesh", "{:,.1f}"),
    ("wake-ups a trade", "wakes.mesh", "{:,.2f}"),
    ("preempted a trade", "preempted.mesh", "{:,.3f}"),
    ("waited for a CPU, us a trade", "wait_us.mesh", "{:,.1f}"),
    ("bus messages a trade", "bus.messages", "{:,.2f}"),
    ("bus bytes a trade", "bus.bytes", "{:,.0f}"),
    ("peak memory, MB", "peak_mb.mesh", "{:,.0f}"),
    ("time stolen by others", "steal", "{:.1%}"),
)
PER_SERVICE: Final = (
    ("CPU us a trade", "cpu_us", "{:,.1f}"),
    ("wake-ups a trade", "wakes", "{:,.2f}"),
    ("peak memory, MB", "peak_mb", "{:,.0f}"),
)


def table(title: str, runs: Mapping[str, Sequence[Figures]]) -> str:
    """Return the medians of each tree's runs, and their ratio to those of the last tree, with its spread.

    Args:
        title: the load.
        runs: the runs of each tree by its name; the one to compare with is the last.
    """
    *_, old = runs
    lines = [f"{title}: medians of {max(map(len, runs.values()))}"]
    compared = f"{'ratio':>10}  (from - to)" if len(runs) > 1 else ""
    lines.append(f"  {'':<32}" + "".join(f"{name[:14]:>15}" for name in runs) + compared)
    per_service = [
        (f"{words}: {service}", f"{kind}.{service}", form) for words, kind, form in PER_SERVICE for service in SERVICES
    ]
    for words, name, form in (*HEADLINE, *per_service):
        found = {tree: spread(figures, name) for tree, figures in runs.items()}
        if any(found.values()):
            cells = "".join(f"{form.format(one.middle) if one else '-':>15}" for one in found.values())
            ratios = [ratio(figures, runs[old], name) for tree, figures in runs.items() if tree != old]
            lines.append(f"  {words:<32}{cells}" + "".join(map(_ratio_text, ratios)))
    return "\n".join(lines)


# The columns of the summary: title, figure, how it is written, how wide.
COLUMNS: Final = (
    ("trades/s", "rate", "{:,.0f}", 9),
    ("sent", "sent", "{:,.0f}", 10),
    ("lost", "lost", "{:,.0f}", 6),
    ("not told", "untold", "{:.1%}", 9),
    ("whole, s", "stored_after_s", "{:.1f}", 9),
    ("stored/s", "stored_rate", "{:,.0f}", 9),
    ("p50 ms", "delay_ms.p50", "{:,.2f}", 9),
    ("p90", "delay_ms.p90", "{:,.1f}", 8),
    ("p99", "delay_ms.p99", "{:,.1f}", 8),
    ("max", "delay_ms.max", "{:,.0f}", 7),
    ("CPU us", "cpu_us.mesh", "{:,.1f}", 9),
    ("wakes", "wakes.mesh", "{:.2f}", 7),
    ("bus msgs", "bus.messages", "{:.2f}", 9),
    ("bytes", "bus.bytes", "{:,.0f}", 7),
    ("MB", "peak_mb.mesh", "{:,.0f}", 6),
)


def summary(runs: Mapping[str, Mapping[str, Sequence[Figures]]]) -> str:
    """Return a line for each load and tree, and one with the CPU time a trade of each service: medians.

    Args:
        runs: the runs by load and by the name of the tree.
    """
    names = {(load, tree): f"{load}: {tree}" for load, trees in runs.items() for tree in trees}
    width = max(map(len, names.values()), default=0)
    lines = [f"{'medians':<{width}}" + "".join(f"{title:>{wide}}" for title, _, _, wide in COLUMNS)]
    for (load, tree), name in names.items():
        cells = [(spread(runs[load][tree], figure), form, wide) for _, figure, form, wide in COLUMNS]
        texts = (f"{form.format(one.middle) if one else '-':>{wide}}" for one, form, wide in cells)
        lines.append(f"{name:<{width}}" + "".join(texts))
    lines += ["", f"{'CPU us a trade':<{width}}" + "".join(f"{service:>10}" for service in SERVICES)]
    for (load, tree), name in names.items():
        found = [spread(runs[load][tree], f"cpu_us.{service}") for service in SERVICES]
        lines.append(f"{name:<{width}}" + "".join(f"{one.middle if one else 0:>10,.1f}" for one in found))
    return "\n".join(lines)


def shares(runs: Mapping[str, Mapping[str, Sequence[Figures]]], *, one: str, several: str, count: int) -> str:
    """Return how much CPU each of several instances needs, of what one alone needs for the same trades: medians.

    Args:
        runs: the runs by load and by the name of the mesh.
        one: the name of the mesh with one instance of each service.
        several: the name of the one with several.
        count: how many those are.
    """
    lines = []
    for load, meshes in runs.items():
        found = {name: ratio(meshes[several], meshes[one], f"cpu_us.{name}") for name in ("ingest", "signal", "store")}
        words = [
            f"{name} {each.middle / count:.2f} ({each.low / count:.2f} - {each.high / count:.2f})"
            for name, each in found.items()
            if each is not None
        ]
        lines.append(f"{load}: of the CPU of one, each of {count} takes {', '.join(words)}")
    return "\n".join(lines)


def by_symbols(runs: Mapping[str, tuple[Sequence[Figures], Sequence[Figures]]]) -> str:
    """Return what each load costs beside the same with fewer symbols: the medians of the ratios, turn by turn.

    Args:
        runs: those of each load, and those with fewer symbols, which took turns with them.

    """
    figures = (("CPU", "cpu_us.mesh"), ("p50", "delay_ms.p50"), ("p99", "delay_ms.p99"))
    return "\n".join(
        f"{load}, beside the fewest:"
        + ",".join(f" {words} {_ratio_text(ratio(own, fewest, name)).strip()}" for words, name in figures)
        for load, (own, fewest) in runs.items()
    )


def _ratio_text(found: Spread | None) -> str:
    return "" if found is None else f"{found.middle:>10.3f}  ({found.low:.2f} - {found.high:.2f})"
