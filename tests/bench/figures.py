"""Figures of a run, by name, and what can be said of several runs: medians, ratios and their spread. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np
import numpy.typing as npt

Figures = dict[str, float]
"""What one run showed: `sent`, `stored`, `delay_ms.p99`, `cpu_us.ingest`; a figure of a service ends with its name."""

PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some runs, and how far they lie apart."""

    middle: float
    low: float
    high: float


def percentiles(values: npt.ArrayLike, name: str) -> Figures:
    """Return `<name>.p50`, `.p90`, `.p99` and `.max` of `values`; nothing of none."""
    array = np.asarray(values, dtype=float)
    if not array.size:
        return {}
    found = np.percentile(array, list(PERCENTILES.values()))
    return {f"{name}.{word}": float(one) for word, one in zip(PERCENTILES, found, strict=True)}


def spread(runs: Sequence[Figures], name: str) -> Spread | None:
    """Return the median of a figure over the runs that have it; None when none has."""
    values = [run[name] for run in runs if name in run]
    return Spread(median(values), min(values), max(values)) if values else None


def ratio(new: Sequence[Figures], old: Sequence[Figures], name: str) -> Spread | None:
    """Return new / old of a figure, run by run as they took turns; None where there is nothing to divide by."""
    pairs = [(one[name], other[name]) for one, other in zip(new, old, strict=False) if name in one and name in other]
    values = [one / other for one, other in pairs if other]
    return Spread(median(values), min(values), max(values)) if values else None
