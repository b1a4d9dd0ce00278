"""The signals right after each trade: their one declaration in Python, from which everything else is derived. Pure.

A line of `SignalValues` says a signal's name, what a row of it is, and the group of libsignal's that works it out. Of
it are made: `SignalColumns`, libsignal's columns for ctypes and the memory behind them, `GetStats`, the JSON of `/ws`.
What crosses a border is declared there too: in `libsignal.h`, and in `signal.proto`, whose comments are the
documentation. Tests hold the three together; docs/extending.md adds a signal step by step.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import Annotated, Any, TypeAlias, get_args, get_type_hints

import numpy as np
import numpy.typing as npt

Int64s: TypeAlias = npt.NDArray[np.int64]
Float64s: TypeAlias = npt.NDArray[np.float64]

LIVE = "live"
"""Marks a signal that goes out with every trade over `/ws`; the others are in `GetStats` only."""


class SignalGroups(IntFlag):
    """Groups of signals that libsignal works out together; those left out cost nothing."""

    MOVING_AVERAGE = 1
    EXPONENTIAL_AVERAGE = 2
    WINDOW_VWAP = 4
    DEVIATION = 8
    EXTREMES = 16
    FLOW = 32
    RATE = 64
    VOLATILITY = 128
    SESSION = 256
    CANDLES = 512
    ALL = 1023


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SignalValues:
    """The signals right after each of n trades; every array has shape (n,). In the order of `lsig_columns`."""

    moving_average: Annotated[Float64s, SignalGroups.MOVING_AVERAGE, LIVE]
    exponential_average: Annotated[Float64s, SignalGroups.EXPONENTIAL_AVERAGE, LIVE]
    window_vwap: Annotated[Float64s, SignalGroups.WINDOW_VWAP]
    deviation: Annotated[Float64s, SignalGroups.DEVIATION]
    bollinger_upper: Annotated[Float64s, SignalGroups.DEVIATION]
    bollinger_middle: Annotated[Float64s, SignalGroups.DEVIATION]
    bollinger_lower: Annotated[Float64s, SignalGroups.DEVIATION]
    window_high_e8: Annotated[Int64s, SignalGroups.EXTREMES, LIVE]
    window_low_e8: Annotated[Int64s, SignalGroups.EXTREMES, LIVE]
    buy_share: Annotated[Float64s, SignalGroups.FLOW]
    flow_imbalance: Annotated[Float64s, SignalGroups.FLOW]
    trade_rate: Annotated[Float64s, SignalGroups.RATE]
    volatility: Annotated[Float64s, SignalGroups.VOLATILITY, LIVE]
    session_open_e8: Annotated[Int64s, SignalGroups.SESSION, LIVE]
    session_high_e8: Annotated[Int64s, SignalGroups.SESSION, LIVE]
    session_low_e8: Annotated[Int64s, SignalGroups.SESSION, LIVE]
    session_count: Annotated[Int64s, SignalGroups.SESSION, LIVE]
    session_volume: Annotated[Float64s, SignalGroups.SESSION, LIVE]
    session_vwap: Annotated[Float64s, SignalGroups.SESSION, LIVE]


@dataclass(frozen=True, slots=True)
class Signal:
    """What a line of `SignalValues` says."""

    name: str
    """As in libsignal and in `SignalBatch`; `_e8` is scaled by 1e8."""
    dtype: np.dtype[Any]
    """Of a row: int64 or float64."""
    group: SignalGroups
    live: bool
    """Whether it goes out over `/ws`."""

    @property
    def stats_name(self) -> str:
        """Its name in `GetStatsResponse`, which is about the session where it does not say otherwise."""
        return self.name.removeprefix("session_")


def _declared() -> tuple[Signal, ...]:
    signals = []
    for name, hint in get_type_hints(SignalValues, include_extras=True).items():
        array, group, *marks = get_args(hint)
        # By which of the two it is: what an array's type looks like inside is numpy's own and changes with its version.
        dtype = np.dtype(np.int64 if array == Int64s else np.float64)
        assert array in (Int64s, Float64s), f"{name} is {array}, expected Int64s or Float64s"
        signals.append(Signal(name, dtype, group, LIVE in marks))
    return tuple(signals)


SIGNALS = _declared()
"""The signals, in the order of `lsig_columns`."""

SIGNAL_NAMES = tuple(signal.name for signal in SIGNALS)
