"""libsignal for Python: the signals of one symbol's trades, columns in and columns out.

    state = SignalState(moving_average_window=20)
    signals = state.process(trades)        # mesh.values.trades.TradeColumns
    signals.moving_average[-1]             # right after the last trade
    saved = state.save()                   # and, maybe in another process:
    state = SignalState.load(saved)

`libsignal/include/libsignal.h` is the manual: units, exactness, threads. The shared library is looked for at import
(`mesh.service.shared_library.candidates`); an import that finds none names every place.
"""

from __future__ import annotations

from libsignal.declarations import WINDOW_MAX
from libsignal.errors import RefusedTrade, UnusableCandle, UnusableState
from libsignal.series import CandleSeries, close_each
from libsignal.state import (
    INDICATOR_OFFSETS,
    OUTPUT_OFFSETS,
    PROCESS_ADDRESS,
    CandleBuffer,
    PackedSignals,
    SignalState,
)
from libsignal.values import CandleColumns, Inputs, Periods, SignalCandle, Signals, StateSettings, Summary, Trades
from mesh.values.signals import SignalGroups

__all__ = [
    "INDICATOR_OFFSETS",
    "OUTPUT_OFFSETS",
    "PROCESS_ADDRESS",
    "WINDOW_MAX",
    "CandleBuffer",
    "CandleColumns",
    "CandleSeries",
    "Inputs",
    "PackedSignals",
    "Periods",
    "RefusedTrade",
    "SignalCandle",
    "SignalGroups",
    "SignalState",
    "Signals",
    "StateSettings",
    "Summary",
    "Trades",
    "UnusableCandle",
    "UnusableState",
    "close_each",
]
